//! The keys of a JSON object, read one by one, so that each error names its key.
use super::json::Json;
use scenarios::input::excerpt;
use std::ops::RangeInclusive;

/// A JSON object with its keys as written: a key may occur twice, and some settings may be written under any of several
/// keys.
#[derive(Debug)]
pub struct Keys(Vec<(String, Json)>);

impl Keys {
    /// Reads the text of a JSON object.
    ///
    /// # Errors
    /// If the text is not a JSON object.
    pub fn parse(text: &str) -> Result<Keys, String> {
        Keys::parse_bytes(text.as_bytes())
    }

    /// Reads the bytes of a JSON object. Bytes that are not UTF-8 are an error.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Keys, String> {
        Keys::of(serde_json::from_slice(bytes).map_err(|error| error.to_string())?)
    }

    /// Returns the keys of `value`, which must be an object.
    pub fn of(value: Json) -> Result<Keys, String> {
        match value {
            Json::Object(entries) => Ok(Keys(entries)),
            other => Err(format!("an object is expected, but the value is {}", shown(&other))),
        }
    }

    pub fn into_entries(self) -> Vec<(String, Json)> {
        self.0
    }

    /// Returns the object at `name`, or `None` if the key is absent or null.
    ///
    /// # Errors
    /// If the value is not an object, or the key occurs twice with different values.
    pub fn object(&self, name: &str) -> Result<Option<Keys>, String> {
        match self.find(&[name])? {
            None | Some((_, Json::Null)) => Ok(None),
            Some((_, Json::Object(entries))) => Ok(Some(Keys(entries.clone()))),
            Some(found) => Err(unexpected(found, "an object is expected")),
        }
    }

    /// Returns, in backquotes, the first key of the object that is one of `names` and has a value, or the first of
    /// `names` if the object has no such key.
    pub fn name(&self, names: &[&'static str]) -> String {
        let written = self.0.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str());
        let name = written.into_iter().find(|name| names.contains(name)).unwrap_or(names[0]);
        format!("`{name}`")
    }

    /// Returns the whole number under one of the keys `names`, or `None` if all these keys are absent or null.
    ///
    /// # Errors
    /// If the value is not a whole number of 32 bits, or two of the keys have different values.
    pub fn count(&self, names: &[&str]) -> Result<Option<u32>, String> {
        let count = |value: &Json| value.as_u64().and_then(|value| u32::try_from(value).ok());
        self.optional(names, count, "a whole number from 0 to 4294967295 is expected")
    }

    /// Returns the whole number under one of the keys `names`, at least one of which must be present.
    ///
    /// # Errors
    /// If all these keys are absent or null, the value is not a whole number of 32 bits, or two of the keys have
    /// different values.
    pub fn needed(&self, names: &[&str]) -> Result<u32, String> {
        match self.count(names)? {
            Some(count) => Ok(count),
            None => match self.find(names)? {
                Some(found) => Err(unexpected(found, "a whole number is expected")),
                None => Err(format!("the key `{}` is missing", names[0])),
            },
        }
    }

    /// Returns the number within `range` at `name`, or `None` if the key is absent or null.
    ///
    /// # Errors
    /// If the value is not a number within `range`, or the key occurs twice with different values.
    pub fn number(&self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, String> {
        let within = |value: &Json| value.as_f64().filter(|number| range.contains(number));
        self.optional(&[name], within, &format!("a number from {:?} to {:?} is expected", range.start(), range.end()))
    }

    /// Returns the text under one of the keys `names`, or `None` if all these keys are absent or null.
    ///
    /// # Errors
    /// If the value is not a text, or two of the keys have different values.
    pub fn text(&self, names: &[&str]) -> Result<Option<String>, String> {
        self.optional(names, |value| value.as_str().map(str::to_owned), "a string is expected")
    }

    /// Returns the boolean at `name`, or `default` if the key is absent.
    ///
    /// # Errors
    /// If the value is neither true nor false, or the key occurs twice with different values.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.find(&[name])? {
            None => Ok(default),
            // A null value is an error and does not give the default, since transformers reads null as false whatever
            // the default is.
            Some((_, Json::Flag(flag))) => Ok(*flag),
            Some(found) => Err(unexpected(found, "true or false is expected")),
        }
    }

    fn optional<T>(
        &self,
        names: &[&str],
        read: impl Fn(&Json) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, String> {
        match self.find(names)? {
            None | Some((_, Json::Null)) => Ok(None),
            Some(found) => read(found.1).map(Some).ok_or_else(|| unexpected(found, expected)),
        }
    }

    /// Returns the key that is one of `names`, with its value. A key with the value null counts only if the other keys
    /// of `names` have no value.
    ///
    /// # Errors
    /// If two of the keys have different values.
    pub fn find(&self, names: &[&str]) -> Result<Option<(&str, &Json)>, String> {
        let mut found: Option<(&str, &Json)> = None;
        for (name, value) in self.0.iter().filter(|(name, _)| names.contains(&name.as_str())) {
            let name = name.as_str();
            match found {
                Some((_, before)) if value.is_null() || same(before, value) => {}
                Some((other, before)) if !before.is_null() => return Err(conflict((other, before), (name, value))),
                _ => found = Some((name, value)),
            }
        }
        Ok(found)
    }
}

