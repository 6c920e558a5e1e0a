//! Text to token ids and back, by a checkpoint's `tokenizer.json`.
use super::error::ModelError;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

pub struct Text {
    path: PathBuf,
    tokenizer: Tokenizer,
}

impl Text {
    /// Reads `dir/tokenizer.json`.
    pub fn open(dir: &Path) -> Result<Text, ModelError> {
        let path = dir.join("tokenizer.json");
        let bytes = std::fs::read(&path).map_err(ModelError::io(&path))?;
        match Tokenizer::from_bytes(&bytes) {
            Ok(tokenizer) => Ok(Text { path, tokenizer }),
            Err(why) => Err(ModelError::Text { path, why: why.to_string() }),
        }
    }

    /// The ids of `text`, with what the checkpoint puts around a prompt.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoded = self.tokenizer.encode(text, true).map_err(|why| self.error(why))?;
        Ok(encoded.get_ids().to_vec())
    }

    /// The text of `ids`, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        self.tokenizer.decode(ids, true).map_err(|why| self.error(why))
    }

    fn error(&self, why: tokenizers::Error) -> ModelError {
        ModelError::Text { path: self.path.clone(), why: why.to_string() }
    }
}

/// The ids that end a text: `eos_token_id` of `generation_config.json`, else of `config.json`; none where neither has it.
pub fn end_of_sequence(dir: &Path) -> Result<Vec<u32>, ModelError> {
    for name in ["generation_config.json", "config.json"] {
        let path = dir.join(name);
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(ModelError::io(&path))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|why| ModelError::config(&path, why.to_string()))?;
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids: Option<Vec<u32>> = match &value["eos_token_id"] {
            Value::Null => Some(Vec::new()),
            Value::Array(ids) => ids.iter().map(id).collect(),
            one => id(one).map(|id| vec![id]),
        };
        let ids = ids.ok_or_else(|| ModelError::config(&path, "eos_token_id is neither an id nor a list of them"))?;
        if !ids.is_empty() {
            return Ok(ids);
        }
    }
    Ok(Vec::new())
}

/// A `tokenizer.json` of bytes for a vocabulary of at least 256: ids below it are the bytes of UTF-8, every other id is a
/// token that reads `<id>`. So a checkpoint that was never trained takes text, and what it says can be printed.
pub(super) fn byte_tokenizer(vocab: u32) -> String {
    // GPT-2's names of bytes: those that print are themselves, the others come from 256 on.
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
    use crate::model::ModelError;

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
        assert!(matches!(Text::open(dir.path()), Err(ModelError::Io { .. })));
        std::fs::write(dir.path().join("tokenizer.json"), "{\"model\": 3}").expect("writable");
        let Err(why) = Text::open(dir.path()) else { panic!("3 is no model") };
        assert!(why.to_string().contains("tokenizer.json"), "{why}");
    }
}
