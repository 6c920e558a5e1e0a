//! The figures of one run, accumulated row by row. The run's measures and its timeline are computed from them.
//!
//! Sums take no memory per row. Quantiles, averages whose terms are added in a fixed order, and counts within the
//! measured window take 56 bytes per request, 16 bytes per token and 8 bytes per lookup.
mod jobs;

pub(crate) use jobs::{Jobs, split};

use actors::id::{NodeId, RequestId, SessionId};
use actors::message::{Activation, Forwarding, Message, Step};
use actors::record::{Looked, Pinged, Purpose, Served};
use actors::time::Timestamp;
use rows::{HopRow, NetworkParts, Parts, RequestRow, RowSink, RunRows, TokenRow};
use scenarios::plan::{Objective, Plan, WorkloadKind};
use std::collections::{BTreeMap, BTreeSet};

/// The accumulated figures of one run of one cell.
#[derive(Debug)]
pub struct RunFigures<'p> {
    pub(crate) plan: &'p Plan,
    clients: BTreeSet<NodeId>,
    /// The timed requests; in the order of client and index once [`RunFigures::sort`] was called.
    pub(crate) requests: Vec<RequestFigures>,
    /// The warm-ups that succeeded.
    pub(crate) warmups: Vec<Warmup>,
    /// The steps so far of the requests that have not ended.
    open: BTreeMap<RequestId, StepFigures>,
    /// The gaps between tokens of timed requests that succeeded, in ms.
    pub(crate) gaps: Vec<f64>,
    /// The arrival times in ns of output tokens of timed requests, grouped by the number of rows of the request, each
    /// of which gets a token at that time.
    pub(crate) arrivals: BTreeMap<u16, Vec<u64>>,
    /// For each prefill of a timed request, its end in ns and the number of its tokens over all rows.
    pub(crate) prefills: Vec<(u64, u64)>,
    pub(crate) counts: Counts,
    /// The parts of the latency, summed over timed requests that succeeded.
    pub(crate) parts: Parts,
    /// The parts of the network's time, summed over timed requests that succeeded. `None` if a request's parts are
    /// unknown.
    pub(crate) network: Option<NetworkParts>,
    pub(crate) by_client: BTreeMap<NodeId, ClientFigures>,
    pub(crate) failures: BTreeMap<&'static str, u32>,
    /// The compute times of steps, by the peer and the step's number of tokens. Each entry has two pairs (number of
    /// steps, sum of their times in ns): one for the first timed request of each client, and one for later requests.
    pub(crate) warmth: BTreeMap<(NodeId, u32), [(u64, u64); 2]>,
    pub(crate) jobs: Jobs,
    pub(crate) discovery: Discovery,
}

/// The figures of a timed request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestFigures {
    request: RequestId,
    pub sent: u64,
    pub ended: u64,
    pub schedule_delay: u64,
    ttft: u64,
    tpot: u64,
    generated: u32,
    pub ok: bool,
    pub shed: bool,
    /// Whether the client's record of the request exists. It is lost if the client is lost.
    pub recorded: bool,
}

/// Stands for a time that a request does not have, such as its time to first token if it got no token.
const ABSENT: u64 = u64::MAX;

impl RequestFigures {
    fn of(row: &RequestRow) -> RequestFigures {
        RequestFigures {
            request: row.request,
            sent: row.sent,
            ended: row.ended,
            schedule_delay: row.schedule_delay,
            ttft: row.ttft.unwrap_or(ABSENT),
            tpot: row.tpot.unwrap_or(ABSENT),
            generated: row.generated,
            ok: row.ok(),
            shed: row.shed(),
            recorded: row.session.is_some(),
        }
    }

    pub fn e2el(&self) -> u64 {
        self.ended.saturating_sub(self.sent)
    }

    pub fn ttft(&self) -> Option<u64> {
        Some(self.ttft).filter(|ttft| *ttft != ABSENT)
    }

