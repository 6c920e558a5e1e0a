//! Text to token ids and back, by a checkpoint's `tokenizer.json`.
use super::error::ModelError;
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
    fn what_is_no_tokenizer_names_the_file() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(Text::open(dir.path()), Err(ModelError::Io { .. })));
        std::fs::write(dir.path().join("tokenizer.json"), "{\"model\": 3}").expect("writable");
        let Err(why) = Text::open(dir.path()) else { panic!("3 is no model") };
        assert!(why.to_string().contains("tokenizer.json"), "{why}");
    }
}
