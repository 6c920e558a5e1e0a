//! A client: finds peers, opens a session along a route, and generates one request after another, measuring each.
//!
//! It holds the embedding and the head, as jobs for its own device. It never starts a timed request before `Go`.
mod request;

use crate::id::{BlockRange, NodeId, RequestId, SessionId};
use crate::limits;
use crate::message::{
    Close, Computed, Failure, Find, Finished, Found, Go, Gone, Ids, Job, Latency, Message, Open, Opened, Output,
    Present, Ready, Refused, Returned, Step, Ticket, Timer, Warm, Woken, Work,
};
use crate::policy::Policies;
use crate::record::{Ended, Event, Stepped};
use crate::route::{Ask, View};
use crate::seed::Seed;
use crate::time::{Moment, Span};
use crate::world::Effect;
use rand::RngExt;
use request::{Phase, Request};
use std::sync::Arc;

/// What the plan says of a client.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    pub orchestrator: NodeId,
    pub registry: NodeId,
    /// All blocks of the model.
    pub blocks: BlockRange,
    pub micro_batches: u32,
    pub batch: u16,
    /// Tokens of each row of the prompt.
    pub prompt: u32,
    /// Tokens to generate for each row; 0 ends a request when its prefill returns.
    pub generate: u32,
    pub policies: Policies,
    /// How long a request may take.
    pub timeout: Span,
    /// Of the run: what the client leaves to chance is drawn from streams of it.
    pub seed: Seed,
    /// Where prompts are drawn from, in a world that computes values.
    pub prompts: Option<Prompts>,
}

/// Uniform random token ids below `vocab`.
#[derive(Clone, Copy, Debug)]
pub struct Prompts {
    pub seed: Seed,
    pub vocab: u32,
}

/// The state machine of a client.
pub struct Core {
    config: Config,
    view: View,
    /// A Find is on its way.
    finding: bool,
    request: Option<Request>,
    timed: u32,
    sessions: u32,
    tickets: u64,
    /// The one deadline timer is running.
    armed: bool,
}

const LOAD: Ticket = Ticket(0);
const WARMUP: u32 = 0;

impl Core {
    pub fn new(config: Config) -> Core {
        assert!(config.batch > 0 && config.prompt > 0, "the plan gives every request a token");
        let (view, request) = (View::default(), None);
        Core { config, view, finding: false, request, timed: 0, sessions: 0, tickets: LOAD.0, armed: false }
    }

    pub fn me(&self) -> NodeId {
        self.config.me
    }

    pub fn on_start(&mut self, _now: Moment, out: &mut Vec<Effect>) {
        out.push(Effect::Compute(Job { ticket: LOAD, work: Work::Load }));
    }

    pub fn on_warm(&mut self, now: Moment, _from: NodeId, _: Warm, out: &mut Vec<Effect>) {
        if self.request.is_none() && self.timed == 0 {
            self.begin(now, WARMUP, out);
        }
    }

    pub fn on_go(&mut self, now: Moment, _from: NodeId, _: Go, out: &mut Vec<Effect>) {
        if self.request.is_none() && self.timed == 0 {
            self.begin_next(now, out);
        }
    }

    /// The next micro-batch, or the end of the timed run.
    fn begin_next(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.timed < self.config.micro_batches {
            self.timed += 1;
            self.begin(now, self.timed, out);
        } else {
            self.send(self.config.orchestrator, Message::Finished(Finished { at: now }), out);
        }
    }

    fn begin(&mut self, now: Moment, index: u32, out: &mut Vec<Effect>) {
        let id = RequestId { client: self.config.me, index };
        let generate = if index == WARMUP { 1 } else { self.config.generate };
        self.request = Some(Request::new(id, generate, now, now + self.config.timeout));
        if !self.armed {
            self.armed = true;
            out.push(Effect::Wake { after: self.config.timeout, timer: Timer::Deadline });
        }
        match self.view.age(now) {
            None => self.find(out),
            Some(age) => {
                if age > limits::VIEW_REFRESH {
                    self.find(out);
                }
                self.take_route(now, out);
            }
        }
    }

    fn find(&mut self, out: &mut Vec<Effect>) {
        if !self.finding {
            self.finding = true;
            self.send(self.config.registry, Message::Find(Find { blocks: self.config.blocks }), out);
        }
    }

    pub fn on_found(&mut self, now: Moment, _from: NodeId, found: Found, out: &mut Vec<Effect>) {
        self.finding = false;
        self.view.refresh(now, found.peers);
        if let Some(request) = self.request.as_mut().filter(|request| request.phase == Phase::Finding) {
            request.discovery = now.since(request.sent);
            self.take_route(now, out);
        }
    }

