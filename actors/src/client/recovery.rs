//! Recovery of a request from failed peers. The policy decides whether the request replaces the peers and replays its
//! inputs, or restarts.
//!
//! A lost peer is replaced only for its own blocks, perhaps by several peers. The new peers get sessions with new ids,
//! so that a late message of an old session is never taken for one of a new session. The inputs of the lost peer are
//! then sent to the new peers. With `Forwarding::Relay`, and at the first hop, the client sends the inputs from its own
//! history. With `Forwarding::Push`, the peer of the previous hop sends its kept outputs again. The peers of later hops
//! skip the tokens that they have accepted already. The request therefore continues correctly, whichever hop the step
//! had reached when the peer failed.
use super::context::RequestContext;
use super::hop_session::{HopSession, State};
use super::peer_trouble::{PeerTrouble, Stage};
use super::request::{Awaited, Phase, Progress, Request};
use super::strategy::{Strategy, all_gaps};
use crate::canary::{Canary, planted};
use crate::id::{BlockRange, NodeId, SessionId};
use crate::limits;
use crate::message::{Failure, Message, Refusal, Step, Timer};
use crate::policy::Recovery;
use crate::record::{Event, Failover};
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use Progress::{Going, Over};
use std::ops::Range;

impl Recovery {
    /// Whether the inputs of sessions are kept, so that they can be sent again to a peer that replaces a lost one.
    pub(super) fn keeps(self) -> bool {
        matches!(self, Recovery::Replay | Recovery::Cacheless)
    }
}

impl Request {
    /// Marks a hop session as lost because of `why`, and recovers if the request cannot continue without it. With
    /// `gone`, the peer's process no longer exists, so no message needs to be sent to the peer.
    pub(super) fn lose(
        &mut self,
        context: &mut RequestContext<'_>,
        hop_session: usize,
        why: Failure,
        gone: bool,
    ) -> Progress {
        if self.hop_sessions[hop_session].is_lost() {
            return Going;
        }
        self.hop_sessions[hop_session].state = State::Lost { why, gone };
        if context.config.policies.recovery == Recovery::Off {
            return Over(Err(why));
        }
        self.recover_if_due(context)
    }

    /// Marks as lost the hop sessions of a peer that is gone, except those that the client has not asked for yet.
    pub fn on_gone(&mut self, context: &mut RequestContext<'_>, peer: NodeId) -> Progress {
        for hop_session in 0..self.hop_sessions.len() {
            // `lose` may replace some or all hop sessions while the loop runs, so `get` checks every index.
            if self.hop_sessions.get(hop_session).is_some_and(|it| it.hop.peer == peer && it.state != State::Idle) {
                let progress = self.lose(context, hop_session, Failure::PeerLost(peer), true);
                if progress != Going {
                    return progress;
                }
            }
        }
        Going
    }

    /// Handles a peer's refusal. The refusal ends the request if values were not finite, or if the policy is
    /// `Recovery::Off`. If the peer has not kept the hidden states that it was asked to send again, the request begins
    /// anew. In all other cases the hop session is lost.
    pub fn on_refused(
        &mut self,
        context: &mut RequestContext<'_>,
        from: NodeId,
        session: SessionId,
        why: Refusal,
    ) -> Progress {
        let Some(hop_session) = self.hop_session_of(from, session) else { return Going };
        self.hop_sessions[hop_session].hear(context.now);
        let failure = Failure::Refused(from, why);
        if context.config.policies.recovery == Recovery::Off || matches!(why, Refusal::NotFinite(_)) {
            return Over(Err(failure));
        }
        if why == Refusal::NotKept {
            self.note(context, hop_session, failure);
            return self.start_over(context);
        }
        if let Some(failure) = &mut self.failure {
            failure.avoid.push(self.hop_sessions[hop_session].hop.peer);
        }
        self.lose(context, hop_session, failure, false)
    }

