//! The parts of a time, which sum exactly to the whole.
//!
//! A part is what somebody measured on one clock; the network's part is the rest. Where measured parts exceed the whole, which only
//! clocks that disagree can bring about, later parts are cut down first, and the caller is told.

/// Where the time of a step or of a request went, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Discovery, routing and session set-up.
    pub setup: u64,
    /// Waiting for the client's own device.
    pub client_queue: u64,
    /// Embedding, head and sampling.
    pub client: u64,
    /// Waiting for the peers' devices.
    pub peer_queue: u64,
    /// The peers' blocks.
    pub compute: u64,
    /// The rest: links, kernels, and everything nobody stamped.
    pub network: u64,
}

/// What is known of the network's part, in ns: sums exactly to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkParts {
    /// Waiting for NICs and links.
    pub send_queue: u64,
    /// Bytes over bandwidth.
    pub transmit: u64,
    pub propagation: u64,
    pub other: u64,
}

/// Takes parts off a whole, one after another, none beyond what is left.
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
    /// `measured` without its `network`, which becomes the rest of `whole`; whether parts had to be cut down.
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
    /// `measured` without its `other`, which becomes the rest of `whole`; whether parts had to be cut down.
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