    pub fn tpot(&self) -> Option<u64> {
        Some(self.tpot).filter(|tpot| *tpot != ABSENT)
    }

    /// The latency divided by the number of tokens, rounded to the nearest ns.
    pub fn ntpot(&self) -> Option<u64> {
        let count = u64::from(self.generated);
        (count > 0).then(|| (self.e2el() + count / 2) / count)
    }
}

/// The figures of a warm-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Warmup {
    request: RequestId,
    pub e2el: u64,
    pub discovery: u64,
    pub sessions: u64,
}

/// The steps of a request so far.
#[derive(Debug, Default)]
struct StepFigures {
    gaps: Vec<f64>,
    gap_time: u64,
    prefill_tokens: u64,
    prefill_time: u64,
    outputs: u32,
    planned_bytes: u64,
}

/// The numbers of timed requests, and sums over them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub timed: u64,
    pub ok: u64,
    pub shed: u64,
    pub failed: u64,
    pub suspect: u64,
    /// The generated tokens of all rows, of all timed requests.
    pub tokens: u64,
    /// The generated tokens of all rows, of timed requests that succeeded.
    pub ok_tokens: u64,
    /// The number of peers on the route, summed over timed requests that succeeded.
    pub hops: u64,
    pub e2el: u64,
    pub ok_e2el: u64,
    pub schedule_delay_max: u64,
    /// The bytes of activations on links, summed over timed requests that succeeded; `None` if those of a request are
    /// unknown.
    pub bytes: Option<u64>,
    /// The bytes of activations on links as computed from the plan, for runs that did not record them.
    pub planned_bytes: u64,
    /// The number of requests that met every objective.
    pub good: u64,
    /// The number of output tokens, over all rows, of the requests that met every objective.
    pub good_tokens: u64,
    /// The number of successful requests that got more or fewer tokens than they asked for, warm-ups included. Such a
    /// request makes the run invalid.
    pub wrong: u64,
    /// The first successful request whose reported number of tokens differs from its number of recorded output tokens,
    /// with these two numbers. Such a request makes the run invalid.
    pub miscounted: Option<(RequestId, u32, u32)>,
}

/// The sums over a client's timed requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientFigures {
    pub first_sent: Option<u64>,
    /// The number of decode steps of requests that succeeded.
    pub steps: u64,
    /// The total time in ns of these decode steps.
    pub step_time: u64,
    /// The prompt tokens of all rows, of requests that succeeded.
    pub prefill_tokens: u64,
    /// The total time in ns of the prefills of requests that succeeded.
    pub prefill_time: u64,
}

/// The clients' lookups of peers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discovery {
    /// The durations of lookups in ms.
    pub took: Vec<f64>,
    pub hops: u64,
    pub hops_max: u16,
    pub asked: u64,
    pub silent: u64,
}

