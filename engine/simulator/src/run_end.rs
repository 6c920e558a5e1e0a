//! The end of a run, and the checks that a run has to pass once every client has finished.
use super::{SimEvent, Simulation};
use actors::invariants::Invariant;
use actors::record::Event;
use actors::world::Delivery;
use topology::outcome::{Outcome, Run};

impl Simulation<'_> {
    /// Returns the result of a run that ended in `outcome`. If all clients have finished, it first checks that no
    /// session is left and that the message counts balance.
    pub(super) fn over(mut self, outcome: Outcome) -> Run {
        let (trace, delivered, recorded) = (Some(self.trace.value()), self.delivered, self.events.len());
        let outcome = match outcome {
            Outcome::Done(_) => self.guarded(|run| run.clear_up(outcome)),
            other => other,
        };
        self.events.truncate(recorded);
        let account = matches!(outcome, Outcome::Done(_)).then_some(self.account);
        Run { outcome, events: self.events, trace, delivered, account }
    }

    /// Delivers the messages still in flight at the end of a run until no peer holds a session, and then checks the
    /// message account.
    fn clear_up(&mut self, outcome: Outcome) -> Outcome {
        let until = self.world.now + self.stillness;
        while self.end.is_none() && self.checker.holding().is_some() {
            match self.queue.take_next() {
                Some((now, event)) if now <= until => self.happen(now, event),
                _ => break,
            }
        }
        if let Some(end) = self.end.take() {
            return end;
        }
        if let Some(kept) = self.checker.holding() {
            return Outcome::Broken { invariant: Invariant::CacheFreed, event: Box::new(Event::Reserved(*kept)) };
        }
        if let Some((node, session)) = self.devices.holding() {
            return Outcome::CacheKept { node, session };
        }
        let (account, in_flight) = (self.account, self.in_flight());
        match account.balance(in_flight) {
            Ok(()) => outcome,
            Err(_) => Outcome::Unbalanced { way: None, account, in_flight },
        }
    }

    /// Returns the number of messages in flight.
    fn in_flight(&self) -> u64 {
        let queued = self.queue.iter().filter(|event| match event {
            SimEvent::Deliver { delivery, .. } => matches!(delivery, Delivery::Message(_)),
            SimEvent::Depart { .. } | SimEvent::Arrive { .. } | SimEvent::Receive { .. } => true,
            _ => false,
        });
        let sharing = self.fair.as_ref().map_or(0, |fair| fair.in_transit());
        let held = self.faults.as_ref().map_or(0, |faults| faults.held());
        (queued.count() + sharing + held) as u64
    }
}
