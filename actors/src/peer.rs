//! A peer: holds a span of blocks, admits sessions, queues their steps, computes them one at a time, sends them on.
//!
//! It knows nothing of tensors or devices: a step goes to the device as a job and comes back as `Computed`.
mod meter;

use crate::id::{BlockRange, NodeId, SessionId};
use crate::limits;
use crate::message::{
    Activation, Announce, Announced, Close, Computed, Gone, Job, Load, Message, Open, Opened, Output, Ping, Present,
    Refusal, Refused, Returned, Step, Ticket, Work,
};
use crate::record::{Event, Served};
use crate::time::Moment;
use crate::world::Effect;
use meter::Meter;
use std::collections::{BTreeMap, VecDeque};

/// What the plan says of a peer.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    pub orchestrator: NodeId,
    pub registry: NodeId,
    pub blocks: BlockRange,
    /// Bytes its KV cache may take.
    pub cache_bytes: u64,
    /// Bytes that one token of one row takes in the cache of one block.
    pub cache_bytes_per_token_block: u64,
    /// Announced: blocks per second of one-token steps.
    pub inference_rps: f64,
}

/// The state machine of a peer.
pub struct Core {
    config: Config,
    sessions: BTreeMap<SessionId, Session>,
    queue: VecDeque<Queued>,
    running: Option<Queued>,
    cache_used: u64,
    tickets: u64,
    meter: Meter,
}

struct Session {
    open: Open,
    reserved: u64,
    /// Tokens of each row accepted so far, computed or queued: where the next step must begin.
    length: u32,
}

struct Queued {
    step: Step,
    received: Moment,
}

const LOAD: Ticket = Ticket(0);

impl Core {
    pub fn new(config: Config) -> Core {
        assert!(!config.blocks.is_empty(), "the plan gives every peer a block");
        Core {
            config,
            sessions: BTreeMap::new(),
            queue: VecDeque::new(),
            running: None,
            cache_used: 0,
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
        let per_token = u64::from(self.config.blocks.len()) * self.config.cache_bytes_per_token_block;
        let left = (self.config.cache_bytes - self.cache_used) / per_token.max(1);
        Load {
            cache_tokens: u32::try_from(left).unwrap_or(u32::MAX),
            sessions: self.sessions.len() as u32,
            step: self.meter.step(),
            busy: self.meter.busy(now),
        }
    }

    pub fn on_start(&mut self, _now: Moment, out: &mut Vec<Effect>) {
        out.push(Effect::Compute(Job { ticket: LOAD, work: Work::Load }));
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
        let mine = self.config.blocks;
        if open.blocks.is_empty() || open.blocks.start < mine.start || open.blocks.end > mine.end {
            return Err(Refusal::NotServing);
        }
        if open.batch == 0 || open.batch > limits::BATCH || open.max_length > limits::TOKENS_PER_REQUEST {
            return Err(Refusal::TooLong);
        }
        if self.sessions.len() >= limits::SESSIONS_PER_PEER || self.sessions.contains_key(&open.session) {
            return Err(Refusal::Busy);
        }
        let tokens = u64::from(open.batch) * u64::from(open.max_length);
        let reserved = tokens * u64::from(open.blocks.len()) * self.config.cache_bytes_per_token_block;
        if reserved > self.config.cache_bytes - self.cache_used {
            return Err(Refusal::CacheFull);
        }
        self.cache_used += reserved;
        self.sessions.insert(open.session, Session { open, reserved, length: 0 });
        Ok(())
    }

    pub fn on_step(&mut self, now: Moment, from: NodeId, step: Step, out: &mut Vec<Effect>) {
        match self.accept(&step) {
            Ok(()) => {
                self.queue.push_back(Queued { step, received: now });
                self.compute_next(out);
            }
            Err(why) => {
                // A pushed step comes from the peer before; the one that has to act is the client.
                let client = step.session.client();
                let to = if self.sessions.contains_key(&step.session) { client } else { from };
                refuse(out, to, step.session, why);
                if to != client {
                    refuse(out, client, step.session, why);
                }
            }
        }
    }

    fn accept(&mut self, step: &Step) -> Result<(), Refusal> {
        let session = self.sessions.get_mut(&step.session).ok_or(Refusal::UnknownSession)?;
        let tokens = step.activation.tokens;
        if u32::from(step.activation.batch) != session.open.batch || tokens == 0 {
            return Err(Refusal::OutOfOrder);
        }
        if step.position != session.length {
            return Err(Refusal::OutOfOrder);
        }
        if u64::from(step.position) + u64::from(tokens) > u64::from(session.open.max_length) {
            return Err(Refusal::TooLong);
        }
        if self.queue.len() >= limits::QUEUED_STEPS_PER_PEER {
            return Err(Refusal::Busy);
        }
        session.length += tokens;
        Ok(())
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
        if let Some(session) = self.sessions.get(&step.session) {
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
                    step.activation = activation;
                    session.forward(step, out);
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
        let announce = Announce {
            peer: self.config.me,
            blocks: self.config.blocks,
            inference_rps: self.config.inference_rps,
            load: self.load(now),
            next: Vec::new(),
        };
        send(out, self.config.registry, Message::Announce(Box::new(announce)));
    }

    /// Present is who can be found: else a warm-up could begin before its route exists.
    pub fn on_announced(&mut self, _now: Moment, _from: NodeId, _: Announced, out: &mut Vec<Effect>) {
        send(out, self.config.orchestrator, Message::Present(Present));
    }

    pub fn on_close(&mut self, _now: Moment, _from: NodeId, close: Close, out: &mut Vec<Effect>) {
        if let Some(session) = self.sessions.remove(&close.session) {
            self.cache_used -= session.reserved;
            out.push(Effect::Compute(Job { ticket: LOAD, work: Work::Release { session: close.session } }));
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
    }
}

impl Session {
    fn forward(&self, mut step: Step, out: &mut Vec<Effect>) {
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
    Announced => on_announced,
    Open => on_open,
    Step => on_step,
    Close => on_close,
    Ping => on_ping,
    Gone => on_gone,
    Computed => on_computed,
});
