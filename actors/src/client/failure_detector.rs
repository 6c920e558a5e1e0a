//! The failure detector: it declares a peer failed if a client waits for the peer and the peer does not answer a ping
//! in time.
//!
//! A node answers a ping at once, however busy its device is. A missing pong therefore means that the node or the
//! network has failed. If the client hears again from a peer that it declared failed, the alarm was false. The client's
//! patience with the peer, the time to wait for its pong, then grows: to twice the old patience or to 1.5 times the
//! time without an answer, whichever is longer, up to [`limits::LONGEST_PATIENCE`]. False alarms thus end, however
//! short the heartbeat interval is. The client waits for a pong at least as long as the pong is expected to take.
use super::context::RequestContext;
use super::hop_session::State;
use super::request::{Phase, Progress, Request};
use super::strategy::Strategy;
use crate::id::NodeId;
use crate::limits;
use crate::message::Failure;
use crate::policy::{Admission, Detection, Policies};
use crate::route::{Pings, RoundTrip};
use crate::time::{Duration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What a client has learnt about each peer: false alarms and round-trip times.
#[derive(Debug, Default)]
pub(super) struct FailureDetector {
    /// The peers that were declared failed at least once.
    silent: BTreeMap<NodeId, Suspect>,
    /// The round-trip times of all pings to each peer, including the pings of heartbeats. The router, in contrast, does
    /// not use the pings of heartbeats.
    trips: BTreeMap<NodeId, RoundTrip>,
}

/// A peer that was declared failed at least once.
#[derive(Debug, Default)]
struct Suspect {
    /// The least time to wait for the peer's answer to a ping, learnt from false alarms.
    patience: Duration,
    /// If the peer was declared failed and the client has not heard from it since: the send time of the unanswered
    /// ping, and the client's patience when it declared the peer failed.
    given_up: Option<(Timestamp, Duration)>,
}

impl FailureDetector {
    /// Returns the time to wait for a peer's answer to a ping.
    ///
    /// The time is the longest of three: `missed` heartbeat intervals, the patience learnt from false alarms, and the
    /// longest round-trip time to expect (`unknown` if no round-trip time of the peer is known). The time to transfer
    /// `burden` bytes over a link of rate [`limits::SLOWEST_LINK`] is added, because the pong may wait behind them.
    fn patience(&self, peer: NodeId, detection: &Detection, unknown: Duration, burden: u64) -> Duration {
        let learnt = self.silent.get(&peer).map_or(Duration::ZERO, |suspect| suspect.patience);
        let usual = detection.heartbeat.0.saturating_mul(u64::from(detection.missed)).max(learnt.0);
        let trip = self.trips.get(&peer).map_or(unknown, |trip| trip.longest());
        Duration(usual).max(trip) + Duration::from_secs_f64(burden as f64 / limits::SLOWEST_LINK as f64)
    }

    /// Notes that a peer was declared failed: the ping that was sent at `since` was not answered within `patience`.
    pub fn give_up(&mut self, peer: NodeId, since: Timestamp, patience: Duration) {
        self.silent.entry(peer).or_default().given_up = Some((since, patience));
    }

    /// Adds the measured round-trip time `took` of a ping to `peer`.
    pub fn measured(&mut self, now: Timestamp, peer: NodeId, took: Duration, pings: &Pings) {
        let trip = RoundTrip::after(self.trips.get(&peer).copied(), now, took, pings);
        self.trips.insert(peer, trip);
    }

    /// Notes that the client has heard from a peer. If the peer had been declared failed, the client becomes more
    /// patient with it.
    pub fn hear(&mut self, now: Timestamp, peer: NodeId) {
        let Some(suspect) = self.silent.get_mut(&peer) else { return };
        if let Some((since, patience)) = suspect.given_up.take() {
            let silent = now.since(since);
            let longer = (patience + patience).max(silent + Duration(silent.0 / 2));
            suspect.patience = suspect.patience.max(longer).min(limits::LONGEST_PATIENCE);
        }
    }
}

impl Request {
    /// Whether the request waits for the peer of this hop session: for its `Opened`, or for a step that it may be
    /// computing.
    fn waits_for(&self, hop_session: usize, strategy: &dyn Strategy) -> bool {
        match (self.hop_sessions[hop_session].state, self.phase) {
            (State::Asked, _) => true,
            (State::Open, Phase::Away(at)) => strategy.may_hold(at, hop_session),
            _ => false,
        }
    }

    /// Returns the timeout of the answer that the request awaits from this hop session: `Opened`, or a computed step.
    fn allowed(&self, hop_session: usize, policies: &Policies) -> Duration {
        let Detection { step_timeout, open_timeout, .. } = policies.detection;
        let admission = match policies.admission {
            Admission::Wait(longest) => longest,
            Admission::Refuse => Duration::ZERO,
        };
        match self.hop_sessions[hop_session].state {
            State::Asked => step_timeout.min(open_timeout + admission),
            _ => step_timeout,
        }
    }

    /// Returns the time of the earliest timeout among the hop sessions that the request waits for. The timeout applies
    /// even if the peer answers pings. Returns `None` if the request waits for no peer.
    pub fn overdue(&self, policies: &Policies) -> Option<Timestamp> {
        let strategy = policies.forwarding.strategy();
        let awaited = (0..self.hop_sessions.len()).filter(|hop_session| self.waits_for(*hop_session, strategy));
        awaited.map(|hop_session| self.awaited.since + self.allowed(hop_session, policies)).min()
    }

    /// Handles a heartbeat, one expiry of the client's heartbeat timer. Adds to `pings` each peer that the request
    /// waits for and that has no unanswered ping. Bans each peer that has not answered a ping in time or has exceeded
    /// its timeout, and declares the peer failed.
    pub fn beat(
        &mut self,
        context: &mut RequestContext<'_>,
        detector: &mut FailureDetector,
        pings: &mut BTreeSet<NodeId>,
    ) -> Progress {
        let (detection, strategy) = (context.config.policies.detection, context.config.policies.forwarding.strategy());
        let unknown = context.config.policies.costs.unknown_rtt;
        let waited = context.now.since(self.awaited.since);
        let mut failed = Vec::new();
        for hop_session in 0..self.hop_sessions.len() {
            if !self.waits_for(hop_session, strategy) {
                continue;
            }
            let peer = self.hop_sessions[hop_session].hop.peer;
            let silent = self.hop_sessions[hop_session].pinged.map(|at| context.now.since(at));
            let patience = detector.patience(peer, &detection, unknown, self.awaited.bytes);
            let gave_up = detection.missed > 0 && silent.is_some_and(|silent| silent >= patience);
            if let (true, Some(since)) = (gave_up, self.hop_sessions[hop_session].pinged) {
                detector.give_up(peer, since, patience);
            }
            if gave_up || waited >= self.allowed(hop_session, &context.config.policies) {
                context.view.ban(context.now, peer, &context.config.policies.bans);
                failed.push((self.hop_sessions[hop_session].session, peer));
            } else if detection.missed > 0 && waited >= detection.heartbeat {
                // One ping at a time: on a slow link, further pings would themselves delay the answer.
                if self.hop_sessions[hop_session].pinged.is_none() {
                    self.hop_sessions[hop_session].pinged = Some(context.now);
                    pings.insert(peer);
                }
            }
        }
        for (session, peer) in failed {
            let Some(hop_session) = self.hop_session(session) else { continue };
            let progress = self.lose(context, hop_session, Failure::PeerLost(peer), false);
            if progress != Progress::Going {
                return progress;
            }
        }
        Progress::Going
    }

    /// Notes for all hop sessions of a peer that the client has heard from the peer.
    pub fn hear(&mut self, context: &RequestContext<'_>, peer: NodeId) {
        self.hop_sessions
            .iter_mut()
            .filter(|hop_session| hop_session.hop.peer == peer)
            .for_each(|hop_session| hop_session.hear(context.now));
    }
}

#[cfg(test)]
mod tests {
    use super::FailureDetector;
    use crate::id::NodeId;
    use crate::limits;
    use crate::policy::Detection;
    use crate::route::Pings;
    use crate::time::{Duration, Timestamp};

    #[test]
    fn nobody_is_given_up_within_a_round_trip() {
        let (mut detector, peer) = (FailureDetector::default(), NodeId(3));
        let detection = Detection { heartbeat: Duration::from_millis(1), missed: 2, ..Detection::default() };
        let (unknown, now, pings) = (Duration::from_millis(150), Timestamp::default(), Pings::default());
        assert_eq!(detector.patience(peer, &detection, unknown, 0), unknown);
        detector.measured(now, peer, Duration::from_millis(200), &pings);
        assert_eq!(
            detector.patience(peer, &detection, unknown, 0),
            Duration::from_millis(600),
            "three times the first"
        );
        for _ in 0..60 {
            detector.measured(now, peer, Duration::from_millis(10), &pings);
        }
        let patience = detector.patience(peer, &detection, unknown, 0);
        assert!(patience < Duration::from_millis(20), "{patience}: a delay that has passed is forgotten");
        detector = FailureDetector::default();
        detector.measured(now, peer, Duration::from_millis(10), &pings);
        let slow = Detection::default();
        assert_eq!(
            detector.patience(peer, &slow, unknown, 0),
            Duration::from_secs(5),
            "the heartbeats say how long at least"
        );
    }

    #[test]
    fn false_alarms_come_to_an_end_however_short_the_heartbeat() {
        let detection = Detection { heartbeat: Duration::from_millis(1), missed: 1, ..Detection::default() };
        // A peer whose answers always take this number of seconds, and whose round-trip time is not known.
        for seconds in [1, 5, 30, 59] {
            let (mut detector, peer, mut alarms) = (FailureDetector::default(), NodeId(3), 0);
            let silent = Duration::from_secs(seconds);
            let since = Timestamp::default();
            while detector.patience(peer, &detection, Duration::ZERO, 0) < silent {
                detector.give_up(peer, since, detector.patience(peer, &detection, Duration::ZERO, 0));
                detector.hear(since + silent, peer);
                alarms += 1;
            }
            assert_eq!(alarms, 1, "one alarm teaches how long silence may last");
            assert!(detector.patience(peer, &detection, Duration::ZERO, 0) <= limits::LONGEST_PATIENCE);
        }
        // Each answer arrives just when the patience is over, so the patience doubles with each alarm.
        let (mut detector, peer, mut alarms) = (FailureDetector::default(), NodeId(3), 0);
        while detector.patience(peer, &detection, Duration::ZERO, 0) < limits::LONGEST_PATIENCE {
            let patience = detector.patience(peer, &detection, Duration::ZERO, 0);
            detector.give_up(peer, Timestamp::default(), patience);
            detector.hear(Timestamp::default() + patience, peer);
            alarms += 1;
        }
        assert_eq!(alarms, 16, "from a millisecond to a minute");
    }
}
