//! The measures of one run of one cell, as defined in docs/src/measures.md. The four of the contract come first.
//!
//! Latencies are those of timed requests that succeeded. Throughputs count every token between the barrier's release
//! and the last client's end, that end included, also those of failed requests. Warm-ups count only for the cold start.
mod catalogue;
mod verdict;

pub use catalogue::{COLUMNS, Column, DISTRIBUTIONS};
pub use verdict::{Judgement, Verdict};

use crate::run_timeline::Coverage;
use crate::stats::{Distribution, Percentile};
use actors::id::{NodeId, SessionId};
use actors::message::{Activation, Forwarding, Message, Step};
use actors::record::{Looked, Purpose};
use rows::{NetworkParts, Parts, RequestRow, RunRows, TokenRow};
use scenarios::plan::{Objective, Plan, WorkloadKind};
use std::collections::{BTreeMap, BTreeSet};

/// The measures of one run of one cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    values: BTreeMap<String, f64>,
    /// The number of failed timed requests by reason.
    pub failures: BTreeMap<&'static str, u32>,
    /// The share of the window during which each peer computed.
    pub peer_utilisation: BTreeMap<u32, f64>,
    /// The percentiles for which the sample is too small: (column, samples needed).
    pub withheld: Vec<(String, usize)>,
    pub judgement: Judgement,
}

impl Measures {
    pub fn of(fold: &RunRows, plan: &Plan) -> Measures {
        let mut measures = Measures::default();
        let wall = fold.window().map(|(from, till)| till.since(from).0);
        measures.contract(fold, plan, wall);
        measures.cold_start(fold);
        measures.latencies(fold);
        measures.rates(fold, wall);
        measures.load(fold, plan, wall);
        measures.breakdown(fold);
        measures.swarm(fold, plan, wall);
        measures.discovery(fold, plan);
        measures.judgement = verdict::judge(fold, plan);
        measures
    }

    /// Returns the value of a column of [`COLUMNS`], or `None` if the run does not have it.
    pub fn get(&self, column: &str) -> Option<f64> {
        self.values.get(column).copied()
    }

    fn set(&mut self, column: &str, value: impl Into<Option<f64>>) {
        debug_assert!(COLUMNS.iter().any(|known| known.name == column), "{column} is not in the catalogue");
        if let Some(value) = value.into().filter(|value| value.is_finite()) {
            self.values.insert(column.to_owned(), value);
        }
    }

    fn contract(&mut self, fold: &RunRows, plan: &Plan, wall: Option<u64>) {
        let tokens: u64 = fold.timed().map(|row| u64::from(row.batch) * u64::from(row.generated)).sum();
        let done: Vec<&RequestRow> = fold.timed().filter(|row| row.ok()).collect();
        self.set("total_tokens", tokens as f64);
        self.set("throughput_tokens_per_s", wall.map(|wall| per_second(tokens as f64, wall)));
        self.set("mean_latency_ms", mean(done.iter().map(|row| ms(row.e2el))));
        self.set("wall_s", wall.map(|wall| wall as f64 / 1e9));
        self.set("requests", plan.requests() as f64);
        self.set("completed", done.len() as f64);
        self.set("failed", fold.timed().filter(|row| row.failed()).count() as f64);
        self.set("shed", fold.timed().filter(|row| row.shed()).count() as f64);
        self.failovers(fold);
        for row in fold.timed().filter(|row| !row.ok()) {
            *self.failures.entry(row.outcome).or_default() += 1;
        }
    }

    fn failovers(&mut self, fold: &RunRows) {
        let timed = || fold.failovers.iter().filter(|failover| !failover.request.is_warmup());
        let recovered = || timed().map(|failover| ms(failover.resumed.since(failover.noticed).0));
        self.set("failovers", timed().count() as f64);
        self.set("tokens_replayed", timed().map(|failover| f64::from(failover.replayed)).sum::<f64>());
        self.set("time_to_notice_ms", mean(timed().map(|failover| ms(failover.noticed.since(failover.heard).0))));
        self.set("time_to_recover_ms", mean(recovered()));
        self.set("time_to_recover_max_ms", recovered().reduce(f64::max));
    }