    /// Whether the request cannot continue before a lost hop session is replaced.
    fn is_due(&self, strategy: &dyn Strategy) -> bool {
        let is_lost = || self.hop_sessions.iter().any(HopSession::is_lost);
        let is_replacement_lost = || {
            self.failure.as_ref().is_some_and(|failure| failure.stage == Stage::Opening)
                && self.hop_sessions.iter().any(|hop_session| hop_session.fresh && hop_session.is_lost())
        };
        match self.phase {
            Phase::Finding => false,
            Phase::Opening(_) => is_lost(),
            Phase::Away(at) => strategy.is_blocked(&self.hop_sessions, at) || is_replacement_lost(),
            Phase::Embedding(_) | Phase::Heading(_) => is_replacement_lost(),
        }
    }

    /// Starts the next try to recover if the request cannot continue without a lost hop session. The first try after
    /// a failure starts at once, a later one after a wait. Does nothing while the request waits already.
    pub(super) fn recover_if_due(&mut self, context: &mut RequestContext<'_>) -> Progress {
        if !self.is_due(context.config.policies.forwarding.strategy()) {
            return Going;
        }
        if matches!(self.failure.as_deref(), Some(PeerTrouble { stage: Stage::Waiting(_), .. })) {
            return Going;
        }
        for hop_session in 0..self.hop_sessions.len() {
            if let State::Lost { why, .. } = self.hop_sessions[hop_session].state {
                self.note(context, hop_session, why);
            }
        }
        match &self.failure {
            Some(failure) if failure.tries > 0 => self.wait(context),
            _ => self.try_again(context),
        }
    }

    /// Notes in the request's failure that the peer of a hop session is lost, and why. Begins a failure if the request
    /// has none.
    fn note(&mut self, context: &RequestContext<'_>, hop_session: usize, why: Failure) {
        let (peer, heard) = (self.hop_sessions[hop_session].hop.peer, self.hop_sessions[hop_session].heard);
        if self.failure.is_none() && matches!(self.phase, Phase::Opening(_)) && self.times.step.setup.0 == 0 {
            self.times.step.setup = context.now.since(self.times.step.began);
        }
        let failure = self.failure.get_or_insert_with(|| Box::new(PeerTrouble::new(why, heard, context.now)));
        failure.why = why;
        if !failure.lost.contains(&peer) {
            failure.lost.push(peer);
        }
        if matches!(why, Failure::Refused(..)) && !failure.avoid.contains(&peer) {
            failure.avoid.push(peer);
        }
    }

    /// Handles the case that no route over the blocks is known, or that the request has used up its session ids. The
    /// request then waits for its next try. If the policy is `Recovery::Off`, the request fails.
    pub(super) fn without_route(&mut self, context: &mut RequestContext<'_>) -> Progress {
        if context.config.policies.recovery == Recovery::Off {
            return Over(Err(Failure::NoRoute));
        }
        if self.failure.is_none() {
            if matches!(self.phase, Phase::Finding) && self.times.step.setup.0 == 0 {
                self.times.step.setup = context.now.since(self.times.step.began);
            }
            self.failure = Some(Box::new(PeerTrouble::new(Failure::NoRoute, context.now, context.now)));
        }
        self.failure.iter_mut().for_each(|failure| failure.unrouted = true);
        self.wait(context)
    }

    /// Waits before the next try, longer each time. The request fails if no retries are left. As in Petals
    /// (`sequence_manager.py`, `on_request_failure`), a lookup starts during the wait only if the request found no
    /// route, if no known, unbanned peer serves some block, or if the view is older than the DHT's `refresh` interval.
    fn wait(&mut self, context: &mut RequestContext<'_>) -> Progress {
        let Some(failure) = &mut self.failure else { return Going };
        if failure.tries >= context.config.policies.retry.limit {
            return Over(Err(failure.why));
        }
        let wait =
            if planted(Canary::RetriesWithoutWait) { Duration::ZERO } else { context.wait(failure.tries.max(1)) };
        failure.avoid.clear();
        failure.stage = Stage::Waiting(context.now + wait);
        context.look = failure.unrouted || context.is_view_outdated();
        context.out.push(Effect::Wake { after: wait, timer: Timer::Retry });
        Going
    }

