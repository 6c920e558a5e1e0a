//! One request in flight at a client: where it stands, and what its present step has cost.
//!
//! A request is a state machine of its own. It acts through effects, and says when it is over; which requests there are
//! and what comes after one is the client's affair. What it does about peers that fail stands in [`super::mend`].
use super::context::RequestContext;
use super::hop_session::{HopSession, State};
use super::recovery::PeerTrouble;
use crate::canary::{Canary, planted};
use crate::id::{NodeId, RequestId, SessionId};
use crate::message::{
    Activation, Close, Computed, Failure, Forwarding, Hop, Ids, Job, Message, Open, Output, Refusal, Returned, Step,
    Ticket, Work,
};
use crate::policy::Recovery;
use crate::record::{Ended, Event, Stepped};
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use std::sync::Arc;

/// What is asked of the swarm at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub batch: u16,
    /// Tokens of each row of the prompt.
    pub prompt: u32,
    /// Tokens to generate for each row; 0 ends the request when its prefill returns.
    pub generate: u32,
}

impl Asked {
    /// Tokens that it needs room for in every cache: its rows times its length.
    pub fn cache_tokens(&self) -> u64 {
        u64::from(self.batch) * (u64::from(self.prompt) + u64::from(self.generate))
    }
}

pub(super) struct Request {
    pub id: RequestId,
    pub asked: Asked,
    /// When it was due; `sent` is when the client turned to it.
    intended: Timestamp,
    sent: Timestamp,
    pub deadline: Timestamp,
    pub(super) phase: Phase,
    pub(super) hop_sessions: Vec<HopSession>,
    /// The first session of the present route.
    attempt: SessionId,
    /// Legs over all routes so far.
    counted: u32,
    /// Jobs given to the client's device so far.
    jobs: u32,
    /// Tokens of each row that the peers' caches hold.
    pub(super) position: u32,
    /// Tokens of each row generated on the present route; after a restart fewer than `generated`.
    pub(super) made: u32,
    pub(super) generated: u32,
    discovery: Duration,
    sessions: Option<Duration>,
    pub(super) step: StepCost,
    /// When a peer was last given something to do, and how many bytes that was.
    pub(super) waiting: Timestamp,
    pub(super) burden: u64,
    pub(super) failure: Option<Box<PeerTrouble>>,
    /// The ids of a prompt of which a chunk is still to be sent, where a world computes values.
    prompt: Ids,
    /// Ids generated for row 0.
    output: Vec<u32>,
}

/// What the request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Peers to be known, or to be there.
    Finding,
    /// The session of this hop_session.
    Opening(usize),
    Embedding(Ticket),
    /// With the peer of this hop_session; pushed, with any of them.
    Away(usize),
    Heading(Ticket),
}

/// The parts of a step that the client itself measures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StepCost {
    pub began: Timestamp,
    pub tokens: u32,
    pub setup: Duration,
    queue: Duration,
    compute: Duration,
    embedding: Duration,
    pub recovery: Duration,
    /// When the present job was given to the device.
    submitted: Timestamp,
    /// When it was first on its way to the peers.
    pub left: Timestamp,
}

impl StepCost {
    fn begin(now: Timestamp) -> StepCost {
        StepCost { began: now, left: now, ..StepCost::default() }
    }
}

/// Whether a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Progress {
    Going,
    Over(Result<(), Failure>),
}

use Progress::{Going, Over};

impl Request {
    pub fn new(id: RequestId, asked: Asked, intended: Timestamp, now: Timestamp, deadline: Timestamp) -> Request {
        Request {
            id,
            asked,
            intended,
            sent: now,
            deadline,
            phase: Phase::Finding,
            hop_sessions: Vec::new(),
            attempt: SessionId::new(id, 0),
            counted: 0,
            jobs: 0,
            position: 0,
            made: 0,
            generated: 0,
            discovery: Duration::ZERO,
            sessions: None,
            step: StepCost::begin(now),
            waiting: now,
            burden: 0,
            failure: None,
            prompt: None,
            output: Vec::new(),
        }
    }

    pub fn is_finding(&self) -> bool {
        self.phase == Phase::Finding
    }

    /// The hop_session of this session, if it still is one: an answer from an earlier hop_session comes too late to matter.
    pub(super) fn hop_session(&self, session: SessionId) -> Option<usize> {
        self.hop_sessions.iter().position(|hop_session| hop_session.session == session)
    }

