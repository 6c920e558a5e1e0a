//! Admission control of a peer: which sessions it opens, which wait for room in the KV cache, when it ends a session,
//! and the trace events that record the reservations.
use super::sessions::Entry;
use super::{Core, refuse, send};
use crate::canary::{Canary, planted};
use crate::id::{NodeId, SessionId};
use crate::message::{Close, Job, Message, Open, Opened, Refusal, Ticket, Timer, Work};
use crate::policy::Lifetime;
use crate::record::{Event, Reserved};
use crate::time::{Duration, Timestamp};
use crate::world::Effect;

impl Core {
    /// Ends every session, open or waiting, because the peer's blocks change. Each client gets the refusal
    /// `NotServing`.
    pub(super) fn give_up(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        for session in self.sessions.all() {
            refuse(out, session.client(), session, Refusal::NotServing);
            self.on_close(now, session.client(), Close { session }, out);
        }
    }

    /// Reserves the whole KV cache of the session and opens it, lets the session wait for room, or refuses it.
    pub fn on_open(&mut self, now: Timestamp, from: NodeId, open: Open, out: &mut Vec<Effect>) {
        let session = open.session;
        if from != session.client() {
            return refuse(out, from, session, Refusal::UnknownSession);
        }
        if !self.presence.is_online() && !planted(Canary::OpensAfterLeaving) {
            return refuse(out, from, session, Refusal::NotServing);
        }
        match self.sessions.enter(now, from, open) {
            Ok(Entry::Open) => self.opened(now, from, session, out),
            Ok(Entry::Waits) => self.watch_the_waiting(now, out),
            Err(why) => refuse(out, from, session, why),
        }
    }

    fn opened(&mut self, now: Timestamp, from: NodeId, session: SessionId, out: &mut Vec<Effect>) {
        let bytes = self.sessions.get(session).map(|session| session.reserved);
        self.note_cache(now, session, bytes, out);
        self.watch_lifetimes(now, out);
        send(out, from, Message::Opened(Opened { session, load: self.load(now) }));
    }

    /// Records the `bytes` of KV cache that the session has reserved from now on; `None` if the session is over.
    fn note_cache(&self, at: Timestamp, session: SessionId, bytes: Option<u64>, out: &mut Vec<Effect>) {
        out.push(Effect::Record(Event::Reserved(Reserved {
            session,
            peer: self.config.me,
            at,
            bytes,
            used: self.sessions.used(),
            budget: self.config.cache_bytes,
            open: self.sessions.len() as u32,
            waiting: self.sessions.waiting() as u32,
        })));
    }

    /// Starts the timer for the oldest session that waits for room, unless the timer is running.
    fn watch_the_waiting(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if let (false, Some(due)) = (self.armed, self.sessions.due()) {
            self.armed = true;
            out.push(Effect::Wake { after: due.since(now), timer: Timer::Admission });
        }
    }

    /// Refuses the sessions that have waited too long for room.
    pub(super) fn on_admission(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.armed = false;
        while let Some((from, session)) = self.sessions.overdue(now) {
            refuse(out, from, session, Refusal::CacheFull);
        }
        self.admit_the_waiting(now, out);
        self.watch_the_waiting(now, out);
    }

    /// Starts the timer for the next session that may exceed its lifetime, unless the timer is running.
    fn watch_lifetimes(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let lifetime = self.config.policies.lifetime;
        if self.timing || lifetime == Lifetime::default() {
            return;
        }
        let after = match self.sessions.expiring(now, lifetime) {
            // A session whose step is in progress may become idle right away, and would then expire after
            // `lifetime.idle`. The timer must not end later than that.
            Some((_, after)) if lifetime.idle > Duration::ZERO && !planted(Canary::IdleLookedAtLate) => {
                after.min(lifetime.idle)
            }
            Some((_, after)) => after,
            // Every session has a step in progress, and only the idle time is limited.
            None if self.sessions.len() > 0 => lifetime.idle,
            None => return,
        };
        self.timing = true;
        out.push(Effect::Wake { after, timer: Timer::Lifetime });
    }

    /// Ends the sessions that have exceeded their lifetime. Each client gets the refusal `Expired`.
    pub(super) fn on_lifetime(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.timing = false;
        while let Some((session, Duration::ZERO)) = self.sessions.expiring(now, self.config.policies.lifetime) {
            refuse(out, session.client(), session, Refusal::Expired);
            self.on_close(now, session.client(), Close { session }, out);
        }
        self.watch_lifetimes(now, out);
    }

    /// Opens waiting sessions in the order of their arrival, as long as there is room.
    pub(super) fn admit_the_waiting(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        while let Some((from, session)) = self.sessions.admit_next(now) {
            self.opened(now, from, session, out);
        }
    }

    /// Closes a session, open or waiting. Messages from nodes other than the session's client are ignored.
    pub fn on_close(&mut self, now: Timestamp, from: NodeId, close: Close, out: &mut Vec<Effect>) {
        if from != close.session.client() && !planted(Canary::StrangerCloses) {
            return;
        }
        let Some(session) = self.sessions.leave(close.session) else {
            // If the session was waiting, there may be room now for the sessions behind it.
            if !planted(Canary::RoomUnused) {
                self.admit_the_waiting(now, out);
            }
            return;
        };
        if session.steps > 0 && !planted(Canary::ClosedStepsKept) {
            self.queue.forget(close.session);
        }
        self.note_cache(now, close.session, None, out);
        if !planted(Canary::DeviceCacheKept) {
            out.push(Effect::Compute(Job { ticket: Ticket::Release, work: Work::Release { session: close.session } }));
        }
        self.admit_the_waiting(now, out);
    }
}
