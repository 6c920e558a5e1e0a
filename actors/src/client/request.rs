//! One request in flight at a client: where it stands and what its present step has cost.
use crate::id::{NodeId, RequestId, SessionId};
use crate::message::{Hop, Ticket};
use crate::time::{Moment, Span};

pub(super) struct Request {
    pub id: RequestId,
    pub session: SessionId,
    /// Tokens of each row to generate.
    pub generate: u32,
    pub sent: Moment,
    pub deadline: Moment,
    pub phase: Phase,
    pub route: Vec<Hop>,
    /// Tokens of each row that the peers' caches hold.
    pub position: u32,
    pub generated: u32,
    pub discovery: Span,
    pub sessions: Span,
    pub step: StepCost,
    /// Ids generated for row 0.
    pub output: Vec<u32>,
}

/// What the request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Finding,
    /// The session at this hop.
    Opening(u16),
    Embedding(Ticket),
    /// With the peers.
    Away,
    Heading(Ticket),
}

/// The parts of a step that the client itself measures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StepCost {
    pub began: Moment,
    pub tokens: u32,
    pub setup: Span,
    pub queue: Span,
    pub compute: Span,
    /// When the present job was given to the device.
    pub submitted: Moment,
}

impl StepCost {
    pub fn restart(&mut self, now: Moment) {
        *self = StepCost { began: now, ..StepCost::default() };
    }
}

impl Request {
    pub fn new(id: RequestId, generate: u32, now: Moment, deadline: Moment) -> Request {
        Request {
            id,
            session: SessionId::new(id.client, 0),
            generate,
            sent: now,
            deadline,
            phase: Phase::Finding,
            route: Vec::new(),
            position: 0,
            generated: 0,
            discovery: Span::ZERO,
            sessions: Span::ZERO,
            step: StepCost { began: now, ..StepCost::default() },
            output: Vec::new(),
        }
    }

    /// The peers that were asked for a session, so that each can be told of its end.
    pub fn asked(&self) -> impl Iterator<Item = NodeId> + '_ {
        let count = match self.phase {
            Phase::Finding => 0,
            Phase::Opening(hop) => usize::from(hop) + 1,
            Phase::Embedding(_) | Phase::Away | Phase::Heading(_) => self.route.len(),
        };
        self.route[..count].iter().map(|hop| hop.peer)
    }
}
