//! Transfers that share NICs and paths max-min fairly, as fluid flows. Each connection carries one message at a time,
//! and all connections flow at the same time. The rates are computed anew whenever a transfer begins or ends.
use actors::id::HostId;
use actors::time::{Duration, Timestamp};
use links::share::{NONE, max_min};
use links::{Framing, LinkTable, Passage, Path, Stage};
use scenarios::plan::{Link, Plan};
use std::collections::{BTreeMap, VecDeque};

/// The transfers in progress, each with its message.
pub struct Fair<'p, T> {
    plan: &'p Plan,
    links: LinkTable,
    framing: Framing,
    connections: BTreeMap<(HostId, HostId), Connection<T>>,
    now: Timestamp,
    egress: Vec<Stage>,
    ingress: Vec<Stage>,
    /// The version of the rates. It grows whenever the time at which the next transfer begins or ends may have changed.
    version: u64,
}

/// One direction of a connection. The first transfer in the queue is the one being sent.
struct Connection<T> {
    pair: (HostId, HostId),
    path: Path,
    /// The bandwidth of the path without its NICs, in bytes per second; `None` if it is unlimited.
    capacity: Option<f64>,
    queue: VecDeque<Transfer<T>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Idle,
    /// Until this time the connection uses no bandwidth, because it is being set up or waits for acknowledgements.
    Held {
        until: Timestamp,
    },
    Flowing {
        since: Timestamp,
        left: f64,
        rate: f64,
    },
}

struct Transfer<T> {
    sent: Timestamp,
    handshake: Duration,
    payload: u64,
    carried: T,
}

/// A transfer with at most this many bytes left counts as ended. At any rate, so few bytes take less than half a
/// nanosecond.
const CRUMB: f64 = 1e-6;

