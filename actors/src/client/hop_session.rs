//! One hop_session of a request's route: a peer, the blocks it computes, and the session it holds for them.
use crate::history::History;
use crate::id::SessionId;
use crate::message::{Failure, Hop, Next};
use crate::time::Timestamp;

pub(super) struct HopSession {
    pub hop: Hop,
    pub session: SessionId,
    pub state: State,
    /// It takes the place of one that failed, and has not been given yet what that one was given.
    pub fresh: bool,
    /// A step has come back through it, so that it has all that came before.
    pub proven: bool,
    /// What was sent to it: by relay of every hop_session, else of the first; of the last step alone where there are no caches.
    pub history: History,
    /// When the client last heard of it, or gave it something to do.
    pub heard: Timestamp,
    /// When it was asked for a sign of incarnation that it has not given since.
    pub pinged: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    /// The session was asked for.
    Asked,
    Open,
    Lost {
        why: Failure,
        /// There is nobody to be told that the session is over.
        gone: bool,
    },
}

impl HopSession {
    pub fn new(hop: Hop, session: SessionId, now: Timestamp) -> HopSession {
        HopSession {
            hop,
            session,
            state: State::Idle,
            fresh: false,
            proven: false,
            history: History::default(),
            heard: now,
            pinged: None,
        }
    }

    /// This hop_session, as the peer before it has to know it.
    pub fn as_next(&self) -> Next {
        Next { peer: self.hop.peer, session: self.session }
    }

    pub fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost { .. })
    }

    /// Another peer has to take its place.
    pub fn is_wanting(&self) -> bool {
        self.is_lost() || self.fresh
    }

    /// The peer may hold the session.
    pub fn to_close(&self) -> bool {
        matches!(self.state, State::Asked | State::Open | State::Lost { gone: false, .. })
    }

    pub fn hear(&mut self, now: Timestamp) {
        (self.heard, self.pinged) = (now, None);
    }
}
