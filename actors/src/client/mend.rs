//! What a request does about peers that fail: replaces them and replays, or begins anew, by the policy.
//!
//! A peer that was lost is replaced for its blocks alone, perhaps by several. The new ones get sessions of their own, so that
//! nothing that is late can be taken for something newer, and are given again what their predecessor was given: by relay
//! from the client's own history; pushed, the peer before them sends again what it has kept. Peers further on leave out
//! what they have already. So it does not matter how far the step had come.
use super::leg::State;
use super::request::{Phase, Progress, Request};
use super::turn::Turn;
use crate::canary::{Canary, planted};
use crate::id::{BlockRange, NodeId, SessionId};
use crate::limits;
use crate::message::{Failure, Forwarding, Message, Refusal, Reroute, Step, Timer};
use crate::policy::Recovery;
use crate::record::{Event, Failover};
use crate::time::{Moment, Span};
use crate::world::Effect;
use Progress::{Going, Over};
use std::ops::Range;

/// A failure that a request has not got over yet.
pub(super) struct Trouble {
    /// What the request has failed of, if it comes to that: what was the matter last.
    why: Failure,
    lost: Vec<NodeId>,
    /// Whom not to ask in the next try.
    pub avoid: Vec<NodeId>,
    heard: Moment,
    noticed: Moment,
    /// Since when time is lost that no step has been charged with yet.
    since: Moment,
    stage: Stage,
    /// The last try found no peers for some blocks.
    unrouted: bool,
    tries: u32,
    replayed: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until then, before the next try.
    Waiting(Moment),
    /// For new sessions.
    Opening,
    /// For the step to return.
    Mended(Moment),
}

impl Recovery {
    /// What was sent is kept, to be sent again.
    pub(super) fn keeps(self) -> bool {
        matches!(self, Recovery::Replay | Recovery::Cacheless)
    }
}

impl Request {
    /// A leg has failed. `gone`: there is nobody any more to be told of anything.
    pub(super) fn lose(&mut self, turn: &mut Turn<'_>, leg: usize, why: Failure, gone: bool) -> Progress {
        if self.legs[leg].is_lost() {
            return Going;
        }
        self.legs[leg].state = State::Lost { why, gone };
        if turn.config.policies.recovery == Recovery::Off {
            return Over(Err(why));
        }
        self.mend_if_due(turn)
    }

    pub fn on_gone(&mut self, turn: &mut Turn<'_>, peer: NodeId) -> Progress {
        for leg in 0..self.legs.len() {
            // Losing a leg may put others in the place of all.
            if self.legs.get(leg).is_some_and(|it| it.hop.peer == peer && it.state != State::Idle) {
                let progress = self.lose(turn, leg, Failure::PeerLost(peer), true);
                if progress != Going {
                    return progress;
                }
            }
        }
        Going
    }

    pub fn on_refused(&mut self, turn: &mut Turn<'_>, from: NodeId, session: SessionId, why: Refusal) -> Progress {
        let Some(leg) = self.leg_of(from, session) else { return Going };
        self.legs[leg].hear(turn.now);
        let failure = Failure::Refused(from, why);
        if turn.config.policies.recovery == Recovery::Off {
            return Over(Err(failure));
        }
        if why == Refusal::NotKept {
            self.note(turn, leg, failure);
            return self.start_over(turn);
        }
        if let Some(trouble) = &mut self.trouble {
            trouble.avoid.push(self.legs[leg].hop.peer);
        }
        self.lose(turn, leg, failure, false)
    }

    /// Whether a lost leg keeps the request from going on. By relay the others are not needed before the step comes there.
    fn is_due(&self, forwarding: Forwarding) -> bool {
        let opening = self.trouble.as_ref().is_some_and(|trouble| trouble.stage == Stage::Opening);
        match self.phase {
            Phase::Finding => false,
            Phase::Opening(_) => self.legs.iter().any(|leg| leg.is_lost()),
            Phase::Away(at) if forwarding == Forwarding::Relay => {
                self.legs[at].is_lost() || opening && self.legs.iter().any(|leg| leg.fresh && leg.is_lost())
            }
            Phase::Away(_) => self.legs.iter().any(|leg| leg.is_lost()),
            Phase::Embedding(_) | Phase::Heading(_) => {
                opening && self.legs.iter().any(|leg| leg.fresh && leg.is_lost())
            }
        }
    }

    pub(super) fn mend_if_due(&mut self, turn: &mut Turn<'_>) -> Progress {
        if !self.is_due(turn.config.policies.forwarding) {
            return Going;
        }
        if matches!(self.trouble.as_deref(), Some(Trouble { stage: Stage::Waiting(_), .. })) {
            return Going;
        }
        for leg in 0..self.legs.len() {
            if let State::Lost { why, .. } = self.legs[leg].state {
                self.note(turn, leg, why);
            }
        }
        match &self.trouble {
            Some(trouble) if trouble.tries > 0 => self.wait(turn),
            _ => self.try_again(turn),
        }
    }

