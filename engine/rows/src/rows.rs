//! The rows of requests, tokens and hops. All times are in ns.
//!
//! A time stamp is on the clock of the host that recorded it: the client's for requests and tokens, the peer's for
//! hops. Each duration is measured on one clock, so it is exact.
use super::parts::{NetworkParts, Parts};
use actors::id::{BlockRange, NodeId, RequestId, SessionId};
use actors::message::Failure;
use actors::record::{Carried, Ended, Served, Stepped};
use actors::time::{Duration, Timestamp};

/// One request: one `generate()` call of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRow {
    pub request: RequestId,
    pub session: Option<SessionId>,
    pub intended: u64,
    pub sent: u64,
    pub ended: u64,
    pub batch: u32,
    pub prompt: u32,
    /// The number of requested output tokens of each row of the batch.
    pub generate: u32,
    /// The number of generated tokens of each row of the batch.
    pub generated: u32,
    /// `ok`, the label of a failure, or `cut` if the request's end was never recorded.
    pub outcome: &'static str,
    pub route: Vec<NodeId>,
    pub schedule_delay: u64,
    /// The time to the first token; `None` if the request has generated no token.
    pub ttft: Option<u64>,
    /// The mean time between successive output tokens, rounded to the nearest ns; `None` for fewer than two tokens.
    pub tpot: Option<u64>,
    pub e2el: u64,
    /// The latency divided by the number of generated tokens of each row, rounded to the nearest ns; `None` without a
    /// token.
    pub ntpot: Option<u64>,
    pub discovery: u64,
    pub sessions: u64,
    /// The sum of the parts of the completed steps.
    pub parts: Parts,
    pub network: Option<NetworkParts>,
    /// The time that belongs to no completed step, such as a step that a failure aborted. `parts` and `unfinished` sum
    /// to `e2el`.
    pub unfinished: u64,
    /// The bytes of the request's activations over all links; `None` if the run does not record transfers.
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
    /// The index of the output token, counted from 1; 0 for the prefill of a request that asks for no tokens.
    pub output: u32,
    pub began: u64,
    pub seen: u64,
    /// The time of the step, `seen` - `began`: the TTFT for output 1, and the inter-token latency for others.
    pub took: u64,
    pub parts: Parts,
    /// The time of the embedding, which `parts.client` includes.
    pub embedding: u64,
    pub network: Option<NetworkParts>,
    pub hops: u16,
    pub bytes: Option<u64>,
    pub suspect: bool,
}

/// One step of a request at one peer.
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
    /// The transfer of the activation to the peer; `None` if the run does not record transfers.
    pub inward: Option<Way>,
    /// The transfer of the activation from the peer; `None` if the run does not record transfers.
    pub outward: Option<Way>,
}

/// The size of one activation, in bytes, and the parts of the time that it took from one node to another, in ns.
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

    /// Whether the request was shed: the client did not send it, because too many of its requests were in flight.
    pub fn shed(&self) -> bool {
        self.outcome == Failure::Shed.label()
    }

    /// Whether the request was sent and did not succeed.
    pub fn failed(&self) -> bool {
        !self.ok() && !self.shed()
    }

    /// Builds a request's row from the sums over its steps. `at_peers` is the time at which a peer first received a
    /// step of the request, and the time at which a peer last sent a result. These two times are used if the client's
    /// own record of the request is lost.
    pub(super) fn of(
        request: RequestId,
        ended: Option<&Ended>,
        steps: &StepSums,
        at_peers: Option<(Timestamp, Timestamp)>,
    ) -> RequestRow {
        let first = steps.first.as_ref();
        let (received, served) = (at_peers.map(|at| at.0.0), at_peers.map(|at| at.1.0));
        let sent = ended.map(|e| e.sent.0).or(first.map(|s| s.began)).or(received).unwrap_or(0);
        let end = ended.map(|e| e.at.0).or(steps.last.map(|s| s.1)).or(served).unwrap_or(sent);
        let intended = ended.map_or(sent, |e| e.intended.0);
        let generated = ended.map_or_else(|| steps.output.map_or(0, |last| last.0), |e| e.generated);
        let token = |number| steps.output.filter(|(output, _)| *output == number).map(|(_, seen)| seen);
        let mut row = RequestRow {
            request,
            session: ended.map(|e| e.session).or(first.map(|s| s.key.0)),
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
            ttft: steps.first_output.map(|at| at.saturating_sub(sent)),
            tpot: None,
            e2el: end.saturating_sub(sent),
            ntpot: None,
            discovery: ended.map_or(0, |e| e.discovery.0),
            sessions: ended.map_or(0, |e| e.sessions.0),
            parts: Parts::default(),
            network: None,
            unfinished: 0,
            bytes: steps.bytes.filter(|_| steps.count > 0),
            suspect: end < sent || steps.suspect,
        };
        row.ntpot = (generated > 0).then(|| divide(row.e2el, u64::from(generated)));
        if let (true, Some(t1), Some(tn)) = (generated > 1, steps.first_output, token(generated)) {
            row.tpot = Some(divide(tn.saturating_sub(t1), u64::from(generated - 1)));
        }
        row.take_parts(steps);
        row
    }

    /// Sets the parts to the sum over the steps. A completed request has no unfinished time, because each step begins
    /// where the previous step ended.
    fn take_parts(&mut self, steps: &StepSums) {
        let seen = steps.parts.sum();
        if seen > self.e2el {
            (self.parts, self.suspect) = (Parts::within(self.e2el, steps.parts).0, true);
        } else {
            self.parts = steps.parts;
            self.unfinished = self.e2el - seen;
            self.suspect |= self.ok() && self.unfinished > 0;
        }
        let network = steps.network.filter(|_| steps.count > 0);
        self.network = network.map(|network| NetworkParts::within(self.parts.network, network).0);
    }
}

