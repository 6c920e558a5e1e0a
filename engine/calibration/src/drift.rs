//! The machine drift: the ratio of the times that a short probe measures at present to the times that the profile
//! predicts for it.
use super::cold_cache::shares;
use super::jobs::{gaps, of_peers};
use super::overheads;
use actors::time::Duration;
use rows::ObservedRun;
use rows::probe::Drift;
use rows::stats::{median, steady_mean};
use scenarios::cost::{blocks_time, cold_blocks_time};
use scenarios::plan::{Cost, Table};

/// The factors that correct a profile at one prompt size: the profile's times are multiplied by them. They are the same
/// for the whole live sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The number of tokens of the prompt. The decode steps after the prompt have about the same context.
    pub size: u32,
    pub decode: f64,
    pub prefill: f64,
}

/// The share of a block's weights that is assumed to be cold at each decode step, see [`scenarios::plan::ColdCache`].
const OFTEN: f64 = 0.5;

/// The smallest factor by which the correction for a prompt size may multiply a decode time of the cost table.
const LEAST: f64 = 0.2;

/// Returns the ratios of a run's measured times to the times that the costs in its plan predict, or `None` if the run
/// has no timed step.
///
/// The ratio of decode steps is a mean, because a probe has many of them and the profile predicts mean times. The ratio
/// of prefills is a median, because a probe has few prefills and a single disturbed one would dominate the mean. The
/// ratios of overheads are means.
pub fn drift_of(seen: &ObservedRun) -> Option<Drift> {
    let cost = |peer| &seen.plan.device(peer).cost;
    let (mut decode, mut prefill) = (Vec::new(), Vec::new());
    for peer in of_peers(seen) {
        let cost = cost(peer[0][0].peer);
        for (steps, share) in peer.iter().zip(shares(&cost.cold, &gaps(&peer))) {
            for hop in steps.iter().filter(|hop| !hop.request.is_warmup()) {
                let (batch, model) = (u32::from(hop.batch), &seen.plan.model);
                let said = blocks_time(cost, model, hop.blocks.len(), batch, hop.tokens, hop.position)
                    + cold_blocks_time(cost, hop.blocks.len(), share);
                let kind = if hop.tokens == 1 { &mut decode } else { &mut prefill };
                kind.push(hop.compute as f64 / said.0.max(1) as f64);
            }
        }
    }
    let (decode, prefill) = (steady_mean(decode), median(prefill));
    let said = cost(seen.plan.peers().next()?.0).overhead;
    let [to_device, from_device, frame] = overheads::against(seen, &said);
    Some(Drift { decode: decode.or(prefill)?, prefill: prefill.or(decode)?, to_device, from_device, frame })
}

/// Multiplies a device's costs by the machine's drift, and by the factors that correct the profile's errors at single
/// prompt sizes.
pub(super) fn scale(drift: &Drift, cost: &mut Cost, shapes: &[Shape]) {
    // The geometric mean of the sizes' decode factors scales all costs of the device, so also the cold-cache penalty,
    // which has no entry for each size.
    let common = shapes.iter().map(|shape| shape.decode.ln()).sum::<f64>() / shapes.len().max(1) as f64;
    let all = drift.decode * common.exp();
    cost.slow *= all;
    let cold = cost.cold.per_block.as_secs_f64() * OFTEN;
    if let Some(table) = &mut cost.table {
        let Table { prefill, decode, .. } = table;
        let sizes = prefill.sizes.clone();
        for (seconds, size) in prefill.seconds.iter_mut().zip(sizes.iter().cycle()) {
            *seconds *= drift.prefill / all * shape(shapes, *size, |shape| shape.prefill);
        }
        let width = decode.sizes.len().max(1);
        for (row, context) in decode.seconds.chunks_mut(width).zip(&decode.contexts) {
            let by = shape(shapes, *context, |shape| shape.decode) / common.exp();
            let scaled = |seconds: f64| (seconds * by + cold * (by - 1.0)).max(seconds * LEAST);
            row.iter_mut().for_each(|seconds| *seconds = scaled(*seconds));
        }
    }
    let scaled = |span: Duration, by: f64| Duration::from_secs_f64(span.as_secs_f64() * by);
    let over = &mut cost.overhead;
    over.to_device = scaled(over.to_device, drift.to_device);
    over.from_device = scaled(over.from_device, drift.from_device);
    // Handing over a core lease wakes a thread, as handing a job to a device does, so the same drift applies to both.
    over.hand_over = scaled(over.hand_over, drift.to_device);
    over.idle = scaled(over.idle, (drift.to_device + drift.from_device + drift.frame) / 3.0);
    over.frame = scaled(over.frame, drift.frame);
    over.per_byte *= drift.frame;
}

/// Returns the factor at `size`, interpolated linearly between the sizes in `shapes`. Below the smallest of these sizes
/// the factor of the smallest size applies, and above the largest the factor of the largest. If `shapes` is empty, the
/// factor is 1.
fn shape(shapes: &[Shape], size: f64, part: impl Fn(&Shape) -> f64) -> f64 {
    let (xs, ys): (Vec<f64>, Vec<f64>) = shapes.iter().map(|shape| (f64::from(shape.size), part(shape))).unzip();
    let above = xs.partition_point(|at| *at < size);
    match (above.checked_sub(1).map(|at| (xs[at], ys[at])), xs.get(above).map(|at| (*at, ys[above]))) {
        (Some(low), Some(high)) => low.1 + (high.1 - low.1) * (size - low.0) / (high.0 - low.0),
        (low, high) => low.or(high).map_or(1.0, |at| at.1),
    }
}
