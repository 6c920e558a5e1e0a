//! A storm: a stress test that gives one peer more sessions and steps than the peer may take, from clients and from
//! nodes that ignore the protocol.
//!
//! A model of the peer (a second, simple implementation) follows the messages: which sessions are open, which wait and
//! since when, how many steps are queued, and which KV caches the device holds. The peer must agree with the model
//! after every message, refuse everything beyond a limit, and hold nothing once every session is closed.
mod agree;

use super::draw::{Chance, MS, scheduling};
use actors::dht::node;
use actors::id::{BlockRange, NodeId, RequestId, SessionId};
use actors::invariants::InvariantChecker;
use actors::limits;
use actors::message::{
    Activation, Close, Computed, Gone, Job, Leave, Message, Next, Open, Output, Piece, Refusal, Refused, Reroute, Step,
    Timer, WireType, Woken, Work,
};
use actors::peer::{Config, Core, presence};
use actors::placement::Speed;
use actors::policy::{Admission, Lifetime, Policies};
use actors::record::Event;
use actors::seed::Seed;
use actors::time::{Duration, Timestamp};
use actors::world::Effect;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const ME: NodeId = NodeId(2);
const CLIENTS: u32 = 3;
const STRANGER: NodeId = NodeId(99);
const LAYERS: u32 = 3;
const TOKEN_BYTES: u64 = 8;
/// The largest number of timers of the peer that may fire within 20 s: far more than it has sessions in a storm.
const WAKES: u32 = 10_000;

/// Runs the storm of a seed against a peer, and returns the first difference between the peer and its model.
pub(super) fn storm(seed: u64) -> Result<(), String> {
    let mut chance = Chance::new(Seed(seed).stream("storm", 0, 0));
    match chance.of(0..=15) {
        0 | 1 => flood(&mut Storm::new(1 << 30, &mut chance)?, &mut chance),
        2 | 3 => crowd(&mut chance),
        _ => mixed(&mut Storm::new(need(u64::from(chance.of(8..=64))), &mut chance)?, &mut chance),
    }
}

/// Sends more steps than the peer's queue may hold, while the device computes the first of them.
fn flood(storm: &mut Storm, chance: &mut Chance) -> Result<(), String> {
    let sessions = chance.of(1..=4);
    for _ in 0..sessions {
        storm.open(limits::QUEUED_STEPS_PER_PEER as u32 * 2, true)?;
    }
    for _ in 0..limits::QUEUED_STEPS_PER_PEER + 64 {
        storm.step(chance)?;
    }
    for _ in 0..chance.of(0..=8) {
        storm.finish()?;
        storm.step(chance)?;
    }
    storm.over()
}

/// Opens more sessions than a peer may hold, or more sessions than may wait for room in its KV cache.
fn crowd(chance: &mut Chance) -> Result<(), String> {
    let waiting = chance.is(70);
    let budget = need(if waiting { 16 } else { 1 << 20 });
    let mut storm = Storm::new(budget, chance)?;
    for _ in 0..limits::SESSIONS_PER_PEER + 64 {
        storm.open(16, true)?;
    }
    storm.over()
}

fn mixed(storm: &mut Storm, chance: &mut Chance) -> Result<(), String> {
    for _ in 0..chance.of(20..=120) {
        match chance.of(0..=15) {
            0..=2 => storm.open(chance.of(1..=32), chance.is(80))?,
            3..=6 => storm.step(chance)?,
            7..=9 => storm.finish()?,
            10 | 11 => storm.close_one(chance)?,
            12 => storm.repeat(chance)?,
            13 => storm.disturb(chance)?,
            14 => storm.pass(chance.span(MS, Duration::from_secs(20)))?,
            _ if chance.is(10) => storm.leave()?,
            _ if chance.is(30) => storm.lose_client(NodeId(10 + chance.of(0..=CLIENTS - 1)))?,
            _ => {}
        }
    }
    storm.over()
}