    /// Adds the means over the clients' warm-ups.
    fn cold_start(&mut self, fold: &RunRows) {
        let warmups: Vec<&RequestRow> = fold.requests.iter().filter(|row| row.warmup() && row.ok()).collect();
        let mean_of = |part: fn(&RequestRow) -> u64| mean(warmups.iter().map(|row| ms(part(row))));
        let whole = mean_of(|row| row.e2el);
        self.set("cold_start_ms", whole);
        self.set("cold_start_discovery_ms", mean_of(|row| row.discovery));
        self.set("cold_start_sessions_ms", mean_of(|row| row.sessions));
        self.set("cold_start_first_compute_ms", mean_of(|row| row.e2el.saturating_sub(row.discovery + row.sessions)));
        let steady = mean(fold.timed().filter(|row| row.ok()).filter_map(|row| row.ttft).map(ms));
        self.set("cold_start_ratio", whole.zip(steady.filter(|&ttft| ttft > 0.0)).map(|(cold, ttft)| cold / ttft));
    }

    fn latencies(&mut self, fold: &RunRows) {
        let done = || fold.timed().filter(|row| row.ok());
        let of = |part: fn(&RequestRow) -> Option<u64>| done().filter_map(part).map(ms).collect::<Vec<f64>>();
        self.distribution("ttft", of(|row| row.ttft));
        self.distribution("tpot", of(|row| row.tpot));
        self.distribution("itl", gaps(fold).map(|row| ms(row.took)).collect());
        self.distribution("e2el", of(|row| Some(row.e2el)));
        self.set("ntpot_mean_ms", mean(of(|row| row.ntpot).into_iter()));
        self.distribution("schedule_delay", of(|row| Some(row.schedule_delay)));
        self.distribution("ttft_corrected", of(|row| row.ttft.map(|ttft| ttft + row.schedule_delay)));
        self.distribution("e2el_corrected", of(|row| Some(row.e2el + row.schedule_delay)));
    }

    fn distribution(&mut self, name: &str, values: Vec<f64>) {
        self.set(&format!("{name}_count"), values.len() as f64);
        let Some(d) = Distribution::of(values) else { return };
        let plain = [("mean", Some(d.mean)), ("std", d.std), ("min", Some(d.min)), ("max", Some(d.max))];
        plain.into_iter().for_each(|(stat, value)| self.set(&format!("{name}_{stat}_ms"), value));
        for (stat, percentile) in [("p50", d.p50), ("p90", d.p90), ("p95", d.p95), ("p99", d.p99)] {
            let column = format!("{name}_{stat}_ms");
            match percentile {
                Percentile::Value(value) => self.set(&column, value),
                Percentile::Withheld { needs } => self.withheld.push((column, needs)),
            }
        }
    }

    fn rates(&mut self, fold: &RunRows, wall: Option<u64>) {
        let Some((released, wall)) = fold.released.zip(wall) else { return };
        let window = released.0..=released.0 + wall;
        let events = || fold.tokens.iter().filter(|row| !row.request.is_warmup() && window.contains(&row.seen));
        let rows = |row: &TokenRow| f64::from(row.batch);
        let output: f64 = events().filter(|row| row.output > 0).map(rows).sum();
        let prefill: f64 = events().filter(|row| row.position == 0).map(|row| rows(row) * f64::from(row.tokens)).sum();
        let ended = fold.timed().filter(|row| row.ok() && window.contains(&row.ended)).count();
        self.set("output_throughput_tokens_per_s", per_second(output, wall));
        self.set("prefill_throughput_tokens_per_s", per_second(prefill, wall));
        self.set("total_token_throughput_tokens_per_s", per_second(output + prefill, wall));
        self.set("request_throughput_per_s", per_second(ended as f64, wall));
        let busy: f64 = fold.timed().map(|row| row.e2el as f64).sum();
        self.set("concurrency_mean", (wall > 0).then(|| busy / wall as f64));
        self.set("concurrency_peak", f64::from(peak_concurrency(fold)));
    }

