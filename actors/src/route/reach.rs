//! The peers that a route may enter at a block, and the block where it leaves each of them.
//!
//! A route follows a peer to the end of its block range, as in Petals. A banned peer is skipped, except for blocks that
//! only banned peers hold, so that bans never make the swarm unreachable.
use super::Ask;
use super::view::Known;
use crate::canary::{Canary, planted};
use crate::id::BlockRange;
use crate::message::Hop;
use crate::time::Timestamp;

/// The peers that a route over a range of blocks may enter at each block, and the block where it leaves each of them.
pub(super) struct Reach {
    /// The blocks of the route.
    blocks: BlockRange,
    /// The block range of each peer, and whether the peer is banned.
    peers: Vec<(BlockRange, bool)>,
    /// For each block of the route, whether a peer that is not banned holds it.
    free: Vec<bool>,
    /// The indices of the peers that the route may enter at each block, block by block.
    enter: Vec<u32>,
    /// For each block of the route, the index in `enter` where the entries of that block end.
    ends: Vec<usize>,
}

impl Reach {
    /// Finds the peers among `peers` that a route over `blocks` may enter at each block, with the bans in force at
    /// `now`.
    pub fn of(peers: &[Known<'_>], blocks: BlockRange, now: Timestamp) -> Reach {
        let banned = |peer: &Known<'_>| peer.is_banned(now) && !planted(Canary::BannedPeerTaken);
        let spans: Vec<_> = peers.iter().map(|peer| (peer.announce.blocks, banned(peer))).collect();
        let inside = |span: BlockRange| {
            let (start, end) = (span.start.max(blocks.start), span.end.min(blocks.end));
            start.saturating_sub(blocks.start) as usize..end.saturating_sub(blocks.start) as usize
        };
        let mut free = vec![false; blocks.len() as usize];
        for &(span, _) in spans.iter().filter(|(_, banned)| !banned) {
            inside(span).for_each(|at| free[at] = true);
        }
        let enters = |banned: bool, at: usize| !banned || !free[at];
        let mut ends = vec![0; free.len() + 1];
        for &(span, banned) in &spans {
            inside(span).filter(|at| enters(banned, *at)).for_each(|at| ends[at + 1] += 1);
        }
        for at in 1..ends.len() {
            ends[at] += ends[at - 1];
        }
        // `ends[at]` is now the beginning of the part of `enter` for block `at`, and becomes the part's end as the part
        // is filled.
        let mut enter = vec![0; ends.last().copied().unwrap_or(0)];
        for (index, &(span, banned)) in (0..).zip(&spans) {
            for at in inside(span).filter(|at| enters(banned, *at)) {
                enter[ends[at]] = index;
                ends[at] += 1;
            }
        }
        Reach { blocks, peers: spans, free, enter, ends }
    }

    /// Returns the peers that a route may enter at `block`, in ascending order of their indices. Each entry has the
    /// peer's index and the block where the route leaves the peer (exclusive).
    pub fn entering(&self, block: u32) -> impl Iterator<Item = (usize, u32)> {
        let at = (block - self.blocks.start) as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        let indices = self.enter[start..self.ends[at]].iter().map(|index| *index as usize);
        indices.filter_map(move |index| Some((index, self.end(index, block)?)))
    }

    /// Whether a ban on the peer at this index is in force.
    pub fn is_banned(&self, index: usize) -> bool {
        self.peers[index].1
    }

    /// Returns the block where a route that enters the peer at `block` leaves it (exclusive). This is the end of the
    /// peer's range, but a route leaves a banned peer already at the first block that an unbanned peer holds. Returns
    /// `None` if the route cannot enter the peer at `block`.
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

/// Builds a route that follows one peer after another, each to the block where a route leaves it ([`Reach::end`]). At
/// each hop, `choose` gets the indices of the peers that may be entered at the next block, and returns one of them.
/// Returns `None` if no peer may be entered.
pub(super) fn walk(
    peers: &[Known<'_>],
    ask: &Ask<'_>,
    now: Timestamp,
    mut choose: impl FnMut(&[usize]) -> usize,
) -> Option<Vec<Hop>> {
    let reach = Reach::of(peers, ask.blocks, now);
    let (mut block, mut route) = (ask.blocks.start, Vec::new());
    while block < ask.blocks.end {
        let candidates: Vec<usize> = reach.entering(block).map(|(index, _)| index).collect();
        if candidates.is_empty() {
            return None;
        }
        let index = choose(&candidates);
        let end = reach.end(index, block)?;
        route.push(Hop { peer: peers[index].id(), blocks: BlockRange { start: block, end } });
        block = end;
    }
    Some(route)
}
