//! Quantities with units: "80 ms" or "100 Mbit/s".
//!
//! A quantity is stored as an integer in its base unit, so printing is exact: a quantity that is printed and read again
//! is the same quantity (a property test checks this).
mod number;

use actors::time::Duration;
use number::{exact, split};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;

/// The physical dimension of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// A time, in nanoseconds; its magnitude is in seconds.
    Time,
    /// A data rate, in bits per second.
    Rate,
    /// An amount of data, in bytes.
    Size,
    /// A rate of arithmetic, in FLOP/s.
    Work,
    /// A rate of events, in events a day; its magnitude is in events per second.
    Frequency,
    /// A plain number.
    Number,
}

impl Dimension {
    /// An example of a quantity of this dimension, for hints.
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

    /// The name of the dimension in errors.
    fn name(self) -> &'static str {
        match self {
            Dimension::Time => "time",
            Dimension::Rate => "data rate",
            Dimension::Size => "data size",
            Dimension::Work => "arithmetic rate",
            Dimension::Frequency => "frequency",
            Dimension::Number => "number",
        }
    }

    /// The unit in which [`magnitude`] returns quantities of this dimension, for chart axes. Empty for plain numbers.
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

/// A unit: its symbol, its dimension, and its size in base units.
type Unit = (&'static str, Dimension, u64);

/// All units. A quantity is printed in the first suitable unit of its dimension in this order.
const UNITS: [Unit; 40] = [
    ("s", Dimension::Time, 1_000_000_000),
    ("ms", Dimension::Time, 1_000_000),
    ("us", Dimension::Time, 1_000),
    ("ns", Dimension::Time, 1),
    ("min", Dimension::Time, 60_000_000_000),
    ("h", Dimension::Time, 3_600_000_000_000),
    ("Tbit/s", Dimension::Rate, 1_000_000_000_000),
    ("Gbit/s", Dimension::Rate, 1_000_000_000),
    ("Mbit/s", Dimension::Rate, 1_000_000),
    ("kbit/s", Dimension::Rate, 1_000),
    ("bit/s", Dimension::Rate, 1),
    ("TB/s", Dimension::Rate, 8_000_000_000_000),
    ("GB/s", Dimension::Rate, 8_000_000_000),
    ("MB/s", Dimension::Rate, 8_000_000),
    ("kB/s", Dimension::Rate, 8_000),
    ("B/s", Dimension::Rate, 8),
    ("TiB/s", Dimension::Rate, 8 << 40),
    ("GiB/s", Dimension::Rate, 8 << 30),
    ("MiB/s", Dimension::Rate, 8 << 20),
    ("KiB/s", Dimension::Rate, 8 << 10),
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
    ("PFLOP/s", Dimension::Work, 1_000_000_000_000_000),
    ("MFLOP/s", Dimension::Work, 1_000_000),
    ("kFLOP/s", Dimension::Work, 1_000),
    ("/s", Dimension::Frequency, 86_400),
    ("/min", Dimension::Frequency, 1_440),
    ("/h", Dimension::Frequency, 24),
    ("/day", Dimension::Frequency, 1),
    ("/d", Dimension::Frequency, 1),
];

/// Units that are read but never printed, because the same quantity has a simpler notation.
const READ_ONLY: [&str; 19] = [
    "min", "h", "TB/s", "GB/s", "MB/s", "kB/s", "B/s", "TiB/s", "GiB/s", "MiB/s", "KiB/s", "TB", "GB", "MB", "kB",
    "PFLOP/s", "MFLOP/s", "kFLOP/s", "/d",
];

/// Other spellings of unambiguous units. A lowercase b is a bit and an uppercase B a byte (IEC 80000-13), as in Mbps
/// and MBps. `KB` is not listed, because people use it for 1000 and for 1024 bytes.
const SPELLINGS: [(&str, &str); 66] = [
    // The micro sign and the Greek letter mu look the same.
    ("\u{b5}s", "us"),
    ("\u{3bc}s", "us"),
    ("sec", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("msec", "ms"),
    ("milliseconds", "ms"),
    ("usec", "us"),
    ("microseconds", "us"),
    ("nsec", "ns"),
    ("nanoseconds", "ns"),
    ("minute", "min"),
    ("minutes", "min"),
    ("hour", "h"),
    ("hours", "h"),
    ("bps", "bit/s"),
    ("kbps", "kbit/s"),
    ("Kbps", "kbit/s"),
    ("Mbps", "Mbit/s"),
    ("Gbps", "Gbit/s"),
    ("Tbps", "Tbit/s"),
    ("b/s", "bit/s"),
    ("kb/s", "kbit/s"),
    ("Kb/s", "kbit/s"),
    ("Mb/s", "Mbit/s"),
    ("Gb/s", "Gbit/s"),
    ("Tb/s", "Tbit/s"),
    ("Kbit/s", "kbit/s"),
    ("Bps", "B/s"),
    ("kBps", "kB/s"),
    ("MBps", "MB/s"),
    ("GBps", "GB/s"),
    ("TBps", "TB/s"),
    ("byte", "B"),
    ("bytes", "B"),
    ("byte/s", "B/s"),
    ("bytes/s", "B/s"),
    ("FLOPS", "FLOP/s"),
    ("kFLOPS", "kFLOP/s"),
    ("MFLOPS", "MFLOP/s"),
    ("GFLOPS", "GFLOP/s"),
    ("TFLOPS", "TFLOP/s"),
    ("PFLOPS", "PFLOP/s"),
    ("FLOPs", "FLOP/s"),
    ("kFLOPs", "kFLOP/s"),
    ("MFLOPs", "MFLOP/s"),
    ("GFLOPs", "GFLOP/s"),
    ("TFLOPs", "TFLOP/s"),
    ("PFLOPs", "PFLOP/s"),
    ("flops", "FLOP/s"),
    ("Mflops", "MFLOP/s"),
    ("Gflops", "GFLOP/s"),
    ("Tflops", "TFLOP/s"),
    ("Pflops", "PFLOP/s"),
    ("Gflop/s", "GFLOP/s"),
    ("Tflop/s", "TFLOP/s"),
    ("GFLOPs/s", "GFLOP/s"),
    ("TFLOPs/s", "TFLOP/s"),
    ("PFLOPs/s", "PFLOP/s"),
    ("Hz", "/s"),
    ("rps", "/s"),
    ("qps", "/s"),
    ("req/s", "/s"),
    ("/sec", "/s"),
    ("/hour", "/h"),
    ("/minute", "/min"),
];

/// An error in the text of a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("the unit is missing: write for example \"{number} {}\"", likely(number, *dimension))]
    MissingUnit { number: String, dimension: Dimension },
    #[error("the unit `{unit}` is unknown: {}", suggestion(unit, *dimension))]
    UnknownUnit { unit: String, dimension: Dimension },
    #[error("`{unit}` is not a unit of {}: {}", dimension.name(), suggestion(unit, *dimension))]
    WrongDimension { unit: String, dimension: Dimension },
    #[error("`{0}` is not a number followed by a unit")]
    NotANumber(String),
    #[error("`{0}` has a comma: write a decimal point instead, and no separator between thousands")]
    Comma(String),
    #[error("`{0}` is negative, but this quantity must be 0 or more")]
    Negative(String),
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// A number without a unit that is at least this large is probably a size or a rate in the base unit, as other programs
/// print it.
const BASE_COUNT: f64 = 1e6;

/// Returns the unit for an example in the error of a number without a unit: the unit that was probably left out.
fn likely(number: &str, dimension: Dimension) -> &'static str {
    let is_count = number.parse::<f64>().is_ok_and(|number| number >= BASE_COUNT);
    match dimension {
        Dimension::Size | Dimension::Rate | Dimension::Work if is_count => dimension.base_unit(),
        _ => dimension.example(),
    }
}

/// Returns units of `dimension` that `unit` may mean although its spelling differs in case or is ambiguous.
fn alternatives(unit: &str, dimension: Dimension) -> Vec<&'static str> {
    // `m` may mean minutes or milliseconds.
    if unit == "m" && dimension == Dimension::Time {
        return vec!["min", "ms"];
    }
    // An uppercase prefix before a lowercase b, as in `Mb`, means bits, so no byte unit is suggested.
    let is_bits = unit.starts_with(|c: char| c.is_ascii_uppercase()) && unit.ends_with('b');
    if dimension == Dimension::Size && is_bits {
        return Vec::new();
    }
    let own = UNITS.iter().filter(|known| known.1 == dimension).map(|known| (known.0, known.0));
    let mut found: Vec<&str> = Vec::new();
    for (_, symbol) in own.chain(SPELLINGS).filter(|(spelling, _)| spelling.eq_ignore_ascii_case(unit)) {
        if known(symbol).is_some_and(|(of, _)| of == dimension) && !found.contains(&symbol) {
            found.push(symbol);
        }
    }
    if let ([decimal], Dimension::Size) = (&found[..], dimension) {
        let binary = ["KiB", "MiB", "GiB", "TiB"]
            .into_iter()
            .find(|binary| decimal.len() == 2 && decimal[..1].eq_ignore_ascii_case(&binary[..1]));
        found.extend(binary);
    }
    found
}

