//! The rows of requests, tokens and hops. All times are in ns.
//!
//! Stamps are on the clock of the host that made them: a request's and a token's on the client's clock, a hop's on the
//! peer's clock. Durations are measured on one clock, so they are exact.
use super::parts::{NetworkParts, Parts};
use actors::id::{BlockRange, NodeId, RequestId, SessionId};
use actors::message::Failure;
use actors::record::{Carried, Ended, Served, Stepped};
use actors::time::Duration;

/// One request: one `generate()` of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRow {
    pub request: RequestId,
    pub session: Option<SessionId>,
    pub intended: u64,
    pub sent: u64,
    pub ended: u64,
    pub batch: u32,
    pub prompt: u32,
    /// The number of requested tokens per row.
    pub generate: u32,
    /// The number of generated tokens per row.
    pub generated: u32,
    /// `ok`, the label of a failure, or `cut` if its end was never recorded.
    pub outcome: &'static str,
    pub route: Vec<NodeId>,
    pub schedule_delay: u64,
    /// The time to first token; `None` if the request has no token.
    pub ttft: Option<u64>,
    /// The mean time between tokens, rounded to the nearest ns; `None` for fewer than two tokens.
    pub tpot: Option<u64>,
    pub e2el: u64,
    /// The latency divided by the number of tokens, rounded to the nearest ns; `None` without a token.
    pub ntpot: Option<u64>,
    pub discovery: u64,
    pub sessions: u64,
    /// The sum of the parts of the completed steps.
    pub parts: Parts,
    pub network: Option<NetworkParts>,
    /// The time outside of completed steps, such as the step that a failure aborted. `parts` and `unfinished` sum to
    /// `e2el`.
    pub unfinished: u64,
    /// The bytes of the request's activations over all links, if the world records them.
    pub bytes: Option<u64>,
    pub suspect: bool,
}

/// One step of a request: the prefill or a decode step. Each step gives one output token of each row.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRow {
    pub request: RequestId,
    pub session: SessionId,
    pub position: u32,
    /// The number of new input tokens of each row.
    pub tokens: u32,
    pub batch: u16,
    /// The number of the output token, from 1; 0 for the prefill of a request that asks for no tokens.
    pub output: u32,
    pub began: u64,
    pub seen: u64,
    /// seen - began: the TTFT for output 1, and the inter-token latency for later ones.
    pub took: u64,
    pub parts: Parts,
    /// The embedding's share of the client's part.
    pub embedding: u64,
    pub network: Option<NetworkParts>,
    pub hops: u16,
    pub bytes: Option<u64>,
    pub suspect: bool,
}

/// One step at one peer.
#[derive(Clone, Debug, PartialEq)]
pub struct HopRow {
    pub request: RequestId,
    pub session: SessionId,
    pub position: u32,
    pub tokens: u32,
    pub batch: u16,
    pub hop: u16,
    pub peer: NodeId,
    pub blocks: BlockRange,
    pub received: u64,
    pub started: u64,
    pub finished: u64,
    pub sent: u64,
    pub peer_queue: u64,
    pub compute: u64,
    /// The transfer to the peer, if the world records it.
    pub inward: Option<Way>,
    /// The transfer from the peer, if the world records it.
    pub outward: Option<Way>,
}

/// The delays of one activation on one link, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub bytes: u64,
    pub queue: u64,
    pub transmit: u64,
    pub propagation: u64,
}

impl RequestRow {
    pub fn warmup(&self) -> bool {
        self.request.is_warmup()
    }

    pub fn ok(&self) -> bool {
        self.outcome == "ok"
    }

    /// Whether the request was shed: not sent, because its client had its maximum of requests in flight.
    pub fn shed(&self) -> bool {
        self.outcome == Failure::Shed.label()
    }

    /// Whether the request was sent and did not succeed.
    pub fn failed(&self) -> bool {
        !self.ok() && !self.shed()
    }

