//! The keys of a JSON object, read one by one, so that each error names its key.
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// A JSON object with its keys as written: a key may occur twice, and a value may have several names.
#[derive(Debug)]
pub struct Keys(Vec<(String, Value)>);

impl Keys {
    /// Reads the text of a JSON object.
    ///
    /// # Errors
    /// If the text is no JSON object.
    pub fn parse(text: &str) -> Result<Keys, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Returns the object at `name`, or `None` if the key is absent or null.
    ///
    /// # Errors
    /// If the value is no object, or the key occurs twice with different values.
    pub fn object(&self, name: &str) -> Result<Option<Keys>, String> {
        match self.find(&[name])? {
            None | Some((_, Value::Null)) => Ok(None),
            Some((_, Value::Object(map))) => {
                Ok(Some(Keys(map.iter().map(|(name, value)| (name.clone(), value.clone())).collect())))
            }
            Some(found) => Err(unexpected(found, "an object is expected")),
        }
    }

    /// Returns the whole number under one of `names`, or `None` if all are absent or null.
    ///
    /// # Errors
    /// If the value is no whole number of 32 bits, or two names have different values.
    pub fn count(&self, names: &[&str]) -> Result<Option<u32>, String> {
        let count = |value: &Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
        self.optional(names, count, "a whole number from 0 to 4294967295 is expected")
    }

    /// Returns the whole number under one of `names`, which has no default.
    ///
    /// # Errors
    /// If all are absent or null, the value is no whole number of 32 bits, or two names have different values.
    pub fn needed(&self, names: &[&str]) -> Result<u32, String> {
        match self.count(names)? {
            Some(count) => Ok(count),
            None => match self.find(names)? {
                Some(found) => Err(unexpected(found, "a whole number is expected")),
                None => Err(format!("there is no `{}`", names[0])),
            },
        }
    }

    /// Returns the number at `name`, or `None` if the key is absent or null.
    ///
    /// # Errors
    /// If the value is no number, or the key occurs twice with different values.
    pub fn number(&self, name: &str) -> Result<Option<f64>, String> {
        self.optional(&[name], Value::as_f64, "a number is expected")
    }

    /// Returns the text under one of `names`, or `None` if all are absent or null.
    ///
    /// # Errors
    /// If the value is no text, or two names have different values.
    pub fn text(&self, names: &[&str]) -> Result<Option<String>, String> {
        self.optional(names, |value| value.as_str().map(str::to_owned), "a text is expected")
    }

    /// Returns true or false; `default` if the key is absent.
    ///
    /// # Errors
    /// If the value is neither true nor false, or the key occurs twice with different values.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.find(&[name])? {
            None => Ok(default),
            // A null value is an error instead of the default, since transformers reads null as false whatever the
            // default is.
            Some((_, Value::Bool(flag))) => Ok(*flag),
            Some(found) => Err(unexpected(found, "true or false is expected")),
        }
    }

    fn optional<T>(
        &self,
        names: &[&str],
        read: impl Fn(&Value) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, String> {
        match self.find(names)? {
            None | Some((_, Value::Null)) => Ok(None),
            Some(found) => read(found.1).map(Some).ok_or_else(|| unexpected(found, expected)),
        }
    }

    /// Returns the key and the value under one of `names`. A null value is replaced by a value under another name.
    ///
    /// # Errors
    /// If two names have different values.
    pub fn find(&self, names: &[&str]) -> Result<Option<(&str, &Value)>, String> {
        let mut found: Option<(&str, &Value)> = None;
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

/// Whether two values are equal: 1 and 1.0 are one number.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some_and(|number| Some(number) == b.as_f64())
}

/// Returns the error for two names of one value that do not agree.
fn conflict((a, first): (&str, &Value), (b, second): (&str, &Value)) -> String {
    let (first, second) = (shown(first), shown(second));
    if a == b {
        return format!("`{a}` is there twice, as {first} and as {second}: keep one");
    }
    format!("`{a}` is {first} and `{b}` is {second}, and both are names of one value: keep one")
}

/// Returns an error that names the key.
pub fn unexpected((name, value): (&str, &Value), expected: &str) -> String {
    format!("`{name}` is {}: {expected}", shown(value))
}

/// Returns the beginning of a value as JSON: at most 40 characters.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    keys.push(entry);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Object)
    }
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
        assert_eq!(error, "`n_embed` is 64 and `hidden_size` is 32, and both are names of one value: keep one");
        let error = keys(r#"{"n_embed": 64, "n_embed": 32}"#).count(&names).expect_err("they differ");
        assert_eq!(error, "`n_embed` is there twice, as 64 and as 32: keep one");
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
        assert_eq!(keys(r#"{"n": null}"#).needed(&["n"]), Err("`n` is null: a whole number is expected".to_owned()));
        assert_eq!(keys("{}").needed(&["n", "m"]), Err("there is no `n`".to_owned()));
        let flag = keys(r#"{"flag": null}"#).flag("flag", true);
        assert_eq!(flag, Err("`flag` is null: true or false is expected".to_owned()));
        assert_eq!(keys("{}").flag("flag", true), Ok(true));
        let long = keys(&format!("{{\"n\": \"{}\"}}", "ö".repeat(1000))).number("n").expect_err("a text");
        assert!(long.len() < 150, "{long}");
    }
}
