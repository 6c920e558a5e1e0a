//! The peers that a route may enter at a block, and the block where it leaves each of them.
//!
//! A route follows a peer to the end of its block range, as in Petals. A banned peer is skipped, except for blocks that
//! only banned peers hold, so that bans never make the swarm unreachable.
use super::view::Known;
use crate::canary::{Canary, planted};
use crate::id::BlockRange;
use crate::time::Timestamp;

/// The possible hops of a route over a range of blocks.
pub(super) struct Reach {
    /// The blocks of the route.
    blocks: BlockRange,
    /// The block range of each peer, and whether the peer is banned.
    peers: Vec<(BlockRange, bool)>,
    /// For each block of the route, whether a peer that is not banned holds it.
    free: Vec<bool>,
    /// For each block of the route, the indices of the peers that the route may enter there.
    enter: Vec<Vec<usize>>,
}

impl Reach {
    /// The possible hops through `peers` of a route over `blocks`.
    pub fn of(peers: &[&Known], blocks: BlockRange, now: Timestamp) -> Reach {
        let mut free = vec![false; blocks.len() as usize];
        let banned = |peer: &Known| peer.is_banned(now) && !planted(Canary::BannedPeerTaken);
        let spans: Vec<_> = peers.iter().map(|peer| (peer.announce.blocks, banned(peer))).collect();
        let inside = |span: BlockRange| span.start.max(blocks.start)..span.end.min(blocks.end);
        for &(span, _) in spans.iter().filter(|(_, banned)| !banned) {
            inside(span).for_each(|block| free[(block - blocks.start) as usize] = true);
        }
        let mut enter = vec![Vec::new(); blocks.len() as usize];
        for (index, &(span, banned)) in spans.iter().enumerate() {
            for at in inside(span).map(|block| (block - blocks.start) as usize) {
                if !banned || !free[at] {
                    enter[at].push(index);
                }
            }
        }
        Reach { blocks, peers: spans, free, enter }
    }

    /// The indices of the peers that a route may enter at `block`, in ascending order, each with the block where the
    /// route leaves the peer (exclusive).
    pub fn entering(&self, block: u32) -> impl Iterator<Item = (usize, u32)> {
        let at = (block - self.blocks.start) as usize;
        self.enter[at].iter().filter_map(move |&index| Some((index, self.end(index, block)?)))
    }

    /// The block where a route that enters the peer at `block` leaves it (exclusive): the end of the peer's range, or
    /// for a banned peer the first block that a peer without a ban holds, if that comes earlier. Returns `None` if the
    /// route cannot enter the peer at `block`.
    pub fn end(&self, index: usize, block: u32) -> Option<u32> {
        let (span, banned) = *self.peers.get(index)?;
        if !self.blocks.contains(block) || !span.contains(block) {
            return None;
        }
        let end = span.end.min(self.blocks.end);
        let free = |block: u32| self.free[(block - self.blocks.start) as usize];
        match banned {
            true if free(block) => None,
            true => Some((block..end).find(|block| free(*block)).unwrap_or(end)),
            false => Some(end),
        }
    }
}
