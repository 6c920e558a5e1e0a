//! The ways between hosts: round trips as pings met them, and the bandwidth of large frames.
//!
//! Clients ping peers, so the ways are those between clients and peers, by the groups of their hosts. Where there were too
//! few pings, the smallest frames of steps stand for them: a step's share of the network is spread over its frames evenly,
//! so single ones are not seen, and their distribution comes out narrower than it is.
use super::estimate::seconds;
use super::message_overheads::frames_of;
use super::time;
use super::wake_up::Line;
use actors::id::{NodeId, RequestId};
use actors::message::Forwarding;
use rows::ObservedRun;
use rows::stats::quantile;
use scenarios::plan::Plan;
use scenarios::profile;
use scenarios::units::Rate;
use std::collections::{BTreeMap, BTreeSet};

/// Pings that show a distribution.
const PINGS: usize = 20;

/// Round trips that a profile keeps.
const SHARES: usize = 20;

/// Both groups of hosts, the client's first.
type Ends = (String, String);

#[derive(Default)]
struct Way {
    /// Seconds.
    round_trips: Vec<f64>,
    /// Seconds that a frame of so many bytes takes.
    frames: BTreeMap<u64, Vec<f64>>,
}

pub(super) fn fit(seen: &[ObservedRun], from_device: f64) -> Vec<profile::Way> {
    let mut ways: BTreeMap<Ends, Way> = BTreeMap::new();
    // A network that a run imposes says nothing of the machine's own, where others show that.
    let imposed = seen.iter().all(|run| run.plan.network.shape);
    for run in seen.iter().filter(|run| imposed || !run.plan.network.shape) {
        round_trips(run, &mut ways);
        frames(run, from_device, &mut ways);
    }
    ways.into_iter().filter_map(|(ends, way)| path(ends, way)).collect()
}

fn path((from, to): Ends, way: Way) -> Option<profile::Way> {
    let points =
        way.frames.iter().filter_map(|(bytes, times)| Some((*bytes as f64, rows::stats::steady_mean(times.clone())?)));
    let points: Vec<(f64, f64)> = points.collect();
    let slope = Line::through(&points).per_byte;
    let mut trips = match way.round_trips.len() >= PINGS {
        true => way.round_trips,
        false => way.frames.into_values().next().unwrap_or_default().iter().map(|seconds| 2.0 * seconds).collect(),
    };
    trips.sort_by(f64::total_cmp);
    let rtt: Vec<_> = shares(&trips).into_iter().map(time).collect();
    let bandwidth = (slope > 0.0).then(|| Rate((8.0 / slope).round() as u64));
    (!rtt.is_empty()).then_some(profile::Way { from, to, rtt, bandwidth })
}

/// The means of so many equal shares of ascending values, what lies above the 99.5th percentile taken for it: one that was
/// held up for a second by another process is no property of the way.
fn shares(values: &[f64]) -> Vec<f64> {
    let Some(top) = quantile(values, 0.995) else { return Vec::new() };
    let count = SHARES.min(values.len());
    let bound = |share: usize| share * values.len() / count;
    let mean = |share: usize| {
        let values = &values[bound(share)..bound(share + 1)];
        values.iter().map(|value| value.min(top)).sum::<f64>() / values.len() as f64
    };
    (0..count).map(mean).collect()
}

/// Of pings. The first to a peer waits for its connection.
fn round_trips(run: &ObservedRun, ways: &mut BTreeMap<Ends, Way>) {
    let mut connected = BTreeSet::new();
    let mut pings = run.pings.clone();
    pings.sort_by_key(|ping| ping.at);
    for ping in pings {
        if !connected.insert((ping.client, ping.peer)) {
            let way = ways.entry(ends(&run.plan, ping.client, ping.peer)).or_default();
            way.round_trips.push(ping.took.as_secs_f64());
        }
    }
}

/// Of steps whose frames all pass between the client and one group of peers.
fn frames(run: &ObservedRun, from_device: f64, ways: &mut BTreeMap<Ends, Way>) {
    let mut routes: BTreeMap<RequestId, BTreeSet<Ends>> = BTreeMap::new();
    for hop in &run.hops {
        routes.entry(hop.request).or_default().insert(ends(&run.plan, hop.request.client, hop.peer));
    }
    let relayed = run.plan.policies.forwarding == Forwarding::Relay;
    let direct = run.tokens.iter().filter(|step| !step.request.is_warmup() && (relayed || step.hops == 1));
    for step in direct {
        let mut route = routes.get(&step.request).into_iter().flatten();
        let (Some(ends), None) = (route.next(), route.next()) else { continue };
        let (count, bytes) = frames_of(&run.plan, step);
        // Waiting for a link is no property of it; nor is the way back from a device.
        let waited = step.network.map_or(0.0, |network| seconds(network.send_queue));
        let returns = (2.0 + f64::from(step.hops)) * from_device;
        let took = (seconds(step.parts.network) - waited - returns).max(0.0) / f64::from(count);
        ways.entry(ends.clone()).or_default().frames.entry(bytes).or_default().push(took);
    }
}

fn ends(plan: &Plan, client: NodeId, peer: NodeId) -> Ends {
    let group = |node: NodeId| {
        let name = &plan.host(plan.node(node).host).name;
        name.split(['[', '/']).next().unwrap_or(name).to_owned()
    };
    (group(client), group(peer))
}