    /// Builds a request's row. `steps` are the steps of the request, in order. `hops` are the request's hops at peers,
    /// which replace the stamps of a client whose record is lost.
    pub(super) fn of<'a>(
        request: RequestId,
        ended: Option<&Ended>,
        steps: &[TokenRow],
        hops: impl Iterator<Item = &'a Served> + Clone,
    ) -> RequestRow {
        let first = steps.first();
        let received = || hops.clone().map(|hop| hop.received.0).min();
        let served = || hops.clone().map(|hop| hop.sent.0).max();
        let sent = ended.map(|e| e.sent.0).or(first.map(|s| s.began)).or_else(received).unwrap_or(0);
        let end = ended.map(|e| e.at.0).or(steps.last().map(|s| s.seen)).or_else(served).unwrap_or(sent);
        let intended = ended.map_or(sent, |e| e.intended.0);
        let token = |output| steps.iter().find(|step| step.output == output).map(|step| step.seen);
        let generated = ended.map_or_else(|| steps.iter().map(|s| s.output).max().unwrap_or(0), |e| e.generated);
        let mut row = RequestRow {
            request,
            session: ended.map(|e| e.session).or(first.map(|s| s.session)),
            intended,
            sent,
            ended: end,
            batch: ended.map_or_else(|| first.map_or(0, |s| u32::from(s.batch)), |e| e.batch),
            prompt: ended.map_or_else(|| first.map_or(0, |s| s.tokens), |e| e.prompt),
            generate: ended.map_or(generated, |e| e.generate),
            generated,
            outcome: ended.map_or("cut", |e| e.outcome.map_or_else(|failure| failure.label(), |()| "ok")),
            route: ended.map(|e| e.route.clone()).unwrap_or_default(),
            schedule_delay: sent.saturating_sub(intended),
            ttft: token(1).map(|at| at.saturating_sub(sent)),
            tpot: None,
            e2el: end.saturating_sub(sent),
            ntpot: None,
            discovery: ended.map_or(0, |e| e.discovery.0),
            sessions: ended.map_or(0, |e| e.sessions.0),
            parts: Parts::default(),
            network: None,
            unfinished: 0,
            bytes: sum_if_all(steps.iter().map(|step| step.bytes)),
            suspect: end < sent || steps.iter().any(|step| step.suspect),
        };
        row.ntpot = (generated > 0).then(|| divide(row.e2el, u64::from(generated)));
        if let (true, Some(t1), Some(tn)) = (generated > 1, token(1), token(generated)) {
            row.tpot = Some(divide(tn.saturating_sub(t1), u64::from(generated - 1)));
        }
        row.take_parts(steps);
        row
    }

    /// Sets the parts to the sum over the steps. A completed request has no unfinished time, because each step begins
    /// where the previous step ended.
    fn take_parts(&mut self, steps: &[TokenRow]) {
        let mut measured = Parts::default();
        steps.iter().for_each(|step| measured.add(&step.parts));
        let seen = measured.sum();
        if seen > self.e2el {
            (self.parts, self.suspect) = (Parts::within(self.e2el, measured).0, true);
        } else {
            self.parts = measured;
            self.unfinished = self.e2el - seen;
            self.suspect |= self.ok() && self.unfinished > 0;
        }
        let mut network = NetworkParts::default();
        let known = steps.iter().all(|step| step.network.inspect(|parts| network.add(parts)).is_some());
        self.network = (known && !steps.is_empty()).then(|| NetworkParts::within(self.parts.network, network).0);
    }
}

impl TokenRow {
    pub(super) fn of(step: &Stepped, hops: &[&Served], ways: &[&Carried]) -> TokenRow {
        let took = step.seen.since(step.began).0;
        let measured = Parts {
            setup: (step.setup + step.recovery).0,
            client_queue: step.client_queue.0,
            client: step.client.0,
            peer_queue: hops.iter().map(|hop| hop.started.since(hop.received)).sum::<Duration>().0,
            compute: hops.iter().map(|hop| hop.finished.since(hop.started)).sum::<Duration>().0,
            network: 0,
        };
        let (parts, cut) = Parts::within(took, measured);
        let known = NetworkParts {
            send_queue: ways.iter().map(|way| way.queue).sum::<Duration>().0,
            transmit: ways.iter().map(|way| way.transmit).sum::<Duration>().0,
            propagation: ways.iter().map(|way| way.propagation).sum::<Duration>().0,
            other: 0,
        };
        let network = (!ways.is_empty()).then(|| NetworkParts::within(parts.network, known));
        // A failed attempt's jobs and transfers overlap with the recovery from it. Parts that exceed such a step are
        // therefore no sign of disagreeing clocks.
        let overlaps = step.recovery > Duration::ZERO;
        let disordered = hops.iter().any(|hop| !(hop.received <= hop.started && hop.started <= hop.finished));
        TokenRow {
            request: step.request,
            session: step.session,
            position: step.position,
            tokens: step.tokens,
            batch: step.batch,
            output: step.output,
            began: step.began.0,
            seen: step.seen.0,
            took,
            parts,
            embedding: step.embedding.0.min(parts.client),
            network: network.map(|(parts, _)| parts),
            hops: hops.len() as u16,
            bytes: (!ways.is_empty()).then(|| ways.iter().map(|way| way.bytes).sum()),
            suspect: disordered || step.seen < step.began || !overlaps && (cut || network.is_some_and(|(_, cut)| cut)),
        }
    }
}

impl HopRow {
    pub(super) fn of(hop: &Served, ways: &[&Carried]) -> HopRow {
        HopRow {
            request: hop.request,
            session: hop.session,
            position: hop.position,
            tokens: hop.tokens,
            batch: hop.batch,
            hop: hop.hop,
            peer: hop.peer,
            blocks: hop.blocks,
            received: hop.received.0,
            started: hop.started.0,
            finished: hop.finished.0,
            sent: hop.sent.0,
            peer_queue: hop.started.since(hop.received).0,
            compute: hop.finished.since(hop.started).0,
            inward: ways.iter().find(|way| way.to == hop.peer).map(|way| Way::of(way)),
            outward: ways.iter().find(|way| way.from == hop.peer).map(|way| Way::of(way)),
        }
    }
}

impl Way {
    fn of(way: &Carried) -> Way {
        Way { bytes: way.bytes, queue: way.queue.0, transmit: way.transmit.0, propagation: way.propagation.0 }
    }
}

fn sum_if_all(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let mut some = false;
    let sum = values.inspect(|_| some = true).sum::<Option<u64>>();
    sum.filter(|_| some)
}

/// Divides and rounds to the nearest integer.
fn divide(whole: u64, count: u64) -> u64 {
    (whole + count / 2) / count
}
