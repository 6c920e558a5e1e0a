use super::{Dimension, Frequency, Rate, SPELLINGS, Size, Time, UNITS, UnitError, Work, magnitude};
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use std::fmt::Debug;
use std::str::FromStr;

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
fn other_spellings_of_a_unit_are_read() {
    for text in ["20 us", "20 \u{b5}s", "20 \u{3bc}s", "20 microseconds"] {
        assert_eq!(text.parse(), Ok(Time(20_000)), "{text}");
    }
    assert_eq!("1.5 h".parse(), Ok(Time(5_400_000_000_000)));
    for (text, bits) in [
        ("100 Mbps", 100_000_000),
        ("1 Gbps", 1_000_000_000),
        ("64 kbps", 64_000),
        ("9600 bps", 9_600),
        ("1 Tbps", 1_000_000_000_000),
        ("2 Gb/s", 2_000_000_000),
        ("10 MBps", 80_000_000),
        ("3 B/s", 24),
        ("1 MiB/s", 8 << 20),
    ] {
        assert_eq!(text.parse(), Ok(Rate(bits)), "{text}");
    }
    assert_eq!("3 PFLOP/s".parse(), Ok(Work(3_000_000_000_000_000)));
    assert_eq!("19.5 TFLOPS".parse(), "19.5 TFLOP/s".parse::<Work>());
    assert_eq!("12 bytes".parse(), Ok(Size(12)));
    assert_eq!("2 req/s".parse(), "2 /s".parse::<Frequency>());
    assert_eq!(magnitude("100 Mbps"), magnitude("100 Mbit/s"));
}

#[test]
fn exponents_are_read_as_tables_have_them() {
    assert_eq!("1e2 Mbps".parse(), Ok(Rate(100_000_000)));
    assert_eq!("1e-3 s".parse(), Ok(Time(1_000_000)));
    assert_eq!("1e12 FLOPS".parse(), Ok(Work(1_000_000_000_000)));
    assert_eq!("1.25E+1ms".parse(), Ok(Time(12_500_000)));
    assert_eq!("125e-1 ms".parse(), Ok(Time(12_500_000)));
    assert_eq!("0.0125e3 ms".parse(), Ok(Time(12_500_000)));
    assert_eq!("9e-05 s".parse(), Ok(Time(90_000)));
    assert_eq!("1e-99999999999 s".parse(), Ok(Time(0)));
    assert_eq!("0e99999999999 s".parse(), Ok(Time(0)));
    for text in ["1 Tflops", "1 TFLOPs", "1 TFLOPS", "1 Tflop/s"] {
        assert_eq!(text.parse(), "1 TFLOP/s".parse::<Work>(), "{text}");
    }
}

#[test]
fn each_other_spelling_names_a_unit_and_is_none_itself() {
    for (spelling, symbol) in SPELLINGS {
        assert!(UNITS.iter().any(|unit| unit.0 == symbol), "{spelling} is {symbol}");
        assert!(UNITS.iter().all(|unit| unit.0 != spelling), "{spelling} is a unit");
    }
}

