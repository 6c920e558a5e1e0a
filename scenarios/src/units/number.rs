//! The number of a quantity, exact: no floating point comes between a text and its base units.
use std::borrow::Cow;

/// A decimal number and what follows it; nothing if it does not begin with a digit.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let digits = &text[..end];
    let well_formed = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && digits.matches('.').count() <= 1;
    let (number, unit) = text.split_at(end + exponent(&text[end..]));
    well_formed.then_some((number, unit.trim_start()))
}

/// The length of an exponent at the beginning of `text`, as in `e3` and `E-6`.
fn exponent(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    match digits.bytes().take_while(u8::is_ascii_digit).count() {
        0 => 0,
        count => text.len() - digits.len() + count,
    }
}

/// Exponents that are written out; with larger ones a number is too large or nothing.
const EXPONENT: i32 = 60;

/// A decimal number without an exponent, of the same value.
fn written_out(number: &str) -> Option<Cow<'_, str>> {
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else { return Some(Cow::Borrowed(number)) };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.bytes().all(|digit| digit == b'0') {
        return Some(Cow::Borrowed("0"));
    }
    let exponent = match exponent.parse::<i32>() {
        Ok(exponent) if exponent.abs() <= EXPONENT => exponent,
        _ if exponent.starts_with('-') => return Some(Cow::Borrowed("0")),
        _ => return None,
    };
    let point = whole.len() as i32 + exponent;
    Some(Cow::Owned(if point <= 0 {
        format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
    } else if point as usize >= digits.len() {
        format!("{digits}{}", "0".repeat(point as usize - digits.len()))
    } else {
        format!("{}.{}", &digits[..point as usize], &digits[point as usize..])
    }))
}

/// `number` (decimal digits with at most one point, and perhaps an exponent) times `factor`, rounded down to a whole base unit.
pub(super) fn exact(number: &str, factor: u64) -> Option<u64> {
    let number = &*written_out(number)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = &fraction[..fraction.len().min(18)];
    let whole = whole.parse::<u128>().ok()?.checked_mul(u128::from(factor))?;
    let part = match fraction {
        "" => 0,
        digits => digits.parse::<u128>().ok()? * u128::from(factor) / 10u128.pow(digits.len() as u32),
    };
    u64::try_from(whole.checked_add(part)?).ok()
}
