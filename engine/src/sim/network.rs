//! The simulated network: the link model of every host's NICs and of every path that has been used.
pub mod fair;

use crate::link::{Framing, Passage, Path, Stage};
use actors::id::HostId;
use actors::time::{Moment, Span};
use scenarios::plan::Plan;

pub struct Network<'p> {
    plan: &'p Plan,
    framing: Framing,
    egress: Vec<Stage>,
    ingress: Vec<Stage>,
    /// Hosts whose ingress changes nothing: asked for every message, and a byte each.
    receives_freely: Vec<bool>,
    /// For each host, sorted by the other end: the paths it has sent by.
    paths: Vec<Vec<(HostId, Path)>>,
}

impl<'p> Network<'p> {
    pub fn new(plan: &'p Plan) -> Network<'p> {
        let hosts = || plan.hosts.iter().zip(0..);
        let ingress: Vec<Stage> = hosts().map(|(host, id)| Stage::ingress(&host.ingress, plan.seed, id)).collect();
        Network {
            plan,
            framing: Framing::of(&plan.network.tcp),
            egress: hosts().map(|(host, id)| Stage::egress(&host.egress, plan.seed, id)).collect(),
            receives_freely: ingress.iter().map(Stage::is_free).collect(),
            ingress,
            paths: hosts().map(|_| Vec::new()).collect(),
        }
    }

    /// The sender's half: out of `from` and over the path to `to`, over a new connection if there is none yet.
    #[inline]
    pub fn depart(&mut self, now: Moment, from: HostId, to: HostId, bytes: u64) -> Passage {
        let index = |host: HostId| host.0 as usize;
        let found = self.paths[index(from)].binary_search_by_key(&to, |(host, _)| *host);
        let (place, handshake) = match found {
            Ok(place) => (place, Span::ZERO),
            Err(place) => {
                let mut path = Path::of(self.plan, from, to);
                // A connection is one, whoever opened it.
                let connected = self.paths[index(to)].binary_search_by_key(&from, |(host, _)| *host).is_ok();
                let handshake = if connected { Span::ZERO } else { path.handshake() };
                self.paths[index(from)].insert(place, (to, path));
                (place, handshake)
            }
        };
        let path = &mut self.paths[index(from)][place].1;
        path.depart(&mut self.egress[index(from)], now, bytes, handshake)
    }

    /// Whether `to` takes in whatever arrives at once, so that the receiver's half changes nothing.
    pub fn receives_freely(&self, to: HostId) -> bool {
        self.receives_freely[to.0 as usize]
    }

    /// The receiver's half, once the first byte is there.
    pub fn arrive(&mut self, to: HostId, passage: &mut Passage, bytes: u64) {
        self.ingress[to.0 as usize].pass(passage, self.framing.bytes(bytes));
    }
}
