//! A peer: holds a span of blocks, admits sessions, queues their steps, computes them one at a time, sends them on.
//!
//! It knows nothing of tensors or devices: a step goes to the device as a job and comes back as `Computed`.
mod meter;
pub mod presence;

use crate::history::History;
use crate::id::{NodeId, SessionId};
use crate::limits;
use crate::message::{
    Activation, Close, Computed, Gone, Job, Load, Message, Open, Opened, Output, Ping, Pong, Present, Refusal, Refused,
    Reroute, Returned, Rpc, Step, Ticket, Timer, Woken, Work,
};
use crate::record::{Event, Served};
use crate::time::Moment;
use crate::world::Effect;
use meter::Meter;
use presence::{Presence, Turn};
use std::collections::{BTreeMap, VecDeque};

/// What the plan says of a peer.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    pub orchestrator: NodeId,
    pub place: presence::Config,
    /// Bytes its KV cache may take.
    pub cache_bytes: u64,
    /// Bytes that one token of one row takes in the cache of one block.
    pub cache_bytes_per_token_block: u64,
}

/// The state machine of a peer.
pub struct Core {
    config: Config,
    sessions: BTreeMap<SessionId, Session>,
    queue: VecDeque<Queued>,
    running: Option<Queued>,
    cache_used: u64,
    /// Of what its sessions keep to send again.
    kept_bytes: u64,
    tickets: u64,
    meter: Meter,
    presence: Presence,
    /// The orchestrator knows that others find it.
    present: bool,
}

struct Session {
    open: Open,
    reserved: u64,
    /// Tokens of each row accepted so far, computed or queued: where the next step must begin.
    length: u32,
    /// What it has computed, from position 0 on (of the last step alone, where there is no cache), to be sent again.
    kept: Option<History>,
}

struct Queued {
    step: Step,
    received: Moment,
}

const LOAD: Ticket = Ticket(0);

impl Core {
    pub fn new(config: Config) -> Core {
        Core {
            presence: Presence::new(config.place.clone()),
            present: false,
            config,
            sessions: BTreeMap::new(),
            queue: VecDeque::new(),
            running: None,
            cache_used: 0,
            kept_bytes: 0,
            tickets: LOAD.0,
            meter: Meter::default(),
        }
    }

    pub fn me(&self) -> NodeId {
        self.config.me
    }

    /// KV cache reserved at present, in bytes; 0 once every session is closed.
    pub fn cache_used(&self) -> u64 {
        self.cache_used
    }

    /// What it tells of its load.
    fn load(&mut self, now: Moment) -> Load {
        let per_token = u64::from(self.presence.span().len()) * self.config.cache_bytes_per_token_block;
        let left = (self.config.cache_bytes - self.cache_used) / per_token.max(1);
        Load {
            cache_tokens: u32::try_from(left).unwrap_or(u32::MAX),
            sessions: self.sessions.len() as u32,
            step: self.meter.step(),
            busy: self.meter.busy(now),
        }
    }

    pub fn on_start(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let turns = self.presence.start(now, out);
        self.follow(now, turns, out);
    }

    /// Does what its place in the swarm asks for.
    fn follow(&mut self, now: Moment, turns: Vec<Turn>, out: &mut Vec<Effect>) {
        let mut turns = VecDeque::from(turns);
        while let Some(turn) = turns.pop_front() {
            match turn {
                Turn::Serve(blocks) => {
                    self.give_up(now, out);
                    out.push(Effect::Compute(Job { ticket: LOAD, work: Work::Load { blocks: Some(blocks) } }));
                    turns.push_back(Turn::Announce);
                }
                Turn::Announce => {
                    let load = self.load(now);
                    turns.extend(self.presence.announce(now, load, out));
                }
                // Present is who can be found: else a warm-up could begin before its route exists.
                Turn::Found if !self.present => {
                    self.present = true;
                    send(out, self.config.orchestrator, Message::Present(Present));
                }
                Turn::Found => {}
            }
        }
    }

    /// Its blocks change: every session on the old ones is over, and its client is told.
    fn give_up(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in sessions {
            refuse(out, session.client(), session, Refusal::NotServing);
            self.on_close(now, session.client(), Close { session }, out);
        }
    }

    /// Reserves the session's cache in full, or refuses at once.
    pub fn on_open(&mut self, now: Moment, from: NodeId, open: Open, out: &mut Vec<Effect>) {
        let session = open.session;
        match self.admit(open) {
            Ok(()) => send(out, from, Message::Opened(Opened { session, load: self.load(now) })),
            Err(why) => refuse(out, from, session, why),
        }
    }