#[test]
fn no_unit_of_another_magnitude_is_suggested() {
    fn said<T: FromStr<Err = UnitError> + Debug>(text: &str) -> String {
        text.parse::<T>().expect_err(text).to_string()
    }
    let (times, rates) = ("the units of time are", "the units of data rate are");
    let (sizes, work) = ("the units of data size are", "the units of arithmetic rate are");
    for (said, right) in [
        (said::<Time>("5 m"), "did you mean `min`, or `ms`?"),
        (said::<Time>("5 S"), times),
        (said::<Time>("5 MS"), times),
        (said::<Time>("5 days"), times),
        (said::<Time>("5 %"), times),
        (said::<Rate>("5 mbps"), "did you mean `Mbit/s`, or `MB/s`?"),
        (said::<Rate>("5 MBPS"), "did you mean `Mbit/s`, or `MB/s`?"),
        (said::<Rate>("5 gb/s"), "did you mean `GB/s`, or `Gbit/s`?"),
        (said::<Rate>("5 Mib/s"), rates),
        (said::<Rate>("5 M"), rates),
        (said::<Rate>("5 MB"), "did you mean `MB/s`?"),
        (said::<Rate>("5 Mbit"), "did you mean `Mbit/s`?"),
        (said::<Rate>("5 mbit/s"), "did you mean `Mbit/s`?"),
        (said::<Rate>("5 KBps"), "write `kB/s` for 1000 bytes, or `KiB/s` for 1024"),
        (said::<Size>("5 KB"), "write `kB` for 1000 bytes, or `KiB` for 1024"),
        (said::<Size>("5 Gb"), sizes),
        (said::<Size>("5 gb"), "did you mean `GB`, or `GiB`?"),
        (said::<Size>("64 mb"), "did you mean `MB`, or `MiB`?"),
        (said::<Size>("64 MIB"), "did you mean `MiB`?"),
        (said::<Size>("5 Mbit/s"), sizes),
        (said::<Size>("5 GBs"), "did you mean `GB`?"),
        (said::<Work>("5 Tflop"), "did you mean `TFLOP/s`?"),
        (said::<Work>("5 GHz"), work),
        (said::<Frequency>("5 s"), "the units of frequency are"),
        (said::<Frequency>("5 ms"), "the units of frequency are"),
    ] {
        assert!(said.contains(right), "{said}, not {right}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let said = |text: &str| text.parse::<Time>().expect_err(text).to_string();
    assert_eq!(said("10"), "the unit is missing: write for example \"10 ms\"");
    assert_eq!(said("10 mss"), "the unit `mss` is unknown: did you mean `ms`?");
    assert_eq!(said("10 Mbit/s"), "`Mbit/s` is not a unit of time: the units of time are s, ms, us, ns, min, h");
    for bad in ["", "ms", "1.2.3 ms", ". ms", "5. ms", "-ms", "e3 ms"] {
        assert_eq!(bad.parse::<Time>(), Err(UnitError::NotANumber(bad.to_owned())), "{bad}");
    }
    assert_eq!(said("-1.0 us"), "`-1.0 us` is negative, but this quantity must be 0 or more");
    let comma = "has a comma: write a decimal point instead, and no separator between thousands";
    for bad in ["100,5 ms", "1,000 ms", "1,5e3 ms"] {
        assert_eq!(said(bad), format!("`{bad}` {comma}"));
    }
    let size = |text: &str| text.parse::<Size>().expect_err(text).to_string();
    assert_eq!(size("17179869184"), "the unit is missing: write for example \"17179869184 B\"");
    assert_eq!(size("64"), "the unit is missing: write for example \"64 GiB\"");
    assert!(said("1e99999999999 s").contains("too large"));
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
    fn an_exponent_moves_the_point(whole in 0..100_000u64, part in 0..1000u64, power in 0..4i32) {
        let plain = format!("{whole}.{part:03} s").parse::<Time>();
        let scaled = 10f64.powi(-power);
        prop_assert_eq!(format!("{whole}.{part:03}e0 s").parse::<Time>(), plain.clone());
        let moved = format!("{whole}{part:03}e-3 s").parse::<Time>();
        prop_assert_eq!(moved, plain.clone());
        let near = format!("{whole}.{part:03}e-{power} s").parse::<Time>().expect("a time").0 as f64;
        prop_assert!((near - plain.expect("a time").0 as f64 * scaled).abs() <= 1.0);
    }

    #[test]
    fn no_quantity_panics(text in "[-+0-9.,eE]{0,30} ?[a-zA-Z/]{0,6}") {
        let _ = (text.parse::<Time>(), text.parse::<Size>(), text.parse::<Rate>(), magnitude(&text));
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = (text.parse::<Time>(), magnitude(&text));
    }
}
