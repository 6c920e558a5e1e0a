//! Checks of the sessions, steps and caches that a peer holds. They must equal those of the model after every message
//! of a storm, and there must be none at the end.
use super::Storm;
use actors::id::SessionId;
use actors::limits;
use actors::peer::Holdings;

impl Storm {
    /// Closes every session, and checks that the peer then holds no session, step or cache.
    pub(super) fn over(&mut self) -> Result<(), String> {
        let waiting: Vec<SessionId> = self.waiting.iter().map(|(session, _)| *session).collect();
        for session in waiting.into_iter().rev().chain(self.open.keys().copied().collect::<Vec<_>>()) {
            self.close(session)?;
        }
        self.finish()?;
        match self.peer.holdings() {
            none if none == Holdings::default() && self.job.is_none() => Ok(()),
            left => Err(format!("the peer holds something after every session was closed: {left:?}")),
        }
    }

    pub(super) fn agree(&self) -> Result<(), String> {
        let is = self.peer.holdings();
        let kept_bytes = if self.open.is_empty() { 0 } else { is.kept_bytes };
        let wanted = Holdings {
            sessions: self.open.len(),
            waiting: self.waiting.len(),
            steps: self.queued,
            cache_bytes: self.used,
            kept_bytes,
        };
        if is != wanted {
            return Err(format!("the peer holds {is:?}, but should hold {wanted:?}"));
        }
        if self.used > self.budget
            || self.queued > limits::QUEUED_STEPS_PER_PEER
            || self.waiting.len() > limits::WAITING_SESSIONS_PER_PEER
        {
            return Err(format!("the peer holds more than its limits allow: {is:?}"));
        }
        if let Some((first, held)) = self.waiting.front()
            && held.need <= self.budget - self.used
            && self.open.len() < limits::SESSIONS_PER_PEER
        {
            return Err(format!("the peer lets {first:?} wait although there is room for it"));
        }
        let needed = |session: &SessionId| {
            self.open.get(session).is_some_and(|held| held.cached || held.queued + held.running > 0)
        };
        match self.caches.iter().find(|session| !needed(session)) {
            Some(session) => Err(format!("the peer lets the device keep the cache of {session:?}, which is closed")),
            None => Ok(()),
        }
    }
}
