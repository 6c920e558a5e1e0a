//! What was sent to a session, kept so that it can be sent again to whoever takes its place.
use crate::message::Activation;

/// The hidden states of a session's tokens from position 0 on.
///
/// Pieces stay as they came until they are asked for; without values nothing but their number is kept.
#[derive(Debug, Default)]
pub struct History {
    tokens: u32,
    pieces: Vec<Activation>,
}

impl History {
    /// Tokens of each row.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Bytes of what is kept, as on the wire.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(Activation::bytes).sum()
    }

    /// The next tokens.
    pub fn append(&mut self, more: &Activation) {
        if more.tokens == 0 {
            return;
        }
        self.tokens += more.tokens;
        match self.pieces.last_mut() {
            Some(last) if last.data.is_none() && more.data.is_none() => last.tokens += more.tokens,
            _ => self.pieces.push(more.clone()),
        }
    }

    pub fn clear(&mut self) {
        self.tokens = 0;
        self.pieces.clear();
    }

    /// The tokens from `position` on, as one; nothing if there are none.
    pub fn since(&mut self, position: u32) -> Option<Activation> {
        if position >= self.tokens {
            return None;
        }
        let whole = Activation::join(&self.pieces)?;
        // Who asked once may ask again.
        self.pieces.clear();
        self.pieces.push(whole.clone());
        Some(whole.skip(position))
    }
}