/// Whether two JSON values are equal; 1 and 1.0 count as one number.
fn same(a: &Json, b: &Json) -> bool {
    a == b || a.as_f64().is_some_and(|number| Some(number) == b.as_f64())
}

/// Returns the error for two keys that mean the same setting and have different values.
fn conflict((a, first): (&str, &Json), (b, second): (&str, &Json)) -> String {
    let (first, second) = (shown(first), shown(second));
    if a == b {
        return format!("the key `{a}` occurs twice, with the values {first} and {second}; keep one of them");
    }
    format!("`{a}` is {first} and `{b}` is {second}, but both are names of the same setting; keep one of them")
}

/// Returns the error for a value that is not as `expected`. The error names the key of the value.
pub fn unexpected((name, value): (&str, &Json), expected: &str) -> String {
    format!("`{name}` is {}, but {expected}", shown(value))
}

/// Returns the beginning of a value, as JSON, for an error message.
fn shown(value: &Json) -> String {
    excerpt(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::Keys;

    fn keys(text: &str) -> Keys {
        Keys::parse(text).expect("an object")
    }

    #[test]
    fn names_of_one_value_agree_or_are_both_named() {
        let names = ["hidden_size", "n_embed"];
        assert_eq!(keys(r#"{"n_embed": 64, "hidden_size": 64}"#).count(&names), Ok(Some(64)));
        assert_eq!(keys(r#"{"n_embed": null, "hidden_size": 64}"#).count(&names), Ok(Some(64)));
        assert_eq!(keys(r#"{"n_embed": 64, "hidden_size": null}"#).count(&names), Ok(Some(64)));
        assert_eq!(keys(r#"{"n_embed": null}"#).count(&names), Ok(None));
        let error = keys(r#"{"n_embed": 64, "hidden_size": 32}"#).count(&names).expect_err("they differ");
        assert_eq!(
            error,
            "`n_embed` is 64 and `hidden_size` is 32, but both are names of the same setting; keep one of them"
        );
        let error = keys(r#"{"n_embed": 64, "n_embed": 32}"#).count(&names).expect_err("they differ");
        assert_eq!(error, "the key `n_embed` occurs twice, with the values 64 and 32; keep one of them");
    }

    #[test]
    fn a_key_that_is_twice_in_an_inner_object_is_refused() {
        let inner = keys(r#"{"rope_scaling": {"factor": 2.0, "factor": 4.0}}"#).object("rope_scaling");
        let error =
            inner.expect("an object").expect("it is there").number("factor", 1.0..=9.0).expect_err("it is twice");
        assert_eq!(error, "the key `factor` occurs twice, with the values 2.0 and 4.0; keep one of them");
    }

    #[test]
    fn a_value_of_another_type_names_its_key() {
        for (text, found) in [
            (r#""32""#, r#"`n` is "32""#),
            ("2.0", "`n` is 2.0"),
            ("-1", "`n` is -1"),
            ("4294967296", "`n` is 4294967296"),
        ] {
            let error = keys(&format!(r#"{{"n": {text}}}"#)).needed(&["n"]).expect_err(text);
            assert!(error.starts_with(found) && error.contains("a whole number"), "{error}");
        }
        assert_eq!(
            keys(r#"{"n": null}"#).needed(&["n"]),
            Err("`n` is null, but a whole number is expected".to_owned())
        );
        assert_eq!(keys("{}").needed(&["n", "m"]), Err("the key `n` is missing".to_owned()));
        let flag = keys(r#"{"flag": null}"#).flag("flag", true);
        assert_eq!(flag, Err("`flag` is null, but true or false is expected".to_owned()));
        assert_eq!(keys("{}").flag("flag", true), Ok(true));
        let long = keys(&format!("{{\"n\": \"{}\"}}", "ö".repeat(1000))).number("n", 0.0..=1.0).expect_err("a text");
        assert!(long.len() < 200, "{long}");
    }
}
