//! Fits the times of peers' jobs: the time of a block by phase, size and context, and the time that a job takes in
//! addition to its blocks.
use super::estimate::seconds;
use rows::ObservedRun;
use rows::stats::median;
use rows::{HopRow, TokenRow};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Prefill,
    Decode,
}

/// A peer's job, with its measured time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub phase: Phase,
    /// The size of the job: for a prefill the number of new tokens over all rows, for a decode step the number of rows.
    pub size: u32,
    pub context: u32,
    pub blocks: u32,
    pub seconds: f64,
    /// The index of the job's gap in [`Gaps`].
    pub at: usize,
    pub round: u32,
}

/// Returns each hop with the time in seconds for which its device was idle before the hop's job: since the end of the
/// device's previous recorded job, or since time 0 for the first job.
pub(super) fn idle(run: &ObservedRun) -> Vec<(&HopRow, f64)> {
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

/// For each job, the gap before it: the seconds from the start of the previous job on the same weights to the start of
/// the job. Jobs are ordered by run, peer and time. The gap before a peer's first job is infinite.
pub(super) type Gaps = Vec<f64>;

/// Returns the gap before each of a peer's jobs. A job is given as the list of the steps that were computed together.
pub(super) fn gaps(jobs: &[Vec<&HopRow>]) -> Gaps {
    let after = jobs.windows(2).map(|pair| seconds(pair[1][0].started.saturating_sub(pair[0][0].started)));
    std::iter::once(f64::INFINITY).chain(after).take(jobs.len()).collect()
}

/// Returns the jobs of each peer in the order of time. A job is the list of the steps that were computed together,
/// which are those with equal start and end times.
pub(super) fn of_peers(run: &ObservedRun) -> Vec<Vec<Vec<&HopRow>>> {
    let mut peers: BTreeMap<u32, BTreeMap<(u64, u64), Vec<&HopRow>>> = BTreeMap::new();
    for hop in run.hops.iter().filter(|hop| !hop.blocks.is_empty()) {
        peers.entry(hop.peer.0).or_default().entry((hop.started, hop.finished)).or_default().push(hop);
    }
    peers.into_values().map(|jobs| jobs.into_values().collect()).collect()
}

/// Returns the timed jobs of all runs, and the gaps before all jobs. Jobs with a step of a warm-up, and jobs that mix
/// both phases, have a gap but are not among the timed jobs. The size of a job is the sum over its steps: of rows for
/// decode, of new tokens for prefill.
pub(super) fn of(seen: &[ObservedRun]) -> (Vec<Job>, Gaps) {
    let (mut jobs, mut all) = (Vec::new(), Vec::new());
    for run in seen {
        for peer in of_peers(run) {
            jobs.extend(peer.iter().zip(all.len()..).filter_map(|(steps, at)| job(steps, at, run.round)));
            all.extend(gaps(&peer));
        }
    }
    (jobs, all)
}

fn job(steps: &[&HopRow], at: usize, round: u32) -> Option<Job> {
    let first = steps.first()?;
    let decodes = first.tokens == 1;
    if steps.iter().any(|step| step.request.is_warmup() || (step.tokens == 1) != decodes) {
        return None;
    }
    let contexts = steps.iter().map(|step| u64::from(step.position)).sum::<u64>();
    Some(Job {
        phase: if decodes { Phase::Decode } else { Phase::Prefill },
        size: steps.iter().map(|step| u32::from(step.batch) * step.tokens).sum(),
        context: (contexts / steps.len() as u64) as u32,
        blocks: first.blocks.len(),
        seconds: seconds(first.compute),
        at,
        round,
    })
}

/// Decode steps count as similar if their contexts lie in the same range of this many tokens.
pub(super) const BUCKET: u32 = 32;

/// Returns the seconds that a job takes in addition to its blocks: the times of decode steps, extrapolated to 0 blocks.
/// If all jobs have equally many blocks, the cost of a job cannot be separated from that of its blocks, and the result
/// is 0.
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

/// The fitted times of blocks, and the time that a job takes in addition to its blocks, in seconds.
pub(super) struct Blocks {
    per_job: f64,
    /// The fitted times of prefills: (new tokens, seconds per block).
    pub prefill: Vec<(u32, f64)>,
    /// The fitted times of decode steps: (rows, seconds per block without context, seconds per block and token of
    /// context).
    decode: Vec<(u32, f64, f64)>,
    /// The longest context of an observed decode step, in tokens.
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

    /// Returns the decode times of a block as (context, points) with points (rows of the step, seconds): one entry for
    /// no context, and one for the longest observed context.
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

    /// Returns the predicted median time of a job, or `None` if its size was not observed.
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

/// Fits a line to (context, seconds) points by least squares, and returns (seconds without context, seconds per token
/// of context). The seconds per token are at least 0, and they are 0 if all points have the same context.
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
    // Even without context, a block is assumed to take at least half of the shortest measured time.
    let least = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min) * 0.5;
    let start = (y - slope * x).max(least);
    Some((start, if x > 0.0 { (y - start).max(0.0) / x } else { 0.0 }))
}

/// Points (number of tokens or rows, seconds).
pub(super) type Points = Vec<(u32, f64)>;

/// A client's computation of an LM head, with its measured time.
pub(super) struct Head {
    pub rows: u32,
    /// Whether the step has several new tokens, as the prefill of a prompt has.
    pub prefill: bool,
    pub seconds: f64,
    /// The index of the computation's gap in [`Gaps`].
    pub at: usize,
}

/// Returns the timed computations of LM heads in all runs, and the gaps before all computations, those of warm-ups
/// included. A client's step begins when the LM head of its previous step ends, so the gap is the time of the step.
pub(super) fn heads(seen: &[ObservedRun]) -> (Vec<Head>, Gaps) {
    let (mut heads, mut all) = (Vec::new(), Vec::new());
    for run in seen {
        let mut clients: BTreeMap<u32, Vec<&TokenRow>> = BTreeMap::new();
        run.tokens.iter().for_each(|step| clients.entry(step.request.client.0).or_default().push(step));
        for mut steps in clients.into_values() {
            steps.sort_by_key(|step| step.began);
            for (nth, step) in steps.into_iter().enumerate() {
                if !step.request.is_warmup() && step.output > 0 {
                    let (rows, whole) = (u32::from(step.batch), step.parts.client.saturating_sub(step.embedding));
                    heads.push(Head { rows, prefill: step.tokens > 1, seconds: seconds(whole), at: all.len() });
                }
                all.push(if nth == 0 { f64::INFINITY } else { seconds(step.took) });
            }
        }
    }
    (heads, all)
}

/// Returns by how many seconds a peer's first job exceeds the predicted mean time of jobs of its size: the median over
/// all peers.
pub(super) fn first_job(seen: &[ObservedRun], blocks: &Blocks, mean: f64) -> f64 {
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
                at: 0,
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
    use actors::id::{BlockRange, NodeId, RequestId, SessionId};
    use rows::HopRow;

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
        let both = job(&[&a, &b], 7, 3).expect("a decode job of four rows");
        assert!(both.phase == Phase::Decode && (both.size, both.context, both.blocks, both.round) == (4, 20, 4, 3));
        assert_eq!((both.seconds, both.at), (0.003, 7));
        let prefill = job(&[&c, &c], 0, 0).expect("a prefill of 28 tokens");
        assert!(prefill.phase == Phase::Prefill && prefill.size == 28);
        assert!(job(&[&a, &c], 0, 0).is_none(), "neither");
    }
}
