//! Resolves the policies of the swarm: checks quantities, and replaces names of hosts by the nodes on them.
use super::fault::{Fault, bounded};
use super::placed::{Placed, member};
use super::positive;
use crate::plan::{Node, Role};
use crate::schema::{self, Limit, Swarm};
use crate::units::Time;
use actors::dht::Kademlia;
use actors::id::NodeId;
use actors::limits;
use actors::placement::Placement;
use actors::policy::{self, Detection, Policies, Prefill, Scheduling, Speeds};
use actors::route::{Bans, Costs, Pings, Routing};
use actors::time;

/// The largest value of `fanout`, `next` and `middle` in `swarm.pings`: the largest number of peers that a node pings
/// at once.
const FANOUT: u32 = 1024;

/// The largest number of tokens of one step in a peer's self-benchmark.
const PROBE_TOKENS: u32 = 65_536;
/// The largest number of steps in a peer's self-benchmark.
const PROBE_STEPS: u32 = 100_000;

/// The smallest allowed heartbeat interval, and the smallest allowed timeout, in `swarm.detection`.
const SHORTEST: time::Duration = time::Duration::from_millis(1);

pub(super) fn resolve(swarm: &Swarm, hosts: &[Placed<'_>], nodes: &[Node]) -> Result<Policies, Fault> {
    Ok(Policies {
        routing: routing(swarm.routing.clone(), hosts, nodes)?,
        costs: costs(swarm.costs)?,
        pings: pings(swarm.pings)?,
        bans: bans(swarm.bans)?,
        forwarding: swarm.forwarding,
        prefill: prefill(swarm.prefill)?,
        detection: detection(swarm.detection)?,
        recovery: swarm.recovery,
        retry: policy::Retry {
            limit: match swarm.retry.limit {
                Limit::Of(limit) => limit,
                Limit::Off => u32::MAX,
            },
            first: swarm.retry.first.duration(),
            most: swarm.retry.most.duration(),
            jitter: within("swarm.retry.jitter", swarm.retry.jitter, 0.0, 1.0)?,
        },
        scheduling: scheduling(swarm.scheduling)?,
        batch_wait: swarm.batch_wait.duration(),
        admission: swarm.admission.map(Time::duration),
        lifetime: swarm.lifetime.map(Time::duration),
        speeds: speeds(swarm.throughput.speeds)?,
        dht: dht(swarm.dht)?,
        placement: placement(swarm.placement)?,
    })
}

fn routing(written: schema::Routing, hosts: &[Placed<'_>], nodes: &[Node]) -> Result<Routing, Fault> {
    written.try_map(|index, name| peer_on(&format!("swarm.routing.0.{index}"), &name, hosts, nodes))
}

/// Returns the peer on the host called `name`. If several peers are on the host, a number selects one: `box/1` is the
/// second peer of the host `box`.
pub(super) fn peer_on(at: &str, name: &str, hosts: &[Placed<'_>], nodes: &[Node]) -> Result<NodeId, Fault> {
    let peers = || {
        let all = (0u32..).zip(nodes).filter(|(_, node)| matches!(node.role, Role::Peer { .. }));
        all.map(|(id, node)| (NodeId(id), hosts[node.host.0 as usize].host.name.as_str()))
    };
    let (host, place) = match name.rsplit_once('/') {
        Some((host, place)) => (host, place.parse::<usize>().ok()),
        None => (name, None),
    };
    // The host of a group of one is named like the group, but the name of a member (`gpu[0]`) is also accepted.
    let host = match member(host) {
        Some((group, 0)) if hosts.iter().any(|placed| placed.host.name == group) => group,
        _ => host,
    };
    let here: Vec<NodeId> = peers().filter(|(_, on)| *on == host).map(|(id, _)| id).collect();
    let found = match (place, &here[..]) {
        (None, &[only]) if !name.contains('/') => Some(only),
        (None, [_, _, ..]) => {
            let fault = Fault::new(at, format!("the host `{host}` has {} peers", here.len()));
            return Err(fault.help(format!("say which peer is meant, counted from 0: \"{host}/0\"")));
        }
        (place, here) => place.and_then(|place| here.get(place).copied()),
    };
    found.ok_or_else(|| {
        let fault = Fault::unknown(at, "peer's host", name, peers().map(|(_, host)| host));
        match (fault.help.is_some(), peers().next()) {
            (false, Some((_, host))) => fault.help(format!("write a host of a group like `{host}`")),
            _ => fault,
        }
    })
}

fn costs(written: schema::Costs) -> Result<Costs, Fault> {
    within("swarm.costs.unknown_rps", written.unknown_rps, 1e-9, 1e12)?;
    within("swarm.costs.load", written.load, 0.0, 1e6)?;
    Ok(written.map(Time::duration))
}

fn pings(written: schema::Pings) -> Result<Pings, Fault> {
    bounded("swarm.pings.fanout", "fanout", written.fanout, 0, FANOUT)?;
    bounded("swarm.pings.next", "next", written.next, 0, FANOUT)?;
    bounded("swarm.pings.middle", "middle", written.middle, 0, FANOUT)?;
    within("swarm.pings.smoothing", written.smoothing, 0.0, 1.0)?;
    Ok(written.map(Time::duration))
}

/// Checks the prefill policy. Chunks must have at least one token, because empty chunks make no progress.
fn prefill(written: Prefill) -> Result<Prefill, Fault> {
    if let Prefill::Chunked { tokens } = written {
        bounded("swarm.prefill.tokens", "tokens", tokens, 1, limits::TOKENS_PER_REQUEST)?;
    }
    Ok(written)
}

/// Checks the scheduling policy. Batches must have at least one token and one step, because empty batches make no
/// progress.
fn scheduling(written: Scheduling) -> Result<Scheduling, Fault> {
    match written {
        Scheduling::Continuous { tokens, steps } => {
            bounded("swarm.scheduling.tokens", "tokens", tokens, 1, u32::MAX)?;
            bounded("swarm.scheduling.steps", "steps", steps, 1, u32::MAX)?;
        }
        Scheduling::PrefillThenDecode { tokens } => {
            bounded("swarm.scheduling.tokens", "tokens", tokens, 1, u32::MAX)?;
        }
        Scheduling::Fifo | Scheduling::DecodeFirst | Scheduling::Split { .. } => {}
    }
    Ok(written)
}

fn bans(written: schema::Bans) -> Result<Bans, Fault> {
    within("swarm.bans.growth", written.growth, 1.0, 1e3)?;
    Ok(written.map(Time::duration))
}

fn detection(written: schema::Detection) -> Result<Detection, Fault> {
    let schema::Detection { heartbeat, missed: _, step_timeout, open_timeout } = written;
    let times = [("heartbeat", heartbeat), ("step_timeout", step_timeout), ("open_timeout", open_timeout)];
    for (path, time) in times {
        if time.duration() < SHORTEST {
            let path = format!("swarm.detection.{path}");
            return Err(Fault::new(
                &path,
                format!(
                    "the time is {time}, but must be at least {SHORTEST}, since shorter ones would flood the network \
                     with pings"
                ),
            ));
        }
    }
    Ok(written.map(Time::duration))
}

/// Checks the probes of the self-benchmark: each has at least one step and one token, and not more of both than
/// allowed.
fn speeds(written: schema::Speeds) -> Result<Speeds, Fault> {
    if let schema::Speeds::Measured { decode, forward } = written {
        for (name, probe) in [("decode", decode), ("forward", forward)] {
            let at = format!("swarm.throughput.speeds.{name}");
            bounded(&format!("{at}.tokens"), "tokens", probe.tokens, 1, PROBE_TOKENS)?;
            bounded(&format!("{at}.steps"), "steps", probe.steps, 1, PROBE_STEPS)?;
        }
    }
    Ok(written.map(Time::duration))
}

fn dht(written: schema::Kademlia) -> Result<Kademlia, Fault> {
    let schema::Kademlia { k, alpha, parallel, replicas, timeout, announce, expiry, .. } = written;
    for (name, value) in [("k", k), ("alpha", alpha), ("replicas", replicas)] {
        bounded(&format!("swarm.dht.{name}"), name, u32::from(value), 1, limits::DHT_CONTACTS_PER_ANSWER as u32)?;
    }
    bounded("swarm.dht.parallel", "parallel", u32::from(parallel), 1, u32::from(u16::MAX))?;
    if expiry.0 <= announce.0 {
        let fault =
            Fault::new("swarm.dht.expiry", "the DHT records expire before their peers announce themselves again");
        return Err(fault.help("raise `expiry`; in Petals, records live for two periods of `announce`"));
    }
    if expiry.duration() > limits::DHT_LIFE {
        return Err(Fault::new(
            "swarm.dht.expiry",
            format!("the lifetime of a DHT record must be at most {}", limits::DHT_LIFE),
        ));
    }
    positive("swarm.dht.timeout", timeout)?;
    positive("swarm.dht.announce", announce)?;
    Ok(written.map(Time::duration))
}

fn placement(written: schema::Placement) -> Result<Placement, Fault> {
    positive("swarm.placement.period", written.period)?;
    within("swarm.placement.quality", written.quality, 0.0, 1.0)?;
    Ok(written.map(Time::duration))
}

pub(super) fn within(path: &str, value: f64, least: f64, most: f64) -> Result<f64, Fault> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Fault::new(path, format!("the value is {value}, but must be from {least} to {most}")))
}
