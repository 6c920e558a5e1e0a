//! The sessions of a peer: its open sessions, and the sessions that wait for room in its KV cache. The whole KV cache
//! of a session is reserved when the session opens.
//!
//! Invariants: the reserved bytes never exceed the budget, and equal the sum over the open sessions. Waiting sessions
//! are admitted in the order of arrival.
use super::queue::Queued;
use crate::canary::{Canary, planted};
use crate::history::History;
use crate::id::{BlockRange, NodeId, SessionId};
use crate::limits;
use crate::message::{Activation, Message, Open, Refusal, Returned, Step};
use crate::policy::{Admission, Lifetime};
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use std::collections::{BTreeMap, VecDeque};

/// An open session.
pub struct Session {
    /// The `Open` message of the session. A later `Reroute` replaces the next hop in it.
    pub open: Open,
    /// The number of bytes of KV cache that are reserved for the session.
    pub reserved: u64,
    /// The number of tokens of each row in the steps accepted so far, whether computed or still queued. In a cached
    /// session the next step must begin at this position, or before it if it repeats tokens.
    length: u32,
    /// The number of the session's steps that wait in the queue or are being computed.
    pub steps: u32,
    /// The time when the session was opened.
    opened: Timestamp,
    /// The time when the session's last step was finished, or when the session was opened if none was. The idle time
    /// counts from this time while the session has no step in progress.
    pub active: Timestamp,
    /// The outputs of the session from position 0 on, kept to be sent again after a failure. In a session without a KV
    /// cache, the outputs of the last step only. `None` if the client did not ask to keep them, or once the outputs
    /// were too large to keep.
    pub kept: Option<History>,
}

/// All sessions of a peer, open and waiting, and the budget of its KV cache.
pub struct Sessions {
    admission: Admission,
    blocks: BlockRange,
    /// The budget of the KV cache, in bytes.
    bytes: u64,
    /// The number of bytes of the budget that are reserved.
    used: u64,
    /// The number of bytes of outputs that all sessions keep, to send them again after a failure.
    kept_bytes: u64,
    bytes_per_token_block: u64,
    open: BTreeMap<SessionId, Session>,
    waiting: VecDeque<Waiting>,
}

/// A session that waits for room in the KV cache.
struct Waiting {
    from: NodeId,
    open: Open,
    /// The time when the peer refuses the session if there is still no room.
    due: Timestamp,
}

/// The result of an `Open` message that the peer does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The session is open.
    Open,
    /// The session waits for room in the KV cache.
    Waits,
}

impl Sessions {
    /// Returns an empty set of sessions for a peer that serves `blocks` with a KV cache budget of `bytes`. One token of
    /// one row takes `bytes_per_token_block` bytes of KV cache in one block.
    pub fn new(admission: Admission, blocks: BlockRange, bytes: u64, bytes_per_token_block: u64) -> Sessions {
        let (open, waiting) = (BTreeMap::new(), VecDeque::new());
        Sessions { admission, blocks, bytes, used: 0, kept_bytes: 0, bytes_per_token_block, open, waiting }
    }

    /// Returns an open session; `None` if the session waits or is unknown.
    pub fn get(&self, session: SessionId) -> Option<&Session> {
        self.open.get(&session)
    }

    pub fn get_mut(&mut self, session: SessionId) -> Option<&mut Session> {
        self.open.get_mut(&session)
    }

    /// Returns the number of open sessions.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns the number of sessions that wait for room in the KV cache.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of bytes of KV cache that all open sessions have reserved.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Returns the number of bytes of outputs that all sessions keep, to send them again after a failure.
    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Returns the number of further tokens of one row that fit into the KV cache, if the tokens go through all blocks
    /// of the peer.
    pub fn tokens_left(&self) -> u64 {
        (self.bytes - self.used) / (u64::from(self.blocks.len()) * self.bytes_per_token_block).max(1)
    }

    /// Opens the session and reserves its KV cache, or lets the session wait for room. No session overtakes the
    /// sessions that wait already.
    ///
    /// # Errors
    ///
    /// `NotServing` if the peer does not serve all of the session's blocks; `TooLong` if the batch is empty or the
    /// batch or the length exceeds its limit; `Busy` if too many sessions are open, or if the session is open or waits
    /// already; `CacheFull` if there is no room, and the policy is to refuse, or too many sessions wait already, or the
    /// session exceeds the whole budget.
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

