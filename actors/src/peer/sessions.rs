//! The sessions that a peer holds, and those that wait for room: KV cache is reserved in full when a session opens.
//!
//! Invariants: what is reserved is within the budget, and is the sum over the open sessions; whoever waits is let in in
//! the order they came.
use super::queue::Queued;
use crate::canary::{Canary, planted};
use crate::history::History;
use crate::id::{BlockRange, NodeId, SessionId};
use crate::limits;
use crate::message::{Activation, Message, Open, Refusal, Returned, Step};
use crate::policy::Lifetime;
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// What becomes of a session for which there is no room in the KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admission {
    /// It is refused at once.
    #[default]
    Refuse,
    /// It waits so long for others to close, and is refused then. Who waits at one peer of its route holds what it has
    /// reserved at those before, so two that wait for each other end only by this time.
    Wait(Duration),
}

pub struct Session {
    pub open: Open,
    /// Bytes of KV cache.
    pub reserved: u64,
    /// Tokens of each row accepted so remote, computed or queued: where the next step must begin.
    length: u32,
    /// Its steps that wait or are computed.
    pub steps: u32,
    opened: Timestamp,
    /// When it last had a step, as the next one came or its answer went.
    pub active: Timestamp,
    /// What it has computed, from position 0 on (of the last step alone, where there is no cache), to be sent again.
    pub kept: Option<History>,
}

pub struct Sessions {
    admission: Admission,
    blocks: BlockRange,
    /// The budget, and what of it is reserved.
    bytes: u64,
    used: u64,
    /// Of what its sessions keep to send again.
    kept_bytes: u64,
    bytes_per_token_block: u64,
    open: BTreeMap<SessionId, Session>,
    waiting: VecDeque<Waiting>,
}

/// A session that waits for room.
struct Waiting {
    from: NodeId,
    open: Open,
    due: Timestamp,
}

/// What has become of a request for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Open,
    Waits,
}

impl Sessions {
    pub fn new(admission: Admission, blocks: BlockRange, bytes: u64, bytes_per_token_block: u64) -> Sessions {
        let (open, waiting) = (BTreeMap::new(), VecDeque::new());
        Sessions { admission, blocks, bytes, used: 0, kept_bytes: 0, bytes_per_token_block, open, waiting }
    }

    pub fn get(&self, session: SessionId) -> Option<&Session> {
        self.open.get(&session)
    }

