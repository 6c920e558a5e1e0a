//! Decimal numbers in the notations of other programs: `10`, `10.5`, `1e1`, `9e-05`.
//!
//! The numbers are parsed exactly, not as floating point, so that a time is exactly the one in the table.

/// The largest number of significant digits that are kept. A number with 27 digits, multiplied by the largest factor,
/// 10^11, still fits 128 bits. It has more digits than any result, which is a `u64`.
const DIGITS: usize = 27;

/// The reason why a text cannot be used as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberError {
    NotANumber,
    Negative,
    TooLarge,
}

/// Returns the number in `text` multiplied by `factor`, rounded to the nearest integer (halves up), and whether the
/// result is exact.
///
/// `factor` is at most 10^11.
pub(crate) fn scaled(text: &str, factor: u64) -> Result<(u64, bool), NumberError> {
    let (text, negative) = match text.strip_prefix('-') {
        Some(text) => (text, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, whole(exponent).ok_or(NumberError::NotANumber)?),
        None => (text, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || before.bytes().chain(after.bytes());
    if before.is_empty() && after.is_empty() || !digits().all(|digit| digit.is_ascii_digit()) {
        return Err(NumberError::NotANumber);
    }
    let significant = || digits().skip_while(|digit| *digit == b'0');
    let number = significant().take(DIGITS).fold(0u128, |number, digit| number * 10 + u128::from(digit - b'0'));
    if number == 0 {
        return Ok((0, true));
    }
    if negative {
        return Err(NumberError::Negative);
    }
    let dropped = significant().skip(DIGITS);
    let exact = dropped.clone().all(|digit| digit == b'0');
    // The scaled number is `product` x 10^`shift`.
    let product = number * u128::from(factor);
    let shift = exponent - after.len() as i64 + dropped.count() as i64;
    let power = 10u128.checked_pow(shift.unsigned_abs().min(1000) as u32);
    let (result, exact) = match (shift >= 0, power) {
        (true, Some(power)) => (product.checked_mul(power).ok_or(NumberError::TooLarge)?, exact),
        (true, None) => return Err(NumberError::TooLarge),
        (false, Some(power)) => {
            (product / power + u128::from(product % power >= power.div_ceil(2)), exact && product % power == 0)
        }
        (false, None) => (0, false),
    };
    Ok((u64::try_from(result).map_err(|_| NumberError::TooLarge)?, exact))
}

/// Parses the exponent of a number. An exponent beyond 2^20, of either sign, is clamped to 2^20.
fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let exponent = digits.parse::<i64>().unwrap_or(i64::MAX).min(1 << 20);
    Some(if text.starts_with('-') { -exponent } else { exponent })
}

#[cfg(test)]
mod tests {
    use super::{NumberError, scaled};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    #[test]
    fn numbers_of_other_programs_are_read_exactly() {
        for (text, factor, expected) in [
            ("10", 1, (10, true)),
            ("1e1", 1, (10, true)),
            ("1.0E+1", 1, (10, true)),
            ("374.0", 1, (374, true)),
            ("12.5", 1, (13, false)),
            ("9e-05", 1_000_000_000, (90_000, true)),
            (".5", 1000, (500, true)),
            ("5.", 1, (5, true)),
            ("-0", 1, (0, true)),
            ("0e999999999999999999999", 1, (0, true)),
            ("1e-999999999999999999999", 1, (0, false)),
            ("0.1", 1_000_000_000, (100_000_000, true)),
            ("2.3333333333333335", 1_000_000_000, (2_333_333_333, false)),
            ("00000000000000000000000000000000000012", 1, (12, true)),
        ] {
            assert_eq!(scaled(text, factor), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_told_apart() {
        for text in
            ["", "-", "+", ".", "e5", "NaN", "nan", "inf", "1e", "1e+", "1e1.5", "0x10", "1,5", "1 2", "10 ms", "½"]
        {
            assert_eq!(scaled(text, 1), Err(NumberError::NotANumber), "{text}");
        }
        assert_eq!(scaled("-6", 1), Err(NumberError::Negative));
        for text in ["18446744073709551616", "1e400", "1e20", "99999999999999999999999999999999999999999999"] {
            assert_eq!(scaled(text, 1), Err(NumberError::TooLarge), "{text}");
        }
        assert_eq!(scaled("18446744073709551615", 1), Ok((u64::MAX, true)));
    }

    proptest! {
        #[test]
        fn every_number_that_is_printed_is_read(number: u64, ms in 0.0..1e9f64) {
            prop_assert_eq!(scaled(&number.to_string(), 1), Ok((number, true)));
            let (printed, exponent) = (scaled(&format!("{ms}"), 1_000_000), scaled(&format!("{ms:e}"), 1_000_000));
            prop_assert_eq!(printed, exponent);
            let near = printed.expect("a number").0 as f64;
            prop_assert!((near - ms * 1e6).abs() <= 0.51 + ms * 1e6 * 1e-15, "{} {}", near, ms);
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,60}|\\PC{0,20}", factor in 1..100_000_000_000u64) {
            let _ = scaled(&text, factor);
        }
    }
}