impl<'p, T> Fair<'p, T> {
    pub fn new(plan: &'p Plan) -> Fair<'p, T> {
        let hosts = || plan.hosts.iter().zip(0..);
        Fair {
            plan,
            links: LinkTable::of(plan),
            framing: Framing::of(&plan.network.tcp),
            connections: BTreeMap::new(),
            now: Timestamp::default(),
            egress: hosts().map(|(host, id)| Stage::egress(&host.egress, plan.seed, id)).collect(),
            ingress: hosts().map(|(host, id)| Stage::ingress(&host.ingress, plan.seed, id)).collect(),
            version: 0,
        }
    }

    /// Returns the version of the current rates. A result of [`Fair::next`] holds only for the rates of one version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Adds a message of `payload` bytes to the queue of the connection from one host to another.
    pub fn offer(&mut self, now: Timestamp, (from, to): (HostId, HostId), payload: u64, carried: T) {
        self.advance(now);
        let back = self.connections.contains_key(&(to, from));
        let connection = self.connections.entry((from, to));
        let new = matches!(connection, std::collections::btree_map::Entry::Vacant(_));
        let connection = connection.or_insert_with(|| Connection {
            pair: (from, to),
            path: Path::new(&mut self.links, from, to),
            capacity: self.plan.network.link(from, to).bandwidth,
            queue: VecDeque::new(),
            state: State::Idle,
        });
        // A connection serves both directions, so it needs a handshake only if neither host has opened it.
        let handshake = if new && !back { connection.path.handshake(&self.links, from, to) } else { Duration::ZERO };
        connection.queue.push_back(Transfer { sent: now, handshake, payload, carried });
        if connection.state == State::Idle {
            connection.turn(&self.links, now);
        }
        self.settle();
    }

    /// Returns the number of messages in transit.
    pub fn in_transit(&self) -> usize {
        self.connections.values().map(|connection| connection.queue.len()).sum()
    }

    /// Returns the next time at which a transfer begins or ends, or `None` if there is no transfer.
    pub fn next(&self) -> Option<Timestamp> {
        self.connections.values().filter_map(|connection| connection.next(self.now)).min()
    }

    /// Removes the messages whose last byte has passed every NIC and path at `now`. Returns the passage and the content
    /// of each of these messages.
    pub fn take(&mut self, now: Timestamp) -> Vec<(Passage, T)> {
        self.advance(now);
        let mut done = Vec::new();
        for (&(from, to), connection) in &mut self.connections {
            match connection.state {
                State::Held { until } if until <= now => connection.flow(now, self.framing),
                State::Flowing { since, left, .. } if left <= CRUMB => {
                    let Some(transfer) = connection.queue.pop_front() else { continue };
                    let nics = [&mut self.egress[from.0 as usize], &mut self.ingress[to.0 as usize]];
                    let passage = connection.end(now, since, &transfer, nics, &self.links);
                    done.push((passage, transfer.carried));
                    connection.state = State::Idle;
                    if !connection.queue.is_empty() {
                        connection.turn(&self.links, now);
                    }
                }
                _ => {}
            }
        }
        self.settle();
        done
    }

    /// Subtracts from each transfer the bytes that have flowed since the last call.
    fn advance(&mut self, now: Timestamp) {
        let passed = now.since(self.now).as_secs_f64();
        self.now = now;
        for connection in self.connections.values_mut() {
            if let State::Flowing { left, rate, .. } = &mut connection.state {
                // Ends of transfers are scheduled in whole nanoseconds, rounded up, so the number of remaining bytes
                // may fall below 0.
                *left = if rate.is_finite() { *left - *rate * passed } else { 0.0 };
            }
        }
    }

    /// Computes new rates for all transfers that use bandwidth.
    fn settle(&mut self) {
        self.version += 1;
        let (mut capacities, mut flows) = (Vec::new(), Vec::new());
        let mut nics: BTreeMap<(bool, HostId), u32> = BTreeMap::new();
        for (&(from, to), connection) in &self.connections {
            if !matches!(connection.state, State::Flowing { .. }) {
                continue;
            }
            let mut resource = |capacity: Option<f64>, known: Option<(bool, HostId)>| {
                let Some(capacity) = capacity else { return NONE };
                if let Some(&index) = known.and_then(|key| nics.get(&key)) {
                    return index;
                }
                let index = capacities.len() as u32;
                capacities.push(capacity);
                known.map(|key| nics.insert(key, index));
                index
            };
            let (a, b) = (self.plan.host(from), self.plan.host(to));
            let nic = |link: &Link| link.bandwidth;
            flows.push([
                resource(nic(&a.egress), Some((false, from))),
                resource(connection.capacity, None),
                resource(nic(&b.ingress), Some((true, to))),
            ]);
        }
        let mut rates = max_min(&capacities, &flows).into_iter();
        for connection in self.connections.values_mut() {
            if let State::Flowing { rate, .. } = &mut connection.state {
                *rate = rates.next().expect("a rate for each flow");
            }
        }
    }
}

impl<T> Connection<T> {
    /// Begins the transfer that is first in the queue of the connection.
    fn turn(&mut self, links: &LinkTable, now: Timestamp) {
        let Some(first) = self.queue.front() else { return };
        let wait = self.path.admit(links, self.pair, now + first.handshake, first.payload);
        self.state = State::Held { until: now + first.handshake + wait };
    }

    fn flow(&mut self, now: Timestamp, framing: Framing) {
        let bytes = self.queue.front().map_or(0, |first| framing.bytes(first.payload));
        self.state = State::Flowing { since: now, left: bytes as f64, rate: 0.0 };
    }

    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        match self.state {
            State::Idle => None,
            State::Held { until } => Some(until),
            State::Flowing { left, .. } if left <= CRUMB => Some(now),
            State::Flowing { left, rate, .. } => Some(now + Duration((left / rate * 1e9).ceil() as u64)),
        }
    }

    /// Returns the passage of a transfer, given that its last byte passes the last bandwidth limit at `now`.
    fn end(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        transfer: &Transfer<T>,
        nics: [&mut Stage; 2],
        links: &LinkTable,
    ) -> Passage {
        let slowest = nics.iter().map(|nic| nic.ns_per_byte()).fold(self.path.ns_per_byte(links), f64::max);
        let alone = Duration((links.framing().bytes(transfer.payload) as f64 * slowest).round() as u64);
        let transmit = alone.min(now.since(since));
        let [egress, ingress] = nics;
        let propagation = egress.propagation() + self.path.propagation(links) + ingress.propagation();
        let queue = now.since(transfer.sent) - transfer.handshake - transmit;
        self.path.left(now);
        let passage = Passage::whole(transfer.sent, queue, transfer.handshake + propagation, transmit);
        self.path.in_order(passage)
    }
}

#[cfg(test)]
mod tests;
