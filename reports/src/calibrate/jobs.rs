//! The times of jobs: what a block takes by phase, size and context, what a job takes beside its blocks, and the ends.
use super::cold::Cold;
use super::overheads::seconds;
use super::{Seen, median, steady_mean};
use crate::fold::HopRow;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Prefill,
    Decode,
}

/// One job of a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub phase: Phase,
    /// New tokens of all rows in a prefill, rows in a decode step.
    pub size: u32,
    pub context: u32,
    pub blocks: u32,
    pub seconds: f64,
    /// Seconds since the last job of its peer began, which read the same weights.
    pub since: f64,
    pub round: u32,
}

/// Each hop with the seconds that its device had stood idle before: from the end of the last job that was recorded of it.
pub(super) fn idle(run: &Seen) -> Vec<(&HopRow, f64)> {
    let device = |hop: &HopRow| {
        let node = run.plan.node(hop.peer);
        (node.host, node.device)
    };
    let mut hops: Vec<&HopRow> = run.hops.iter().collect();
    hops.sort_by_key(|hop| (device(hop), hop.started));
    let before = std::iter::once(None).chain(hops.iter().copied().map(Some));
    let idle = hops.iter().zip(before).map(|(hop, before)| {
        let last = before.filter(|before| device(before) == device(hop)).map_or(0, |before| before.finished);
        (*hop, seconds(hop.started.saturating_sub(last)))
    });
    idle.collect()
}

/// Each hop with the seconds since the last job of its peer began that was recorded, 0 for steps of one job after the first.
pub(super) fn since_read(run: &Seen) -> Vec<(&HopRow, f64)> {
    let mut hops: Vec<&HopRow> = run.hops.iter().collect();
    hops.sort_by_key(|hop| (hop.peer, hop.started));
    let before = std::iter::once(None).chain(hops.iter().copied().map(Some));
    let since = hops.iter().zip(before).map(|(hop, before)| {
        let last = before.filter(|before| before.peer == hop.peer).map_or(0, |before| before.started);
        (*hop, seconds(hop.started.saturating_sub(last)))
    });
    since.collect()
}

/// The timed jobs of all runs. The steps of one job have its stamps: the rows of a decode job, and the new tokens of a
/// prefill, are those of all of them. A job that mixes both is neither, and is left out.
pub(super) fn of(seen: &[Seen]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for run in seen {
        let mut together: BTreeMap<_, Vec<(&HopRow, f64)>> = BTreeMap::new();
        for (hop, since) in since_read(run).into_iter().filter(|(hop, _)| !hop.blocks.is_empty()) {
            together.entry((hop.peer.0, hop.started, hop.finished)).or_default().push((hop, since));
        }
        jobs.extend(together.into_values().filter_map(|steps| job(&steps, run.round)));
    }
    jobs
}

/// Of these steps, each with the seconds since what came before it.
fn job(steps: &[(&HopRow, f64)], round: u32) -> Option<Job> {
    let (first, _) = steps.first()?;
    let decodes = first.tokens == 1;
    if steps.iter().any(|(step, _)| step.request.is_warmup() || (step.tokens == 1) != decodes) {
        return None;
    }
    let contexts = steps.iter().map(|(step, _)| u64::from(step.position)).sum::<u64>();
    Some(Job {
        phase: if decodes { Phase::Decode } else { Phase::Prefill },
        size: steps.iter().map(|(step, _)| u32::from(step.batch) * step.tokens).sum(),
        context: (contexts / steps.len() as u64) as u32,
        blocks: first.blocks.len(),
        seconds: seconds(first.compute),
        since: steps.iter().map(|(_, since)| *since).fold(0.0, f64::max),
        round,
    })
}

/// Tokens of context within which decode steps are alike.
pub(super) const BUCKET: u32 = 32;