/// Returns a hint for the unknown unit `unit`: the units that it may mean, or one of `dimension` with a similar
/// spelling and the same prefix, or all units of `dimension`. A unit of another magnitude is never suggested alone,
/// because it would change the results.
fn suggestion(unit: &str, dimension: Dimension) -> String {
    let known = || UNITS.iter().filter(|unit| unit.1 == dimension).map(|unit| unit.0);
    if let (true, Dimension::Size | Dimension::Rate) = (unit.starts_with("KB"), dimension) {
        let per = if dimension == Dimension::Rate { "/s" } else { "" };
        return format!("write `kB{per}` for 1000 bytes, or `KiB{per}` for 1024");
    }
    let alternatives = alternatives(unit, dimension);
    if let [first, rest @ ..] = &alternatives[..]
        && !rest.is_empty()
    {
        let others: Vec<String> = rest.iter().map(|other| format!("`{other}`")).collect();
        return format!("did you mean `{first}`, or {}?", others.join(", "));
    }
    let like = known().filter(|symbol| unit.chars().nth(1).is_some() && are_alike(symbol, unit));
    match crate::suggest::nearest(unit, like) {
        Some(symbol) => format!("did you mean `{symbol}`?"),
        None => format!("the units of {} are {}", dimension.name(), known().collect::<Vec<_>>().join(", ")),
    }
}

