//! One leg of a request's route: a peer, the blocks it computes, and the session it holds for them.
use crate::id::SessionId;
use crate::message::{Hop, Next};

#[derive(Clone, Copy)]
pub(super) struct Leg {
    pub hop: Hop,
    pub session: SessionId,
}

impl Leg {
    /// This leg, as the peer before it has to know it.
    pub fn as_next(&self) -> Next {
        Next { peer: self.hop.peer, session: self.session }
    }
}