impl<'p> RunFigures<'p> {
    pub fn new(plan: &'p Plan) -> RunFigures<'p> {
        RunFigures {
            plan,
            clients: plan.clients().map(|(id, _)| id).collect(),
            requests: Vec::new(),
            warmups: Vec::new(),
            open: BTreeMap::new(),
            gaps: Vec::new(),
            arrivals: BTreeMap::new(),
            prefills: Vec::new(),
            counts: Counts { bytes: Some(0), ..Counts::default() },
            parts: Parts::default(),
            network: Some(NetworkParts::default()),
            by_client: BTreeMap::new(),
            failures: BTreeMap::new(),
            warmth: BTreeMap::new(),
            jobs: Jobs::default(),
            discovery: Discovery::default(),
        }
    }

    /// Returns the figures of a complete run from its rows.
    pub fn of(rows: &RunRows, plan: &'p Plan) -> RunFigures<'p> {
        let mut figures = RunFigures::new(plan);
        rows.rare.released.into_iter().for_each(|at| figures.release(at));
        rows.tokens.iter().for_each(|row| figures.add_token(row));
        let mut hops: Vec<&HopRow> = rows.hops.iter().collect();
        hops.sort_by_key(|hop| (hop.peer, hop.finished));
        hops.iter().for_each(|hop| figures.add_hop(&JobStep::of_row(hop)));
        rows.requests.iter().for_each(|row| figures.add_request(row));
        rows.lookups.iter().for_each(|looked| figures.add_lookup(looked));
        figures.sort();
        figures
    }

    /// Sets the time of the barrier's release. No timed work happens before it.
    pub fn release(&mut self, at: Timestamp) {
        self.jobs.release(at.0);
    }

    /// Sorts the requests by client and index. Call this once all rows were added.
    pub fn sort(&mut self) {
        self.requests.sort_by_key(|figures| figures.request);
        self.warmups.sort_by_key(|warmup| warmup.request);
    }

    pub(crate) fn add_token(&mut self, row: &TokenRow) {
        let steps = self.open.entry(row.request).or_default();
        steps.outputs += u32::from(row.output > 0);
        if row.request.is_warmup() {
            return;
        }
        let rows = u64::from(row.batch);
        if row.output > 0 {
            self.arrivals.entry(row.batch).or_default().push(row.seen);
        }
        if row.output > 1 {
            steps.gaps.push(ms(row.took));
            steps.gap_time += row.took;
        }
        if row.position == 0 {
            let tokens = rows * u64::from(row.tokens);
            self.prefills.push((row.seen, tokens));
            steps.prefill_tokens += tokens;
            steps.prefill_time += row.took;
        }
        steps.planned_bytes += planned_bytes(row, self.plan);
    }

    fn add_hop(&mut self, hop: &JobStep) {
        self.jobs.add(hop);
        if !hop.request.is_warmup() && matches!(self.plan.workload_kind(), WorkloadKind::Closed { .. }) {
            let of_kind = self.warmth.entry((hop.peer, hop.tokens)).or_default();
            let (count, sum) = &mut of_kind[usize::from(hop.request.index > 1)];
            *count += 1;
            *sum += hop.compute;
        }
    }

    pub(crate) fn add_request(&mut self, row: &RequestRow) {
        let steps = self.open.remove(&row.request).unwrap_or_default();
        let counts = &mut self.counts;
        counts.wrong += u64::from(row.ok() && row.generated != row.generate);
        if row.ok() && steps.outputs != row.generated && counts.miscounted.is_none_or(|known| row.request < known.0) {
            counts.miscounted = Some((row.request, row.generated, steps.outputs));
        }
        if row.warmup() {
            if row.ok() {
                let (e2el, discovery, sessions) = (row.e2el, row.discovery, row.sessions);
                self.warmups.push(Warmup { request: row.request, e2el, discovery, sessions });
            }
            return;
        }
        self.requests.push(RequestFigures::of(row));
        let tokens = u64::from(row.batch) * u64::from(row.generated);
        counts.timed += 1;
        counts.shed += u64::from(row.shed());
        counts.failed += u64::from(row.failed());
        counts.suspect += u64::from(row.suspect);
        counts.tokens += tokens;
        counts.e2el += row.e2el;
        counts.schedule_delay_max = counts.schedule_delay_max.max(row.schedule_delay);
        if is_good(row, &self.plan.objectives.limits) {
            counts.good += 1;
            counts.good_tokens += tokens;
        }
        let client = self.by_client.entry(row.request.client).or_default();
        client.first_sent = Some(client.first_sent.map_or(row.sent, |first| first.min(row.sent)));
        if !row.ok() {
            *self.failures.entry(row.outcome).or_default() += 1;
            return;
        }
        counts.ok += 1;
        counts.ok_tokens += tokens;
        counts.ok_e2el += row.e2el;
        counts.hops += row.route.len() as u64;
        counts.bytes = counts.bytes.zip(row.bytes).map(|(sum, bytes)| sum + bytes);
        counts.planned_bytes += steps.planned_bytes;
        self.parts.add(&row.parts);
        self.network = self.network.zip(row.network).map(|(mut sum, parts)| {
            sum.add(&parts);
            sum
        });
        client.steps += steps.gaps.len() as u64;
        client.step_time += steps.gap_time;
        client.prefill_tokens += steps.prefill_tokens;
        client.prefill_time += steps.prefill_time;
        self.gaps.extend(steps.gaps);
    }

    pub(crate) fn add_lookup(&mut self, looked: &Looked) {
        // Lookups of warm-ups count too.
        if looked.purpose == Purpose::Find && self.clients.contains(&looked.node) {
            let discovery = &mut self.discovery;
            discovery.took.push(ms(looked.took.0));
            discovery.hops += u64::from(looked.hops);
            discovery.hops_max = discovery.hops_max.max(looked.hops);
            discovery.asked += u64::from(looked.asked);
            discovery.silent += u64::from(looked.silent);
        }
    }
}

impl RowSink for RunFigures<'_> {
    fn request(&mut self, row: RequestRow) {
        self.add_request(&row);
    }

    fn token(&mut self, row: TokenRow) {
        self.add_token(&row);
    }

    fn hop(&mut self, _: HopRow) {}

    fn served(&mut self, hop: &Served) {
        self.add_hop(&JobStep::of(hop));
    }

    fn looked(&mut self, looked: Looked) {
        self.add_lookup(&looked);
    }

    fn pinged(&mut self, _: Pinged) {}
}

/// A step of a peer's job. The figures of peers are computed from these.
#[derive(Clone, Copy, Debug)]
pub struct JobStep {
    peer: NodeId,
    request: RequestId,
    position: u32,
    hop: u16,
    session: SessionId,
    tokens: u32,
    started: u64,
    finished: u64,
    compute: u64,
}

impl JobStep {
    fn of(hop: &Served) -> JobStep {
        JobStep {
            peer: hop.peer,
            request: hop.request,
            position: hop.position,
            hop: hop.hop,
            session: hop.session,
            tokens: hop.tokens,
            started: hop.started.0,
            finished: hop.finished.0,
            compute: hop.finished.since(hop.started).0,
        }
    }