    /// Every request takes a fresh route and opens fresh sessions, as Petals does.
    fn take_route(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let Some(request) = self.request.as_mut() else { return };
        let Config { me, blocks, seed, policies, .. } = &self.config;
        let length = u64::from(self.config.prompt) + u64::from(request.generate);
        let ask = Ask {
            blocks: *blocks,
            cache_tokens: u64::from(self.config.batch) * length,
            draw: seed.derive("route", u64::from(me.0), u64::from(self.sessions)).0,
            without: &[],
            given: None,
        };
        let route = self.view.choose(now, &policies.routing, &policies.costs, &policies.pings, &ask);
        let Some(route) = route else {
            self.fail(now, Failure::NoRoute, out);
            return;
        };
        self.sessions += 1;
        request.session = SessionId::new(self.config.me, self.sessions);
        request.route = route;
        self.open(0, out);
    }

    /// Sessions are opened one after another along the route.
    fn open(&mut self, hop: u16, out: &mut Vec<Effect>) {
        let Some(request) = self.request.as_mut() else { return };
        request.phase = Phase::Opening(hop);
        let open = Open {
            session: request.session,
            request: request.id,
            route: request.route.clone(),
            hop,
            forwarding: self.config.policies.forwarding,
            batch: u32::from(self.config.batch),
            max_length: self.config.prompt + request.generate,
        };
        let to = request.route[usize::from(hop)].peer;
        self.view.opening(to);
        self.send(to, Message::Open(Box::new(open)), out);
    }

    pub fn on_opened(&mut self, now: Moment, from: NodeId, opened: Opened, out: &mut Vec<Effect>) {
        self.view.heard(now, from, opened.load);
        let Some(request) = self.current(opened.session) else { return };
        if request.phase != Phase::Opening(opened.hop) {
            return;
        }
        if usize::from(opened.hop) + 1 < request.route.len() {
            self.open(opened.hop + 1, out);
            return;
        }
        request.sessions = now.since(request.sent) - request.discovery;
        request.step.setup = now.since(request.step.began);
        let tokens = self.config.prompt;
        let ids = self.draw_prompt();
        self.embed(now, tokens, ids, out);
    }

    fn draw_prompt(&self) -> Ids {
        let request = self.request.as_ref()?;
        let Prompts { seed, vocab } = self.config.prompts?;
        let mut stream = seed.stream("prompt", u64::from(request.id.client.0), u64::from(request.id.index));
        let count = usize::from(self.config.batch) * self.config.prompt as usize;
        Some(Arc::new((0..count).map(|_| stream.random_range(0..vocab)).collect()))
    }

    fn embed(&mut self, now: Moment, tokens: u32, ids: Ids, out: &mut Vec<Effect>) {
        let batch = self.config.batch;
        let Some(request) = self.request.as_mut() else { return };
        let position = request.position;
        request.step.tokens = tokens;
        self.compute(now, Phase::Embedding, Work::Embed { batch, tokens, position, ids }, out);
    }

    fn compute(&mut self, now: Moment, phase: fn(Ticket) -> Phase, work: Work, out: &mut Vec<Effect>) {
        let Some(request) = self.request.as_mut() else { return };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        request.phase = phase(ticket);
        request.step.submitted = now;
        out.push(Effect::Compute(Job { ticket, work }));
    }

    pub fn on_computed(&mut self, now: Moment, _from: NodeId, done: Computed, out: &mut Vec<Effect>) {
        if done.ticket == LOAD {
            if done.output.is_ok() {
                self.send(self.config.orchestrator, Message::Present(Present), out);
            }
            return;
        }
        let Some(request) = self.request.as_mut() else { return };
        // A job of a request that has failed since is nobody's.
        if !matches!(request.phase, Phase::Embedding(ticket) | Phase::Heading(ticket) if ticket == done.ticket) {
            return;
        }
        request.step.queue += done.started.since(request.step.submitted);
        request.step.compute += done.finished.since(done.started);
        match done.output {
            Ok(Output::Hidden(activation)) => {
                request.phase = Phase::Away;
                let step = Step { session: request.session, position: request.position, hop: 0, activation };
                let to = request.route[0].peer;
                self.send(to, Message::Step(step), out);
            }
            Ok(Output::Tokens(ids)) => self.on_tokens(now, ids, out),
            Ok(Output::Loaded) => unreachable!("only LOAD gives this"),
            Err(_) => self.fail(now, Failure::ClientDevice, out),
        }
    }

    pub fn on_returned(&mut self, now: Moment, _from: NodeId, returned: Returned, out: &mut Vec<Effect>) {
        let Returned(mut step) = returned;
        let Some(request) = self.current(step.session) else { return };
        if request.phase != Phase::Away || step.position != request.position {
            return;
        }
        let next = usize::from(step.hop) + 1;
        if let Some(hop) = request.route.get(next) {
            let to = hop.peer;
            step.hop += 1;
            self.send(to, Message::Step(step), out);
        } else if request.generate == 0 {
            self.record_step(now, out);
            self.end(now, Ok(()), out);
        } else {
            self.compute(now, Phase::Heading, Work::Head { input: step.activation }, out);
        }
    }

