//! One request in flight at a client: where it stands, and what its present step has cost.
//!
//! A request is a state machine of its own. It acts through effects, and says when it is over; which requests there are
//! and what comes after one is the client's affair.
use super::Config;
use super::leg::Leg;
use crate::id::{NodeId, RequestId, SessionId};
use crate::message::{
    Close, Computed, Failure, Forwarding, Hop, Ids, Job, Message, Open, Output, Returned, Step, Ticket, Work,
};
use crate::record::{Ended, Event, Stepped};
use crate::route::View;
use crate::time::{Moment, Span};
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
    intended: Moment,
    sent: Moment,
    pub deadline: Moment,
    phase: Phase,
    legs: Vec<Leg>,
    /// Legs over all routes so far.
    counted: u32,
    /// Jobs given to the client's device so far.
    jobs: u32,
    /// Tokens of each row that the peers' caches hold.
    position: u32,
    generated: u32,
    discovery: Span,
    sessions: Span,
    step: StepCost,
    /// Ids generated for row 0.
    output: Vec<u32>,
}

/// What the request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Finding,
    /// The session of this leg.
    Opening(usize),
    Embedding(Ticket),
    /// With the peer of this leg; pushed, with any of them.
    Away(usize),
    Heading(Ticket),
}

/// The parts of a step that the client itself measures.
#[derive(Clone, Copy, Debug, Default)]
struct StepCost {
    began: Moment,
    tokens: u32,
    setup: Span,
    queue: Span,
    compute: Span,
    /// When the present job was given to the device.
    submitted: Moment,
}

