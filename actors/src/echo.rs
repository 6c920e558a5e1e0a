//! Echo blocks: in place of a transformer's hidden states, they compute hashes of everything that the KV caches must
//! hold.
//!
//! The hidden state of a token is one 64-bit digest. A block keeps a hash chain of its inputs, with one link for each
//! position. The block's output for a token is a hash of the chain up to that token. So the output of a block depends
//! on every earlier input, its order and its position, like the output of a transformer block. A cache entry that is
//! lost, stale, misplaced or from another session changes every later token. If two runs generate equal texts, their
//! caches were therefore equal. The output does not depend on how the positions are split into steps, or the blocks
//! into block ranges.
use crate::id::BlockRange;
use crate::seed::mix;

/// The value of the hash chain at a position that was never written.
const HOLE: u64 = 0x0000_dead_0000_dead;

/// Returns the embedding of a token: its digest before the first block.
pub fn embed(token: u32, position: u32) -> u64 {
    mix(u64::from(token) << 32 | u64::from(position))
}

/// Returns the id of the next token, which a digest after the last block determines. The id is less than `vocab`, or 0
/// if `vocab` is 0.
pub fn token(digest: u64, vocab: u32) -> u32 {
    (mix(digest) % u64::from(vocab.max(1))) as u32
}

/// The stand-in for the KV cache of one session over a range of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    blocks: BlockRange,
    batch: usize,
    /// The values of the hash chain after each position, for each block and row.
    chains: Vec<Vec<u64>>,
}

impl Cache {
    pub fn new(blocks: BlockRange, batch: usize) -> Cache {
        Cache { blocks, batch, chains: vec![Vec::new(); blocks.len() as usize * batch] }
    }

    /// Returns the block range of the cache.
    pub fn blocks(&self) -> BlockRange {
        self.blocks
    }

    /// Passes `digests` (`[batch, tokens]`, row-major) in place through all blocks of the cache. The first token of
    /// each row is at `position`.
    ///
    /// The cache is truncated to `position` first, so that its entries from `position` on are dropped. If the cache
    /// ends before `position`, the positions between are filled with a marker of missing entries.
    pub fn forward(&mut self, position: usize, digests: &mut [u64]) {
        self.forward_through(self.blocks, position, digests);
    }

    /// Passes `digests` through only the blocks `part`, in the same way as [`Cache::forward`]. The range `part` must
    /// lie within the blocks of the cache.
    pub fn forward_through(&mut self, part: BlockRange, position: usize, digests: &mut [u64]) {
        let tokens = digests.len() / self.batch.max(1);
        let blocks = u64::from(part.start)..u64::from(part.end);
        let skipped = (part.start - self.blocks.start) as usize;
        for (block, chains) in blocks.zip(self.chains.chunks_mut(self.batch.max(1)).skip(skipped)) {
            for (chain, row) in chains.iter_mut().zip(digests.chunks_mut(tokens.max(1))) {
                chain.resize(position, HOLE);
                for digest in row {
                    let place = block << 32 | chain.len() as u64;
                    let link = mix(chain.last().copied().unwrap_or(0) ^ mix(*digest ^ mix(place)));
                    chain.push(link);
                    *digest = mix(link ^ *digest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cache, embed, token};
    use crate::id::BlockRange;
    use proptest::prelude::{any, prop_assert_eq, prop_assert_ne, proptest};

    fn blocks(start: u32, end: u32) -> BlockRange {
        BlockRange { start, end }
    }

    fn embedded(tokens: &[u32]) -> Vec<u64> {
        tokens.iter().zip(0..).map(|(token, at)| embed(*token, at)).collect()
    }

    /// Returns the digest of the last of `tokens` after eight blocks, computed in one step.
    fn whole(tokens: &[u32]) -> u64 {
        let mut digests = embedded(tokens);
        Cache::new(blocks(0, 8), 1).forward(0, &mut digests);
        digests[tokens.len() - 1]
    }

    proptest! {
        #[test]
        fn steps_and_spans_may_be_cut_anywhere(
            tokens in proptest::collection::vec(any::<u32>(), 1..30),
            step in 1..30usize,
            border in 1..8u32,
        ) {
            let mut parts = [Cache::new(blocks(0, border), 1), Cache::new(blocks(border, 8), 1)];
            let mut last = 0;
            let mut position = 0;
            for piece in embedded(&tokens).chunks_mut(step) {
                parts.iter_mut().for_each(|part| part.forward(position, piece));
                position += piece.len();
                last = piece[piece.len() - 1];
            }
            prop_assert_eq!(last, whole(&tokens));
        }

        #[test]
        fn whatever_happens_to_an_entry_shows_in_what_follows(
            tokens in proptest::collection::vec(0..50_000u32, 3..30),
            at in 0..28usize,
            other in 0..50_000u32,
        ) {
            let at = at % (tokens.len() - 2);
            let change = |change: &dyn Fn(&mut Vec<u32>)| {
                let mut changed = tokens.clone();
                change(&mut changed);
                (changed != tokens).then(|| whole(&changed))
            };
            let changes = [
                change(&|tokens| _ = tokens.remove(at)),
                change(&|tokens| tokens.insert(at, tokens[at])),
                change(&|tokens| tokens.swap(at, at + 1)),
                change(&|tokens| tokens[at] = other),
            ];
            for changed in changes.into_iter().flatten() {
                prop_assert_ne!(changed, whole(&tokens));
            }
            // The cache is lost before the last token is computed.
            let mut last = embedded(&tokens).split_off(tokens.len() - 1);
            Cache::new(blocks(0, 8), 1).forward(tokens.len() - 1, &mut last);
            prop_assert_ne!(last[0], whole(&tokens));
        }

        #[test]
        fn rows_do_not_know_each_other_and_a_replay_overwrites(
            rows in proptest::collection::vec(proptest::collection::vec(any::<u32>(), 6), 1..4),
        ) {
            let mut digests: Vec<u64> = rows.iter().flat_map(|row| embedded(row)).collect();
            let fresh = digests.clone();
            let mut cache = Cache::new(blocks(0, 8), rows.len());
            cache.forward(0, &mut digests);
            for (row, digests) in rows.iter().zip(digests.chunks(6)) {
                prop_assert_eq!(digests[5], whole(row));
            }
            let mut again = fresh;
            cache.forward(0, &mut again);
            prop_assert_eq!(again, digests);
        }
    }

    #[test]
    fn tokens_are_of_the_vocabulary() {
        assert!((0..100).all(|digest| token(digest, 7) < 7));
    }
}
