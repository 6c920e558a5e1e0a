//! One hop of a request's route: a peer, the blocks that it computes, and the session that it holds for them.
use crate::history::History;
use crate::id::SessionId;
use crate::message::{Failure, Hop, Next};
use crate::time::Timestamp;

/// One hop of a route and its session, as the client knows them.
pub(super) struct HopSession {
    pub hop: Hop,
    pub session: SessionId,
    pub state: State,
    /// Whether this hop session replaces a lost one and has not been sent the inputs of the lost one yet.
    pub fresh: bool,
    /// Whether a step has passed this hop session and returned to the client. The session's KV cache then holds all
    /// earlier tokens.
    pub proven: bool,
    /// The inputs that were sent to this hop session, kept for a replay. With `Forwarding::Relay` the client keeps the
    /// inputs of every hop, with `Forwarding::Push` only of the first hop. With `Recovery::Cacheless`, the history is
    /// the whole prefix that the last step carried.
    pub history: History,
    /// The time at which the client last heard from the peer, or last sent it a step or an `Open`.
    pub heard: Timestamp,
    /// The send time of the failure detector's ping, if the client has not heard from the peer since.
    pub pinged: Option<Timestamp>,
}

/// The state of a hop's session, as the client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The client has not asked for the session yet.
    Idle,
    /// The client has sent `Open` and waits for `Opened`.
    Asked,
    Open,
    Lost {
        why: Failure,
        /// Whether the peer is gone, so that no `Close` has to be sent.
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

    /// Returns the peer and the session id of this hop, to which the previous hop sends its outputs.
    pub fn as_next(&self) -> Next {
        Next { peer: self.hop.peer, session: self.session }
    }

    pub fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost { .. })
    }

    /// Whether the hop session cannot compute steps now: it is lost, or it replaces a lost one and has not been
    /// replayed yet.
    pub fn is_wanting(&self) -> bool {
        self.is_lost() || self.fresh
    }

    /// Whether the peer may hold the session, so that the client must send `Close`.
    pub fn to_close(&self) -> bool {
        matches!(self.state, State::Asked | State::Open | State::Lost { gone: false, .. })
    }

    pub fn hear(&mut self, now: Timestamp) {
        (self.heard, self.pinged) = (now, None);
    }
}