    /// Handles an expired retry timer, which may belong to another request: tries again if this request's own wait is
    /// over.
    pub fn on_retry(&mut self, context: &mut RequestContext<'_>) -> Progress {
        match self.failure.as_deref() {
            Some(PeerTrouble { stage: Stage::Waiting(until), .. }) if *until <= context.now => self.try_again(context),
            _ => Going,
        }
    }

    /// Whether the request waits before its next try.
    pub fn is_stuck(&self) -> bool {
        matches!(self.failure.as_deref(), Some(PeerTrouble { stage: Stage::Waiting(_), .. }))
    }

    /// Whether the request waits because it found no route. Such a request may try again as soon as peers are found. A
    /// request that waits because its peers keep failing must wait its full time.
    pub fn is_unrouted(&self) -> bool {
        matches!(self.failure.as_deref(), Some(PeerTrouble { stage: Stage::Waiting(_), unrouted: true, .. }))
    }

    /// Begins the next try. The request begins anew if not all sessions of its route were open yet, if the policy is
    /// `Restart`, or if the history is too long to replay. Otherwise the request replaces the lost hop sessions.
    pub(super) fn try_again(&mut self, context: &mut RequestContext<'_>) -> Progress {
        let Some(failure) = &mut self.failure else { return Going };
        failure.tries += 1;
        (failure.stage, failure.unrouted) = (Stage::Opening, false);
        let anew = matches!(self.phase, Phase::Finding | Phase::Opening(_));
        if anew || context.config.policies.recovery == Recovery::Restart || self.is_too_long_to_replay() {
            self.start_over(context)
        } else {
            self.replace(context)
        }
    }

    /// Whether the history of a hop session that has to be replaced exceeds one frame. A replay must fit into one
    /// frame.
    fn is_too_long_to_replay(&self) -> bool {
        let most = limits::FRAME_TENSOR_BYTES as u64;
        self.hop_sessions.iter().any(|hop_session| hop_session.is_wanting() && hop_session.history.bytes() > most)
    }

    /// Closes all sessions and begins the request anew on another route.
    fn start_over(&mut self, context: &mut RequestContext<'_>) -> Progress {
        Request::close(&self.hop_sessions, context.out);
        self.hop_sessions.clear();
        if let Some(failure) = &mut self.failure {
            failure.stage = Stage::Opening;
            failure.replayed += self.tokens.position;
        }
        (self.tokens.position, self.tokens.made, self.phase) = (0, 0, Phase::Finding);
        self.take_route(context)
    }

    /// Returns the hop sessions to replace, as ranges of adjacent hops.
    fn gaps(&self, strategy: &dyn Strategy) -> Vec<Range<usize>> {
        match self.phase {
            Phase::Away(at) => strategy.gaps(&self.hop_sessions, at),
            _ => all_gaps(&self.hop_sessions),
        }
    }

    /// Replaces the lost peers by other peers, and asks all new peers for sessions at once.
    fn replace(&mut self, context: &mut RequestContext<'_>) -> Progress {
        let avoid = self.failure.as_ref().map_or(Vec::new(), |failure| failure.avoid.clone());
        // The last range is replaced first, so that the indices of earlier hops stay valid.
        for gap in self.gaps(context.config.policies.forwarding.strategy()).into_iter().rev() {
            let (first, last) = (&self.hop_sessions[gap.start], &self.hop_sessions[gap.end - 1]);
            let blocks = BlockRange { start: first.hop.blocks.start, end: last.hop.blocks.end };
            let route = context.route(self.spec.id, blocks, self.spec.asked.cache_tokens(), &avoid);
            let Some(mut hop_sessions) = route.and_then(|route| self.name(route, context.now)) else {
                return self.without_route(context);
            };
            hop_sessions.iter_mut().for_each(|hop_session| hop_session.fresh = true);
            hop_sessions[0].history = std::mem::take(&mut self.hop_sessions[gap.start].history);
            if !planted(Canary::ReplacedSessionKept) {
                Request::close(&self.hop_sessions[gap.clone()], context.out);
            }
            self.hop_sessions.splice(gap, hop_sessions);
        }
        for hop_session in 0..self.hop_sessions.len() {
            if self.hop_sessions[hop_session].fresh {
                self.open(context, hop_session);
            }
        }
        Going
    }