    pub fn get_mut(&mut self, session: SessionId) -> Option<&mut Session> {
        self.open.get_mut(&session)
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Sessions that wait for room.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// KV cache reserved, in bytes.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Bytes of hidden states kept for a replay, over all sessions.
    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Tokens of one row that there is room for over all blocks.
    pub fn tokens_left(&self) -> u64 {
        (self.bytes - self.used) / (u64::from(self.blocks.len()) * self.bytes_per_token_block).max(1)
    }

    /// Reserves the session's cache, lets it wait for that, or says why it cannot be.
    pub fn enter(&mut self, now: Timestamp, from: NodeId, open: Open) -> Result<Entry, Refusal> {
        let mine = self.blocks;
        if open.blocks.is_empty() || open.blocks.start < mine.start || open.blocks.end > mine.end {
            return Err(Refusal::NotServing);
        }
        if open.batch == 0 || open.batch > limits::BATCH || open.max_length > limits::TOKENS_PER_REQUEST {
            return Err(Refusal::TooLong);
        }
        let full = self.open.len() >= limits::SESSIONS_PER_PEER && !planted(Canary::SessionsUnbounded);
        if full || self.holds(open.session) {
            return Err(Refusal::Busy);
        }
        let need = self.need(&open);
        let room = need <= self.bytes - self.used || planted(Canary::BudgetSkipped);
        if self.waiting.is_empty() && room {
            self.reserve(now, open, need);
            return Ok(Entry::Open);
        }
        let crowded = self.waiting.len() >= limits::WAITING_SESSIONS_PER_PEER && !planted(Canary::WaitingUnbounded);
        match self.admission {
            Admission::Wait(longest) if need <= self.bytes && !crowded => {
                self.waiting.push_back(Waiting { from, open, due: now + longest });
                Ok(Entry::Waits)
            }
            _ => Err(Refusal::CacheFull),
        }
    }

    /// The session is open, or waits for room: it reserves nothing a second time.
    fn holds(&self, session: SessionId) -> bool {
        self.open.contains_key(&session) || self.waiting.iter().any(|waiting| waiting.open.session == session)
    }

    fn need(&self, open: &Open) -> u64 {
        // Without a cache the room is needed only while a step is computed, one at a time.
        let tokens = if open.cached { u64::from(open.batch) * u64::from(open.max_length) } else { 0 };
        tokens * u64::from(open.blocks.len()) * self.bytes_per_token_block
    }

    fn reserve(&mut self, now: Timestamp, open: Open, reserved: u64) {
        self.used += reserved;
        let kept = open.keep.then(History::default);
        self.open.insert(open.session, Session { open, reserved, length: 0, steps: 0, opened: now, active: now, kept });
    }

    /// The next that there is room for now: it is open from now on.
    pub fn admit_next(&mut self, now: Timestamp) -> Option<(NodeId, SessionId)> {
        if planted(Canary::LastWaitingFirst) {
            self.waiting.rotate_right(1.min(self.waiting.len()));
        }
        let need = self.need(&self.waiting.front()?.open);
        if need > self.bytes - self.used || self.open.len() >= limits::SESSIONS_PER_PEER {
            return None;
        }
        let Waiting { from, open, .. } = self.waiting.pop_front()?;
        let session = open.session;
        self.reserve(now, open, need);
        Some((from, session))
    }

    /// The next that has waited as long as it may. All wait equally long, so the oldest is due first.
    pub fn overdue(&mut self, now: Timestamp) -> Option<(NodeId, SessionId)> {
        let due = self.due().is_some_and(|due| due <= now) && !planted(Canary::WaitingNeverEnds);
        due.then(|| self.waiting.pop_front()).flatten().map(|waiting| (waiting.from, waiting.open.session))
    }

    /// A session that has lasted as long as it may, and when the next one will have.
    pub fn expiring(&self, now: Timestamp, lifetime: Lifetime) -> Option<(SessionId, Duration)> {
        let left = self.open.iter().filter(|_| !planted(Canary::SessionNeverExpires)).filter_map(|(id, session)| {
            let idle = (session.steps == 0).then(|| now.since(session.active));
            Some((*id, lifetime.left(now.since(session.opened), idle)?))
        });
        left.min_by_key(|(_, left)| *left)
    }

    /// When the next that waits is due.
    pub fn due(&self) -> Option<Timestamp> {
        self.waiting.front().map(|waiting| waiting.due)
    }

    /// Forgets a session, and gives it back if it was open.
    pub fn leave(&mut self, session: SessionId) -> Option<Session> {
        let left = self.open.remove(&session);
        match &left {
            Some(open) => {
                self.used -= open.reserved;
                let kept = open.kept.as_ref().filter(|_| !planted(Canary::ClosedHistoryCounted));
                self.kept_bytes -= kept.map_or(0, History::bytes);
            }
            None => self.waiting.retain(|waiting| waiting.open.session != session),
        }
        left
    }

    /// From now on these are the blocks. None may be open or waiting.
    pub fn serve(&mut self, blocks: BlockRange) {
        self.blocks = blocks;
    }

    /// All sessions, open or waiting.
    pub fn all(&self) -> Vec<SessionId> {
        self.open.keys().copied().chain(self.waiting.iter().map(|waiting| waiting.open.session)).collect()
    }

    /// Sessions of a client, open or waiting.
    pub fn of_client(&self, client: NodeId) -> Vec<SessionId> {
        self.all().into_iter().filter(|session| session.client() == client).collect()
    }

    /// The step as it is to be queued: without what the session has already, of which a peer that is new before it may
    /// send some again. Nothing, if it has all of it.
    #[inline]
    pub fn accept(&mut self, now: Timestamp, mut step: Step) -> Result<Option<Queued>, (SessionId, Refusal)> {
        let refused = |why| (step.session, why);
        let session = self.open.get_mut(&step.session).ok_or(refused(Refusal::UnknownSession))?;
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
        if step.position + tokens <= begin && !planted(Canary::StepComputedTwice) {
            return Ok(None);
        }
        session.length = step.position + tokens;
        session.steps += 1;
        step.activation = step.activation.skip(begin - step.position);
        step.position = begin;
        Ok(Some(Queued {
            blocks: session.open.blocks,
            received: now,
            next_block: session.open.blocks.start,
            worked: Duration::ZERO,
            behind: session.steps > 1,
            step,
        }))
    }

    /// Keeps what a session has computed, as long as there is room for it.
    pub fn keep(&mut self, session: SessionId, computed: &Activation) {
        let Some(session) = self.open.get_mut(&session) else { return };
        let Some(kept) = &mut session.kept else { return };
        if !session.open.cached {
            self.kept_bytes -= kept.bytes();
            kept.clear();
        }
        // What is kept goes to another peer in one frame.
        let too_long = kept.bytes() + computed.bytes() > limits::FRAME_TENSOR_BYTES as u64;
        if too_long || self.kept_bytes + computed.bytes() > limits::KEPT_BYTES {
            self.kept_bytes -= kept.bytes();
            session.kept = None;
        } else {
            self.kept_bytes += computed.bytes();
            kept.append(computed);
        }
    }
}

impl Session {
    /// Sends a step on, without its first tokens, which nobody wants.
    pub fn forward(&self, mut step: Step, unwanted: u32, out: &mut Vec<Effect>) {
        if unwanted >= step.activation.tokens {
            return;
        }
        step.position += unwanted;
        step.activation = step.activation.skip(unwanted);
        let (to, message) = match self.open.next {
            Some(next) => (next.peer, Message::Step(Step { session: next.session, ..step })),
            None => (step.session.client(), Message::Returned(Returned(step))),
        };
        out.push(Effect::Send { to, message });
    }
}

#[cfg(test)]
mod tests {
    use super::{Admission, Entry, Sessions};
    use crate::id::{BlockRange, NodeId, RequestId, SessionId};
    use crate::limits;
    use crate::message::{Activation, Open, Refusal, WireType};
    use crate::time::{Duration, Timestamp};