/// Whether two spellings of units have the same prefix, and both or neither are units of bytes.
fn are_alike(symbol: &str, unit: &str) -> bool {
    // There are no fractions of a bit or of a FLOP, so a lowercase m or t in their units can only mean mega or tera.
    let any_case = ["bit", "flop"].iter().any(|name| unit.to_lowercase().contains(name));
    let prefix = |text: &str| text.chars().next().map(|c| if any_case { c.to_ascii_lowercase() } else { c });
    let bytes = |text: &str| text.contains('B') || text.contains("byte");
    let binary =
        |text: &str| matches!(text.chars().nth(1), Some('i' | 'I')) && matches!(text.chars().nth(2), Some('b' | 'B'));
    prefix(symbol) == prefix(unit) && bytes(symbol) == bytes(unit) && binary(symbol) == binary(unit)
}

/// Parses a quantity of any dimension. Returns its value in [`Dimension::base_unit`], or the value of a plain number.
pub fn magnitude(text: &str) -> Option<(f64, Dimension)> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some((number, Dimension::Number));
    }
    let (number, unit) = split(text)?;
    let (dimension, factor) = known(unit)?;
    let base = exact(number, factor)?;
    let scale = match dimension {
        Dimension::Time => 1e9,
        Dimension::Frequency => 86_400.0,
        Dimension::Rate | Dimension::Size | Dimension::Work | Dimension::Number => 1.0,
    };
    Some((base as f64 / scale, dimension))
}

/// Returns the dimension of a unit and its size in base units.
fn known(unit: &str) -> Option<(Dimension, u64)> {
    let symbol = SPELLINGS.iter().find(|(spelling, _)| *spelling == unit).map_or(unit, |(_, symbol)| *symbol);
    UNITS.iter().find(|(known, ..)| *known == symbol).map(|&(_, dimension, factor)| (dimension, factor))
}

/// Parses a quantity of `dimension` into its base units.
fn parse(text: &str, dimension: Dimension) -> Result<u64, UnitError> {
    let Some((number, unit)) = split(text) else {
        let positive = text.trim().strip_prefix('-').map(str::trim_start);
        return Err(match positive.and_then(split) {
            Some(_) => UnitError::Negative(text.to_owned()),
            None => UnitError::NotANumber(text.to_owned()),
        });
    };
    if unit.strip_prefix(',').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        return Err(UnitError::Comma(text.to_owned()));
    }
    if unit.is_empty() {
        return Err(UnitError::MissingUnit { number: number.to_owned(), dimension });
    }
    match known(unit) {
        Some((found, factor)) if found == dimension => {
            exact(number, factor).ok_or_else(|| UnitError::TooLarge(text.to_owned()))
        }
        Some(_) => Err(UnitError::WrongDimension { unit: unit.to_owned(), dimension }),
        None => Err(UnitError::UnknownUnit { unit: unit.to_owned(), dimension }),
    }
}

/// Prints a quantity exactly, in the largest unit that needs at most three decimals.
fn print(base: u64, dimension: Dimension, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let units = UNITS.iter().filter(|unit| unit.1 == dimension && !READ_ONLY.contains(&unit.0));
    for &(symbol, _, factor) in units {
        let thousandths = u128::from(base % factor) * 1000;
        // A value of less than 1 in its unit is printed in a smaller unit (half a second as 500 ms). Frequencies are an
        // exception: half a request a second is not printed as 30 a minute.
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
    /// A rate of events, in events a day.
    Frequency,
    Dimension::Frequency
);

impl Frequency {
    pub fn per_second(self) -> f64 {
        self.0 as f64 / 86_400.0
    }
}

impl Time {
    pub const fn duration(self) -> Duration {
        Duration(self.0)
    }
}

impl From<Duration> for Time {
    fn from(span: Duration) -> Time {
        Time(span.0)
    }
}

impl Rate {
    pub fn bytes_per_second(self) -> f64 {
        self.0 as f64 / 8.0
    }
}

/// Deserializes a quantity of the given dimension. If the value is a bare number, the error says that the unit is
/// missing.
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
        Err(E::custom(UnitError::MissingUnit { number: number.to_string(), dimension: self.0 }))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
        Err(E::custom(UnitError::MissingUnit { number: number.to_string(), dimension: self.0 }))
    }
}

#[cfg(test)]
mod tests;