    /// Adds the offered and the achieved request rate, and the goodput.
    fn load(&mut self, fold: &RunRows, plan: &Plan, wall: Option<u64>) {
        if let (WorkloadKind::Open(open), Some(released)) = (plan.workload_kind(), fold.released) {
            let rate = |count: usize, ns: u64| (ns > 0).then(|| per_second(count as f64, ns));
            self.set("requested_rate_per_s", rate(open.arrivals.len(), open.horizon.0));
            let sent = || fold.timed().filter(|row| !row.shed()).map(|row| row.sent);
            // The achieved rate is over the horizon of the offered rate, or over a longer time if the last request was
            // sent late.
            let over = sent().max().unwrap_or(0).saturating_sub(released.0).max(open.horizon.0);
            self.set("achieved_rate_per_s", rate(sent().count(), over));
        }
        if plan.objectives.limits.is_empty() {
            return;
        }
        let good = || fold.timed().filter(|row| is_good(row, &plan.objectives.limits));
        let tokens: f64 = good().map(|row| f64::from(row.batch) * f64::from(row.generated)).sum();
        let asked = plan.requests();
        self.set("slo_share", (asked > 0).then(|| good().count() as f64 / asked as f64));
        self.set("goodput_requests_per_s", wall.map(|wall| per_second(good().count() as f64, wall)));
        self.set("goodput_tokens_per_s", wall.map(|wall| per_second(tokens, wall)));
    }

    fn breakdown(&mut self, fold: &RunRows) {
        let done: Vec<&RequestRow> = fold.timed().filter(|row| row.ok()).collect();
        let mut parts = Parts::default();
        done.iter().for_each(|row| parts.add(&row.parts));
        let share = |sum: u64| (!done.is_empty()).then(|| ms(sum) / done.len() as f64);
        for (part, sum) in [
            ("setup", parts.setup),
            ("client_queue", parts.client_queue),
            ("client", parts.client),
            ("peer_queue", parts.peer_queue),
            ("compute", parts.compute),
            ("network", parts.network),
        ] {
            self.set(&format!("part_{part}_ms"), share(sum));
        }
        let whole: u64 = done.iter().map(|row| row.e2el).sum();
        self.set("network_fraction", (whole > 0).then(|| parts.network as f64 / whole as f64));
        let mut network = NetworkParts::default();
        if done.iter().all(|row| row.network.inspect(|known| network.add(known)).is_some()) {
            self.set("part_send_queue_ms", share(network.send_queue));
            self.set("part_transmit_ms", share(network.transmit));
            self.set("part_propagation_ms", share(network.propagation));
            self.set("part_network_other_ms", share(network.other));
        }
    }

    fn swarm(&mut self, fold: &RunRows, plan: &Plan, wall: Option<u64>) {
        let sent = first_sent(fold);
        let skew = sent.values().max().zip(sent.values().min()).map(|(last, first)| ms(last - first));
        self.set("barrier_skew_ms", skew);
        self.set("hop_count", mean(fold.timed().filter(|row| row.ok()).map(|row| row.route.len() as f64)));
        self.set("bytes_per_token", bytes_per_token(fold, plan));
        self.set("petals_speed_steps_per_s", per_client(gaps(fold).map(|row| (row, 1.0))));
        let prefills = steps(fold).filter(|row| row.position == 0);
        let tokens = prefills.map(|row| (row, f64::from(row.batch) * f64::from(row.tokens)));
        self.set("forward_tokens_per_s", per_client(tokens));
        let Some(wall) = wall.filter(|&wall| wall > 0) else { return };
        let mut busy: BTreeMap<u32, u64> = plan.peers().map(|(id, _)| (id.0, 0)).collect();
        // A peer computes one job at a time, so steps that end at one instant belong to one job.
        let mut jobs = BTreeSet::new();
        for hop in fold.hops.iter().filter(|hop| !hop.request.is_warmup()) {
            if jobs.insert((hop.peer, hop.finished)) {
                *busy.entry(hop.peer.0).or_default() += hop.compute;
            }
        }
        self.peer_utilisation = busy.into_iter().map(|(peer, busy)| (peer, busy as f64 / wall as f64)).collect();
        self.set("peer_utilisation_mean", mean(self.peer_utilisation.values().copied()));
        self.set("peer_utilisation_max", self.peer_utilisation.values().copied().reduce(f64::max));
    }

    /// Adds the measures of lookups, pings and the availability of blocks.
    fn discovery(&mut self, fold: &RunRows, plan: &Plan) {
        let lookups = findings(fold, plan);
        self.distribution("discovery", lookups.iter().map(|looked| ms(looked.took.0)).collect());
        let hops = || lookups.iter().map(|looked| f64::from(looked.hops));
        self.set("lookup_hops_mean", mean(hops()));
        self.set("lookup_hops_max", hops().reduce(f64::max));
        self.set("lookup_questions_mean", mean(lookups.iter().map(|looked| f64::from(looked.asked))));
        self.set("lookup_silent", lookups.iter().map(|looked| f64::from(looked.silent)).reduce(|a, b| a + b));
        let coverage = Coverage::of(fold, plan.model.shape.layers);
        let Some(holes) = fold.window().and_then(|(from, till)| coverage.holes(from, till)) else { return };
        self.set("coverage_mean", holes.mean);
        self.set("coverage_min", holes.least);
        self.set("holes", f64::from(holes.count));
        self.set("hole_s", holes.time.as_secs_f64());
    }
}

