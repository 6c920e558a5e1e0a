//! The one dialect of RON that scenarios are written in, and values kept as their text.
use ron::extensions::Extensions;
use ron::value::RawValue;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

/// A RON value as it is written, without the space and comments around it: for fields whose type depends on its text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Raw(Box<RawValue>);

impl Raw {
    /// Checks that `text` is RON.
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

/// Optional values are written plainly, and newtypes as what they hold.
pub(crate) fn options() -> ron::Options {
    ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME | Extensions::UNWRAP_NEWTYPES)
}

/// The canonical text of a value: every field, with struct names.
pub(crate) fn print<T: Serialize>(value: &T) -> Result<String, ron::Error> {
    options().to_string_pretty(value, ron::ser::PrettyConfig::new().struct_names(true))
}
