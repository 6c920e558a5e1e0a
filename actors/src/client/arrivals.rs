//! An open-loop schedule: each request begins at its own time, whether or not the requests before it are over.
use super::{Asked, Config, Core, Failure, Workload};
use crate::canary::{Canary, planted};
use crate::id::{NodeId, RequestId};
use crate::message::Timer;
use crate::time::{Duration, Timestamp};
use crate::world::Effect;

/// The schedule of the requests that arrive at one client.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// The requests in the order of their times. The first request has the index 1.
    pub due: Vec<Due>,
    /// The maximum number of requests in flight at once. A request that becomes due while so many are in flight is
    /// shed: it ends without being sent.
    pub in_flight: u32,
}

/// One request of a schedule.
#[derive(Clone, Debug)]
pub struct Due {
    /// The time from the barrier's release (`Go`) until the request is due.
    pub at: Duration,
    pub asked: Asked,
    /// The peers of the request's route. If it is empty, the routing policy chooses the route.
    pub route: Vec<NodeId>,
}

impl Core {
    /// Begins or sheds every request that is due, and sets a timer for the next one.
    pub(super) fn take_due(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        while let Workload::Open(arrivals) = &self.config.workload {
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

    /// Sheds the request with the index `timed`: ends it with [`Failure::Shed`], without having begun it.
    fn shed(&mut self, now: Timestamp, intended: Timestamp, asked: Asked, out: &mut Vec<Effect>) {
        let id = RequestId { client: self.config.me, index: self.timed };
        self.requests.insert(id, super::Request::new(id, asked, intended, now, now));
        self.settle(now, id, Err(Failure::Shed), out);
    }
}

impl Config {
    /// Returns the route that the schedule gives for a request, or `None` if the routing policy chooses it.
    pub(super) fn given_route(&self, request: RequestId) -> Option<&[NodeId]> {
        let Workload::Open(arrivals) = &self.workload else { return None };
        let route = &arrivals.due.get((request.index as usize).checked_sub(1)?)?.route;
        (!route.is_empty()).then_some(route)
    }
}
