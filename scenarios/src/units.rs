//! Quantities as people write them: a number and its unit, "80 ms" or "100 Mbit/s".
//!
//! Inside the program a quantity is an integer of its base unit, so nothing is lost between reading and printing: a
//! quantity printed and read again is the same quantity (a property test holds it).
use actors::time::Span;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;

/// What a unit measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// In nanoseconds; seconds as a magnitude.
    Time,
    /// Of data, in bits per second.
    Rate,
    /// Of data, in bytes.
    Size,
    /// Of arithmetic, in FLOP/s.
    Work,
    /// Of happenings, in happenings a day; a second as a magnitude.
    Frequency,
    /// A plain number.
    Number,
}

impl Dimension {
    /// What a person may write, for hints.
    fn example(self) -> &'static str {
        match self {
            Dimension::Time => "ms",
            Dimension::Rate => "Mbit/s",
            Dimension::Size => "GiB",
            Dimension::Work => "GFLOP/s",
            Dimension::Frequency => "/s",
            Dimension::Number => "",
        }
    }

    /// The base unit of [`magnitude`], for axes: empty for plain numbers.
    pub fn base_unit(self) -> &'static str {
        match self {
            Dimension::Time => "s",
            Dimension::Rate => "bit/s",
            Dimension::Size => "B",
            Dimension::Work => "FLOP/s",
            Dimension::Frequency => "/s",
            Dimension::Number => "",
        }
    }
}

/// A unit: its symbol, what it measures, how many base units it is.
type Unit = (&'static str, Dimension, u64);

/// Every unit, the larger first within a dimension; what is printed is chosen in this order, bits before bytes.
const UNITS: [Unit; 30] = [
    ("s", Dimension::Time, 1_000_000_000),
    ("ms", Dimension::Time, 1_000_000),
    ("us", Dimension::Time, 1_000),
    ("ns", Dimension::Time, 1),
    ("min", Dimension::Time, 60_000_000_000),
    ("Tbit/s", Dimension::Rate, 1_000_000_000_000),
    ("Gbit/s", Dimension::Rate, 1_000_000_000),
    ("Mbit/s", Dimension::Rate, 1_000_000),
    ("kbit/s", Dimension::Rate, 1_000),
    ("bit/s", Dimension::Rate, 1),
    ("TB/s", Dimension::Rate, 8_000_000_000_000),
    ("GB/s", Dimension::Rate, 8_000_000_000),
    ("MB/s", Dimension::Rate, 8_000_000),
    ("kB/s", Dimension::Rate, 8_000),
    ("TiB", Dimension::Size, 1 << 40),
    ("GiB", Dimension::Size, 1 << 30),
    ("MiB", Dimension::Size, 1 << 20),
    ("KiB", Dimension::Size, 1 << 10),
    ("B", Dimension::Size, 1),
    ("TB", Dimension::Size, 1_000_000_000_000),
    ("GB", Dimension::Size, 1_000_000_000),
    ("MB", Dimension::Size, 1_000_000),
    ("kB", Dimension::Size, 1_000),
    ("TFLOP/s", Dimension::Work, 1_000_000_000_000),
    ("GFLOP/s", Dimension::Work, 1_000_000_000),
    ("FLOP/s", Dimension::Work, 1),
    ("/s", Dimension::Frequency, 86_400),
    ("/min", Dimension::Frequency, 1_440),
    ("/h", Dimension::Frequency, 24),
    ("/day", Dimension::Frequency, 1),
];

/// Units that are read but never printed, for there is a plainer way to write the same.
const READ_ONLY: [&str; 9] = ["min", "TB/s", "GB/s", "MB/s", "kB/s", "TB", "GB", "MB", "kB"];

/// What is wrong with a quantity's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("missing unit: write \"{number} {example}\"")]
    MissingUnit { number: String, example: &'static str },
    #[error("unknown unit `{unit}`{}", suggestion(.nearest))]
    UnknownUnit { unit: String, nearest: Option<&'static str> },
    #[error("`{unit}` is not a unit of {expected}: write for example \"{number} {example}\"")]
    WrongDimension { number: String, unit: String, expected: &'static str, example: &'static str },
    #[error("`{0}` is not a number followed by a unit")]
    NotANumber(String),
    #[error("`{0}` is too large")]
    TooLarge(String),
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest.map(|unit| format!(": did you mean `{unit}`?")).unwrap_or_default()
}

/// The size of a quantity in the base unit of its dimension, or of a plain number: what an axis needs.
pub fn magnitude(text: &str) -> Option<(f64, Dimension)> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some((number, Dimension::Number));
    }
    let (number, unit) = split(text)?;
    let &(_, dimension, factor) = UNITS.iter().find(|(symbol, ..)| *symbol == unit)?;
    let base = exact(number, factor)?;
    let scale = match dimension {
        Dimension::Time => 1e9,
        Dimension::Frequency => 86_400.0,
        Dimension::Rate | Dimension::Size | Dimension::Work | Dimension::Number => 1.0,
    };
    Some((base as f64 / scale, dimension))
}