/// Seconds of a job beside its blocks: what is left of the decode steps of two spans when a block's share is taken off.
/// 0 where all spans are alike, for then the two cannot be told apart.
pub(super) fn per_job(jobs: &[Job]) -> f64 {
    let mut groups: BTreeMap<(u32, u32), BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.phase == Phase::Decode) {
        groups.entry((job.size, job.context / BUCKET)).or_default().entry(job.blocks).or_default().push(job.seconds);
    }
    let intercepts = groups.into_values().filter_map(|spans| {
        let spans: Vec<(f64, f64)> =
            spans.into_iter().filter_map(|(blocks, times)| Some((f64::from(blocks), median(times)?))).collect();
        let (few, many) = (spans.first()?, spans.last()?);
        (many.0 > few.0).then(|| (few.1 * many.0 - many.1 * few.0) / (many.0 - few.0))
    });
    median(intercepts.collect()).unwrap_or(0.0).max(0.0)
}

/// Seconds of a block.
pub(super) struct Blocks {
    per_job: f64,
    /// (new tokens, seconds)
    pub prefill: Vec<(u32, f64)>,
    /// (rows, seconds at no context, seconds for each token of context)
    decode: Vec<(u32, f64, f64)>,
    longest: u32,
}

impl Blocks {
    pub fn fit(jobs: &[Job], per_job: f64) -> Blocks {
        let of_block = |job: &Job| (job.seconds - per_job).max(job.seconds * 0.05) / f64::from(job.blocks);
        let mut prefill: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        let mut decode: BTreeMap<u32, BTreeMap<u32, Vec<(f64, f64)>>> = BTreeMap::new();
        for job in jobs {
            match job.phase {
                Phase::Prefill => prefill.entry(job.size).or_default().push(of_block(job)),
                Phase::Decode => {
                    let bucket = decode.entry(job.size).or_default().entry(job.context / BUCKET).or_default();
                    bucket.push((f64::from(job.context), of_block(job)));
                }
            }
        }
        let prefill = prefill.into_iter().filter_map(|(size, times)| Some((size, median(times)?))).collect();
        let longest = jobs.iter().filter(|job| job.phase == Phase::Decode).map(|job| job.context).max().unwrap_or(0);
        let decode = decode.into_iter().filter_map(|(size, buckets)| {
            let points = buckets.into_values().filter_map(|times| {
                let (contexts, times): (Vec<f64>, Vec<f64>) = times.into_iter().unzip();
                Some((contexts.iter().sum::<f64>() / contexts.len() as f64, median(times)?))
            });
            let (at_none, per_token) = rising_line(&points.collect::<Vec<_>>())?;
            Some((size, at_none, per_token))
        });
        Blocks { per_job, prefill, decode: decode.collect(), longest }
    }

    /// Rows of (context, points): at none, and at the longest that was seen.
    pub fn decode(&self) -> Vec<(u32, Vec<(u32, f64)>)> {
        let row = |context: u32| {
            let point =
                |&(size, at_none, per_token): &(u32, f64, f64)| (size, at_none + per_token * f64::from(context));
            (context, self.decode.iter().map(point).collect())
        };
        match (self.decode.is_empty(), self.longest) {
            (true, _) => Vec::new(),
            (false, 0) => vec![row(0)],
            (false, longest) => vec![row(0), row(longest)],
        }
    }

    /// What a job of a size that was seen takes at the median.
    pub fn predict(&self, job: &Job) -> Option<f64> {
        let block = match job.phase {
            Phase::Prefill => self.prefill.iter().find(|point| point.0 == job.size)?.1,
            Phase::Decode => {
                let (_, at_none, per_token) = self.decode.iter().find(|point| point.0 == job.size)?;
                at_none + per_token * f64::from(job.context)
            }
        };
        Some(self.per_job + block * f64::from(job.blocks)).filter(|seconds| *seconds > 0.0)
    }
}

/// Least squares over points, the slope not below 0; a constant where all points have one x.
fn rising_line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = points.len() as f64;
    if points.is_empty() {
        return None;
    }
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / count, sum.1 + point.1 / count));
    let (xx, xy) = points
        .iter()
        .fold((0.0, 0.0), |sum, point| (sum.0 + (point.0 - x) * (point.0 - x), sum.1 + (point.0 - x) * (point.1 - y)));
    let slope = if xx > 0.0 { (xy / xx).max(0.0) } else { 0.0 };
    // A block takes time however short its context.
    let least = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min) * 0.5;
    let start = (y - slope * x).max(least);
    Some((start, if x > 0.0 { (y - start).max(0.0) / x } else { 0.0 }))
}

