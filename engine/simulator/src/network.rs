//! The simulated network: the link model of every host's NICs and of every path that has been used.
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
    /// Asked for every message, and two bytes for each host.
    free: Vec<Free>,
    /// For each host, where it has sent to.
    ways: Vec<Ways>,
}

/// Which NICs of a host change nothing.
#[derive(Clone, Copy)]
struct Free {
    egress: bool,
    ingress: bool,
}

/// The paths by which a host has sent: hundreds in a large swarm, so what is kept sorted is small.
struct Ways {
    /// Where the last message went, and by which path: often the next goes there too.
    last: (HostId, u32),
    /// The path to each host, by its place among them.
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

    /// The sender's half: out of `from` and over the path to `to`, over a new connection if there is none yet.
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

    /// The path from `from` to `to`, which is to stand at `at` in the order, and what connecting takes.
    #[cold]
    fn connect(&mut self, from: HostId, to: HostId, at: usize) -> (u32, Duration) {
        let mut path = Path::of(self.plan, from, to);
        // A connection is one, whoever opened it.
        let connected = self.ways[to.0 as usize].place(from).is_ok();
        let handshake = if connected { Duration::ZERO } else { path.handshake() };
        path.stays();
        (self.ways[from.0 as usize].add(at, to, path), handshake)
    }

    /// Whether `to` takes in whatever arrives at once, so that the receiver's half changes nothing.
    #[inline]
    pub fn receives_freely(&self, to: HostId) -> bool {
        self.free[to.0 as usize].ingress
    }

    /// The receiver's half, once the first byte is there.
    pub fn arrive(&mut self, to: HostId, passage: &mut Passage, bytes: u64) {
        self.ingress[to.0 as usize].pass(passage, self.framing.bytes(bytes));
    }
}
