//! Timestamps of traces: date and time of day.
use actors::time::Duration;
use chrono::{DateTime, NaiveDateTime};

/// The kind of a timestamp: with or without an offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The timestamp has no offset: `2023-11-16 18:17:03.9799600`.
    Local,
    /// The timestamp has an offset, as in `2024-05-10 00:00:00.009930+00:00` or `2024-05-10T00:00:00Z`.
    Offset,
}

/// Returns the time since 1970, converted to UTC if the timestamp has an offset. `None` if the text is not a timestamp.
pub(super) fn timestamp(text: &str) -> Option<(Duration, Clock)> {
    // The separator between date and time is a space or a T.
    let (date, time) = text.split_once([' ', 'T', 't'])?;
    let text = format!("{date} {}", time.trim());
    let local = NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f").map(|time| (time.and_utc(), Clock::Local));
    let offset =
        || DateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f%#z").map(|time| (time.to_utc(), Clock::Offset));
    let zulu = || {
        let text = text.strip_suffix(['Z', 'z'])?.trim_end();
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok().map(|time| (time.and_utc(), Clock::Offset))
    };
    let (time, clock) = local.or_else(|_| offset()).ok().or_else(zulu)?;
    let seconds = u64::try_from(time.timestamp()).ok()?;
    let ns = seconds.checked_mul(1_000_000_000)?.checked_add(u64::from(time.timestamp_subsec_nanos()))?;
    Some((Duration(ns), clock))
}

#[cfg(test)]
mod tests {
    use super::{Clock, timestamp};
    use actors::time::Duration;
    use proptest::prelude::{prop_assert_eq, proptest};

    #[test]
    fn timestamps_are_told_apart_to_the_nanosecond() {
        let at = |text: &str| timestamp(text).unwrap_or_else(|| panic!("{text}")).0;
        let since = |a: &str, b: &str| at(b) - at(a);
        assert_eq!(since("2023-11-16 18:17:03.9799600", "2023-11-16 18:17:04.0319600"), Duration::from_micros(52_000));
        assert_eq!(since("2023-11-16 23:59:59.5", "2023-11-17 00:00:00.5"), Duration::from_secs(1));
        assert_eq!(since("2024-02-28T00:00:00", "2024-03-01T00:00:00"), Duration::from_secs(2 * 86_400));
        assert_eq!(at("1970-01-01 00:00:00.000000001"), Duration(1));
    }

    #[test]
    fn an_offset_is_taken_off() {
        let utc = Some((Duration::from_micros(1_715_299_200_009_930), Clock::Offset));
        for text in [
            "2024-05-10 00:00:00.009930+00:00",
            "2024-05-10 00:00:00.009930Z",
            "2024-05-10T00:00:00.00993z",
            "2024-05-10 02:00:00.009930+02:00",
            "2024-05-09 19:00:00.009930-0500",
            "2024-05-10 00:00:00.009930 +00",
        ] {
            assert_eq!(timestamp(text), utc, "{text}");
        }
        assert_eq!(timestamp("2024-05-10 00:00:00.009930"), utc.map(|(at, _)| (at, Clock::Local)));
    }

    #[test]
    fn other_texts_are_no_timestamps() {
        for text in [
            "",
            "2023-11-16",
            "2023-13-16 00:00:00",
            "2023-02-30 00:00:00",
            "2023-11-16 24:00:00",
            "x-y-z a:b:c",
            "2023-11-16 1:2:-3",
            "1969-12-31 23:59:59",
            "9999-01-01 00:00:00",
            "2023-11-16 00:00:00+25:00x",
            "1.5",
            "Z",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_timestamp_that_is_printed_is_read(ns in 0..u64::MAX / 2, minutes in -14 * 60..14 * 60i32) {
            let utc = chrono::DateTime::from_timestamp((ns / 1_000_000_000) as i64, (ns % 1_000_000_000) as u32).expect("a time");
            let offset = chrono::FixedOffset::east_opt(minutes * 60).expect("an offset");
            prop_assert_eq!(timestamp(&utc.naive_utc().to_string()), Some((Duration(ns), Clock::Local)));
            prop_assert_eq!(timestamp(&format!("{utc:?}")), Some((Duration(ns), Clock::Offset)));
            prop_assert_eq!(timestamp(&format!("{:?}", utc.with_timezone(&offset))), Some((Duration(ns), Clock::Offset)));
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:.+ -]{0,40}|\\PC{0,30}") {
            let _ = timestamp(&text);
        }
    }
}