    /// Replays the inputs of the lost sessions once all new sessions are open, and does nothing before that.
    pub(super) fn resume_if_open(&mut self, context: &mut RequestContext<'_>) {
        let opening = self.failure.as_ref().is_some_and(|failure| failure.stage == Stage::Opening);
        if !opening || self.hop_sessions.iter().any(|hop_session| hop_session.fresh && hop_session.state != State::Open)
        {
            return;
        }
        let strategy = context.config.policies.forwarding.strategy();
        for gap in self.gaps(strategy) {
            self.hop_sessions[gap.clone()].iter_mut().for_each(|hop_session| hop_session.fresh = false);
            strategy.replay(self, context, gap.start);
        }
        if let Some(failure) = &mut self.failure {
            failure.replayed += self.tokens.position;
        }
        // With `Forwarding::Push`, the step may have returned while the new sessions were opened. The failure has then
        // cost the step no time.
        if !matches!(self.phase, Phase::Away(_)) {
            self.failure.iter_mut().for_each(|failure| failure.since = context.now);
        }
        self.peers_replaced(context.now);
    }

    /// Sends a new peer all inputs of the peer that it replaces, as one step from position 0.
    pub(super) fn replay(&mut self, context: &mut RequestContext<'_>, hop_session: usize) {
        let to = &mut self.hop_sessions[hop_session];
        let Some(activation) = to.history.since(u32::from(planted(Canary::ReplayOffByOne))) else { return };
        to.hear(context.now);
        self.awaited = Awaited { since: context.now, bytes: activation.bytes() };
        let step = Step { session: to.session, position: 0, activation };
        context.send(self.hop_sessions[hop_session].hop.peer, Message::Step(step));
    }

    /// Returns the bytes of one token's hidden states for all rows, from the history of the first hop; 0 if that
    /// history is empty.
    pub(super) fn token_bytes(&self) -> u64 {
        let tokens = u64::from(self.hop_sessions[0].history.tokens()).max(1);
        self.hop_sessions[0].history.bytes() / tokens
    }

    /// Notes that the lost peers are replaced, and adds the lost time to the recovery time of the current step.
    pub(super) fn peers_replaced(&mut self, now: Timestamp) {
        let Some(failure) = &mut self.failure else { return };
        failure.stage = Stage::Replaced(now);
        self.times.step.recovery += now.since(failure.since.max(self.times.step.left));
        failure.since = now;
    }

    /// Ends and records the failure when a step has returned after the lost peers were replaced. After a restart, the
    /// failure ends once all earlier tokens are generated again.
    pub(super) fn recovered(&mut self, context: &mut RequestContext<'_>) {
        let caught_up = self.tokens.made == self.tokens.generated;
        match self.failure.as_deref() {
            Some(PeerTrouble { stage: Stage::Replaced(_), .. }) if caught_up => {}
            _ => return,
        }
        let Some(failure) = self.failure.take() else { return };
        let PeerTrouble { lost, heard, noticed, stage: Stage::Replaced(mended), tries, replayed, .. } = *failure else {
            return;
        };
        let resumed = context.now;
        let failover = Failover { request: self.spec.id, lost, heard, noticed, mended, resumed, tries, replayed };
        context.out.push(Effect::Record(Event::Failover(Box::new(failover))));
    }
}
