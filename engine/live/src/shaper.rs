//! Applies the link model to real frames: the model computes a delivery time for each frame, and a frame that arrives
//! earlier is held until that time.
//!
//! The sender computes the delays of its egress NIC and of the path, and sends the frame at once. The receiver adds the
//! delay of its ingress NIC and holds the frame until the delivery time, so the real delay of the loopback is not added
//! to the computed delays. tokio's timers fire more than a millisecond late, so the shaper is a separate thread that
//! sleeps until shortly before the delivery time and then spins.
use super::arrival::{Arrival, Held};
use super::clock;
use actors::id::HostId;
use actors::message::{Message, Returned};
use actors::record::{Carried, Event};
use actors::time::{Duration, Timestamp};
use links::{LinkTable, Passage, Path, Stage};
use scenarios::plan::Plan;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration as StdDuration;
use tokio::sync::mpsc::UnboundedSender;

/// The time before a delivery time at which the thread wakes and begins to spin. A timed sleep is expected to end late
/// by at most this time.
const SPIN: Duration = Duration::from_micros(150);

/// Delays the frames of one host's swarm traffic, so that each arrives at the time that the link model computes.
pub struct Shaper {
    here: HostId,
    links: LinkTable,
    egress: Stage,
    ingress: Stage,
    paths: BTreeMap<HostId, Way>,
    holding: Sender<Held>,
    /// The number of undelivered frames: those that the thread holds, and those that it has passed on.
    held: usize,
}

/// The path to one other host.
struct Way {
    path: Path,
    /// Whether one of the two hosts has dialled the other. Only the first frame of a connection is delayed by the
    /// handshake.
    connected: bool,
}

impl Shaper {
    /// Starts the shaper's thread, which sends held frames to `arrivals` at their delivery times.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(plan: &Plan, here: HostId, arrivals: UnboundedSender<Arrival>) -> io::Result<Shaper> {
        let host = plan.host(here);
        let (holding, frames) = channel();
        thread::Builder::new().name("shaper".to_owned()).spawn(move || hold(&frames, &arrivals))?;
        Ok(Shaper {
            here,
            links: LinkTable::of(plan),
            egress: Stage::egress(&host.egress, plan.seed, here.0),
            ingress: Stage::ingress(&host.ingress, plan.seed, here.0),
            paths: BTreeMap::new(),
            holding,
            held: 0,
        })
    }

    /// Computes the delays of a message to the host `there` in this host's egress NIC and on the path.
    pub fn depart(&mut self, there: HostId, message: &Message) -> Passage {
        let Shaper { here, links, egress, paths, .. } = self;
        let way = way(paths, links, *here, there);
        let handshake = if way.connected { Duration::ZERO } else { way.path.handshake(links, *here, there) };
        way.connected = true;
        way.path.depart(links, (*here, there), Some(egress), clock::now(), message.wire_bytes(), handshake)
    }

    /// Computes the delay of a frame in this host's ingress NIC, and so the frame's delivery time. Returns the message
    /// if the delivery time has passed and no other frame is held; otherwise holds the frame. For a step or its result,
    /// also returns the event that records the computed delays.
    pub fn arrive(&mut self, plan: &Plan, mut passage: Passage, frame: Held) -> (Option<Message>, Option<Event>) {
        let Held { from, to, ref message, .. } = frame;
        if let Some(node) = plan.nodes.get(from.0 as usize) {
            way(&mut self.paths, &mut self.links, self.here, node.host).connected = true;
        }
        let bytes = message.wire_bytes();
        self.ingress.pass(&mut passage, self.links.framing().bytes(bytes));
        let carried = match message {
            Message::Step(step) | Message::Returned(Returned(step)) => Some(Event::Carried(Carried {
                session: step.session,
                position: step.position,
                tokens: step.activation.tokens,
                from,
                to,
                bytes,
                queue: passage.queue,
                transmit: passage.transmit(),
                propagation: passage.propagation,
            })),
            _ => None,
        };
        if self.held == 0 && passage.last <= clock::now() {
            return (Some(frame.message), carried);
        }
        self.held += 1;
        // Sending cannot fail: the thread ends only when this sender is dropped.
        let _ = self.holding.send(Held { until: passage.last, ..frame });
        (None, carried)
    }

    /// Counts the delivery of a held frame.
    pub fn delivered(&mut self) {
        self.held = self.held.saturating_sub(1);
    }
}

fn way<'p>(paths: &'p mut BTreeMap<HostId, Way>, links: &mut LinkTable, here: HostId, there: HostId) -> &'p mut Way {
    paths.entry(there).or_insert_with(|| Way { path: Path::new(links, here, there), connected: false })
}

/// Holds frames until their delivery times. Frames with the same time keep their order of arrival.
fn hold(frames: &Receiver<Held>, arrivals: &UnboundedSender<Arrival>) {
    let mut queue: BinaryHeap<Reverse<(Timestamp, u64)>> = BinaryHeap::new();
    let mut waiting: BTreeMap<u64, Held> = BTreeMap::new();
    let mut count = 0;
    loop {
        let next = match queue.peek() {
            None => frames.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(Reverse((until, _))) => await_until(*until, frames),
        };
        match next {
            Ok(held) => {
                count += 1;
                queue.push(Reverse((held.until, count)));
                waiting.insert(count, held);
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let due = queue.pop().and_then(|Reverse((_, number))| waiting.remove(&number));
                let Some(held) = due else { continue };
                if arrivals.send(Arrival::Held(held)).is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits for the next frame. If no frame arrives before `until`, returns the error `Timeout` as soon as `until` is
/// reached.
fn await_until(until: Timestamp, frames: &Receiver<Held>) -> Result<Held, RecvTimeoutError> {
    let left = until.since(clock::now());
    if left > SPIN {
        match frames.recv_timeout(StdDuration::from_nanos((left - SPIN).0)) {
            Err(RecvTimeoutError::Timeout) => {}
            other => return other,
        }
    }
    loop {
        match frames.try_recv() {
            Ok(held) => return Ok(held),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) if clock::now() >= until => return Err(RecvTimeoutError::Timeout),
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
        }
    }
}

#[cfg(test)]
mod tests;