/// Returns the clients' lookups of peers in the DHT, including those of warm-ups.
fn findings(fold: &RunRows, plan: &Plan) -> Vec<Looked> {
    let clients: BTreeSet<NodeId> = plan.clients().map(|(id, _)| id).collect();
    let finds = |looked: &&Looked| looked.purpose == Purpose::Find && clients.contains(&looked.node);
    fold.lookups.iter().filter(finds).cloned().collect()
}

/// Whether a request succeeded within every limit, counted from its scheduled time.
fn is_good(row: &RequestRow, limits: &[Objective]) -> bool {
    let keeps = |limit: &Objective| match limit {
        Objective::Ttft(most) => row.ttft.is_none_or(|ttft| ttft + row.schedule_delay <= most.0),
        Objective::Tpot(most) => row.tpot.is_none_or(|tpot| tpot <= most.0),
        Objective::E2el(most) => row.e2el + row.schedule_delay <= most.0,
    };
    row.ok() && limits.iter().all(keeps)
}

/// Returns the steps of timed requests that succeeded.
fn steps(fold: &RunRows) -> impl Iterator<Item = &TokenRow> {
    let ok: std::collections::BTreeSet<_> = fold.timed().filter(|row| row.ok()).map(|row| row.request).collect();
    fold.tokens.iter().filter(move |row| ok.contains(&row.request))
}

/// Returns the steps whose time is the gap between two tokens.
fn gaps(fold: &RunRows) -> impl Iterator<Item = &TokenRow> {
    steps(fold).filter(|row| row.output > 1)
}

/// Returns the work per time of each client's steps, averaged over the clients, as Petals' benchmarks do.
fn per_client<'a>(steps: impl Iterator<Item = (&'a TokenRow, f64)>) -> Option<f64> {
    let mut clients: BTreeMap<NodeId, (f64, u64)> = BTreeMap::new();
    for (row, work) in steps {
        let (done, took) = clients.entry(row.request.client).or_default();
        *done += work;
        *took += row.took;
    }
    mean(clients.values().filter(|(_, took)| *took > 0).map(|&(done, took)| done / (took as f64 / 1e9)))
}

fn first_sent(fold: &RunRows) -> BTreeMap<NodeId, u64> {
    let mut first = BTreeMap::new();
    for row in fold.timed() {
        let sent = first.entry(row.request.client).or_insert(row.sent);
        *sent = row.sent.min(*sent);
    }
    first
}

/// Returns the maximum number of timed requests in flight at one instant. A request that ends as another begins does
/// not overlap with it.
fn peak_concurrency(fold: &RunRows) -> u32 {
    let mut changes: Vec<(u64, i32)> = fold.timed().flat_map(|row| [(row.sent, 1), (row.ended, -1)]).collect();
    changes.sort_unstable();
    let (mut now, mut peak) = (0i32, 0i32);
    for (_, change) in changes {
        now += change;
        peak = peak.max(now);
    }
    peak.max(0) as u32
}

/// Returns the bytes of activations that successful timed requests sent over links per generated token. The bytes are
/// those recorded, or those that follow from the plan.
fn bytes_per_token(fold: &RunRows, plan: &Plan) -> Option<f64> {
    let done = || fold.timed().filter(|row| row.ok());
    let tokens: u64 = done().map(|row| u64::from(row.batch) * u64::from(row.generated)).sum();
    let carried: Option<u64> = done().map(|row| row.bytes).sum();
    let bytes = carried.unwrap_or_else(|| steps(fold).map(|row| planned_bytes(row, plan)).sum());
    (tokens > 0).then(|| bytes as f64 / tokens as f64)
}

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

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u64);
    values.for_each(|value| {
        sum += value;
        count += 1;
    });
    (count > 0).then(|| sum / count as f64)
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Returns the rate per second; 0 for an empty window.
fn per_second(count: f64, ns: u64) -> f64 {
    if ns == 0 { 0.0 } else { count / (ns as f64 / 1e9) }
}
