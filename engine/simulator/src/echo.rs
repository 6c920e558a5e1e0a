//! The values of an echo model. Simulated devices compute them for plans that ask for values and not only for costs.
use actors::echo::{self, Cache};
use actors::id::{NodeId, SessionId};
use actors::message::{Activation, Buffer, Ids, Payload, Piece};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The KV caches that all nodes have for an echo model.
pub struct Echo {
    vocab: u32,
    caches: BTreeMap<(NodeId, SessionId), Cache>,
}

impl Echo {
    pub fn new(vocab: u32) -> Echo {
        Echo { vocab, caches: BTreeMap::new() }
    }

    /// Returns the embedding of `ids`, which are `[batch, tokens]`; the first token of each row is at `position`. The
    /// result is `hollow` with digests as its values.
    pub fn embed(&self, position: u32, ids: &[u32], hollow: Activation) -> Activation {
        let places = (position..).take(hollow.tokens as usize).cycle();
        let digests = ids.iter().zip(places).map(|(id, position)| echo::embed(*id, position));
        filled(hollow, digests)
    }

    /// Computes the blocks of `piece` on its input at `node`, and appends the input to the session's cache there.
    pub fn blocks(&mut self, node: NodeId, piece: Piece) -> Activation {
        let Piece { session, blocks, held, position, input, .. } = piece;
        let mut digests = digests(&input).to_vec();
        let batch = usize::from(input.batch);
        let cache = self.caches.entry((node, session)).or_insert_with(|| Cache::new(held, batch));
        debug_assert_eq!(cache.blocks(), held, "a session is of the same blocks all its incarnation");
        cache.forward_through(blocks, position as usize, &mut digests);
        filled(input, digests.into_iter())
    }

    /// Returns a token for each row, computed from the digest of the row's last token.
    pub fn head(&self, input: &Activation) -> Ids {
        let tokens = input.tokens.max(1) as usize;
        let last = digests(input).chunks(tokens).filter_map(|row| row.last());
        Some(Arc::new(last.map(|digest| echo::token(*digest, self.vocab)).collect()))
    }

    /// Returns a node that holds a KV cache and the session of that cache; `None` if no node holds any.
    pub fn holding(&self) -> Option<(NodeId, SessionId)> {
        self.caches.keys().next().copied()
    }

    /// Drops all caches of a node.
    pub fn forget(&mut self, node: NodeId) {
        self.caches.retain(|(holder, _), _| *holder != node);
    }

    /// Drops a session's cache at a node.
    pub fn release(&mut self, node: NodeId, session: SessionId) {
        self.caches.remove(&(node, session));
    }
}

fn digests(activation: &Activation) -> &[u64] {
    match activation.data.as_deref() {
        Some(Payload::Digests(digests)) => digests.words(),
        _ => &[],
    }
}

fn filled(hollow: Activation, digests: impl Iterator<Item = u64>) -> Activation {
    let mut buffer = Buffer::zeroed(8 * hollow.rows());
    buffer.words_mut().iter_mut().zip(digests).for_each(|(word, digest)| *word = digest);
    Activation { data: Some(Arc::new(Payload::Digests(buffer))), ..hollow }
}
