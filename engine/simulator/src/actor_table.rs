//! The table that holds every actor of a simulation.
use actors::client::{self, Client};
use actors::dht::bootstrap::{self, Bootstrap};
use actors::orchestrator::{self, Orchestrator};
use actors::peer::{self, Peer};
use actors::world::{ActorSlot, Sim};
use scenarios::plan::{Plan, Weights};
use topology::spawn::{self, ActorSpawner};

/// The actors of a simulation, in the order of their node ids.
pub struct ActorTable {
    values: bool,
    pub slots: Vec<Box<dyn ActorSlot>>,
}

impl ActorTable {
    pub fn of(plan: &Plan) -> ActorTable {
        let mut spawner = ActorTable::empty(plan);
        spawn::spawn_actors(plan, None, &mut spawner);
        spawner
    }

    pub fn empty(plan: &Plan) -> ActorTable {
        ActorTable { values: plan.model.weights == Weights::Echo, slots: Vec::new() }
    }
}

impl ActorSpawner for ActorTable {
    fn computes_values(&self) -> bool {
        self.values
    }

    fn orchestrator(&mut self, core: orchestrator::Core) {
        self.slots.push(Box::new(Orchestrator::<Sim>::new(core)));
    }

    fn bootstrap(&mut self, core: bootstrap::Core) {
        self.slots.push(Box::new(Bootstrap::<Sim>::new(core)));
    }

    fn peer(&mut self, core: peer::Core) {
        self.slots.push(Box::new(Peer::<Sim>::new(core)));
    }

    fn client(&mut self, core: client::Core) {
        self.slots.push(Box::new(Client::<Sim>::new(core)));
    }
}