/// Returns the bytes of KV cache that a session of `tokens` tokens needs.
fn need(tokens: u64) -> u64 {
    tokens * u64::from(LAYERS) * TOKEN_BYTES
}

/// The model's state of one session.
struct Held {
    need: u64,
    longest: u32,
    cached: bool,
    /// The number of tokens in the steps of the session that the peer has accepted.
    sent: u32,
    /// The number of tokens in the steps of the session that the device has finished.
    computed: u32,
    /// The number of the session's steps in the peer's queue.
    queued: usize,
    /// The number of the session's steps in the job that the device computes.
    running: usize,
    opened: Timestamp,
    active: Timestamp,
}

struct Storm {
    peer: Core,
    policies: Policies,
    budget: u64,
    now: Timestamp,
    checker: InvariantChecker,
    timers: Vec<(Timestamp, Timer)>,
    job: Option<Job>,
    /// The sessions whose KV caches the device holds.
    caches: BTreeSet<SessionId>,
    open: BTreeMap<SessionId, Held>,
    waiting: VecDeque<(SessionId, Held)>,
    /// The bytes of KV cache that all sessions together have reserved.
    used: u64,
    /// The number of steps of all sessions in the peer's queue.
    queued: usize,
    /// The session that a client has asked the peer to open, without an answer so far.
    asked: Option<(SessionId, Held)>,
    lost: Option<NodeId>,
    left: bool,
    named: u32,
}

impl Storm {
    fn new(budget: u64, chance: &mut Chance) -> Result<Storm, String> {
        let admission = match chance.is(70) {
            true => Admission::Wait(chance.span(Duration::from_millis(100), Duration::from_secs(30))),
            false => Admission::Refuse,
        };
        let lifetime = match chance.is(40) {
            true => Lifetime { idle: Duration::from_secs(4), longest: Duration::from_secs(20) },
            false => Lifetime::default(),
        };
        let policies = Policies { admission, lifetime, scheduling: scheduling(chance), ..Policies::default() };
        let (seed, rules) = (Seed(1), policies.dht);
        let place = presence::Config {
            dht: node::Config { me: ME, bootstrap: None, seed, rules, client: false },
            layers: LAYERS,
            blocks: BlockRange { start: 0, end: LAYERS },
            chooses: None,
            speed: Speed { inference_rps: 100.0, forward_rps: 100.0, network_rps: 100.0 },
            pings: policies.pings,
        };
        let peer = Core::new(Config {
            me: ME,
            orchestrator: NodeId(0),
            place,
            cache_bytes: budget,
            cache_bytes_per_token_block: TOKEN_BYTES,
            policies: policies.clone(),
        });
        let mut storm = Storm {
            peer,
            policies,
            budget,
            now: Timestamp::default(),
            checker: InvariantChecker::of_a_host(),
            timers: Vec::new(),
            job: None,
            caches: BTreeSet::new(),
            open: BTreeMap::new(),
            waiting: VecDeque::new(),
            used: 0,
            queued: 0,
            asked: None,
            lost: None,
            left: false,
            named: 0,
        };
        storm.tell(|peer, now, out| peer.on_start(now, out))?;
        Ok(storm)
    }

