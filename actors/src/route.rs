//! Choosing the peers of a session: pure functions over a view of the swarm.
use crate::id::BlockRange;
use crate::limits;
use crate::message::{Announce, Hop};
use crate::time::Span;
use serde::{Deserialize, Serialize};

/// What a hop costs beside its blocks, in Petals' router (`sequence_manager.py`: rtt/2 + 18 ms, unknown rtt = 150 ms).
const HOP: Span = Span::from_millis(18 + 75);

/// How a client picks its route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Routing {
    /// The shortest path by the announced speed of the peers and a constant for each hop.
    #[default]
    MinLatency,
}

/// The route through `peers` that covers every block once with the least estimated time, or nothing if none does.
///
/// A route follows a peer's span to its end, as Petals' does. Ties go to the lower node id, so that equal views give
/// equal routes. O(blocks x peers).
pub fn choose(routing: Routing, peers: &[Announce], blocks: BlockRange) -> Option<Vec<Hop>> {
    let Routing::MinLatency = routing;
    // best[i]: the least time from block `start + i` to the end, and the peer that begins it.
    let mut best: Vec<Option<(f64, usize)>> = vec![None; blocks.len() as usize + 1];
    *best.last_mut()? = Some((0.0, usize::MAX));
    for block in (blocks.start..blocks.end).rev() {
        let at = (block - blocks.start) as usize;
        for (index, peer) in peers.iter().enumerate().filter(|(_, peer)| peer.blocks.contains(block)) {
            let end = peer.blocks.end.min(blocks.end);
            let Some((rest, _)) = best[(end - blocks.start) as usize] else { continue };
            let time = rest + HOP.as_secs_f64() + f64::from(end - block) / peer.inference_rps.max(f64::MIN_POSITIVE);
            let better = best[at].is_none_or(|(least, holder)| (time, peer.peer) < (least, peers[holder].peer));
            if better {
                best[at] = Some((time, index));
            }
        }
    }
    let mut route = Vec::new();
    let mut block = blocks.start;
    while block < blocks.end {
        let (_, index) = best[(block - blocks.start) as usize]?;
        let end = peers[index].blocks.end.min(blocks.end);
        route.push(Hop { peer: peers[index].peer, blocks: BlockRange { start: block, end } });
        block = end;
    }
    (route.len() <= limits::HOPS_PER_ROUTE).then_some(route)
}

#[cfg(test)]
mod tests {
    use super::{Routing, choose};
    use crate::id::{BlockRange, NodeId};
    use crate::message::Announce;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    fn announce(peer: u32, start: u32, end: u32, inference_rps: f64) -> Announce {
        Announce { peer: NodeId(peer), blocks: BlockRange { start, end }, inference_rps }
    }

    #[test]
    fn fewer_hops_and_faster_peers_win() {
        let peers =
            [announce(1, 0, 4, 100.0), announce(2, 4, 8, 100.0), announce(3, 4, 8, 900.0), announce(4, 0, 2, 5000.0)];
        let route = choose(Routing::MinLatency, &peers, BlockRange { start: 0, end: 8 }).expect("covered");
        assert_eq!(route.iter().map(|hop| hop.peer.0).collect::<Vec<_>>(), [1, 3]);
    }

    fn swarm() -> impl Strategy<Value = Vec<Announce>> {
        let peer = (0..20u32, 1..12u32, 1.0..1e4f64);
        proptest::collection::vec(peer, 0..24).prop_map(|peers| {
            let numbered = peers.into_iter().enumerate();
            numbered.map(|(id, (start, len, rps))| announce(id as u32, start, start + len, rps)).collect()
        })
    }

    proptest! {
        #[test]
        fn a_route_covers_every_block_once_and_exists_whenever_it_can(peers in swarm()) {
            let blocks = BlockRange { start: 0, end: 16 };
            let covered = (0..16).all(|block| peers.iter().any(|peer| peer.blocks.contains(block)));
            let route = choose(Routing::MinLatency, &peers, blocks);
            prop_assert_eq!(covered, route.is_some());
            let mut next = 0;
            for hop in route.into_iter().flatten() {
                let peer = peers.iter().find(|peer| peer.peer == hop.peer).expect("from the view");
                prop_assert_eq!(hop.blocks.start, next);
                prop_assert!(hop.blocks.end > next && peer.blocks.contains(next) && hop.blocks.end <= peer.blocks.end);
                next = hop.blocks.end;
            }
            prop_assert!(!covered || next == 16);
        }
    }
}