    /// Whether the session is open or waits for room. Such a session must not reserve its cache a second time.
    fn holds(&self, session: SessionId) -> bool {
        self.open.contains_key(&session) || self.waiting.iter().any(|waiting| waiting.open.session == session)
    }

    /// Returns the number of bytes of KV cache that the session needs.
    fn need(&self, open: &Open) -> u64 {
        // A session without a cache reserves nothing: it needs memory only while a step is computed, one step at a
        // time.
        let tokens = if open.cached { u64::from(open.batch) * u64::from(open.max_length) } else { 0 };
        tokens * u64::from(open.blocks.len()) * self.bytes_per_token_block
    }

    fn reserve(&mut self, now: Timestamp, open: Open, reserved: u64) {
        self.used += reserved;
        let kept = open.keep.then(History::default);
        self.open.insert(open.session, Session { open, reserved, length: 0, steps: 0, opened: now, active: now, kept });
    }

    /// Opens the oldest waiting session if there is room for it now, and returns its client and id.
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

    /// Removes and returns the oldest waiting session if it has waited for the longest allowed time. The longest
    /// allowed time is the same for all sessions, so the oldest is due first.
    pub fn overdue(&mut self, now: Timestamp) -> Option<(NodeId, SessionId)> {
        let due = self.due().is_some_and(|due| due <= now) && !planted(Canary::WaitingNeverEnds);
        due.then(|| self.waiting.pop_front()).flatten().map(|waiting| (waiting.from, waiting.open.session))
    }

    /// Returns the open session that expires next, and its remaining time: zero if the session has expired already.
    /// Returns `None` if no limit of the lifetime applies to an open session now.
    pub fn expiring(&self, now: Timestamp, lifetime: Lifetime) -> Option<(SessionId, Duration)> {
        let left = self.open.iter().filter(|_| !planted(Canary::SessionNeverExpires)).filter_map(|(id, session)| {
            let idle = (session.steps == 0).then(|| now.since(session.active));
            Some((*id, lifetime.left(now.since(session.opened), idle)?))
        });
        left.min_by_key(|(_, left)| *left)
    }

    /// Returns the time when the oldest waiting session is due to be refused.
    pub fn due(&self) -> Option<Timestamp> {
        self.waiting.front().map(|waiting| waiting.due)
    }

    /// Removes a session, open or waiting, and frees its reservation. Returns the session if it was open.
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

    /// Changes the blocks that the peer serves. The caller must have closed all sessions, open and waiting.
    pub fn serve(&mut self, blocks: BlockRange) {
        self.blocks = blocks;
    }

    /// Returns the ids of all sessions: the open sessions first, then the waiting sessions.
    pub fn all(&self) -> Vec<SessionId> {
        self.open.keys().copied().chain(self.waiting.iter().map(|waiting| waiting.open.session)).collect()
    }

    /// Returns the ids of all sessions of a client, open or waiting.
    pub fn of_client(&self, client: NodeId) -> Vec<SessionId> {
        self.all().into_iter().filter(|session| session.client() == client).collect()
    }

    /// Checks an arriving step, and returns the step to queue, without the tokens that the session has accepted before.
    /// Accepted tokens may arrive again from a new peer that has replaced the peer of the previous hop. Returns `None`
    /// if no new tokens are left.
    ///
    /// # Errors
    ///
    /// `UnknownSession` if the session is not open; `OutOfOrder` if the step has no tokens, has the wrong batch size or
    /// leaves a gap after the accepted tokens; `TooLong` if it exceeds the length of the session.
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

    /// Keeps an output of the session, to send it again after a failure, if the session's client asked for that. If the
    /// session's kept outputs would exceed one frame, or the kept outputs of all sessions would exceed
    /// [`limits::KEPT_BYTES`], the session drops its kept outputs and keeps nothing from then on.
    pub fn keep(&mut self, session: SessionId, computed: &Activation) {
        let Some(session) = self.open.get_mut(&session) else { return };
        let Some(kept) = &mut session.kept else { return };
        if !session.open.cached {
            self.kept_bytes -= kept.bytes();
            kept.clear();
        }
        // The kept outputs of a session are sent to another peer in one frame.
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
    /// Sends a step, without its first `unwanted` tokens, to the next hop, or to the client if this is the last hop.
    /// Sends nothing if no tokens are left.
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
        // The budget has room for 10 tokens in 2 blocks.
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
        // There would be room for session 3, but session 2 waits before it.
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