/// Reads a quantity of `dimension` into its base units.
fn parse(text: &str, dimension: Dimension) -> Result<u64, UnitError> {
    let (number, unit) = split(text).ok_or_else(|| UnitError::NotANumber(text.to_owned()))?;
    if unit.is_empty() {
        return Err(UnitError::MissingUnit { number: number.to_owned(), example: dimension.example() });
    }
    let Some(&(_, found, factor)) = UNITS.iter().find(|(symbol, ..)| *symbol == unit) else {
        let known = UNITS.iter().filter(|unit| unit.1 == dimension).map(|unit| unit.0);
        return Err(UnitError::UnknownUnit { unit: unit.to_owned(), nearest: crate::nearest::nearest(unit, known) });
    };
    if found != dimension {
        return Err(UnitError::WrongDimension {
            number: number.to_owned(),
            unit: unit.to_owned(),
            expected: match dimension {
                Dimension::Time => "time",
                Dimension::Rate => "data rate",
                Dimension::Size => "data size",
                Dimension::Work => "arithmetic rate",
                Dimension::Frequency | Dimension::Number => "frequency",
            },
            example: dimension.example(),
        });
    }
    exact(number, factor).ok_or_else(|| UnitError::TooLarge(text.to_owned()))
}

/// A decimal number and what follows it; nothing if it does not begin with a digit.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let well_formed = number.starts_with(|c: char| c.is_ascii_digit())
        && number.ends_with(|c: char| c.is_ascii_digit())
        && number.matches('.').count() <= 1;
    well_formed.then_some((number, unit.trim_start()))
}

/// `number` (decimal digits with at most one point) times `factor`, rounded down to a whole base unit.
fn exact(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = &fraction[..fraction.len().min(18)];
    let whole = whole.parse::<u128>().ok()?.checked_mul(u128::from(factor))?;
    let part = match fraction {
        "" => 0,
        digits => digits.parse::<u128>().ok()? * u128::from(factor) / 10u128.pow(digits.len() as u32),
    };
    u64::try_from(whole.checked_add(part)?).ok()
}

/// The plainest exact text: the largest unit in which at most three decimals say all.
fn print(base: u64, dimension: Dimension, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let units = UNITS.iter().filter(|unit| unit.1 == dimension && !READ_ONLY.contains(&unit.0));
    for &(symbol, _, factor) in units {
        let thousandths = u128::from(base % factor) * 1000;
        // Half a second is 500 ms, but half a request a second is no 30 a minute.
        let small = base != 0 && base < factor && dimension != Dimension::Frequency;
        if small || !thousandths.is_multiple_of(u128::from(factor)) {
            continue;
        }
        let decimals = format!("{:03}", thousandths / u128::from(factor));
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        return write!(f, "{}{point}{decimals} {symbol}", base / factor);
    }
    write!(f, "{base} {}", dimension.base_unit())
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $dimension:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl std::str::FromStr for $name {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<$name, UnitError> {
                parse(text, $dimension).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                print(self.0, $dimension, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                deserializer.deserialize_any(Text($dimension)).map($name)
            }
        }
    };
}

quantity!(
    /// A length of time, in nanoseconds.
    Time,
    Dimension::Time
);
quantity!(
    /// Data per time, in bits per second.
    Rate,
    Dimension::Rate
);
quantity!(
    /// An amount of data, in bytes.
    Size,
    Dimension::Size
);
quantity!(
    /// Arithmetic per time, in FLOP/s.
    Work,
    Dimension::Work
);

quantity!(
    /// Happenings per time, in happenings a day.
    Frequency,
    Dimension::Frequency
);

impl Frequency {
    pub fn per_second(self) -> f64 {
        self.0 as f64 / 86_400.0
    }
}