    /// The hop_session of this session, if this is its peer: nobody speaks for another.
    pub(super) fn leg_of(&self, peer: NodeId, session: SessionId) -> Option<usize> {
        self.hop_session(session).filter(|hop_session| self.hop_sessions[*hop_session].hop.peer == peer)
    }

    /// The session was asked for of this peer, and is wanted still.
    pub fn awaits(&self, peer: NodeId, session: SessionId) -> bool {
        self.leg_of(peer, session).is_some_and(|hop_session| self.hop_sessions[hop_session].state == State::Asked)
    }

    /// Discovery has answered for the first time.
    pub fn on_found(&mut self, turn: &mut RequestContext<'_>) -> Progress {
        self.discovery = turn.now.since(self.sent);
        self.take_route(turn)
    }

    /// Takes to a fresh route and opens a session on each of its hop_sessions, one after another, as Petals does.
    pub fn take_route(&mut self, turn: &mut RequestContext<'_>) -> Progress {
        let without = self.failure.as_ref().map_or(Vec::new(), |failure| failure.avoid.clone());
        let route = turn.route(self.id, turn.config.blocks, self.asked.cache_tokens(), &without);
        let Some(hop_sessions) = route.and_then(|route| self.name(route, turn.now)) else {
            return self.without_route(turn);
        };
        self.attempt = hop_sessions[0].session;
        self.hop_sessions = hop_sessions;
        self.phase = Phase::Opening(0);
        self.open(turn, 0);
        Going
    }

    /// The hop_sessions of a route, each with a new session; nothing, if the request has had too many.
    pub(super) fn name(&mut self, route: Vec<Hop>, now: Timestamp) -> Option<Vec<HopSession>> {
        let first = self.counted;
        self.counted += route.len() as u32;
        if self.counted > crate::limits::LEGS_PER_REQUEST {
            return None;
        }
        let hop_session = |(hop, hop_session)| HopSession::new(hop, SessionId::new(self.id, hop_session as u16), now);
        Some(route.into_iter().zip(first..).map(hop_session).collect())
    }

    pub(super) fn open(&mut self, turn: &mut RequestContext<'_>, hop_session: usize) {
        let policies = &turn.config.policies;
        let pushed = policies.forwarding == Forwarding::Push;
        let next = if pushed { self.hop_sessions.get(hop_session + 1).map(HopSession::as_next) } else { None };
        let following = self.hop_sessions.get(hop_session + 1);
        let complete = following.is_none_or(|next| !next.fresh && next.proven);
        let cached = policies.recovery != Recovery::Cacheless;
        let HopSession { hop, session, fresh, .. } = self.hop_sessions[hop_session];
        let open = Open {
            session,
            blocks: hop.blocks,
            hop: hop_session as u16,
            next,
            batch: u32::from(self.asked.batch),
            max_length: self.asked.prompt + self.asked.generate,
            cached,
            keep: next.is_some() && policies.recovery.keeps(),
            wanted: if fresh && complete && cached { self.position } else { 0 },
        };
        self.hop_sessions[hop_session].state = State::Asked;
        self.hop_sessions[hop_session].hear(turn.now);
        (self.waiting, self.burden) = (turn.now, 0);
        turn.view.opening(hop.peer);
        turn.send(hop.peer, Message::Open(Box::new(open)));
    }

    pub fn on_opened(&mut self, turn: &mut RequestContext<'_>, session: SessionId) {
        let Some(hop_session) =
            self.hop_session(session).filter(|hop_session| self.hop_sessions[*hop_session].state == State::Asked)
        else {
            return;
        };
        self.hop_sessions[hop_session].state = State::Open;
        self.hop_sessions[hop_session].hear(turn.now);
        match self.phase {
            Phase::Opening(at) if at == hop_session && hop_session + 1 < self.hop_sessions.len() => {
                self.phase = Phase::Opening(hop_session + 1);
                self.open(turn, hop_session + 1);
            }
            Phase::Opening(at) if at == hop_session => {
                let took = turn.now.since(self.sent) - self.discovery;
                self.sessions.get_or_insert(took);
                if self.failure.is_none() {
                    self.step.setup = turn.now.since(self.step.began);
                } else if self.made == self.generated {
                    self.mended(turn.now);
                }
                self.embed_prompt(turn);
            }
            _ => self.resume_if_open(turn),
        }
    }

    fn draw_prompt(&self, turn: &RequestContext<'_>) -> Ids {
        let (batch, length) = (usize::from(self.asked.batch), self.asked.prompt as usize);
        let prompts = turn.config.prompts.as_ref()?;
        Some(Arc::new(prompts.draw(turn.config.seed, self.id, batch, length)))
    }

