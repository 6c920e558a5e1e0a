//! The measures of one run of one cell, as defined in docs/src/measures.md. The four figures of the FlexLLMGen
//! benchmark come first.
//!
//! Latencies are those of timed requests that succeeded. Throughputs count every token from the barrier's release up to
//! and including the last client's end, also the tokens of failed requests. Warm-ups count only for the cold start.
mod catalogue;
mod verdict;

pub use catalogue::{COLUMNS, Column, DISTRIBUTIONS};
pub use verdict::{Judgement, Verdict};

use crate::figures::{ClientFigures, RequestFigures, RunFigures, ms};
use crate::run_timeline::Coverage;
use crate::stats::{Distribution, Percentile};
use actors::record::{Event, Recorder};
use rows::{RareEvents, RowFold, RunRows};
use scenarios::plan::{Plan, WorkloadKind};
use std::collections::BTreeMap;

/// The measures of one run of one cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    values: BTreeMap<String, f64>,
    /// The number of failed timed requests by reason.
    pub failures: BTreeMap<&'static str, u32>,
    /// For each peer, by its node id, the share of the measured window during which it computed.
    pub peer_utilisation: BTreeMap<u32, f64>,
    /// The percentiles for which the sample is too small: (column, samples needed).
    pub withheld: Vec<(String, usize)>,
    pub judgement: Judgement,
}

impl Measures {
    /// Returns the measures of a complete run from its rows.
    pub fn of(rows: &RunRows, plan: &Plan) -> Measures {
        Measures::of_figures(&mut RunFigures::of(rows, plan), &rows.rare)
    }

