//! A limit: a number, or `Off` for no limit.
use crate::raw::Raw;
use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A limit. A scenario writes only the number.
    Of(u32),
    Off,
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Limit::Of(count) => serializer.serialize_u32(*count),
            Limit::Off => serializer.serialize_unit_variant("Limit", 1, "Off"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limit, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        match raw.text() {
            "Off" => Ok(Limit::Off),
            number => number
                .parse()
                .map(Limit::Of)
                .map_err(|_| de::Error::custom(format!("a number or `Off` is expected, but the value is `{number}`"))),
        }
    }
}