    fn of_row(hop: &HopRow) -> JobStep {
        JobStep {
            peer: hop.peer,
            request: hop.request,
            position: hop.position,
            hop: hop.hop,
            session: hop.session,
            tokens: hop.tokens,
            started: hop.started,
            finished: hop.finished,
            compute: hop.compute,
        }
    }
}

/// Whether a request succeeded and met every limit. Latencies count from the time at which the request was due.
fn is_good(row: &RequestRow, limits: &[Objective]) -> bool {
    let keeps = |limit: &Objective| match limit {
        Objective::Ttft(most) => row.ttft.is_none_or(|ttft| ttft + row.schedule_delay <= most.0),
        Objective::Tpot(most) => row.tpot.is_none_or(|tpot| tpot <= most.0),
        Objective::E2el(most) => row.e2el + row.schedule_delay <= most.0,
    };
    row.ok() && limits.iter().all(keeps)
}

/// Returns the bytes of activations that a step sends over links, as computed from the plan.
fn planned_bytes(row: &TokenRow, plan: &Plan) -> u64 {
    let ways = match plan.policies.forwarding {
        Forwarding::Relay => 2 * u64::from(row.hops),
        Forwarding::Push => u64::from(row.hops) + 1,
    };
    let hidden = u16::try_from(plan.model.shape.hidden).unwrap_or(u16::MAX);
    let activation = Activation { tokens: row.tokens, batch: row.batch, hidden, dtype: plan.model.wire, data: None };
    let step = Step { session: SessionId::new(row.request, 0), position: row.position, activation };
    ways * Message::Step(step).wire_bytes()
}

pub(crate) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
