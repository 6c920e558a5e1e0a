//! The simulated network: the link model of every host's NICs and of every path in use.
pub mod fair;

use actors::id::HostId;
use actors::time::{Duration, Timestamp};
use links::{Framing, Passage, Path, Stage};
use scenarios::plan::Plan;

pub struct Network<'p> {
    plan: &'p Plan,
    framing: Framing,
    egress: Vec<Stage>,
    ingress: Vec<Stage>,
    /// The NICs that have no effect. This copy takes two bytes per host, because it is read for every message.
    free: Vec<Free>,
    /// For each host, the paths by which it has sent.
    ways: Vec<Ways>,
}

/// Which NICs of a host have neither delay nor bandwidth limit.
#[derive(Clone, Copy)]
struct Free {
    egress: bool,
    ingress: bool,
}

/// The paths by which a host has sent. A large swarm has hundreds per host, so the sorted entries are small.
struct Ways {
    /// The destination of the last message and the index of its path. The next message often has the same destination.
    last: (HostId, u32),
    /// The destinations in ascending order, each with the index of its path.
    order: Vec<(HostId, u32)>,
    paths: Vec<Path>,
}

impl Ways {
    const NONE: Ways = Ways { last: (HostId(u32::MAX), 0), order: Vec::new(), paths: Vec::new() };

    #[inline]
    fn place(&self, to: HostId) -> Result<u32, usize> {
        if self.last.0 == to {
            return Ok(self.last.1);
        }
        self.order.binary_search_by_key(&to, |(host, _)| *host).map(|at| self.order[at].1)
    }

    fn add(&mut self, at: usize, to: HostId, path: Path) -> u32 {
        let place = self.paths.len() as u32;
        self.order.insert(at, (to, place));
        self.paths.push(path);
        place
    }
}

impl<'p> Network<'p> {
    pub fn new(plan: &'p Plan) -> Network<'p> {
        let hosts = || plan.hosts.iter().zip(0..);
        let egress: Vec<Stage> = hosts().map(|(host, id)| Stage::egress(&host.egress, plan.seed, id)).collect();
        let ingress: Vec<Stage> = hosts().map(|(host, id)| Stage::ingress(&host.ingress, plan.seed, id)).collect();
        let free = |(egress, ingress): (&Stage, &Stage)| Free { egress: egress.is_free(), ingress: ingress.is_free() };
        Network {
            plan,
            framing: Framing::of(&plan.network.tcp),
            free: egress.iter().zip(&ingress).map(free).collect(),
            egress,
            ingress,
            ways: hosts().map(|_| Ways::NONE).collect(),
        }
    }

    /// Computes the sender's half: from the host `from` and over the path to the host `to`, with connection set-up if
    /// the two have no connection yet.
    #[inline]
    pub fn depart(&mut self, now: Timestamp, from: HostId, to: HostId, bytes: u64) -> Passage {
        let index = |host: HostId| host.0 as usize;
        let (place, handshake) = match self.ways[index(from)].place(to) {
            Ok(place) => (place, Duration::ZERO),
            Err(at) => self.connect(from, to, at),
        };
        let ways = &mut self.ways[index(from)];
        ways.last = (to, place);
        let path = &mut ways.paths[place as usize];
        if self.free[index(from)].egress {
            path.depart_freely(now, bytes, handshake)
        } else {
            path.depart(&mut self.egress[index(from)], now, bytes, handshake)
        }
    }

    /// Adds the path from `from` to `to` at the position `at` of the order. Returns its index and the time of
    /// connection set-up.
    #[cold]
    fn connect(&mut self, from: HostId, to: HostId, at: usize) -> (u32, Duration) {
        let mut path = Path::of(self.plan, from, to);
        // One connection serves both directions, whichever host opened it.
        let connected = self.ways[to.0 as usize].place(from).is_ok();
        let handshake = if connected { Duration::ZERO } else { path.handshake() };
        path.stays();
        (self.ways[from.0 as usize].add(at, to, path), handshake)
    }

    /// Whether the ingress NIC of `to` has no effect, so that the receiver's half can be skipped.
    #[inline]
    pub fn receives_freely(&self, to: HostId) -> bool {
        self.free[to.0 as usize].ingress
    }

    /// Computes the receiver's half, when the first byte has reached the ingress NIC.
    pub fn arrive(&mut self, to: HostId, passage: &mut Passage, bytes: u64) {
        self.ingress[to.0 as usize].pass(passage, self.framing.bytes(bytes));
    }
}
