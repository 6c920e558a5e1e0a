//! Requests that come at their own instants, whatever has become of those before.
use super::{Asked, Config, Core, Failure};
use crate::canary::{Canary, planted};
use crate::id::{NodeId, RequestId};
use crate::message::Timer;
use crate::time::{Duration, Timestamp};
use crate::world::Effect;

/// What comes to one client.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// In the order of time; the first is request 1.
    pub due: Vec<Due>,
    /// Requests that may be under way at once; one that comes beyond them is shed.
    pub in_flight: u32,
}

#[derive(Clone, Debug)]
pub struct Due {
    /// After `Go`.
    pub at: Duration,
    pub asked: Asked,
    /// The peers it is to take; empty: as the policy has it.
    pub route: Vec<NodeId>,
}

impl Core {
    /// Turns to every request that is due, and sleeps until the next.
    pub(super) fn take_due(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        while let Some(arrivals) = &self.config.arrivals {
            let Some(due) = arrivals.due.get(self.timed as usize) else { break };
            let (intended, asked) = (self.released + due.at, due.asked);
            if intended > now {
                out.push(Effect::Wake { after: intended.since(now), timer: Timer::Arrival });
                return;
            }
            let full = self.requests.len() >= arrivals.in_flight as usize && !planted(Canary::InFlightUnbounded);
            self.timed += 1;
            if full {
                self.shed(now, intended, asked, out);
            } else {
                self.begin(now, self.timed, intended, asked, out);
            }
        }
        self.finish_if_over(now, out);
    }

    /// Ends a request that there is no room for, before it has begun.
    fn shed(&mut self, now: Timestamp, intended: Timestamp, asked: Asked, out: &mut Vec<Effect>) {
        let id = RequestId { client: self.config.me, index: self.timed };
        self.requests.insert(id, super::Request::new(id, asked, intended, now, now));
        self.settle(now, id, Err(Failure::Shed), out);
    }
}

impl Config {
    /// The route that a request brings with it.
    pub(super) fn given_route(&self, request: RequestId) -> Option<&[NodeId]> {
        let due = &self.arrivals.as_ref()?.due;
        let route = &due.get((request.index as usize).checked_sub(1)?)?.route;
        (!route.is_empty()).then_some(route)
    }
}