/// The sums over the completed steps of a request. The request's row is made from them.
#[derive(Clone, Debug)]
pub(super) struct StepSums {
    count: u64,
    first: Option<FirstStep>,
    /// The session and position of the last step, and the time at which it ended.
    last: Option<((SessionId, u32), u64)>,
    /// The time of the first output token.
    first_output: Option<u64>,
    /// The index of the last output token, and the time at which it arrived.
    output: Option<(u32, u64)>,
    parts: Parts,
    /// The parts of the network's time; `None` unless they are known for every step.
    network: Option<NetworkParts>,
    bytes: Option<u64>,
    suspect: bool,
}

/// The first step of a request, by session and position.
#[derive(Clone, Copy, Debug)]
struct FirstStep {
    key: (SessionId, u32),
    began: u64,
    batch: u16,
    tokens: u32,
}

impl Default for StepSums {
    fn default() -> StepSums {
        StepSums {
            count: 0,
            first: None,
            last: None,
            first_output: None,
            output: None,
            parts: Parts::default(),
            network: Some(NetworkParts::default()),
            bytes: Some(0),
            suspect: false,
        }
    }
}

impl StepSums {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn add(&mut self, row: &TokenRow) {
        let key = (row.session, row.position);
        self.count += 1;
        if self.first.is_none_or(|first| key < first.key) {
            self.first = Some(FirstStep { key, began: row.began, batch: row.batch, tokens: row.tokens });
        }
        if self.last.is_none_or(|last| key >= last.0) {
            self.last = Some((key, row.seen));
        }
        if row.output == 1 {
            self.first_output.get_or_insert(row.seen);
        }
        if self.output.is_none_or(|(last, _)| row.output > last) {
            self.output = Some((row.output, row.seen));
        }
        self.parts.add(&row.parts);
        self.network = self.network.zip(row.network).map(|(mut sum, parts)| {
            sum.add(&parts);
            sum
        });
        self.bytes = self.bytes.zip(row.bytes).map(|(sum, bytes)| sum + bytes);
        self.suspect |= row.suspect;
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
        // The jobs and transfers of a failed attempt overlap with the recovery. Parts that exceed the time of such a
        // step are therefore no sign that clocks disagree.
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
    pub(super) fn of(hop: &Served, ways: &[Carried]) -> HopRow {
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
            inward: ways.iter().find(|way| way.to == hop.peer).map(Way::of),
            outward: ways.iter().find(|way| way.from == hop.peer).map(Way::of),
        }
    }
}

impl Way {
    fn of(way: &Carried) -> Way {
        Way { bytes: way.bytes, queue: way.queue.0, transmit: way.transmit.0, propagation: way.propagation.0 }
    }
}

/// Returns `whole / count`, rounded to the nearest integer.
fn divide(whole: u64, count: u64) -> u64 {
    (whole + count / 2) / count
}