    /// Computes the measures of a run from its figures. The figures' requests must be sorted. Moves the gaps between
    /// tokens out of the figures.
    pub(crate) fn of_figures(figures: &mut RunFigures<'_>, rare: &RareEvents) -> Measures {
        let mut measures = Measures::default();
        measures.distribution("itl", std::mem::take(&mut figures.gaps));
        let figures = &*figures;
        let wall = rare.window().map(|(from, till)| till.since(from).0);
        measures.contract(figures, rare, wall);
        measures.cold_start(figures);
        measures.latencies(figures);
        measures.rates(figures, rare, wall);
        measures.load(figures, rare, wall);
        measures.breakdown(figures);
        measures.swarm(figures, wall);
        measures.discovery(figures, rare);
        measures.judgement = verdict::judge(figures, rare);
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

    fn contract(&mut self, figures: &RunFigures<'_>, rare: &RareEvents, wall: Option<u64>) {
        let counts = &figures.counts;
        self.set("total_tokens", counts.tokens as f64);
        self.set("throughput_tokens_per_s", wall.map(|wall| per_second(counts.tokens as f64, wall)));
        self.set("mean_latency_ms", mean(done(figures).map(|row| ms(row.e2el()))));
        self.set("wall_s", wall.map(|wall| wall as f64 / 1e9));
        self.set("requests", figures.plan.requests() as f64);
        self.set("completed", counts.ok as f64);
        self.set("failed", counts.failed as f64);
        self.set("shed", counts.shed as f64);
        self.failovers(rare);
        self.failures = figures.failures.clone();
    }

    fn failovers(&mut self, rare: &RareEvents) {
        let timed = || rare.failovers.iter().filter(|failover| !failover.request.is_warmup());
        let recovered = || timed().map(|failover| ms(failover.resumed.since(failover.noticed).0));
        self.set("failovers", timed().count() as f64);
        self.set("tokens_replayed", timed().map(|failover| f64::from(failover.replayed)).sum::<f64>());
        self.set("time_to_notice_ms", mean(timed().map(|failover| ms(failover.noticed.since(failover.heard).0))));
        self.set("time_to_recover_ms", mean(recovered()));
        self.set("time_to_recover_max_ms", recovered().reduce(f64::max));
    }

    /// Adds the measures of the cold start, which are means over the clients' warm-ups.
    fn cold_start(&mut self, figures: &RunFigures<'_>) {
        let warmups = || figures.warmups.iter();
        let whole = mean(warmups().map(|row| ms(row.e2el)));
        self.set("cold_start_ms", whole);
        self.set("cold_start_discovery_ms", mean(warmups().map(|row| ms(row.discovery))));
        self.set("cold_start_sessions_ms", mean(warmups().map(|row| ms(row.sessions))));
        let first_compute = warmups().map(|row| ms(row.e2el.saturating_sub(row.discovery + row.sessions)));
        self.set("cold_start_first_compute_ms", mean(first_compute));
        let steady = mean(done(figures).filter_map(RequestFigures::ttft).map(ms));
        self.set("cold_start_ratio", whole.zip(steady.filter(|&ttft| ttft > 0.0)).map(|(cold, ttft)| cold / ttft));
    }

    fn latencies(&mut self, figures: &RunFigures<'_>) {
        let of =
            |part: fn(&RequestFigures) -> Option<u64>| done(figures).filter_map(part).map(ms).collect::<Vec<f64>>();
        self.distribution("ttft", of(RequestFigures::ttft));
        self.distribution("tpot", of(RequestFigures::tpot));
        self.distribution("e2el", of(|row| Some(row.e2el())));
        self.set("ntpot_mean_ms", mean(done(figures).filter_map(RequestFigures::ntpot).map(ms)));
        self.distribution("schedule_delay", of(|row| Some(row.schedule_delay)));
        self.distribution("ttft_corrected", of(|row| row.ttft().map(|ttft| ttft + row.schedule_delay)));
        self.distribution("e2el_corrected", of(|row| Some(row.e2el() + row.schedule_delay)));
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

    fn rates(&mut self, figures: &RunFigures<'_>, rare: &RareEvents, wall: Option<u64>) {
        let Some((released, wall)) = rare.released.zip(wall) else { return };
        let window = released.0..=released.0 + wall;
        let arrived = |seen: &[u64]| seen.iter().filter(|seen| window.contains(seen)).count() as f64;
        let output: f64 = figures.arrivals.iter().map(|(rows, seen)| f64::from(*rows) * arrived(seen)).sum();
        let prefills = figures.prefills.iter().filter(|(seen, _)| window.contains(seen));
        let prefill: f64 = prefills.map(|(_, tokens)| *tokens as f64).sum();
        let ended = done(figures).filter(|row| window.contains(&row.ended)).count();
        self.set("output_throughput_tokens_per_s", per_second(output, wall));
        self.set("prefill_throughput_tokens_per_s", per_second(prefill, wall));
        self.set("total_token_throughput_tokens_per_s", per_second(output + prefill, wall));
        self.set("request_throughput_per_s", per_second(ended as f64, wall));
        let busy: f64 = figures.requests.iter().map(|row| row.e2el() as f64).sum();
        self.set("concurrency_mean", (wall > 0).then(|| busy / wall as f64));
        self.set("concurrency_peak", f64::from(peak_concurrency(figures)));
    }

    /// Adds the offered and the achieved request rate, and the goodput.
    fn load(&mut self, figures: &RunFigures<'_>, rare: &RareEvents, wall: Option<u64>) {
        let plan = figures.plan;
        if let (WorkloadKind::Open(open), Some(released)) = (plan.workload_kind(), rare.released) {
            let rate = |count: usize, ns: u64| (ns > 0).then(|| per_second(count as f64, ns));
            self.set("requested_rate_per_s", rate(open.arrivals.len(), open.horizon.0));
            let sent = || figures.requests.iter().filter(|row| !row.shed).map(|row| row.sent);
            // The achieved rate is divided by the horizon of the offered rate, or by a longer time if the last request
            // was sent after the horizon.
            let over = sent().max().unwrap_or(0).saturating_sub(released.0).max(open.horizon.0);
            self.set("achieved_rate_per_s", rate(sent().count(), over));
        }
        if plan.objectives.limits.is_empty() {
            return;
        }
        let (good, tokens, asked) = (figures.counts.good as f64, figures.counts.good_tokens as f64, plan.requests());
        self.set("slo_share", (asked > 0).then(|| good / asked as f64));
        self.set("goodput_requests_per_s", wall.map(|wall| per_second(good, wall)));
        self.set("goodput_tokens_per_s", wall.map(|wall| per_second(tokens, wall)));
    }

    fn breakdown(&mut self, figures: &RunFigures<'_>) {
        let (parts, count) = (&figures.parts, figures.counts.ok);
        let share = |sum: u64| (count > 0).then(|| ms(sum) / count as f64);
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
        let whole = figures.counts.ok_e2el;
        self.set("network_fraction", (whole > 0).then(|| parts.network as f64 / whole as f64));
        if let Some(network) = &figures.network {
            self.set("part_send_queue_ms", share(network.send_queue));
            self.set("part_transmit_ms", share(network.transmit));
            self.set("part_propagation_ms", share(network.propagation));
            self.set("part_network_other_ms", share(network.other));
        }
    }

    fn swarm(&mut self, figures: &RunFigures<'_>, wall: Option<u64>) {
        let sent = || figures.by_client.values().filter_map(|client| client.first_sent);
        self.set("barrier_skew_ms", sent().max().zip(sent().min()).map(|(last, first)| ms(last - first)));
        let counts = &figures.counts;
        self.set("hop_count", (counts.ok > 0).then(|| counts.hops as f64 / counts.ok as f64));
        // If some bytes were not recorded, the bytes that follow from the plan are used.
        let bytes = counts.bytes.unwrap_or(counts.planned_bytes);
        self.set("bytes_per_token", (counts.ok_tokens > 0).then(|| bytes as f64 / counts.ok_tokens as f64));
        self.set("petals_speed_steps_per_s", per_client(figures, |client| (client.steps, client.step_time)));
        let forward = per_client(figures, |client| (client.prefill_tokens, client.prefill_time));
        self.set("forward_tokens_per_s", forward);
        let Some(wall) = wall.filter(|&wall| wall > 0) else { return };
        let mut busy: BTreeMap<u32, u64> = figures.plan.peers().map(|(id, _)| (id.0, 0)).collect();
        busy.extend(figures.jobs.busy().into_iter().map(|(peer, ns)| (peer.0, ns)));
        self.peer_utilisation = busy.into_iter().map(|(peer, busy)| (peer, busy as f64 / wall as f64)).collect();
        self.set("peer_utilisation_mean", mean(self.peer_utilisation.values().copied()));
        self.set("peer_utilisation_max", self.peer_utilisation.values().copied().reduce(f64::max));
    }

    /// Adds the measures of lookups, pings and the availability of blocks.
    fn discovery(&mut self, figures: &RunFigures<'_>, rare: &RareEvents) {
        let lookups = &figures.discovery;
        let count = lookups.took.len();
        let mean = |sum: u64| (count > 0).then(|| sum as f64 / count as f64);
        self.set("lookup_hops_mean", mean(lookups.hops));
        self.set("lookup_hops_max", (count > 0).then_some(f64::from(lookups.hops_max)));
        self.set("lookup_questions_mean", mean(lookups.asked));
        self.set("lookup_silent", (count > 0).then_some(lookups.silent as f64));
        self.distribution("discovery", lookups.took.clone());
        let coverage = Coverage::of(rare, figures.plan.model.shape.layers);
        let Some(holes) = rare.window().and_then(|(from, till)| coverage.holes(from, till)) else { return };
        self.set("coverage_mean", holes.mean);
        self.set("coverage_min", holes.least);
        self.set("holes", f64::from(holes.count));
        self.set("hole_s", holes.time.as_secs_f64());
    }
}

/// Computes the measures of a run during the run, without storing its rows.
#[derive(Debug)]
pub struct MeasureRecorder<'p> {
    fold: RowFold,
    figures: RunFigures<'p>,
}

impl<'p> MeasureRecorder<'p> {
    /// Creates the recorder of a run of `plan`. The run's events must be recorded in the order of time.
    pub fn new(plan: &'p Plan) -> MeasureRecorder<'p> {
        MeasureRecorder { fold: RowFold::in_order(), figures: RunFigures::new(plan) }
    }

    /// Returns the measures of the run once it has ended.
    pub fn measures(mut self) -> Measures {
        let rare = self.fold.finish(&mut self.figures);
        self.figures.sort();
        Measures::of_figures(&mut self.figures, &rare)
    }
}

impl Recorder for MeasureRecorder<'_> {
    fn record(&mut self, event: Event) {
        if let Event::Released { at } = &event {
            self.figures.release(*at);
        }
        self.fold.take(&event, &mut self.figures);
    }
}

/// Returns the timed requests that succeeded, in order.
fn done<'f>(figures: &'f RunFigures<'_>) -> impl Iterator<Item = &'f RequestFigures> {
    figures.requests.iter().filter(|row| row.ok)
}

/// Returns the work of a client per second, averaged over the clients as in the benchmarks of Petals. `of` returns a
/// client's work and the time in ns that it took.
fn per_client(figures: &RunFigures<'_>, of: fn(&ClientFigures) -> (u64, u64)) -> Option<f64> {
    let clients = figures.by_client.values().map(of).filter(|(_, took)| *took > 0);
    mean(clients.map(|(done, took)| done as f64 / (took as f64 / 1e9)))
}

/// Returns the maximum number of timed requests in flight at one instant. A request that ends as another begins does
/// not overlap with it.
fn peak_concurrency(figures: &RunFigures<'_>) -> u32 {
    let ends = |row: &RequestFigures| [(row.sent, 1), (row.ended, -1)];
    let mut changes: Vec<(u64, i32)> = figures.requests.iter().flat_map(ends).collect();
    changes.sort_unstable();
    let (mut now, mut peak) = (0i32, 0i32);
    for (_, change) in changes {
        now += change;
        peak = peak.max(now);
    }
    peak.max(0) as u32
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u64);
    values.for_each(|value| {
        sum += value;
        count += 1;
    });
    (count > 0).then(|| sum / count as f64)
}

/// Returns the rate per second; 0 for an empty window.
fn per_second(count: f64, ns: u64) -> f64 {
    if ns == 0 { 0.0 } else { count / (ns as f64 / 1e9) }
}