    /// Takes note of whom it has lost.
    fn note(&mut self, turn: &Turn<'_>, leg: usize, why: Failure) {
        let (peer, heard) = (self.legs[leg].hop.peer, self.legs[leg].heard);
        if self.trouble.is_none() && matches!(self.phase, Phase::Opening(_)) && self.step.setup.0 == 0 {
            self.step.setup = turn.now.since(self.step.began);
        }
        let trouble = self.trouble.get_or_insert_with(|| Box::new(Trouble::new(why, heard, turn.now)));
        trouble.why = why;
        if !trouble.lost.contains(&peer) {
            trouble.lost.push(peer);
        }
        if matches!(why, Failure::Refused(..)) && !trouble.avoid.contains(&peer) {
            trouble.avoid.push(peer);
        }
    }

    /// No peers cover the blocks, as far as the client knows.
    pub(super) fn without_route(&mut self, turn: &mut Turn<'_>) -> Progress {
        if turn.config.policies.recovery == Recovery::Off {
            return Over(Err(Failure::NoRoute));
        }
        if self.trouble.is_none() {
            if matches!(self.phase, Phase::Finding) && self.step.setup.0 == 0 {
                self.step.setup = turn.now.since(self.step.began);
            }
            self.trouble = Some(Box::new(Trouble::new(Failure::NoRoute, turn.now, turn.now)));
        }
        self.trouble.iter_mut().for_each(|trouble| trouble.unrouted = true);
        self.wait(turn)
    }

    /// Waits before the next try, longer each time, and looks meanwhile who is there.
    fn wait(&mut self, turn: &mut Turn<'_>) -> Progress {
        let Some(trouble) = &mut self.trouble else { return Going };
        if trouble.tries >= turn.config.policies.retry.limit {
            return Over(Err(trouble.why));
        }
        let wait = if planted(Canary::RetriesWithoutWait) { Span::ZERO } else { turn.wait(trouble.tries.max(1)) };
        trouble.avoid.clear();
        trouble.stage = Stage::Waiting(turn.now + wait);
        turn.look = true;
        turn.out.push(Effect::Wake { after: wait, timer: Timer::Retry });
        Going
    }

    /// A wait is over.
    pub fn on_retry(&mut self, turn: &mut Turn<'_>) -> Progress {
        match self.trouble.as_deref() {
            Some(Trouble { stage: Stage::Waiting(until), .. }) if *until <= turn.now => self.try_again(turn),
            _ => Going,
        }
    }

    /// It waits before its next try.
    pub fn is_stuck(&self) -> bool {
        matches!(self.trouble.as_deref(), Some(Trouble { stage: Stage::Waiting(_), .. }))
    }

    /// It waits because there was no route; one that peers keep failing must not hurry.
    pub fn is_unrouted(&self) -> bool {
        matches!(self.trouble.as_deref(), Some(Trouble { stage: Stage::Waiting(_), unrouted: true, .. }))
    }

    pub(super) fn try_again(&mut self, turn: &mut Turn<'_>) -> Progress {
        let Some(trouble) = &mut self.trouble else { return Going };
        trouble.tries += 1;
        (trouble.stage, trouble.unrouted) = (Stage::Opening, false);
        let anew = matches!(self.phase, Phase::Finding | Phase::Opening(_));
        if anew || turn.config.policies.recovery == Recovery::Restart || self.is_too_long_to_replay() {
            self.start_over(turn)
        } else {
            self.replace(turn)
        }
    }

    /// The history of a peer that is to be replaced is no frame.
    fn is_too_long_to_replay(&self) -> bool {
        let most = limits::FRAME_TENSOR_BYTES as u64;
        self.legs.iter().any(|leg| leg.is_wanting() && leg.history.bytes() > most)
    }

    /// Begins anew on another route.
    fn start_over(&mut self, turn: &mut Turn<'_>) -> Progress {
        Request::close(&self.legs, turn.out);
        self.legs.clear();
        if let Some(trouble) = &mut self.trouble {
            trouble.stage = Stage::Opening;
            trouble.replayed += self.position;
        }
        (self.position, self.made, self.phase) = (0, 0, Phase::Finding);
        self.take_route(turn)
    }

    /// The legs that are to be replaced, as runs of neighbours. By relay that of the present leg, from there on.
    fn runs(&self, forwarding: Forwarding) -> Vec<Range<usize>> {
        let end = |from: usize| from + self.legs[from..].iter().take_while(|leg| leg.is_wanting()).count();
        match (forwarding, self.phase) {
            (Forwarding::Relay, Phase::Away(at)) => {
                std::iter::once(at..end(at)).filter(|run| !run.is_empty()).collect()
            }
            _ => {
                let begins = |&at: &usize| self.legs[at].is_wanting() && (at == 0 || !self.legs[at - 1].is_wanting());
                (0..self.legs.len()).filter(begins).map(|from| from..end(from)).collect()
            }
        }
    }

