//! Bounds how much longer a tokenizer can make a text. The bounds are checked before the tokenizers library reads the
//! file, because a few bytes of JSON may make the library allocate more memory than there is.
use scenarios::input::{TOKENIZER_GROWTH, TOKENIZER_STEPS, excerpt};
use serde_json::{Map, Value};

/// Checks the parts of a `tokenizer.json` that replace text. Returns the largest factor by which they may lengthen a
/// text before it is cut into tokens.
///
/// # Errors
/// If a part could make a text more than [`TOKENIZER_GROWTH`] times as long, if a part has more than
/// [`TOKENIZER_STEPS`] steps, or if a precompiled map states a wrong length.
pub fn growth(file: &Map<String, Value>) -> Result<u64, String> {
    let part = |name: &str| {
        let mut bounds = Bounds { growth: 1, steps: 0 };
        file.get(name).map_or(Ok(()), |value| bounds.add(value)).map_err(|why| format!("`{name}`: {why}"))?;
        Ok::<u64, String>(bounds.growth)
    };
    part("decoder")?;
    part("normalizer")
}

struct Bounds {
    growth: u64,
    steps: usize,
}

impl Bounds {
    /// Adds the steps of a JSON value to the bounds, including steps in nested sequences.
    fn add(&mut self, value: &Value) -> Result<(), String> {
        match value {
            Value::Array(values) => values.iter().try_for_each(|value| self.add(value)),
            Value::Object(map) => {
                if let Some(times) = times(map)? {
                    self.steps += 1;
                    self.growth = self.growth.saturating_mul(times.max(1));
                }
                if self.steps > TOKENIZER_STEPS {
                    return Err(format!(
                        "the part has more than {TOKENIZER_STEPS} steps that replace text, which is the limit"
                    ));
                }
                if self.growth > TOKENIZER_GROWTH {
                    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
                    return Err(format!(
                        "with the step {}, the part could make a text more than {TOKENIZER_GROWTH} times as long, \
                         which is the limit",
                        excerpt(kind)
                    ));
                }
                map.values().try_for_each(|value| self.add(value))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the largest factor by which a step may lengthen a text; `None` if the step replaces no text.
fn times(step: &Map<String, Value>) -> Result<Option<u64>, String> {
    let text = |name: &str| step.get(name).and_then(Value::as_str);
    let times = match text("type") {
        Some("Replace") => {
            let content = text("content").unwrap_or_default().len() as u64;
            match step.get("pattern").and_then(|pattern| pattern.get("String")?.as_str()) {
                Some(pattern) if !pattern.is_empty() => content.div_ceil(pattern.len() as u64),
                // A regular expression may match at every byte, and also between any two bytes.
                _ => content + 1,
            }
        }
        // `Prepend` adds its text once to each text, and the shortest text has one byte.
        Some("Prepend") => text("prepend").unwrap_or_default().len() as u64 + 1,
        Some("Precompiled") => match text("precompiled_charsmap") {
            Some(map) => longest_replacement(map)?,
            None => 1,
        },
        _ => return Ok(None),
    };
    Ok(Some(times))
}

/// Returns the length in bytes of the longest replacement in a precompiled map. The map consists of the length of a
/// trie (four bytes), the trie, and the replacements, each of which ends with a zero byte.
fn longest_replacement(base64: &str) -> Result<u64, String> {
    let bytes = decode(base64).ok_or("`precompiled_charsmap` is not base64")?;
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or("`precompiled_charsmap` has fewer than 4 bytes")?;
    let length = u32::from_le_bytes(*length) as usize;
    let replacements = rest.get(length..).ok_or_else(|| {
        format!("`precompiled_charsmap` claims a trie of {length} bytes, but only {} bytes follow", rest.len())
    })?;
    Ok(replacements.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0) as u64)
}

/// Decodes a text in base64 (RFC 4648). Returns `None` if the text is not base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').bytes();
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{decode, growth};
    use serde_json::{Value, json};

    fn of(normalizer: Value) -> Result<u64, String> {
        growth(json!({ "normalizer": normalizer }).as_object().expect("an object"))
    }

    #[test]
    fn published_normalizers_are_within_the_bounds() {
        let space = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "\u{2581}" });
        let prepend = json!({ "type": "Prepend", "prepend": "\u{2581}" });
        assert_eq!(of(json!({ "type": "Sequence", "normalizers": [prepend, space] })), Ok(12));
        let spaces = json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": "\u{2581}" });
        assert_eq!(of(spaces), Ok(4));
        // A trie of 4 bytes, then the replacements "ab" and "c".
        assert_eq!(of(json!({ "type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAABhYgBjAA==" })), Ok(2));
        assert_eq!(of(json!({ "type": "NFKC" })), Ok(1));
    }

    #[test]
    fn steps_that_would_take_the_memory_of_the_machine_are_refused() {
        let step = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aa" });
        let many = |count: usize| of(json!({ "type": "Sequence", "normalizers": vec![step.clone(); count] }));
        assert_eq!(many(3), Ok(8));
        assert!(many(60).expect_err("2^60").contains("could make a text more than"));
        let same = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "b" });
        let why = of(json!({ "type": "Sequence", "normalizers": vec![same; 100_000] })).expect_err("so many");
        assert!(why.contains("steps that replace text"), "{why}");
        let long = json!({ "type": "Replace", "pattern": { "Regex": "." }, "content": "x".repeat(3_000_000) });
        assert!(of(long).expect_err("3 MB for each character").contains("the step Replace"));
        for (map, why) in [
            ("/////wAAAAAAAAAA", "claims a trie of 4294967295 bytes, but only 8 bytes follow"),
            ("AAA", "has fewer than 4 bytes"),
            ("?", "is not base64"),
        ] {
            let said = of(json!({ "type": "Precompiled", "precompiled_charsmap": map })).expect_err(map);
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn base64_is_decoded() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("+/8A", b"\xfb\xff\x00")]
        {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
        }
    }
}