/// Seconds against a count.
type Points = Vec<(u32, f64)>;

/// (new tokens, seconds) of embeddings, and (rows, seconds) of heads, whose weights are at hand.
pub(super) fn ends(seen: &[Seen], cold: &Cold) -> (Points, Points) {
    let (mut embed, mut head): (BTreeMap<u32, Vec<f64>>, BTreeMap<u32, Vec<f64>>) = Default::default();
    for step in seen.iter().flat_map(|run| &run.tokens).filter(|step| !step.request.is_warmup() && step.output > 0) {
        let rows = u32::from(step.batch);
        embed.entry(rows * step.tokens).or_default().push(seconds(step.embedding));
        // That of a prefill is like the others, but for how long ago the weights were read.
        let whole = super::cold::head(step);
        head.entry(rows).or_default().push((whole - cold.of_head(step)).max(whole * 0.05));
    }
    let means = |times: BTreeMap<u32, Vec<f64>>| {
        times.into_iter().filter_map(|(size, times)| Some((size, steady_mean(times)?))).collect::<Points>()
    };
    let mut embed = means(embed);
    let mut least = 0.0f64;
    embed.iter_mut().for_each(|point| {
        least = least.max(point.1);
        point.1 = least;
    });
    (embed, means(head))
}

/// By how much the first job of a peer exceeds its like, at the median.
pub(super) fn first_job(seen: &[Seen], blocks: &Blocks, mean: f64) -> f64 {
    let mut extra = Vec::new();
    for run in seen {
        let mut first: BTreeMap<u32, &HopRow> = BTreeMap::new();
        for hop in &run.hops {
            let earliest = first.entry(hop.peer.0).or_insert(hop);
            if hop.started < earliest.started {
                *earliest = hop;
            }
        }
        for hop in first.into_values().filter(|hop| hop.request.is_warmup() && hop.tokens > 1) {
            let job = Job {
                phase: Phase::Prefill,
                size: u32::from(hop.batch) * hop.tokens,
                context: hop.position,
                blocks: hop.blocks.len(),
                seconds: seconds(hop.compute),
                // That its weights were never read is in it too.
                since: 0.0,
                round: run.round,
            };
            extra.extend(blocks.predict(&job).map(|like| (job.seconds - like * mean).max(0.0)));
        }
    }
    median(extra).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::{Phase, job};
    use crate::fold::HopRow;
    use actors::id::{BlockRange, NodeId, RequestId, SessionId};

    fn step(client: u32, position: u32, tokens: u32) -> HopRow {
        let request = RequestId { client: NodeId(client), index: 1 };
        HopRow {
            request,
            session: SessionId::new(request, 0),
            position,
            tokens,
            batch: 2,
            hop: 0,
            peer: NodeId(2),
            blocks: BlockRange { start: 0, end: 4 },
            received: 5,
            started: 10,
            finished: 3_000_010,
            sent: 3_000_020,
            peer_queue: 5,
            compute: 3_000_000,
            inward: None,
            outward: None,
        }
    }

    #[test]
    fn steps_of_one_job_are_one_job() {
        let (a, b, c) = (step(4, 10, 1), step(5, 30, 1), step(6, 0, 7));
        let both = job(&[(&a, 0.25), (&b, 0.0)], 3).expect("a decode job of four rows");
        assert!(both.phase == Phase::Decode && (both.size, both.context, both.blocks, both.round) == (4, 20, 4, 3));
        assert_eq!((both.seconds, both.since), (0.003, 0.25));
        let prefill = job(&[(&c, 0.0), (&c, 0.0)], 0).expect("a prefill of 28 tokens");
        assert!(prefill.phase == Phase::Prefill && prefill.size == 28);
        assert!(job(&[(&a, 0.0), (&c, 0.0)], 0).is_none(), "neither");
    }
}