    /// Puts other peers in the place of those that failed, and asks them for sessions, all at once.
    fn replace(&mut self, turn: &mut Turn<'_>) -> Progress {
        let avoid = self.trouble.as_ref().map_or(Vec::new(), |trouble| trouble.avoid.clone());
        // From the back, so that places in front stay what they are.
        for run in self.runs(turn.config.policies.forwarding).into_iter().rev() {
            let (first, last) = (&self.legs[run.start], &self.legs[run.end - 1]);
            let blocks = BlockRange { start: first.hop.blocks.start, end: last.hop.blocks.end };
            let route = turn.route(self.id, blocks, self.asked.cache_tokens(), &avoid);
            let Some(mut legs) = route.and_then(|route| self.name(route, turn.now)) else {
                return self.without_route(turn);
            };
            legs.iter_mut().for_each(|leg| leg.fresh = true);
            legs[0].history = std::mem::take(&mut self.legs[run.start].history);
            if !planted(Canary::ReplacedSessionKept) {
                Request::close(&self.legs[run.clone()], turn.out);
            }
            self.legs.splice(run, legs);
        }
        for leg in 0..self.legs.len() {
            if self.legs[leg].fresh {
                self.open(turn, leg);
            }
        }
        Going
    }

    /// Goes on once every new peer has its session.
    pub(super) fn resume_if_open(&mut self, turn: &mut Turn<'_>) {
        let opening = self.trouble.as_ref().is_some_and(|trouble| trouble.stage == Stage::Opening);
        if !opening || self.legs.iter().any(|leg| leg.fresh && leg.state != State::Open) {
            return;
        }
        let runs = self.runs(turn.config.policies.forwarding);
        for run in runs {
            self.legs[run.clone()].iter_mut().for_each(|leg| leg.fresh = false);
            if run.start == 0 || turn.config.policies.forwarding == Forwarding::Relay {
                self.replay(turn, run.start);
            } else {
                let (before, next) = (&self.legs[run.start - 1], self.legs[run.start].as_next());
                let reroute = Reroute { session: before.session, next, from: 0 };
                turn.send(before.hop.peer, Message::Reroute(Box::new(reroute)));
                (self.waiting, self.burden) = (turn.now, u64::from(self.position) * self.token_bytes());
            }
        }
        if let Some(trouble) = &mut self.trouble {
            trouble.replayed += self.position;
        }
        // Pushed, the step may have come through meanwhile; then nothing was lost by it.
        if !matches!(self.phase, Phase::Away(_)) {
            self.trouble.iter_mut().for_each(|trouble| trouble.since = turn.now);
        }
        self.mended(turn.now);
    }

    /// Gives a new peer at once all that its predecessor was given.
    fn replay(&mut self, turn: &mut Turn<'_>, leg: usize) {
        let to = &mut self.legs[leg];
        let Some(activation) = to.history.since(u32::from(planted(Canary::ReplayOffByOne))) else { return };
        to.hear(turn.now);
        (self.waiting, self.burden) = (turn.now, activation.bytes());
        let step = Step { session: to.session, position: 0, activation };
        turn.send(self.legs[leg].hop.peer, Message::Step(step));
    }

    /// Bytes of a token's hidden states, as far as they are known.
    fn token_bytes(&self) -> u64 {
        let tokens = u64::from(self.legs[0].history.tokens()).max(1);
        self.legs[0].history.bytes() / tokens
    }

    /// Other peers are there, and the step is on its way again.
    pub(super) fn mended(&mut self, now: Moment) {
        let Some(trouble) = &mut self.trouble else { return };
        trouble.stage = Stage::Mended(now);
        self.step.recovery += now.since(trouble.since.max(self.step.left));
        trouble.since = now;
    }

    /// A step is through: whatever was the matter is over.
    pub(super) fn recovered(&mut self, turn: &mut Turn<'_>) {
        let caught_up = self.made == self.generated;
        match self.trouble.as_deref() {
            Some(Trouble { stage: Stage::Mended(_), .. }) if caught_up => {}
            _ => return,
        }
        let Some(trouble) = self.trouble.take() else { return };
        let Trouble { lost, heard, noticed, stage: Stage::Mended(mended), tries, replayed, .. } = *trouble else {
            return;
        };
        let resumed = turn.now;
        let failover = Failover { request: self.id, lost, heard, noticed, mended, resumed, tries, replayed };
        turn.out.push(Effect::Record(Event::Failover(Box::new(failover))));
    }
}

impl Trouble {
    fn new(why: Failure, heard: Moment, now: Moment) -> Trouble {
        let (lost, avoid) = (Vec::new(), Vec::new());
        Trouble {
            why,
            lost,
            avoid,
            heard,
            noticed: now,
            since: now,
            stage: Stage::Opening,
            unrouted: false,
            tries: 0,
            replayed: 0,
        }
    }
}