    /// One more token of each row is there.
    fn on_tokens(&mut self, now: Moment, ids: Ids, out: &mut Vec<Effect>) {
        let Some(request) = self.request.as_mut() else { return };
        request.generated += 1;
        request.output.extend(ids.as_ref().and_then(|ids| ids.first()));
        self.record_step(now, out);
        let Some(request) = self.request.as_mut() else { return };
        if request.generated == request.generate {
            self.end(now, Ok(()), out);
        } else {
            request.position += request.step.tokens;
            request.step.restart(now);
            self.embed(now, 1, ids, out);
        }
    }

    fn record_step(&self, now: Moment, out: &mut Vec<Effect>) {
        let Some(request) = &self.request else { return };
        out.push(Effect::Record(Event::Stepped(Stepped {
            session: request.session,
            request: request.id,
            position: request.position,
            tokens: request.step.tokens,
            batch: self.config.batch,
            output: request.generated,
            began: request.step.began,
            seen: now,
            setup: request.step.setup,
            client_queue: request.step.queue,
            client: request.step.compute,
        })));
    }

    /// The one end of a request: tells the peers, the recorder and the orchestrator, and turns to the next.
    fn end(&mut self, now: Moment, outcome: Result<(), Failure>, out: &mut Vec<Effect>) {
        let Some(request) = self.request.take() else { return };
        for peer in request.asked() {
            self.send(peer, Message::Close(Close { session: request.session }), out);
        }
        let (id, batch) = (request.id, u32::from(self.config.batch));
        let latency =
            Latency { request: id, took: outcome.map(|()| now.since(request.sent)), tokens: batch * request.generated };
        out.push(Effect::Record(Event::Ended(Box::new(Ended {
            request: id,
            session: request.session,
            intended: request.sent,
            sent: request.sent,
            at: now,
            batch,
            prompt: self.config.prompt,
            generate: request.generate,
            generated: request.generated,
            discovery: request.discovery,
            sessions: request.sessions,
            route: request.route.iter().map(|hop| hop.peer).collect(),
            outcome,
            output: request.output,
        }))));
        if id.is_warmup() {
            self.send(self.config.orchestrator, Message::Ready(Ready { warmed: outcome }), out);
        } else {
            self.send(self.config.orchestrator, Message::Latency(latency), out);
            self.begin_next(now, out);
        }
    }

    fn fail(&mut self, now: Moment, failure: Failure, out: &mut Vec<Effect>) {
        self.end(now, Err(failure), out);
    }

    pub fn on_refused(&mut self, now: Moment, from: NodeId, refused: Refused, out: &mut Vec<Effect>) {
        if refused.session.is_some_and(|session| self.current(session).is_some()) {
            self.fail(now, Failure::Refused(from, refused.why), out);
        }
    }

    /// A peer that is gone leaves the view; a request on its way through it has failed.
    pub fn on_gone(&mut self, now: Moment, from: NodeId, _: Gone, out: &mut Vec<Effect>) {
        self.view.lose(from);
        let Some(request) = &self.request else { return };
        let lost_registry = from == self.config.registry && request.phase == Phase::Finding;
        if lost_registry || request.route.iter().any(|hop| hop.peer == from) {
            self.fail(now, Failure::PeerLost(from), out);
        }
    }

    pub fn on_woken(&mut self, now: Moment, _from: NodeId, woken: Woken, out: &mut Vec<Effect>) {
        if woken.0 != Timer::Deadline {
            return;
        }
        self.armed = false;
        let Some(request) = &self.request else { return };
        if now >= request.deadline {
            self.fail(now, Failure::Timeout, out);
        } else {
            self.armed = true;
            out.push(Effect::Wake { after: request.deadline.since(now), timer: Timer::Deadline });
        }
    }

    /// The request of this session, if it still runs: an answer to an earlier one comes too late to matter.
    fn current(&mut self, session: SessionId) -> Option<&mut Request> {
        self.request.as_mut().filter(|request| request.session == session && request.phase != Phase::Finding)
    }

    fn send(&self, to: NodeId, message: Message, out: &mut Vec<Effect>) {
        out.push(Effect::Send { to, message });
    }
}

crate::seats::shell!(Client around Core {
    Warm => on_warm,
    Go => on_go,
    Found => on_found,
    Opened => on_opened,
    Returned => on_returned,
    Refused => on_refused,
    Gone => on_gone,
    Computed => on_computed,
    Woken => on_woken,
});