    fn admit(&mut self, open: Open) -> Result<(), Refusal> {
        let mine = self.presence.span();
        if !self.presence.is_online()
            || open.blocks.is_empty()
            || open.blocks.start < mine.start
            || open.blocks.end > mine.end
        {
            return Err(Refusal::NotServing);
        }
        if open.batch == 0 || open.batch > limits::BATCH || open.max_length > limits::TOKENS_PER_REQUEST {
            return Err(Refusal::TooLong);
        }
        if self.sessions.len() >= limits::SESSIONS_PER_PEER || self.sessions.contains_key(&open.session) {
            return Err(Refusal::Busy);
        }
        // Without a cache the room is needed only while a step is computed, one at a time.
        let tokens = if open.cached { u64::from(open.batch) * u64::from(open.max_length) } else { 0 };
        let reserved = tokens * u64::from(open.blocks.len()) * self.config.cache_bytes_per_token_block;
        if reserved > self.config.cache_bytes - self.cache_used {
            return Err(Refusal::CacheFull);
        }
        self.cache_used += reserved;
        let kept = open.keep.then(History::default);
        self.sessions.insert(open.session, Session { open, reserved, length: 0, kept });
        Ok(())
    }

    pub fn on_step(&mut self, now: Moment, from: NodeId, step: Step, out: &mut Vec<Effect>) {
        match self.accept(step) {
            Ok(None) => {}
            Ok(Some(step)) => {
                self.queue.push_back(Queued { step, received: now });
                self.compute_next(out);
            }
            Err((session, why)) => {
                // A pushed step comes from the peer before; the one that has to act is the client.
                let client = session.client();
                let to = if self.sessions.contains_key(&session) { client } else { from };
                refuse(out, to, session, why);
                if to != client {
                    refuse(out, client, session, why);
                }
            }
        }
    }

    /// The step as it is to be computed: without what the session has already, of which a peer that is new before it may
    /// send some again. Nothing, if it has all of it.
    fn accept(&mut self, mut step: Step) -> Result<Option<Step>, (SessionId, Refusal)> {
        let refused = |why| (step.session, why);
        let session = self.sessions.get_mut(&step.session).ok_or(refused(Refusal::UnknownSession))?;
        let tokens = step.activation.tokens;
        if u32::from(step.activation.batch) != session.open.batch || tokens == 0 {
            return Err(refused(Refusal::OutOfOrder));
        }
        if u64::from(step.position) + u64::from(tokens) > u64::from(session.open.max_length) {
            return Err(refused(Refusal::TooLong));
        }
        let begin = if session.open.cached { session.length } else { 0 };
        if step.position > begin {
            return Err(refused(Refusal::OutOfOrder));
        }
        if step.position + tokens <= begin {
            return Ok(None);
        }
        if self.queue.len() >= limits::QUEUED_STEPS_PER_PEER {
            return Err(refused(Refusal::Busy));
        }
        session.length = step.position + tokens;
        step.activation = step.activation.skip(begin - step.position);
        step.position = begin;
        Ok(Some(step))
    }

    /// First in, first out, one at a time.
    fn compute_next(&mut self, out: &mut Vec<Effect>) {
        if self.running.is_some() {
            return;
        }
        while let Some(mut next) = self.queue.pop_front() {
            let Some(session) = self.sessions.get(&next.step.session) else { continue };
            let hollow = Activation { data: None, ..next.step.activation };
            let input = std::mem::replace(&mut next.step.activation, hollow);
            self.tickets += 1;
            out.push(Effect::Compute(Job {
                ticket: Ticket(self.tickets),
                work: Work::Blocks {
                    session: next.step.session,
                    blocks: session.open.blocks,
                    position: next.step.position,
                    max_length: session.open.max_length,
                    input,
                },
            }));
            self.running = Some(next);
            return;
        }
    }

    pub fn on_computed(&mut self, now: Moment, _from: NodeId, done: Computed, out: &mut Vec<Effect>) {
        if done.ticket == LOAD {
            self.on_loaded(now, done, out);
            return;
        }
        assert_eq!(done.ticket, Ticket(self.tickets), "one job at a time");
        let Queued { mut step, received } = self.running.take().expect("a job was running");
        self.meter.worked(now, done.finished.since(done.started), 1, step.activation.tokens == 1);
        // Closed meanwhile: nobody waits for it.
        if let Some(session) = self.sessions.get_mut(&step.session) {
            match done.output {
                Ok(Output::Hidden(activation)) => {
                    out.push(Effect::Record(Event::Served(Served {
                        session: step.session,
                        request: step.session.request(),
                        position: step.position,
                        tokens: activation.tokens,
                        batch: activation.batch,
                        hop: session.open.hop,
                        peer: self.config.me,
                        blocks: session.open.blocks,
                        received,
                        started: done.started,
                        finished: done.finished,
                        sent: now,
                    })));
                    if !session.open.cached {
                        let release = Work::Release { session: step.session };
                        out.push(Effect::Compute(Job { ticket: LOAD, work: release }));
                    }
                    step.activation = activation;
                    session.keep(&step.activation, &mut self.kept_bytes);
                    let unwanted = session.open.wanted.saturating_sub(step.position);
                    session.forward(step, unwanted, out);
                }
                Ok(Output::Loaded | Output::Tokens(_)) => unreachable!("a job through blocks gives hidden states"),
                Err(why) => refuse(out, step.session.client(), step.session, why),
            }
        }
        self.compute_next(out);
    }

