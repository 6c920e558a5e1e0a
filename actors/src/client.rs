//! A client: finds peers, opens sessions along a route, and generates, measuring each request; many may be in flight.
//!
//! It holds the embedding and the head, as jobs for its own device. It never starts a timed request before `Go`.
mod leg;
mod prompts;
mod request;

pub use prompts::Prompts;
pub use request::Asked;

use crate::id::{BlockRange, NodeId, RequestId};
use crate::limits;
use crate::message::{
    Computed, Failure, Find, Finished, Found, Go, Gone, Job, Latency, Message, Opened, Ping, Pong, Present, Ready,
    Refused, Returned, Ticket, Timer, Warm, Woken, Work,
};
use crate::policy::Policies;
use crate::route::{Ask, View};
use crate::seed::Seed;
use crate::time::{Moment, Span};
use crate::world::Effect;
use request::{Progress, Request};
use std::collections::BTreeMap;

/// What the plan says of a client.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    pub orchestrator: NodeId,
    pub registry: NodeId,
    /// All blocks of the model.
    pub blocks: BlockRange,
    /// Timed requests, one after another.
    pub micro_batches: u32,
    /// What each of them asks for.
    pub asked: Asked,
    pub policies: Policies,
    /// How long a request may take.
    pub timeout: Span,
    /// Of the run: what the client leaves to chance is drawn from streams of it.
    pub seed: Seed,
    /// Where prompts come from, in a world that computes values.
    pub prompts: Option<Prompts>,
    /// A request ends early where its first row has one of these.
    pub stops: Vec<u32>,
}

/// The state machine of a client.
pub struct Core {
    config: Config,
    view: View,
    /// A Find is on its way.
    finding: bool,
    /// In flight.
    requests: BTreeMap<RequestId, Request>,
    /// Timed requests begun so far.
    timed: u32,
    /// Routes chosen so far.
    routes: u32,
    /// The one deadline timer is running.
    armed: bool,
}

const LOAD: Ticket = Ticket(0);
const WARMUP: u32 = 0;

/// The `count`-th job of a request, counted from 1, so that none is [`LOAD`].
fn ticket(request: RequestId, count: u32) -> Ticket {
    Ticket(u64::from(request.index) << 32 | u64::from(count))
}

impl Core {
    pub fn new(config: Config) -> Core {
        assert!(config.asked.batch > 0 && config.asked.prompt > 0, "the plan gives every request a token");
        assert!(config.micro_batches < limits::REQUESTS_PER_CLIENT, "the plan keeps to what a session's id can name");
        let (view, requests) = (View::default(), BTreeMap::new());
        Core { config, view, finding: false, requests, timed: 0, routes: 0, armed: false }
    }

    pub fn me(&self) -> NodeId {
        self.config.me
    }

    pub fn on_start(&mut self, _now: Moment, out: &mut Vec<Effect>) {
        out.push(Effect::Compute(Job { ticket: LOAD, work: Work::Load }));
    }

    pub fn on_warm(&mut self, now: Moment, _from: NodeId, _: Warm, out: &mut Vec<Effect>) {
        if self.requests.is_empty() && self.timed == 0 {
            let asked = Asked { generate: 1, ..self.config.asked };
            self.begin(now, WARMUP, asked, out);
        }
    }

    pub fn on_go(&mut self, now: Moment, _from: NodeId, _: Go, out: &mut Vec<Effect>) {
        if self.requests.is_empty() && self.timed == 0 {
            self.begin_next(now, out);
        }
    }

    /// The next micro-batch, or the end of the timed run.
    fn begin_next(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.timed < self.config.micro_batches {
            self.timed += 1;
            self.begin(now, self.timed, self.config.asked, out);
        } else if self.requests.is_empty() {
            send(out, self.config.orchestrator, Message::Finished(Finished { at: now }));
        }
    }

    fn begin(&mut self, now: Moment, index: u32, asked: Asked, out: &mut Vec<Effect>) {
        let id = RequestId { client: self.config.me, index };
        self.requests.insert(id, Request::new(id, asked, now, now, now + self.config.timeout));
        if !self.armed {
            self.armed = true;
            out.push(Effect::Wake { after: self.config.timeout, timer: Timer::Deadline });
        }
        let age = self.view.age(now);
        if age.is_none_or(|age| age > limits::VIEW_REFRESH) {
            self.find(out);
        }
        if age.is_some() {
            self.take_route(now, id, out);
        }
    }

    fn find(&mut self, out: &mut Vec<Effect>) {
        if !self.finding {
            self.finding = true;
            send(out, self.config.registry, Message::Find(Find { blocks: self.config.blocks }));
        }
    }

    pub fn on_found(&mut self, now: Moment, _from: NodeId, found: Found, out: &mut Vec<Effect>) {
        self.finding = false;
        self.view.refresh(now, found.peers);
        for id in self.those(Request::is_finding) {
            if let Some(request) = self.requests.get_mut(&id) {
                request.on_found(now);
                self.take_route(now, id, out);
            }
        }
    }

