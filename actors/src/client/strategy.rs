//! The two ways in which steps pass from hop to hop, as a client sees them: with `Forwarding::Relay` every step returns
//! to the client after each hop; with `Forwarding::Push` each peer sends the step to the next peer, and the last peer
//! returns it to the client.
use super::context::RequestContext;
use super::hop_session::HopSession;
use super::request::{Awaited, Request};
use crate::message::{Forwarding, Message, Next, Reroute};
use std::ops::Range;

/// The parts of a request that depend on how its steps pass from hop to hop.
pub(super) trait Strategy {
    /// Returns the session to which the peer of `hop` sends its outputs. With `None`, the peer returns its outputs to
    /// the client.
    fn next(&self, hop_sessions: &[HopSession], hop: usize) -> Option<Next>;

    /// Whether the peer of `hop` may hold the step that the client has sent to hop `at`.
    fn may_hold(&self, at: usize, hop: usize) -> bool;

    /// Whether the step that the client has sent to hop `at` returns to the client from `hop`. The route has `hops`
    /// hops.
    fn returns_from(&self, at: usize, hop: usize, hops: usize) -> bool;

    /// Whether the step that the client has sent to hop `at` cannot continue before a lost hop session is replaced.
    fn is_blocked(&self, hop_sessions: &[HopSession], at: usize) -> bool;

    /// Returns the hop sessions to replace while the step is at hop `at`, as ranges of adjacent hops.
    fn gaps(&self, hop_sessions: &[HopSession], at: usize) -> Vec<Range<usize>>;

    /// Causes the inputs of a lost hop session to be sent again, to the new hop session that replaces it at `hop`.
    fn replay(&self, request: &mut Request, context: &mut RequestContext<'_>, hop: usize);
}

impl Forwarding {
    /// Returns the client's strategy for this kind of forwarding.
    pub(super) fn strategy(self) -> &'static dyn Strategy {
        match self {
            Forwarding::Relay => &Relay,
            Forwarding::Push => &Push,
        }
    }
}

/// The strategy of [`Forwarding::Relay`]: the client knows at which hop the step is, and needs only that hop. The
/// client keeps the inputs of every hop, and sends them again itself.
struct Relay;

impl Strategy for Relay {
    fn next(&self, _: &[HopSession], _: usize) -> Option<Next> {
        None
    }

    fn may_hold(&self, at: usize, hop: usize) -> bool {
        at == hop
    }

    fn returns_from(&self, at: usize, hop: usize, _: usize) -> bool {
        at == hop
    }

    fn is_blocked(&self, hop_sessions: &[HopSession], at: usize) -> bool {
        hop_sessions[at].is_lost()
    }

    fn gaps(&self, hop_sessions: &[HopSession], at: usize) -> Vec<Range<usize>> {
        let gap = gap_from(hop_sessions, at);
        if gap.is_empty() { Vec::new() } else { vec![gap] }
    }

    fn replay(&self, request: &mut Request, context: &mut RequestContext<'_>, hop: usize) {
        request.replay(context, hop);
    }
}

/// The strategy of [`Forwarding::Push`]: the step may be at any hop, so the request needs all of them. The client keeps
/// the inputs of the first hop only; every other hop gets them again from the peer before it.
struct Push;

impl Strategy for Push {
    fn next(&self, hop_sessions: &[HopSession], hop: usize) -> Option<Next> {
        hop_sessions.get(hop + 1).map(HopSession::as_next)
    }

    fn may_hold(&self, _: usize, _: usize) -> bool {
        true
    }

    fn returns_from(&self, _: usize, hop: usize, hops: usize) -> bool {
        hop + 1 == hops
    }

    fn is_blocked(&self, hop_sessions: &[HopSession], _: usize) -> bool {
        hop_sessions.iter().any(HopSession::is_lost)
    }

    fn gaps(&self, hop_sessions: &[HopSession], _: usize) -> Vec<Range<usize>> {
        all_gaps(hop_sessions)
    }

    fn replay(&self, request: &mut Request, context: &mut RequestContext<'_>, hop: usize) {
        let Some(before) = hop.checked_sub(1) else { return request.replay(context, hop) };
        let (before, next) = (&request.hop_sessions[before], request.hop_sessions[hop].as_next());
        let reroute = Reroute { session: before.session, next, from: 0 };
        context.send(before.hop.peer, Message::Reroute(Box::new(reroute)));
        request.awaited =
            Awaited { since: context.now, bytes: u64::from(request.tokens.position) * request.token_bytes() };
    }
}

/// Returns all hop sessions to replace, as ranges of adjacent hops.
pub(super) fn all_gaps(hop_sessions: &[HopSession]) -> Vec<Range<usize>> {
    let begins = |&at: &usize| hop_sessions[at].is_wanting() && (at == 0 || !hop_sessions[at - 1].is_wanting());
    (0..hop_sessions.len()).filter(begins).map(|from| gap_from(hop_sessions, from)).collect()
}

/// Returns the range of adjacent hop sessions to replace that begins at hop `from`. The range may be empty.
fn gap_from(hop_sessions: &[HopSession], from: usize) -> Range<usize> {
    from..from + hop_sessions[from..].iter().take_while(|hop_session| hop_session.is_wanting()).count()
}
