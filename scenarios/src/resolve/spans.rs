//! Resolves the block range of each peer, and checks that every block is served.
use super::fault::Fault;
use crate::schema::{BlockSpan, Peers};
use actors::id::BlockRange;

/// Checks that the groups that share the blocks evenly have no more peers together than the model has blocks.
pub(super) fn enough(peers: &[Peers], counts: &[u32], layers: u32) -> Result<(), Fault> {
    let evens = peers.iter().zip(counts).filter(|(group, _)| group.span == BlockSpan::Even);
    let even_peers = evens.fold(0u32, |sum, (_, count)| sum.saturating_add(*count));
    if even_peers <= layers {
        return Ok(());
    }
    let index = peers.iter().position(|group| group.span == BlockSpan::Even).unwrap_or(0);
    let message = format!(
        "{even_peers} peers cannot share {layers} blocks evenly, because {} of them would have none",
        even_peers - layers
    );
    Err(Fault::new(&format!("peers.{index}.span"), message).help("use fewer hosts, or Blocks(start, end)"))
}

/// Returns the block ranges of each group's peers, in order. `counts` holds the number of peers of each group.
pub(super) fn resolve(peers: &[Peers], counts: &[u32], layers: u32) -> Result<Vec<Vec<BlockRange>>, Fault> {
    let evens = || peers.iter().zip(counts).filter(|(group, _)| group.span == BlockSpan::Even).map(|(_, count)| *count);
    enough(peers, counts, layers)?;
    let even_peers = evens().sum::<u32>();
    let mut even = if even_peers == 0 { Vec::new() } else { split(layers, even_peers) }.into_iter();
    let mut spans = Vec::new();
    for (index, (group, &count)) in peers.iter().zip(counts).enumerate() {
        spans.push(match group.span {
            BlockSpan::Even => even.by_ref().take(count as usize).collect(),
            BlockSpan::Blocks(start, end) => {
                if start >= end || end > layers {
                    let message = format!("blocks {start}..{end} are not a valid range of the model's {layers} blocks");
                    return Err(Fault::new(&format!("peers.{index}.span"), message));
                }
                vec![BlockRange { start, end }; count as usize]
            }
            BlockSpan::Capacity { blocks } => {
                if blocks == 0 || blocks > layers {
                    let message = format!(
                        "a peer cannot choose {blocks} of the model's {layers} blocks; give a number from 1 to {layers}"
                    );
                    return Err(Fault::new(&format!("peers.{index}.span.blocks"), message));
                }
                vec![BlockRange { start: 0, end: blocks }; count as usize]
            }
        });
    }
    let chooses = |group: &&Peers| matches!(group.span, BlockSpan::Capacity { .. });
    let (chosen, given): (Vec<_>, Vec<_>) = peers.iter().zip(&spans).partition(|(group, _)| chooses(group));
    let given: Vec<_> = given.into_iter().map(|(_, spans)| spans.clone()).collect();
    let room: u32 = chosen.iter().flat_map(|(_, spans)| spans.iter()).map(|span| span.len()).sum();
    covered(&given, layers, room)?;
    Ok(spans)
}

/// Splits `layers` blocks evenly over `peers` peers. The first peers get one block more if there is a remainder.
fn split(layers: u32, peers: u32) -> Vec<BlockRange> {
    let (each, more) = (layers / peers, layers % peers);
    let start = |peer: u32| peer * each + peer.min(more);
    (0..peers).map(|peer| BlockRange { start: start(peer), end: start(peer + 1) }).collect()
}

/// Checks that every block is in a range of `spans`. If peers choose their own blocks, `room` is the number of blocks
/// that they can serve, and only has to be enough for the remaining blocks.
fn covered(spans: &[Vec<BlockRange>], layers: u32, room: u32) -> Result<(), Fault> {
    let mut served = vec![false; layers as usize];
    let mut distinct: Vec<BlockRange> = spans.concat();
    distinct.sort_unstable();
    distinct.dedup();
    for span in distinct {
        served[span.start as usize..span.end as usize].fill(true);
    }
    let left = served.iter().filter(|served| !**served).count() as u32;
    if room > 0 && left > room {
        let message = format!(
            "{left} of {layers} blocks are left to the peers that choose their blocks, but these have room for only \
             {room}"
        );
        return Err(Fault::new("peers", message).help("use more hosts with peers, or a larger Capacity"));
    }
    let hole = served.iter().position(|served| !served).filter(|_| room == 0);
    let Some(start) = hole else { return Ok(()) };
    let end = served[start..].iter().position(|served| *served).map_or(layers as usize, |more| start + more);
    let fault = Fault::new("peers", format!("blocks {start}..{end} of {layers} are served by no peer"));
    Err(fault.help(format!("add a group with span: Blocks({start}, {end}), or use Even")))
}

#[cfg(test)]
mod tests {
    use super::resolve;
    use crate::schema::{BlockSpan, Peers};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    fn group(span: BlockSpan) -> Peers {
        Peers { on: "here".to_owned(), count: 1, device: None, span, relayed: false }
    }

    proptest! {
        #[test]
        fn an_even_span_covers_every_block_once(counts in proptest::collection::vec(1..20u32, 1..5), more in 0..100u32) {
            let layers = counts.iter().sum::<u32>() + more;
            let groups = vec![group(BlockSpan::Even); counts.len()];
            let spans = resolve(&groups, &counts, layers).expect("enough blocks for all");
            let flat: Vec<_> = spans.concat();
            prop_assert_eq!(flat[0].start, 0);
            prop_assert_eq!(flat[flat.len() - 1].end, layers);
            prop_assert!(flat.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert!(flat.windows(2).all(|pair| pair[0].len() == pair[1].len() || pair[0].len() == pair[1].len() + 1));
            prop_assert!(flat.iter().all(|span| !span.is_empty()));
            prop_assert_eq!(spans.iter().map(Vec::len).collect::<Vec<_>>(), counts.iter().map(|count| *count as usize).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_nobody_serves_is_named() {
        let groups = [group(BlockSpan::Blocks(0, 24)), group(BlockSpan::Blocks(27, 32))];
        let fault = resolve(&groups, &[1, 2], 32).expect_err("a gap");
        assert_eq!(fault.message, "blocks 24..27 of 32 are served by no peer");
        assert!(resolve(&[], &[], 32).expect_err("nobody").message.contains("0..32 of 32"));
        assert!(
            resolve(&[group(BlockSpan::Even)], &[33], 32)
                .expect_err("too many")
                .message
                .contains("1 of them would have none")
        );
        assert!(resolve(&[group(BlockSpan::Blocks(8, 33))], &[1], 32).expect_err("too far").message.contains("8..33"));
        assert!(resolve(&[group(BlockSpan::Blocks(0, 20)), group(BlockSpan::Blocks(10, 32))], &[1, 1], 32).is_ok());
    }
}