    /// Every request takes a fresh route and opens fresh sessions, as Petals does.
    fn take_route(&mut self, now: Moment, id: RequestId, out: &mut Vec<Effect>) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let Config { me, blocks, seed, policies, .. } = &self.config;
        let ask = Ask {
            blocks: *blocks,
            cache_tokens: request.asked.cache_tokens(),
            draw: seed.derive("route", u64::from(me.0), u64::from(self.routes)).0,
            without: &[],
            given: None,
        };
        self.routes += 1;
        let route = self.view.choose(now, &policies.routing, &policies.costs, &policies.pings, &ask);
        let progress = request.take_route(&self.config, &mut self.view, route, out);
        self.settle(now, id, progress, out);
    }

    pub fn on_opened(&mut self, now: Moment, from: NodeId, opened: Opened, out: &mut Vec<Effect>) {
        self.view.heard(now, from, opened.load);
        if let Some(request) = self.requests.get_mut(&opened.session.request()) {
            request.on_opened(&self.config, &mut self.view, now, opened.session, out);
        }
    }

    pub fn on_computed(&mut self, now: Moment, _from: NodeId, done: Computed, out: &mut Vec<Effect>) {
        if done.ticket == LOAD {
            if done.output.is_ok() {
                send(out, self.config.orchestrator, Message::Present(Present));
            }
            return;
        }
        let id = RequestId { client: self.config.me, index: (done.ticket.0 >> 32) as u32 };
        // A job of a request that has failed since is nobody's.
        if let Some(request) = self.requests.get_mut(&id) {
            let progress = request.on_computed(&self.config, now, done, out);
            self.settle(now, id, progress, out);
        }
    }

    pub fn on_returned(&mut self, now: Moment, _from: NodeId, returned: Returned, out: &mut Vec<Effect>) {
        let id = returned.0.session.request();
        if let Some(request) = self.requests.get_mut(&id) {
            let progress = request.on_returned(&self.config, now, returned, out);
            self.settle(now, id, progress, out);
        }
    }

    /// Lets a request go on, or ends it, once: tells the orchestrator, and turns to the next.
    fn settle(&mut self, now: Moment, id: RequestId, progress: Progress, out: &mut Vec<Effect>) {
        let Progress::Over(outcome) = progress else { return };
        let Some(request) = self.requests.remove(&id) else { return };
        let (took, tokens) = request.end(now, outcome, out);
        if id.is_warmup() {
            send(out, self.config.orchestrator, Message::Ready(Ready { warmed: outcome }));
        } else {
            let latency = Latency { request: id, took: outcome.map(|()| took), tokens };
            send(out, self.config.orchestrator, Message::Latency(latency));
            self.begin_next(now, out);
        }
    }

    pub fn on_refused(&mut self, now: Moment, from: NodeId, refused: Refused, out: &mut Vec<Effect>) {
        let Some(session) = refused.session else { return };
        if self.requests.get(&session.request()).is_some_and(|request| request.has(session)) {
            self.fail(now, session.request(), Failure::Refused(from, refused.why), out);
        }
    }

    /// A peer that is gone leaves the view; requests on their way through it have failed.
    pub fn on_gone(&mut self, now: Moment, from: NodeId, _: Gone, out: &mut Vec<Effect>) {
        self.view.lose(from);
        let lost_registry = from == self.config.registry;
        for id in self.those(|request| request.uses(from) || lost_registry && request.is_finding()) {
            self.fail(now, id, Failure::PeerLost(from), out);
        }
    }

    pub fn on_woken(&mut self, now: Moment, _from: NodeId, woken: Woken, out: &mut Vec<Effect>) {
        if woken.0 != Timer::Deadline {
            return;
        }
        self.armed = false;
        for id in self.those(|request| now >= request.deadline) {
            self.fail(now, id, Failure::Timeout, out);
        }
        // A failure may have begun the next request, which armed the timer.
        let next = self.requests.values().map(|request| request.deadline).min();
        if let (false, Some(next)) = (self.armed, next) {
            self.armed = true;
            out.push(Effect::Wake { after: next.since(now), timer: Timer::Deadline });
        }
    }

    fn fail(&mut self, now: Moment, id: RequestId, failure: Failure, out: &mut Vec<Effect>) {
        self.settle(now, id, Progress::Over(Err(failure)), out);
    }

    /// The requests of which this holds, at present.
    fn those(&self, holds: impl Fn(&Request) -> bool) -> Vec<RequestId> {
        self.requests.iter().filter(|(_, request)| holds(request)).map(|(id, _)| *id).collect()
    }

    pub fn on_ping(&mut self, _now: Moment, from: NodeId, ping: Ping, out: &mut Vec<Effect>) {
        out.push(ping.answer(from));
    }

    pub fn on_pong(&mut self, _now: Moment, _from: NodeId, _: Pong, _out: &mut Vec<Effect>) {}
}

fn send(out: &mut Vec<Effect>, to: NodeId, message: Message) {
    out.push(Effect::Send { to, message });
}

crate::seats::shell!(Client around Core {
    Warm => on_warm,
    Go => on_go,
    Found => on_found,
    Opened => on_opened,
    Returned => on_returned,
    Refused => on_refused,
    Ping => on_ping,
    Pong => on_pong,
    Gone => on_gone,
    Computed => on_computed,
    Woken => on_woken,
});
