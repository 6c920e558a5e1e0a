//! The dialect of RON in which scenarios are written, and values that are kept as text.
use ron::extensions::Extensions;
use ron::value::RawValue;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

/// A RON value as text, without the whitespace and comments around it, for fields whose type depends on the text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Raw(Box<RawValue>);

impl Raw {
    /// Checks that `text` is RON and keeps it.
    ///
    /// # Errors
    /// If `text` is not RON.
    pub fn new(text: &str) -> Result<Raw, ron::error::SpannedError> {
        RawValue::from_ron(text).map(|raw| Raw(raw.trim().to_owned()))
    }

    pub fn text(&self) -> &str {
        self.0.get_ron()
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Raw(raw.trim_boxed()))
    }
}

/// Returns the options of the scenarios' dialect of RON: optional values are written without `Some`, and newtypes as
/// their inner value.
pub(crate) fn options() -> ron::Options {
    ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME | Extensions::UNWRAP_NEWTYPES)
}

/// Returns the canonical text of a value, which has every field and the names of structs.
pub(crate) fn print<T: Serialize>(value: &T) -> Result<String, ron::Error> {
    options().to_string_pretty(value, ron::ser::PrettyConfig::new().struct_names(true))
}