    /// The next step of the prompt, of which the peers hold what is before the position.
    fn embed_prompt(&mut self, turn: &mut RequestContext<'_>) {
        let (from, length) = (self.position as usize, self.asked.prompt as usize);
        let tokens = turn.config.policies.prefill.next(self.asked.prompt - self.position);
        // Drawn once, and held until its last chunk sets out.
        let whole = self.prompt.take().or_else(|| self.draw_prompt(turn));
        let ids = whole.as_ref().map(|ids| match tokens == self.asked.prompt {
            true => ids.clone(),
            false => {
                let part = ids.chunks(length).flat_map(|row| &row[from..from + tokens as usize]);
                Arc::new(part.copied().collect())
            }
        });
        self.prompt = whole.filter(|_| from + (tokens as usize) < length);
        self.embed(turn, tokens, ids);
    }

    fn embed(&mut self, turn: &mut RequestContext<'_>, tokens: u32, ids: Ids) {
        self.step.tokens = tokens;
        let (batch, position) = (self.asked.batch, self.position);
        self.compute(turn, Phase::Embedding, Work::Embed { batch, tokens, position, ids });
    }

    fn compute(&mut self, turn: &mut RequestContext<'_>, phase: fn(Ticket) -> Phase, work: Work) {
        self.jobs += 1;
        let ticket = super::ticket(self.id, self.jobs);
        self.phase = phase(ticket);
        self.step.submitted = turn.now;
        turn.out.push(Effect::Compute(Job { ticket, work }));
    }

    pub fn on_computed(&mut self, turn: &mut RequestContext<'_>, done: Computed) -> Progress {
        if !matches!(self.phase, Phase::Embedding(ticket) | Phase::Heading(ticket) if ticket == done.ticket) {
            return Going;
        }
        // What is made again after a restart is all recovery.
        if self.made == self.generated {
            self.step.queue += done.started.since(self.step.submitted);
            let took = done.finished.since(done.started);
            self.step.compute += took;
            if matches!(self.phase, Phase::Embedding(_)) {
                self.step.embedding += took;
            }
        }
        match done.output {
            Ok(Output::Hidden(activation)) => self.leave(turn, activation),
            Ok(Output::Tokens(ids)) => self.on_tokens(turn, ids),
            Ok(Output::Loaded | Output::Tried | Output::Batch(_)) => {
                unreachable!("a client neither loads twice nor computes batches")
            }
            Err(Refusal::NotFinite(what)) => Over(Err(Failure::ClientNotFinite(what))),
            Err(_) => Over(Err(Failure::ClientDevice)),
        }
    }

    /// A step, embedded, sets out.
    fn leave(&mut self, turn: &mut RequestContext<'_>, activation: Activation) -> Progress {
        let first = &mut self.hop_sessions[0];
        let mut step = Step { session: first.session, position: self.position, activation };
        if turn.config.policies.recovery.keeps() {
            first.history.append(&step.activation);
        }
        if turn.config.policies.recovery == Recovery::Cacheless {
            step.position = 0;
            step.activation = first.history.since(0).unwrap_or(step.activation);
        }
        if self.made == self.generated {
            self.step.left = turn.now;
        }
        self.pass(turn, 0, step)
    }

    /// Gives a step to a hop_session, or mends what keeps it from being given.
    fn pass(&mut self, turn: &mut RequestContext<'_>, hop_session: usize, step: Step) -> Progress {
        self.phase = Phase::Away(hop_session);
        let to = &mut self.hop_sessions[hop_session];
        // One that takes another's place gets this step with what came before.
        if !to.is_wanting() {
            to.hear(turn.now);
            (self.waiting, self.burden) = (turn.now, step.activation.bytes());
            turn.out.push(Effect::Send { to: to.hop.peer, message: Message::Step(step) });
        }
        self.mend_if_due(turn)
    }