    /// Lets the peer handle an event, and applies the peer's effects to the model. Returns the peer's refusals with
    /// their receivers.
    fn tell(
        &mut self,
        act: impl FnOnce(&mut Core, Timestamp, &mut Vec<Effect>),
    ) -> Result<Vec<(NodeId, SessionId, Refusal)>, String> {
        let (mut out, mut refusals) = (Vec::new(), Vec::new());
        act(&mut self.peer, self.now, &mut out);
        let mut effects = VecDeque::from(out);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send { message: Message::Opened(opened), .. } => self.opened(opened.session)?,
                Effect::Send { to, message: Message::Refused(Refused { session: Some(session), why }) } => {
                    self.refused(session, why)?;
                    refusals.push((to, session, why));
                }
                Effect::Send { .. } => {}
                Effect::Wake { after, timer } => self.timers.push((self.now + after, timer)),
                Effect::Record(event) => {
                    self.checker
                        .check(&event)
                        .map_err(|invariant| format!("the peer violates `{invariant}` at the event {event:?}"))?;
                    if let Event::Reserved(reserved) = &event
                        && reserved.bytes.is_none()
                    {
                        self.closed(reserved.session);
                    }
                }
                Effect::Compute(Job { work: Work::Release { session }, .. }) => _ = self.caches.remove(&session),
                Effect::Compute(Job { ticket, work: Work::Load { .. } }) => {
                    let (started, finished) = (self.now, self.now);
                    let loaded = Computed { ticket, started, finished, output: Ok(Output::Loaded) };
                    let mut more = Vec::new();
                    self.peer.on_computed(self.now, ME, loaded, &mut more);
                    effects.extend(more);
                }
                Effect::Compute(job) => self.submitted(job)?,
            }
        }
        Ok(refusals)
    }

    // -- effects of the peer --

    fn opened(&mut self, session: SessionId) -> Result<(), String> {
        let held = match self.asked.take_if(|(asked, _)| *asked == session) {
            Some(_) if !self.waiting.is_empty() => return Err(format!("{session:?} overtakes waiting sessions")),
            Some((_, held)) => held,
            None => {
                let lost = self.lost;
                while self.waiting.front().is_some_and(|(id, _)| *id != session && Some(id.client()) == lost) {
                    self.waiting.pop_front();
                }
                match self.waiting.pop_front() {
                    Some((first, held)) if first == session => held,
                    first => return Err(format!("the peer admits {session:?} before {:?}", first.map(|(id, _)| id))),
                }
            }
        };
        self.used += held.need;
        self.open.insert(session, Held { opened: self.now, active: self.now, ..held });
        Ok(())
    }

    fn refused(&mut self, session: SessionId, why: Refusal) -> Result<(), String> {
        let Some(at) = self.waiting.iter().position(|(id, _)| *id == session) else { return Ok(()) };
        let since = self.waiting[at].1.opened;
        match self.policies.admission {
            Admission::Wait(longest) if why == Refusal::CacheFull && self.now.since(since) >= longest => {}
            _ => return Err(format!("the peer refuses {session:?}, which waits for room, too early: {why}")),
        }
        self.waiting.remove(at);
        Ok(())
    }

    fn closed(&mut self, session: SessionId) {
        if let Some(held) = self.open.remove(&session) {
            self.used -= held.need;
            self.queued -= held.queued;
        }
    }

    fn submitted(&mut self, job: Job) -> Result<(), String> {
        if self.job.is_some() {
            return Err("the peer gives the device a second job at once".to_owned());
        }
        for piece in pieces(&job) {
            let session = piece.session;
            let Some(held) = self.open.get_mut(&session) else {
                return Err(format!("the peer computes a step of {session:?}, which is closed"));
            };
            let next = if held.cached { held.computed } else { 0 };
            if piece.position != next || held.queued == 0 {
                return Err(format!(
                    "the peer computes position {} of {session:?}, whose next position is {next}",
                    piece.position
                ));
            }
            (held.queued, held.running) = (held.queued - 1, held.running + 1);
            self.queued -= 1;
        }
        self.job = Some(job);
        Ok(())
    }

    // -- messages that other nodes send to the peer --

    fn open(&mut self, longest: u32, cached: bool) -> Result<(), String> {
        self.named += 1;
        let request = RequestId { client: NodeId(10 + self.named % CLIENTS), index: self.named };
        let session = SessionId::new(request, 0);
        let need = if cached { need(u64::from(longest)) } else { 0 };
        let (full, room) = (self.open.len() >= limits::SESSIONS_PER_PEER, need <= self.budget - self.used);
        let fits = room && self.waiting.is_empty();
        let (opened, active) = (self.now, self.now);
        let (sent, computed, queued, running) = (0, 0, 0, 0);
        let held = Held { need, longest, cached, sent, computed, queued, running, opened, active };
        self.asked = Some((session, held));
        let next = self.named.is_multiple_of(2).then_some(Next { peer: NodeId(3), session });
        let open = Open {
            session,
            blocks: BlockRange { start: 0, end: LAYERS },
            hop: 0,
            next,
            batch: 1,
            max_length: longest,
            cached,
            keep: next.is_some(),
            wanted: 0,
        };
        let refusals = self.tell(|peer, now, out| peer.on_open(now, session.client(), open, out))?;
        let asked = self.asked.take();
        match refusals.first().map(|(.., why)| *why) {
            Some(Refusal::NotServing) if self.left => {}
            _ if self.left => return Err("the peer opens a session after it has left".to_owned()),
            Some(Refusal::Busy) if full => {}
            Some(Refusal::CacheFull) if !fits => {}
            Some(why) => return Err(format!("the peer refuses {session:?} without need: {why}")),
            None => self.waiting.extend(asked),
        }
        self.agree()
    }

    /// Sends the next step of a random session. The peer must refuse it if, and only if, its queue has no room.
    fn step(&mut self, chance: &mut Chance) -> Result<(), String> {
        let Some(session) = self.one(chance) else { return Ok(()) };
        let Some(held) = self.open.get_mut(&session) else { return Ok(()) };
        let position = if held.cached { held.sent } else { 0 };
        let left = held.longest - position;
        if left == 0 {
            return Ok(());
        }
        let tokens = if chance.is(70) { 1 } else { chance.of(1..=left.min(32)) };
        let full = self.queued >= limits::QUEUED_STEPS_PER_PEER;
        if !full {
            (held.sent, held.queued) = (position + tokens, held.queued + 1);
            self.queued += 1;
        }
        self.send(session, position, tokens, full)
    }

    /// Sends a step that the peer has already received once more.
    fn repeat(&mut self, chance: &mut Chance) -> Result<(), String> {
        let Some(session) = self.one(chance) else { return Ok(()) };
        let sent = self.open.get(&session).filter(|held| held.cached).map_or(0, |held| held.sent);
        if sent == 0 {
            return Ok(());
        }
        let position = chance.of(0..=sent - 1);
        self.send(session, position, sent - position, self.queued >= limits::QUEUED_STEPS_PER_PEER)
    }

    fn send(&mut self, session: SessionId, position: u32, tokens: u32, full: bool) -> Result<(), String> {
        let activation = Activation { tokens, batch: 1, hidden: 8, dtype: WireType::F32, data: None };
        let step = Step { session, position, activation };
        let client = session.client();
        let refusals = self.tell(|peer, now, out| peer.on_step(now, client, step, out))?;
        match (full, refusals.as_slice()) {
            (false, []) | (true, [(_, _, Refusal::Busy)]) => self.agree(),
            (true, _) => Err(format!("the peer takes a step although its queue is full with {} steps", self.queued)),
            (false, [(.., why), ..]) => Err(format!("the peer refuses a step of {session:?} without need: {why}")),
        }
    }

    /// Ends the device's current job.
    fn finish(&mut self) -> Result<(), String> {
        let Some(job) = self.job.take() else { return Ok(()) };
        let mut outputs = Vec::new();
        for piece in pieces(&job) {
            outputs.push(piece.input.clone());
            let Some(held) = self.open.get_mut(&piece.session) else { continue };
            self.caches.insert(piece.session);
            held.running -= 1;
            if piece.blocks.end == LAYERS {
                (held.computed, held.active) = (piece.position + piece.input.tokens, self.now);
            } else {
                held.queued += 1;
                self.queued += 1;
            }
        }
        let output = match (&job.work, outputs.pop()) {
            (Work::Blocks(_), Some(only)) => Output::Hidden(only),
            (_, last) => Output::Batch(outputs.into_iter().chain(last).collect()),
        };
        let (started, finished) = (self.now, self.now);
        let done = Computed { ticket: job.ticket, started, finished, output: Ok(output) };
        self.tell(|peer, now, out| peer.on_computed(now, ME, done, out))?;
        self.agree()
    }

    fn close_one(&mut self, chance: &mut Chance) -> Result<(), String> {
        let waits = (chance.is(30) && !self.waiting.is_empty())
            .then(|| self.waiting[chance.of(0..=self.waiting.len() as u32 - 1) as usize].0);
        match waits.or_else(|| self.one(chance)) {
            Some(session) => self.close(session),
            None => Ok(()),
        }
    }

    fn close(&mut self, session: SessionId) -> Result<(), String> {
        self.waiting.retain(|(id, _)| *id != session);
        self.tell(|peer, now, out| peer.on_close(now, session.client(), Close { session }, out))?;
        if self.open.contains_key(&session) {
            return Err(format!("the peer does not close {session:?}"));
        }
        self.agree()
    }

    /// Sends a message about a session from a node that has no part in it; the peer must not obey.
    fn disturb(&mut self, chance: &mut Chance) -> Result<(), String> {
        let Some(session) = self.one(chance) else { return Ok(()) };
        let count = self.open.len();
        let next = Next { peer: STRANGER, session };
        let reroute = Reroute { session, next, from: 0 };
        let obeys = match chance.is(50) {
            true => !self.tell(|peer, now, out| peer.on_close(now, STRANGER, Close { session }, out))?.is_empty(),
            false => {
                self.tell(|peer, now, out| peer.on_reroute(now, STRANGER, reroute, out))?
                    != [(STRANGER, session, Refusal::UnknownSession)]
            }
        };
        if obeys || self.open.len() != count {
            return Err(format!("the peer obeys a message about {session:?} from a node that has no part in it"));
        }
        self.agree()
    }

    fn pass(&mut self, time: Duration) -> Result<(), String> {
        let until = self.now + time;
        for woken in 0.. {
            if woken > WAKES {
                return Err(format!("the peer is woken more than {WAKES} times within {time}"));
            }
            let due =
                (0..self.timers.len()).filter(|at| self.timers[*at].0 <= until).min_by_key(|at| self.timers[*at].0);
            let Some(due) = due else { break };
            let (at, timer) = self.timers.remove(due);
            self.now = self.now.max(at);
            self.tell(|peer, now, out| peer.on_woken(now, ME, Woken(timer), out))?;
        }
        self.now = until;
        if let Admission::Wait(longest) = self.policies.admission
            && let Some((session, _)) = self.waiting.iter().find(|(_, held)| until.since(held.opened) >= longest)
        {
            return Err(format!("the peer lets {session:?} wait longer than {longest}"));
        }
        let lifetime = self.policies.lifetime;
        let over = |held: &Held| {
            let idle = (held.queued + held.running == 0).then(|| until.since(held.active));
            lifetime.left(until.since(held.opened), idle) == Some(Duration::ZERO)
        };
        if let Some((session, _)) = self.open.iter().find(|(_, held)| over(held)) {
            return Err(format!("the peer lets {session:?} exceed its maximum lifetime"));
        }
        self.agree()
    }

    fn lose_client(&mut self, client: NodeId) -> Result<(), String> {
        self.lost = Some(client);
        self.tell(|peer, now, out| peer.on_gone(now, client, Gone, out))?;
        self.lost = None;
        self.waiting.retain(|(session, _)| session.client() != client);
        if self.open.keys().any(|session| session.client() == client) {
            return Err(format!("the peer holds sessions of {client}, which is gone"));
        }
        self.agree()
    }

    fn leave(&mut self) -> Result<(), String> {
        self.left = true;
        self.tell(|peer, now, out| peer.on_leave(now, ME, Leave, out))?;
        self.agree()
    }

    fn one(&self, chance: &mut Chance) -> Option<SessionId> {
        let count = self.open.len() as u32;
        let at = (count > 0).then(|| chance.of(0..=count - 1))?;
        self.open.keys().nth(at as usize).copied()
    }
}

fn pieces(job: &Job) -> Vec<&Piece> {
    match &job.work {
        Work::Blocks(piece) => vec![piece],
        Work::Batch(pieces) => pieces.iter().collect(),
        _ => Vec::new(),
    }
}