impl StepCost {
    fn begin(now: Moment) -> StepCost {
        StepCost { began: now, ..StepCost::default() }
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
    pub fn new(id: RequestId, asked: Asked, intended: Moment, now: Moment, deadline: Moment) -> Request {
        Request {
            id,
            asked,
            intended,
            sent: now,
            deadline,
            phase: Phase::Finding,
            legs: Vec::new(),
            counted: 0,
            jobs: 0,
            position: 0,
            generated: 0,
            discovery: Span::ZERO,
            sessions: Span::ZERO,
            step: StepCost::begin(now),
            output: Vec::new(),
        }
    }

    pub fn is_finding(&self) -> bool {
        self.phase == Phase::Finding
    }

    pub fn uses(&self, peer: NodeId) -> bool {
        self.legs.iter().any(|leg| leg.hop.peer == peer)
    }

    /// The leg of this session, if it still is one: an answer from an earlier leg comes too late to matter.
    fn leg(&self, session: SessionId) -> Option<usize> {
        self.legs.iter().position(|leg| leg.session == session)
    }

    pub fn has(&self, session: SessionId) -> bool {
        self.leg(session).is_some()
    }

    /// Discovery has answered.
    pub fn on_found(&mut self, now: Moment) {
        self.discovery = now.since(self.sent);
    }

    /// Takes to a route and opens a session on each of its legs, one after another, as Petals does.
    pub fn take_route(
        &mut self,
        config: &Config,
        view: &mut View,
        route: Option<Vec<Hop>>,
        out: &mut Vec<Effect>,
    ) -> Progress {
        let Some(route) = route else { return Over(Err(Failure::NoRoute)) };
        let first = self.counted;
        self.counted += route.len() as u32;
        let leg = |(hop, leg)| Leg { hop, session: SessionId::new(self.id, leg as u16) };
        self.legs = route.into_iter().zip(first..).map(leg).collect();
        self.open(config, view, 0, out);
        Going
    }

    fn open(&mut self, config: &Config, view: &mut View, leg: usize, out: &mut Vec<Effect>) {
        self.phase = Phase::Opening(leg);
        let Leg { hop, session } = self.legs[leg];
        let next = match config.policies.forwarding {
            Forwarding::Push => self.legs.get(leg + 1).map(Leg::as_next),
            Forwarding::Relay => None,
        };
        let open = Open {
            session,
            blocks: hop.blocks,
            hop: leg as u16,
            next,
            batch: u32::from(self.asked.batch),
            max_length: self.asked.prompt + self.asked.generate,
        };
        view.opening(hop.peer);
        send(out, hop.peer, Message::Open(Box::new(open)));
    }

    pub fn on_opened(
        &mut self,
        config: &Config,
        view: &mut View,
        now: Moment,
        session: SessionId,
        out: &mut Vec<Effect>,
    ) {
        let Some(leg) = self.leg(session).filter(|leg| self.phase == Phase::Opening(*leg)) else { return };
        if leg + 1 < self.legs.len() {
            self.open(config, view, leg + 1, out);
            return;
        }
        self.sessions = now.since(self.sent) - self.discovery;
        self.step.setup = now.since(self.step.began);
        let ids = self.draw_prompt(config);
        self.embed(now, self.asked.prompt, ids, out);
    }

    fn draw_prompt(&self, config: &Config) -> Ids {
        let (batch, length) = (usize::from(self.asked.batch), self.asked.prompt as usize);
        let prompts = config.prompts.as_ref()?;
        Some(Arc::new(prompts.draw(config.seed, self.id, batch, length)))
    }

    fn embed(&mut self, now: Moment, tokens: u32, ids: Ids, out: &mut Vec<Effect>) {
        self.step.tokens = tokens;
        let (batch, position) = (self.asked.batch, self.position);
        self.compute(now, Phase::Embedding, Work::Embed { batch, tokens, position, ids }, out);
    }

    fn compute(&mut self, now: Moment, phase: fn(Ticket) -> Phase, work: Work, out: &mut Vec<Effect>) {
        self.jobs += 1;
        let ticket = super::ticket(self.id, self.jobs);
        self.phase = phase(ticket);
        self.step.submitted = now;
        out.push(Effect::Compute(Job { ticket, work }));
    }

    pub fn on_computed(&mut self, config: &Config, now: Moment, done: Computed, out: &mut Vec<Effect>) -> Progress {
        if !matches!(self.phase, Phase::Embedding(ticket) | Phase::Heading(ticket) if ticket == done.ticket) {
            return Going;
        }
        self.step.queue += done.started.since(self.step.submitted);
        self.step.compute += done.finished.since(done.started);
        match done.output {
            Ok(Output::Hidden(activation)) => {
                let step = Step { session: self.legs[0].session, position: self.position, activation };
                self.phase = Phase::Away(0);
                send(out, self.legs[0].hop.peer, Message::Step(step));
                Going
            }
            Ok(Output::Tokens(ids)) => self.on_tokens(config, now, ids, out),
            Ok(Output::Loaded) => unreachable!("only a load gives this"),
            Err(_) => Over(Err(Failure::ClientDevice)),
        }
    }

    pub fn on_returned(&mut self, config: &Config, now: Moment, returned: Returned, out: &mut Vec<Effect>) -> Progress {
        let Returned(mut step) = returned;
        let Some(leg) = self.leg(step.session) else { return Going };
        let expected = match config.policies.forwarding {
            Forwarding::Relay => self.phase == Phase::Away(leg),
            Forwarding::Push => matches!(self.phase, Phase::Away(_)),
        };
        if !expected || step.position != self.position {
            return Going;
        }
        if let Some(next) = self.legs.get(leg + 1) {
            self.phase = Phase::Away(leg + 1);
            step.session = next.session;
            send(out, next.hop.peer, Message::Step(step));
        } else if self.asked.generate == 0 {
            self.record_step(now, out);
            return Over(Ok(()));
        } else {
            let (id, output) = (self.id, self.generated + 1);
            self.compute(now, Phase::Heading, Work::Head { request: id, output, input: step.activation }, out);
        }
        Going
    }

    /// One more token of each row is there.
    fn on_tokens(&mut self, config: &Config, now: Moment, ids: Ids, out: &mut Vec<Effect>) -> Progress {
        self.generated += 1;
        let first = ids.as_ref().and_then(|ids| ids.first());
        self.output.extend(first);
        let stopped = first.is_some_and(|id| config.stops.contains(id));
        self.record_step(now, out);
        if stopped || self.generated == self.asked.generate {
            return Over(Ok(()));
        }
        self.position += self.step.tokens;
        self.step = StepCost::begin(now);
        self.embed(now, 1, ids, out);
        Going
    }

    fn record_step(&self, now: Moment, out: &mut Vec<Effect>) {
        out.push(Effect::Record(Event::Stepped(Stepped {
            session: self.legs[0].session,
            request: self.id,
            position: self.position,
            tokens: self.step.tokens,
            batch: self.asked.batch,
            output: self.generated,
            began: self.step.began,
            seen: now,
            setup: self.step.setup,
            client_queue: self.step.queue,
            client: self.step.compute,
        })));
    }

    /// Tells every peer that was asked for a session of its end, and the recorder of the request's; how long it took.
    pub fn end(self, now: Moment, outcome: Result<(), Failure>, out: &mut Vec<Effect>) -> (Span, u32) {
        let asked = match self.phase {
            Phase::Finding => 0,
            Phase::Opening(leg) => leg + 1,
            Phase::Embedding(_) | Phase::Away(_) | Phase::Heading(_) => self.legs.len(),
        };
        for leg in &self.legs[..asked] {
            send(out, leg.hop.peer, Message::Close(Close { session: leg.session }));
        }
        let batch = u32::from(self.asked.batch);
        out.push(Effect::Record(Event::Ended(Box::new(Ended {
            request: self.id,
            session: self.legs.first().map_or(SessionId::new(self.id, 0), |leg| leg.session),
            intended: self.intended,
            sent: self.sent,
            at: now,
            batch,
            prompt: self.asked.prompt,
            generate: self.asked.generate,
            generated: self.generated,
            discovery: self.discovery,
            sessions: self.sessions,
            route: self.legs.iter().map(|leg| leg.hop.peer).collect(),
            outcome,
            output: self.output,
        }))));
        (now.since(self.sent), batch * self.generated)
    }
}

fn send(out: &mut Vec<Effect>, to: NodeId, message: Message) {
    out.push(Effect::Send { to, message });
}