    const CLIENT: NodeId = NodeId(9);

    fn session(index: u32) -> SessionId {
        SessionId::new(RequestId { client: CLIENT, index }, 0)
    }

    fn open(index: u32, tokens: u32) -> Open {
        let blocks = BlockRange { start: 0, end: 2 };
        Open {
            session: session(index),
            blocks,
            hop: 0,
            next: None,
            batch: 1,
            max_length: tokens,
            cached: true,
            keep: false,
            wanted: 0,
        }
    }

    fn sessions(admission: Admission) -> Sessions {
        // Room for 10 tokens of 2 blocks.
        Sessions::new(admission, BlockRange { start: 0, end: 2 }, 80, 4)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn whoever_finds_no_room_is_refused() {
        let mut sessions = sessions(Admission::Refuse);
        assert_eq!(sessions.enter(at(0), CLIENT, open(1, 7)), Ok(Entry::Open));
        assert_eq!((sessions.used(), sessions.tokens_left()), (56, 3));
        assert_eq!(sessions.enter(at(0), CLIENT, open(2, 4)), Err(Refusal::CacheFull));
        assert_eq!(sessions.enter(at(0), CLIENT, open(3, 3)), Ok(Entry::Open));
        assert!(sessions.leave(session(1)).is_some() && sessions.leave(session(3)).is_some());
        assert_eq!(sessions.used(), 0);
    }

    #[test]
    fn a_session_that_is_asked_for_again_while_it_waits_reserves_its_cache_once() {
        let mut sessions = sessions(Admission::Wait(Duration::from_secs(5)));
        assert_eq!(sessions.enter(at(0), CLIENT, open(1, 10)), Ok(Entry::Open));
        assert_eq!(sessions.enter(at(0), CLIENT, open(1, 1)), Err(Refusal::Busy), "it is open");
        assert_eq!(sessions.enter(at(0), CLIENT, open(2, 4)), Ok(Entry::Waits));
        assert_eq!(sessions.enter(at(1), CLIENT, open(2, 4)), Err(Refusal::Busy), "it waits");
        sessions.leave(session(1));
        assert_eq!(sessions.admit_next(at(2)), Some((CLIENT, session(2))));
        assert_eq!(sessions.admit_next(at(2)), None);
        assert_eq!(sessions.used(), 4 * 2 * 4);
        sessions.leave(session(2));
        assert_eq!((sessions.used(), sessions.waiting(), sessions.len()), (0, 0, 0));
    }

    #[test]
    fn a_history_that_no_frame_can_carry_is_not_kept() {
        let mut sessions = sessions(Admission::Refuse);
        assert_eq!(sessions.enter(at(0), CLIENT, Open { keep: true, ..open(1, 4) }), Ok(Entry::Open));
        let is_kept = |sessions: &Sessions| sessions.open[&session(1)].kept.is_some();
        let row = Activation { tokens: 1, batch: 1, hidden: 16_384, dtype: WireType::F32, data: None };
        let most = limits::FRAME_TENSOR_BYTES as u64 / row.bytes();
        sessions.keep(session(1), &row.hollow(most as u32));
        assert!(is_kept(&sessions), "it fits a frame");
        sessions.keep(session(1), &row);
        assert_eq!((is_kept(&sessions), sessions.kept_bytes), (false, 0));
    }

    #[test]
    fn those_who_wait_come_in_in_their_order_or_are_due() {
        let mut sessions = sessions(Admission::Wait(Duration::from_secs(5)));
        assert_eq!(sessions.enter(at(0), CLIENT, open(1, 8)), Ok(Entry::Open));
        assert_eq!(sessions.enter(at(1), CLIENT, open(2, 6)), Ok(Entry::Waits));
        // There would be room for it, but another was first.
        assert_eq!(sessions.enter(at(2), CLIENT, open(3, 2)), Ok(Entry::Waits));
        assert_eq!(sessions.enter(at(2), CLIENT, open(4, 99)), Err(Refusal::CacheFull), "it never will have room");
        assert_eq!(sessions.admit_next(at(3)), None);
        sessions.leave(session(1));
        assert_eq!(sessions.admit_next(at(3)), Some((CLIENT, session(2))));
        assert_eq!(sessions.admit_next(at(3)), Some((CLIENT, session(3))));
        assert_eq!(sessions.enter(at(3), CLIENT, open(5, 9)), Ok(Entry::Waits));
        assert_eq!((sessions.due(), sessions.overdue(at(7))), (Some(at(8)), None));
        assert_eq!(sessions.overdue(at(8)), Some((CLIENT, session(5))));
        assert_eq!(sessions.enter(at(9), CLIENT, open(6, 9)), Ok(Entry::Waits));
        assert!(sessions.leave(session(6)).is_none(), "it never was open");
        assert_eq!(sessions.due(), None);
        assert_eq!(sessions.of_client(CLIENT), [session(2), session(3)]);
    }
}
