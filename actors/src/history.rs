//! The history of a session: hidden states that are kept so that they can be sent again after a failure, to a session
//! that replaces a lost one.
use crate::message::Activation;

/// The hidden states of a session's tokens, from position 0 on.
///
/// The activations are kept as they were appended, and joined only when they are requested. Activations without values
/// are kept as a number of tokens only.
#[derive(Debug, Default)]
pub struct History {
    tokens: u32,
    pieces: Vec<Activation>,
}

impl History {
    /// Returns the number of tokens that are kept for each row.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Returns the size of the kept hidden states on the wire, in bytes.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(Activation::bytes).sum()
    }

    /// Appends the hidden states of the next tokens.
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

    /// Returns the hidden states from `position` on as one activation; `None` if no token from `position` on is kept.
    pub fn since(&mut self, position: u32) -> Option<Activation> {
        if position >= self.tokens {
            return None;
        }
        let whole = Activation::join(&self.pieces)?;
        // Keeps the joined activation, because the same history may be requested again.
        self.pieces.clear();
        self.pieces.push(whole.clone());
        Some(whole.skip(position))
    }
}
