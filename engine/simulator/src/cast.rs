//! The graph of actors as the simulation seats it.
use actors::client::{self, Client};
use actors::dht::bootstrap::{self, Bootstrap};
use actors::orchestrator::{self, Orchestrator};
use actors::peer::{self, Peer};
use actors::world::{Seat, Sim};
use scenarios::plan::{Plan, Weights};
use topology::spawn::{self, Scene};

/// The actors of a simulation, in the order of their node ids.
pub struct Cast {
    values: bool,
    pub seats: Vec<Box<dyn Seat>>,
}

impl Cast {
    pub fn of(plan: &Plan) -> Cast {
        let mut cast = Cast::empty(plan);
        spawn::raise(plan, None, &mut cast);
        cast
    }

    pub fn empty(plan: &Plan) -> Cast {
        Cast { values: plan.model.weights == Weights::Echo, seats: Vec::new() }
    }
}

impl Scene for Cast {
    fn computes_values(&self) -> bool {
        self.values
    }

    fn orchestrator(&mut self, core: orchestrator::Core) {
        self.seats.push(Box::new(Orchestrator::<Sim>::new(core)));
    }

    fn bootstrap(&mut self, core: bootstrap::Core) {
        self.seats.push(Box::new(Bootstrap::<Sim>::new(core)));
    }

    fn peer(&mut self, core: peer::Core) {
        self.seats.push(Box::new(Peer::<Sim>::new(core)));
    }

    fn client(&mut self, core: client::Core) {
        self.seats.push(Box::new(Client::<Sim>::new(core)));
    }
}
