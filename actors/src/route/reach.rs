//! Which peers a route may enter at a block, and how remote it then follows them.
//!
//! A route follows a peer to the end of its span, as Petals' does. A peer that is banned is passed over, except for blocks
//! that only banned peers hold: bans never make a swarm unreachable.
use super::view::Known;
use crate::canary::{Canary, planted};
use crate::id::BlockRange;
use crate::time::Timestamp;

pub(super) struct Reach {
    blocks: BlockRange,
    /// Of each peer: its span, and whether it is banned.
    peers: Vec<(BlockRange, bool)>,
    /// Of each block: whether a peer that is not banned holds it.
    free: Vec<bool>,
    /// Of each block, the peers that may be entered there.
    enter: Vec<Vec<usize>>,
}

impl Reach {
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

    /// Who may be entered at `block`, in the order of the peers, and where each then ends.
    pub fn entering(&self, block: u32) -> impl Iterator<Item = (usize, u32)> {
        let at = (block - self.blocks.start) as usize;
        self.enter[at].iter().filter_map(move |&index| Some((index, self.end(index, block)?)))
    }

    /// Where a route that enters the peer at `block` leaves it: at the end of its span; a banned one as soon as another
    /// can take over. Nothing if it cannot be entered there.
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