impl Time {
    pub const fn span(self) -> Span {
        Span(self.0)
    }
}

impl From<Span> for Time {
    fn from(span: Span) -> Time {
        Time(span.0)
    }
}

impl Rate {
    pub fn bytes_per_second(self) -> f64 {
        self.0 as f64 / 8.0
    }
}

/// Reads a quantity of a dimension; a bare number is told which unit it lacks.
struct Text(Dimension);

impl Visitor<'_> for Text {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a quantity with its unit, as in \"10 {}\"", self.0.example())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse(text, self.0).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Err(E::custom(UnitError::MissingUnit { number: number.to_string(), example: self.0.example() }))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
        Err(E::custom(UnitError::MissingUnit { number: number.to_string(), example: self.0.example() }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Dimension, Frequency, Rate, Size, Time, UnitError, Work, magnitude};
    use proptest::prelude::{prop_assert_eq, proptest};

    #[test]
    fn what_people_write_is_read() {
        assert_eq!("80 ms".parse(), Ok(Time(80_000_000)));
        assert_eq!("30us".parse(), Ok(Time(30_000)));
        assert_eq!("0.1 ms".parse(), Ok(Time(100_000)));
        assert_eq!("2 min".parse(), Ok(Time(120_000_000_000)));
        assert_eq!("100 Mbit/s".parse(), Ok(Rate(100_000_000)));
        assert_eq!("9 GB/s".parse(), Ok(Rate(72_000_000_000)));
        assert_eq!("4 GiB".parse(), Ok(Size(4 << 30)));
        assert_eq!("2.5 /s".parse(), Ok(Frequency(216_000)));
        assert_eq!("30 /min".parse::<Frequency>(), "0.5/s".parse());
        assert_eq!("1.5 TFLOP/s".parse(), Ok(Work(1_500_000_000_000)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| text.parse::<Time>().expect_err(text).to_string();
        assert_eq!(said("10"), "missing unit: write \"10 ms\"");
        assert_eq!(said("10 mss"), "unknown unit `mss`: did you mean `ms`?");
        assert_eq!(said("10 Mbit/s"), "`Mbit/s` is not a unit of time: write for example \"10 ms\"");
        for bad in ["", "ms", "-3 ms", "1.2.3 ms", ". ms", "5. ms"] {
            assert_eq!(bad.parse::<Time>(), Err(UnitError::NotANumber(bad.to_owned())), "{bad}");
        }
        assert!(said("99999999999 s").contains("too large"));
        assert!(said(&format!("{} s", "9".repeat(60))).contains("too large"));
    }

    #[test]
    fn the_plainest_text_is_printed() {
        for text in ["600 s", "1.5 s", "10 ms", "100 us", "0 s", "1234567.891 s", "999 ns"] {
            assert_eq!(text.parse::<Time>().expect(text).to_string(), text);
        }
        assert_eq!("1000 Mbit/s".parse::<Rate>().expect("a rate").to_string(), "1 Gbit/s");
        assert_eq!("9 GB/s".parse::<Rate>().expect("a rate").to_string(), "72 Gbit/s");
        assert_eq!(Size(4 << 30).to_string(), "4 GiB");
        assert_eq!(Size(1_000_001).to_string(), "1000001 B");
    }

    #[test]
    fn an_axis_gets_numbers() {
        assert_eq!(magnitude("512"), Some((512.0, Dimension::Number)));
        assert_eq!(magnitude("10 ms"), Some((0.01, Dimension::Time)));
        assert_eq!(magnitude("100 Mbit/s"), Some((1e8, Dimension::Rate)));
        assert_eq!(magnitude("0.5 /s"), Some((0.5, Dimension::Frequency)));
        assert_eq!(magnitude("Push"), None);
        assert_eq!(magnitude("NaN"), None);
    }

    proptest! {
        #[test]
        fn printed_and_read_again_it_is_the_same(base: u64) {
            prop_assert_eq!(Time(base).to_string().parse(), Ok(Time(base)));
            prop_assert_eq!(Rate(base).to_string().parse(), Ok(Rate(base)));
            prop_assert_eq!(Size(base).to_string().parse(), Ok(Size(base)));
            prop_assert_eq!(Frequency(base).to_string().parse(), Ok(Frequency(base)));
            prop_assert_eq!(Work(base).to_string().parse(), Ok(Work(base)));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = (text.parse::<Time>(), magnitude(&text));
        }
    }
}
