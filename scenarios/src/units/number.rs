//! The number of a quantity, converted to its base unit exactly, without floating point.
use std::borrow::Cow;

/// Splits a text into a decimal number and the rest, the unit. `None` if the text does not begin with a number.
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

/// The length in bytes of an exponent at the beginning of `text`, as in `e3` and `E-6`; 0 if there is none.
fn exponent(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    match digits.bytes().take_while(u8::is_ascii_digit).count() {
        0 => 0,
        count => text.len() - digits.len() + count,
    }
}

/// The largest exponent that is written out as digits. A larger one makes a number too large, or 0 if it is negative.
const EXPONENT: i32 = 60;

/// Returns a decimal number of the same value without an exponent. `None` if the number is too large.
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

/// Returns `number` times `factor`, rounded down to an integer. `number` has decimal digits with at most one point, and
/// may have an exponent. `None` if the result is too large.
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
