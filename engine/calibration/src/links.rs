//! Fits the links between hosts: round-trip times from pings, and bandwidths from how the times of frames grow with
//! their bytes.
//!
//! Clients ping peers, so only links between clients and peers are fitted, one for each pair of a client's and a peer's
//! host group. With too few pings, round-trip times are twice the times of the smallest frames. Only the total time of
//! a step's frames is known, and it is divided evenly among the frames. The resulting distribution is therefore
//! narrower than the true one.
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

/// The distribution of a link's round-trip times is fitted only if there are at least this many pings.
const PINGS: usize = 20;

/// The largest number of values that represent the distribution of a link's round-trip times in a profile.
const SHARES: usize = 20;

/// The two host groups that a link connects: the group of the client, then the group of the peer.
type Ends = (String, String);

#[derive(Default)]
struct Samples {
    /// The round-trip times in seconds.
    round_trips: Vec<f64>,
    /// The measured times of frames in seconds, by the size of the frame in bytes.
    frames: BTreeMap<u64, Vec<f64>>,
}

pub(super) fn fit(seen: &[ObservedRun], from_device: f64) -> Vec<profile::Way> {
    let mut samples: BTreeMap<Ends, Samples> = BTreeMap::new();
    // A shaped network hides the machine's own network, so runs with a shaped network are used only if there are no
    // other runs.
    let imposed = seen.iter().all(|run| run.plan.network.shape);
    for run in seen.iter().filter(|run| imposed || !run.plan.network.shape) {
        round_trips(run, &mut samples);
        frames(run, from_device, &mut samples);
    }
    samples.into_iter().filter_map(|(ends, samples)| path(ends, samples)).collect()
}

fn path((from, to): Ends, samples: Samples) -> Option<profile::Way> {
    let points = samples
        .frames
        .iter()
        .filter_map(|(bytes, times)| Some((*bytes as f64, rows::stats::steady_mean(times.clone())?)));
    let points: Vec<(f64, f64)> = points.collect();
    let slope = Line::through(&points).per_byte;
    let mut trips = match samples.round_trips.len() >= PINGS {
        true => samples.round_trips,
        false => samples.frames.into_values().next().unwrap_or_default().iter().map(|seconds| 2.0 * seconds).collect(),
    };
    trips.sort_by(f64::total_cmp);
    let rtt: Vec<_> = shares(&trips).into_iter().map(time).collect();
    let bandwidth = (slope > 0.0).then(|| Rate((8.0 / slope).round() as u64));
    (!rtt.is_empty()).then_some(profile::Way { from, to, rtt, bandwidth })
}

/// Divides ascending values into at most `SHARES` groups of equal size, and returns the mean of each group. Values
/// above the 99.5th percentile are clamped to it: a time that another process has made a second longer is no property
/// of the link.
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

/// Adds the round-trip times of a run's pings. The first ping to a peer is left out, because it waits for the
/// connection.
fn round_trips(run: &ObservedRun, samples: &mut BTreeMap<Ends, Samples>) {
    let mut connected = BTreeSet::new();
    let mut pings = run.pings.clone();
    pings.sort_by_key(|ping| ping.at);
    for ping in pings {
        if !connected.insert((ping.client, ping.peer)) {
            let samples = samples.entry(ends(&run.plan, ping.client, ping.peer)).or_default();
            samples.round_trips.push(ping.took.as_secs_f64());
        }
    }
}

/// Adds the times of a run's frames. Only steps are used that pass all their frames between the client and peers of one
/// host group.
fn frames(run: &ObservedRun, from_device: f64, samples: &mut BTreeMap<Ends, Samples>) {
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
        // The time for which frames queue for a busy link, and the time in which devices hand results to nodes, are not
        // properties of the link, so they are subtracted.
        let waited = step.network.map_or(0.0, |network| seconds(network.send_queue));
        let returns = (2.0 + f64::from(step.hops)) * from_device;
        let took = (seconds(step.parts.network) - waited - returns).max(0.0) / f64::from(count);
        samples.entry(ends.clone()).or_default().frames.entry(bytes).or_default().push(took);
    }
}

fn ends(plan: &Plan, client: NodeId, peer: NodeId) -> Ends {
    let group = |node: NodeId| {
        let name = &plan.host(plan.node(node).host).name;
        name.split(['[', '/']).next().unwrap_or(name).to_owned()
    };
    (group(client), group(peer))
}
