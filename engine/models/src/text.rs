//! Conversion of text to token ids and back, with a checkpoint's `tokenizer.json`.
mod bounds;

use super::config::{Json, Keys, unexpected};
use super::error::ModelError;
use super::file::{is_present, read_text};
use scenarios::guard::guard;
use scenarios::input::{CONFIG_BYTES, NORMALIZED_BYTES, TOKENIZER_BYTES, shortened};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

const TOKENIZER: &str = "tokenizer.json";

/// The keys of a `tokenizer.json` that affect the conversion of text to ids and back.
const PARTS: [&str; 7] =
    ["version", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"];

/// A checkpoint's tokenizer.
pub struct Text {
    path: PathBuf,
    tokenizer: Tokenizer,
    /// The largest factor by which the tokenizer may lengthen a text before it is cut into tokens.
    growth: u64,
}

impl Text {
    /// Reads `dir/tokenizer.json`.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a tokenizer.
    pub fn open(dir: &Path) -> Result<Text, ModelError> {
        let path = dir.join(TOKENIZER);
        let text = read_text(&path, TOKENIZER_BYTES)?;
        match Text::parse(&text) {
            Ok(parsed) => Ok(Text { path, ..parsed }),
            Err(why) => Err(ModelError::Text { path, why }),
        }
    }

    /// Whether `dir` has a `tokenizer.json`.
    pub fn is_in(dir: &Path) -> bool {
        is_present(&dir.join(TOKENIZER))
    }

    /// Reads the text of a `tokenizer.json`. Its truncation and padding are ignored: they are for training batches, and
    /// would change a prompt.
    ///
    /// # Errors
    /// If the text is not a tokenizer.
    pub fn parse(text: &str) -> Result<Text, String> {
        let mut file: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        file.retain(|key, value| PARTS.contains(&key.as_str()) && !value.is_null());
        if !file.contains_key("model") {
            return Err("the key `model` is missing".to_owned());
        }
        let growth = bounds::growth(&file)?;
        let parsed =
            guard(|| serde_json::from_value(Value::Object(file)).map_err(|error| shortened(&error.to_string())));
        let tokenizer = parsed.and_then(|parsed| parsed)?;
        Ok(Text { path: PathBuf::from(TOKENIZER), tokenizer, growth })
    }

    /// Returns the ids of `text`, with the special tokens that the checkpoint puts around a prompt.
    ///
    /// # Errors
    /// If the tokenizer fails on the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        if self.growth > 1 && (text.len() as u64).saturating_mul(self.growth) > NORMALIZED_BYTES {
            let (bytes, growth) = (text.len(), self.growth);
            let why = format!(
                "the normalizer of the tokenizer may make a text {growth} times as long, which for a prompt of \
                 {bytes} bytes is more than the limit of {NORMALIZED_BYTES} bytes; give a shorter prompt"
            );
            return Err(ModelError::Text { path: self.path.clone(), why });
        }
        self.guarded(|tokenizer| Ok(tokenizer.encode_fast(text, true)?.get_ids().to_vec()))
    }

    /// Returns the text of `ids`, without special tokens.
    ///
    /// # Errors
    /// If the tokenizer fails on the ids.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        self.guarded(|tokenizer| tokenizer.decode(ids, true))
    }

    fn guarded<T>(&self, work: impl FnOnce(&Tokenizer) -> tokenizers::Result<T>) -> Result<T, ModelError> {
        let error = |why: String| ModelError::Text { path: self.path.clone(), why };
        let done = guard(|| work(&self.tokenizer)).map_err(error)?;
        done.map_err(|why| error(why.to_string()))
    }
}

/// Returns the ids that end a text: `eos_token_id` of `generation_config.json`, otherwise of `config.json`; an empty
/// list if neither file has it.
///
/// # Errors
/// If a file cannot be read, or for the errors of [`parse_end_of_sequence`].
pub fn end_of_sequence(dir: &Path) -> Result<Vec<u32>, ModelError> {
    for name in ["generation_config.json", "config.json"] {
        let path = dir.join(name);
        if !is_present(&path) {
            continue;
        }
        let text = read_text(&path, CONFIG_BYTES)?;
        let ids = parse_end_of_sequence(&text).map_err(|why| ModelError::config(&path, why))?;
        if !ids.is_empty() {
            return Ok(ids);
        }
    }
    Ok(Vec::new())
}

/// Reads `eos_token_id` in the text of a `generation_config.json` or `config.json`.
///
/// # Errors
/// If the text is not a JSON object, or the key's value is neither an id nor a list of ids.
pub fn parse_end_of_sequence(text: &str) -> Result<Vec<u32>, String> {
    let keys = Keys::parse(text)?;
    let id = |value: &Json| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let Some((name, value)) = keys.find(&["eos_token_id"])? else { return Ok(Vec::new()) };
    let ids: Option<Vec<u32>> = match value {
        Json::Null => Some(Vec::new()),
        Json::List(ids) => ids.iter().map(id).collect(),
        one => id(one).map(|id| vec![id]),
    };
    ids.ok_or_else(|| unexpected((name, value), "a token id or a list of them is expected"))
}