    pub fn on_returned(&mut self, turn: &mut RequestContext<'_>, from: NodeId, returned: Returned) -> Progress {
        let Returned(mut step) = returned;
        let Some(hop_session) = self.leg_of(from, step.session) else { return Going };
        self.hop_sessions[hop_session].hear(turn.now);
        let relayed = turn.config.policies.forwarding == Forwarding::Relay;
        let expected = match self.phase {
            Phase::Away(at) if relayed => at == hop_session,
            Phase::Away(_) => hop_session + 1 == self.hop_sessions.len(),
            _ => false,
        };
        // A replay begins earlier than the step it is for, and ends with it.
        let end = step.position.checked_add(step.activation.tokens);
        let present = end == Some(self.position + self.step.tokens) || planted(Canary::LateAnswerAccepted);
        if !expected || !present || step.activation.batch != self.asked.batch {
            return Going;
        }
        let Some(next) = self.hop_sessions.get_mut(hop_session + 1).filter(|_| relayed) else {
            return self.on_through(turn, step.activation);
        };
        step.session = next.session;
        match turn.config.policies.recovery {
            Recovery::Cacheless => {
                next.history.clear();
                next.history.append(&step.activation);
            }
            Recovery::Replay => {
                let has = next.history.tokens();
                step.activation = step.activation.skip(has.saturating_sub(step.position));
                step.position = has;
                next.history.append(&step.activation);
            }
            Recovery::Restart | Recovery::Off => {}
        }
        self.pass(turn, hop_session + 1, step)
    }

    /// A step is through all hop_sessions.
    fn on_through(&mut self, turn: &mut RequestContext<'_>, activation: Activation) -> Progress {
        self.hop_sessions
            .iter_mut()
            .filter(|hop_session| !hop_session.is_wanting())
            .for_each(|hop_session| hop_session.proven = true);
        self.recovered(turn);
        let through = self.position + self.step.tokens;
        if through < self.asked.prompt {
            self.position = through;
            self.embed_prompt(turn);
            return Going;
        }
        if self.asked.generate == 0 {
            self.record_step(turn);
            return Over(Ok(()));
        }
        self.compute(turn, Phase::Heading, Work::Head { request: self.id, output: self.made + 1, input: activation });
        Going
    }

    /// One more token of each row is there.
    fn on_tokens(&mut self, turn: &mut RequestContext<'_>, ids: Ids) -> Progress {
        self.made += 1;
        self.position += self.step.tokens;
        if self.made + u32::from(planted(Canary::TokenDoubledAfterRestart)) <= self.generated {
            // It was there before a restart.
            if self.made == self.generated {
                self.mended(turn.now);
            }
            self.embed(turn, 1, ids);
            return Going;
        }
        self.generated = self.made;
        let first = ids.as_ref().and_then(|ids| ids.first());
        self.output.extend(first);
        let stopped = first.is_some_and(|id| turn.config.stops.contains(id));
        self.position -= self.step.tokens;
        self.record_step(turn);
        self.position += self.step.tokens;
        if stopped || self.generated == self.asked.generate {
            return Over(Ok(()));
        }
        self.step = StepCost::begin(turn.now);
        self.embed(turn, 1, ids);
        Going
    }

    fn record_step(&self, turn: &mut RequestContext<'_>) {
        // A prefill in chunks is one step of the request.
        let prompt = self.asked.prompt;
        let (position, tokens) = if self.position < prompt { (0, prompt) } else { (self.position, self.step.tokens) };
        turn.out.push(Effect::Record(Event::Stepped(Stepped {
            session: self.attempt,
            request: self.id,
            position,
            tokens,
            batch: self.asked.batch,
            output: self.generated,
            began: self.step.began,
            seen: turn.now,
            setup: self.step.setup,
            client_queue: self.step.queue,
            client: self.step.compute,
            embedding: self.step.embedding,
            recovery: self.step.recovery,
        })));
    }

    /// Tells the peers that hold a session of these hop_sessions that it is over.
    pub(super) fn close(hop_sessions: &[HopSession], out: &mut Vec<Effect>) {
        for hop_session in hop_sessions.iter().filter(|hop_session| hop_session.to_close()) {
            let message = Message::Close(Close { session: hop_session.session });
            out.push(Effect::Send { to: hop_session.hop.peer, message });
        }
    }

    /// The peers of its route.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.hop_sessions.iter().map(|hop_session| hop_session.hop.peer)
    }

    /// Tells the peers and the recorder of its end; how long it took, and the tokens it gave.
    pub fn end(self, now: Timestamp, outcome: Result<(), Failure>, out: &mut Vec<Effect>) -> (Duration, u32) {
        Request::close(&self.hop_sessions, out);
        let batch = u32::from(self.asked.batch);
        out.push(Effect::Record(Event::Ended(Box::new(Ended {
            request: self.id,
            session: self.attempt,
            intended: self.intended,
            sent: self.sent,
            at: now,
            batch,
            prompt: self.asked.prompt,
            generate: self.asked.generate,
            generated: self.generated,
            discovery: self.discovery,
            sessions: self.sessions.unwrap_or(Duration::ZERO),
            route: self.peers().collect(),
            outcome,
            output: self.output,
        }))));
        (now.since(self.sent), batch * self.generated)
    }
}
