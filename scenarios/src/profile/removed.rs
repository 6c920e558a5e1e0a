//! Fields of profiles of version 0.1 whose terms were removed from the host model: they are read and ignored.
use super::{CpuSteal, Overhead};
use crate::units::Time;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The overhead of a profile as it is read from a file, with the removed fields.
#[derive(Default, Deserialize)]
#[serde(rename = "Overhead", deny_unknown_fields, default)]
pub struct ReadOverhead {
    to_device: Time,
    from_device: Time,
    hand_over: Time,
    frame: Time,
    per_kilobyte: Time,
    idle: Time,
    half_after: Time,
    #[serde(alias = "steal")]
    cpu_steal: CpuSteal,
    #[serde(rename = "per_kilobyte_copied")]
    _per_kilobyte_copied: IgnoredAny,
    #[serde(rename = "opening")]
    _opening: IgnoredAny,
    #[serde(rename = "held")]
    _held: IgnoredAny,
    #[serde(rename = "serving")]
    _serving: IgnoredAny,
    #[serde(rename = "sigma")]
    _sigma: IgnoredAny,
    #[serde(rename = "cache_interference", alias = "company")]
    _cache_interference: IgnoredAny,
}

impl From<ReadOverhead> for Overhead {
    fn from(read: ReadOverhead) -> Overhead {
        let ReadOverhead {
            to_device, from_device, hand_over, frame, per_kilobyte, idle, half_after, cpu_steal, ..
        } = read;
        Overhead { to_device, from_device, hand_over, frame, per_kilobyte, idle, half_after, cpu_steal }
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::Profile;

    fn read(jitter: &str, overhead: &str) -> Result<Profile, crate::profile::ProfileError> {
        let text = format!(
            r#"(version: 1, name: "a", source: "b", models: [], jitter: {jitter}, overhead: Overhead({overhead}))"#
        );
        Profile::read("a.ron", &text)
    }

    #[test]
    fn figures_of_removed_terms_are_read_and_ignored() {
        let kept = r#"to_device: "9 us", steal: (every: "1 s", last: "2 ms")"#;
        let removed = r#"per_kilobyte_copied: "20 ns", opening: "42 us", held: "43 us", serving: 1, sigma: 0.4,"#;
        let profile = read("Off", kept).expect("a profile");
        for company in ["company", "cache_interference"] {
            let old = read("Quantiles([0.9, 1.1])", &format!("{removed} {company}: 0.5, {kept}"));
            assert_eq!(old.expect("a profile of version 0.1"), profile);
        }
        assert!(!profile.to_ron().expect("it is printed").contains("sigma"));
        assert!(read("Off", r#"to_devise: "9 us""#).is_err(), "a field that never was is an error");
    }
}
