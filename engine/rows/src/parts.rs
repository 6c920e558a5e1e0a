//! The parts of the time of a step, of a request or of its network use. They sum exactly to the whole time.
//!
//! Each part except the network's is measured on one clock; the network's part is the rest of the whole. The measured
//! parts can exceed the whole only if the clocks of hosts disagree. The last parts are then reduced first, and the
//! function reports that it reduced them.

/// The parts of the time of a step or of a request, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The time of discovery, routing, session set-up and recovery.
    pub setup: u64,
    /// The time spent waiting for the client's own device.
    pub client_queue: u64,
    /// The time that the client computed: embedding, LM head and sampling.
    pub client: u64,
    /// The time spent waiting for the peers' devices.
    pub peer_queue: u64,
    /// The time in which the peers computed their blocks.
    pub compute: u64,
    /// The rest of the time: links, operating systems, and everything else that is not measured.
    pub network: u64,
}

/// The parts of the network's time, in ns. All but `other` are known from the link model, and all together sum exactly
/// to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkParts {
    /// The time spent waiting in the queues of NICs and links.
    pub send_queue: u64,
    /// The transfer time: the activation's bytes divided by the bandwidth.
    pub transmit: u64,
    pub propagation: u64,
    pub other: u64,
}

/// A whole time less the parts that have been subtracted from it so far. No part may be larger than this remainder.
struct Rest {
    left: u64,
    short: bool,
}

impl Rest {
    fn take(&mut self, part: u64) -> u64 {
        let taken = part.min(self.left);
        self.short |= taken < part;
        self.left -= taken;
        taken
    }
}

impl Parts {
    /// Returns the parts of the time `whole`, and whether a measured part had to be reduced. The network's part is the
    /// rest of `whole`; `measured.network` is ignored.
    pub fn within(whole: u64, measured: Parts) -> (Parts, bool) {
        let mut rest = Rest { left: whole, short: false };
        let mut parts = Parts {
            setup: rest.take(measured.setup),
            client_queue: rest.take(measured.client_queue),
            client: rest.take(measured.client),
            compute: rest.take(measured.compute),
            peer_queue: rest.take(measured.peer_queue),
            network: 0,
        };
        parts.network = rest.left;
        (parts, rest.short)
    }

    pub fn sum(&self) -> u64 {
        self.setup + self.client_queue + self.client + self.peer_queue + self.compute + self.network
    }

    pub fn add(&mut self, other: &Parts) {
        self.setup += other.setup;
        self.client_queue += other.client_queue;
        self.client += other.client;
        self.peer_queue += other.peer_queue;
        self.compute += other.compute;
        self.network += other.network;
    }
}

impl NetworkParts {
    /// Returns the parts of the network time `whole`, and whether a known part had to be reduced. The part `other` is
    /// the rest of `whole`; `measured.other` is ignored.
    pub fn within(whole: u64, measured: NetworkParts) -> (NetworkParts, bool) {
        let mut rest = Rest { left: whole, short: false };
        let mut parts = NetworkParts {
            propagation: rest.take(measured.propagation),
            transmit: rest.take(measured.transmit),
            send_queue: rest.take(measured.send_queue),
            other: 0,
        };
        parts.other = rest.left;
        (parts, rest.short)
    }

    pub fn sum(&self) -> u64 {
        self.send_queue + self.transmit + self.propagation + self.other
    }

    pub fn add(&mut self, other: &NetworkParts) {
        self.send_queue += other.send_queue;
        self.transmit += other.transmit;
        self.propagation += other.propagation;
        self.other += other.other;
    }
}