/// Returns a `tokenizer.json` for a vocabulary of at least 256 ids: an id below 256 is that byte of UTF-8, and every
/// other id is a token with the text `<id>`. An untrained checkpoint therefore accepts text, and its output can be
/// printed.
pub(super) fn byte_tokenizer(vocab: u32) -> String {
    // GPT-2's names for bytes: a printable byte is its own character, and the others have characters from 256 on.
    let prints = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let hidden = |byte: u32| (0..byte).filter(|before| !prints(*before)).count() as u32;
    let name = |id: u32| match id {
        0..256 => char::from_u32(if prints(id) { id } else { 256 + hidden(id) }).map(String::from).unwrap_or_default(),
        _ => format!("<{id}>"),
    };
    let vocabulary: serde_json::Map<String, Value> = (0..vocab).map(|id| (name(id), id.into())).collect();
    let levels = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    let model = json!({ "type": "BPE", "vocab": vocabulary, "merges": [] });
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": levels, "post_processor": null, "decoder": levels, "model": model,
    });
    format!("{file:#}\n")
}

#[cfg(test)]
mod tests {
    use super::Text;
    use crate::ModelError;
    use proptest::prelude::proptest;

    const WORDS: &str = r#"{
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null, "decoder": null,
        "added_tokens": [{"id": 3, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
                          "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": {"a": 0, "swarm": 1, "?": 2, "</s>": 3}, "unk_token": "?"}
    }"#;

    #[test]
    fn text_goes_to_ids_and_back() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("tokenizer.json"), WORDS).expect("writable");
        let text = Text::open(dir.path()).expect("a word-level tokenizer");
        assert_eq!(text.encode("a swarm </s> hums").expect("words"), [0, 1, 3, 2]);
        assert_eq!(text.decode(&[0, 1, 3]).expect("ids"), "a swarm");
    }

    #[test]
    fn bytes_go_to_ids_and_back() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("tokenizer.json"), super::byte_tokenizer(300)).expect("writable");
        let text = Text::open(dir.path()).expect("a byte-level tokenizer");
        let said = "A swarm, größer:\n\t<7> \u{1f41d}";
        let ids = text.encode(said).expect("text");
        assert_eq!(ids, said.bytes().map(u32::from).collect::<Vec<_>>());
        assert_eq!(text.decode(&ids).expect("ids"), said);
        assert_eq!(text.decode(&[104, 299, 105]).expect("ids"), "h<299>i");
    }

    #[test]
    fn what_is_no_tokenizer_names_the_file() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(Text::open(dir.path()), Err(ModelError::File(_))));
        std::fs::write(dir.path().join("tokenizer.json"), "{\"model\": 3}").expect("writable");
        let Err(why) = Text::open(dir.path()) else { panic!("3 is no model") };
        assert!(why.to_string().contains("tokenizer.json"), "{why}");
    }

    /// Checks that a damaged file causes no panic: neither when it is read nor when its tokenizer is used.
    fn survives(text: &str) {
        if let Ok(text) = Text::parse(text) {
            let ids = text.encode("a swarm </s> hums").unwrap_or_default();
            let _ = text.decode(&ids);
            let _ = text.decode(&[0, 3, u32::MAX]);
        }
    }

    #[test]
    fn a_file_cut_short_is_an_error_at_every_length() {
        let whole = super::byte_tokenizer(256);
        let end = whole.trim_end().len();
        for length in (0..end).step_by(97).chain(end - 300..end) {
            let Some(cut) = whole.get(..length) else { continue };
            assert!(Text::parse(cut).is_err(), "{length} of {end} bytes");
        }
        for part in ["decoder", "pre_tokenizer", "added_tokens", "model"] {
            let mut file: serde_json::Value = serde_json::from_str(WORDS).expect("JSON");
            for value in [serde_json::json!({}), serde_json::json!([[]]), serde_json::json!({"type": "Strip"})] {
                file[part] = value;
                survives(&file.to_string());
            }
            file[part] = serde_json::json!(3);
            assert!(Text::parse(&file.to_string()).is_err(), "{part}");
        }
    }

    #[test]
    fn truncation_and_padding_of_the_file_do_not_change_a_prompt() {
        let truncation =
            r#""truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 9}"#;
        let padding = r#""padding": {"strategy": {"Fixed": 20000000000}, "direction": "Right", "pad_to_multiple_of": null,
                         "pad_id": 2, "pad_type_id": 0, "pad_token": "?"}"#;
        let text = WORDS.replace("\"truncation\": null", truncation).replace("\"padding\": null", padding);
        assert!(text.contains("stride") && text.contains("20000000000"));
        let text = Text::parse(&text).expect("a tokenizer");
        assert_eq!(text.encode("a swarm </s> hums").expect("words"), [0, 1, 3, 2]);
    }

    #[test]
    fn a_part_that_panics_is_an_error() {
        // This decoder is told to remove more characters than the text has.
        let strip = r#""decoder": {"type": "Strip", "content": "a", "start": 1, "stop": 9}"#;
        survives(&WORDS.replace("\"decoder\": null", strip));
        let text = Text::parse(WORDS).expect("a tokenizer");
        let error = text.guarded::<()>(|_| panic!("out of bounds")).expect_err("it panics").to_string();
        assert_eq!(error, "tokenizer.json: the parser of the file panicked: out of bounds");
    }

    proptest! {
        #[test]
        fn no_damage_makes_it_panic(at in 0..WORDS.len(), text in "[\\[\\]{}\",:a-z0-9]{0,6}") {
            survives(&format!("{}{text}{}", &WORDS[..at], &WORDS[at..]));
            survives(&format!("{}{text}{}", &WORDS[..at], WORDS.get(at + text.len()..).unwrap_or_default()));
        }
    }
}