    fn on_loaded(&mut self, now: Moment, done: Computed, out: &mut Vec<Effect>) {
        // A device that could not load leaves the peer absent: the orchestrator names it when the muster is due.
        if done.output.is_err() {
            return;
        }
        let turns = self.presence.on_loaded(now, out);
        self.follow(now, turns, out);
    }

    pub fn on_rpc(&mut self, now: Moment, from: NodeId, rpc: Rpc, out: &mut Vec<Effect>) {
        let done = self.presence.node.on_rpc(now, from, rpc, out);
        let turns = self.presence.take(now, done, out);
        self.follow(now, turns, out);
    }

    pub fn on_pong(&mut self, now: Moment, from: NodeId, pong: Pong, out: &mut Vec<Effect>) {
        self.presence.node.on_pong(now, from, pong.nonce, out);
    }

    pub fn on_woken(&mut self, now: Moment, _from: NodeId, woken: Woken, out: &mut Vec<Effect>) {
        let turns = match woken.0 {
            Timer::Dht => {
                let done = self.presence.node.on_woken(now, out);
                self.presence.take(now, done, out)
            }
            Timer::Announce => {
                out.push(Effect::Wake { after: self.presence.node.rules().announce, timer: Timer::Announce });
                vec![Turn::Announce]
            }
            Timer::AnnounceAgain => vec![Turn::Announce],
            Timer::Place => self.presence.on_place(now, out),
            _ => return,
        };
        self.follow(now, turns, out);
    }

    pub fn on_close(&mut self, _now: Moment, _from: NodeId, close: Close, out: &mut Vec<Effect>) {
        if let Some(session) = self.sessions.remove(&close.session) {
            self.cache_used -= session.reserved;
            self.kept_bytes -= session.kept.as_ref().map_or(0, History::bytes);
            out.push(Effect::Compute(Job { ticket: LOAD, work: Work::Release { session: close.session } }));
        }
    }

    /// Another session follows on one of this peer's: it gets what is kept for it, and from now on what comes.
    pub fn on_reroute(&mut self, _now: Moment, from: NodeId, reroute: Reroute, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(&reroute.session).filter(|_| from == reroute.session.client()) else {
            return refuse(out, from, reroute.session, Refusal::UnknownSession);
        };
        session.open.next = Some(reroute.next);
        session.open.wanted = 0;
        let Some(kept) = &mut session.kept else {
            return refuse(out, from, reroute.session, Refusal::NotKept);
        };
        if let Some(activation) = kept.since(reroute.from) {
            let step = Step { session: reroute.session, position: reroute.from, activation };
            session.forward(step, 0, out);
        }
    }

    pub fn on_ping(&mut self, _now: Moment, from: NodeId, ping: Ping, out: &mut Vec<Effect>) {
        out.push(ping.answer(from));
    }

    /// Whoever is gone will not close its sessions.
    pub fn on_gone(&mut self, now: Moment, from: NodeId, _: Gone, out: &mut Vec<Effect>) {
        let orphans: Vec<SessionId> =
            self.sessions.keys().copied().filter(|session| session.client() == from).collect();
        for session in orphans {
            self.on_close(now, from, Close { session }, out);
        }
        let turns = self.presence.on_gone(now, from, out);
        self.follow(now, turns, out);
    }
}

impl Session {
    /// Keeps what has been computed, as long as there is room for it.
    fn keep(&mut self, computed: &Activation, bytes: &mut u64) {
        let Some(kept) = &mut self.kept else { return };
        if !self.open.cached {
            *bytes -= kept.bytes();
            kept.clear();
        }
        if *bytes + computed.bytes() > limits::KEPT_BYTES {
            *bytes -= kept.bytes();
            self.kept = None;
        } else {
            *bytes += computed.bytes();
            kept.append(computed);
        }
    }

    /// Sends a step on, without its first tokens, which nobody wants.
    fn forward(&self, mut step: Step, unwanted: u32, out: &mut Vec<Effect>) {
        if unwanted >= step.activation.tokens {
            return;
        }
        step.position += unwanted;
        step.activation = step.activation.skip(unwanted);
        match self.open.next {
            Some(next) => {
                step.session = next.session;
                send(out, next.peer, Message::Step(step));
            }
            None => send(out, step.session.client(), Message::Returned(Returned(step))),
        }
    }
}

fn send(out: &mut Vec<Effect>, to: NodeId, message: Message) {
    out.push(Effect::Send { to, message });
}

fn refuse(out: &mut Vec<Effect>, to: NodeId, session: SessionId, why: Refusal) {
    send(out, to, Message::Refused(Refused { session: Some(session), why }));
}

crate::seats::shell!(Peer around Core {
    Rpc => on_rpc,
    Open => on_open,
    Step => on_step,
    Reroute => on_reroute,
    Close => on_close,
    Ping => on_ping,
    Pong => on_pong,
    Gone => on_gone,
    Computed => on_computed,
    Woken => on_woken,
});
