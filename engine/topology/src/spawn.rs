//! Construction of the actors of a plan, for simulated and live runs alike.
use actors::dht::{bootstrap, node};
use actors::id::{HostId, NodeId};
use actors::placement::Speed;
use actors::{client, orchestrator, peer};
use scenarios::plan::{Arrival, Plan, Role, WorkloadKind};
use scenarios::tokens::Prompts;
use std::sync::Arc;

/// Adds actors to a simulation or to a live host. Each method takes the state of one new node.
pub trait ActorSpawner {
    /// Whether the run computes values, so that clients need prompts, and not only costs.
    fn computes_values(&self) -> bool;
    fn orchestrator(&mut self, core: orchestrator::Core);
    fn bootstrap(&mut self, core: bootstrap::Core);
    fn peer(&mut self, core: peer::Core);
    fn client(&mut self, core: client::Core);
}

/// Spawns all actors of `plan`, or only those on the host `here`, in the order of their node ids.
pub fn spawn_actors(plan: &Plan, here: Option<HostId>, spawner: &mut impl ActorSpawner) {
    for (me, _) in plan.nodes().filter(|(_, node)| here.is_none_or(|here| node.host == here)) {
        spawn_actor(plan, me, spawner);
    }
}

/// Spawns one node in its initial state, at the start of the run or after its host has restarted.
pub fn spawn_actor(plan: &Plan, me: NodeId, spawner: &mut impl ActorSpawner) {
    match plan.node(me).role {
        Role::Orchestrator => spawner.orchestrator(orchestrator::Core::new(orchestrator_of(plan, me))),
        Role::Bootstrap => spawner.bootstrap(bootstrap::Core::new(dht_of(plan, me, false))),
        Role::Peer { blocks, chooses, cache_bytes, inference_rps, forward_rps, network_rps } => {
            spawner.peer(peer::Core::new(peer::Config {
                me,
                orchestrator: Plan::ORCHESTRATOR,
                place: peer::presence::Config {
                    dht: dht_of(plan, me, false),
                    layers: plan.model.shape.layers,
                    blocks,
                    chooses: chooses.then_some(plan.policies.placement),
                    speed: Speed { inference_rps, forward_rps, network_rps },
                    pings: plan.policies.pings,
                },
                cache_bytes,
                cache_bytes_per_token_block: plan.cache_bytes_per_token_block(),
                policies: plan.policies.clone(),
            }))
        }
        Role::Client => {
            let values = spawner.computes_values();
            spawner.client(client::Core::new(client_of(plan, me, values)));
        }
    }
}

fn dht_of(plan: &Plan, me: NodeId, client: bool) -> node::Config {
    node::Config { me, bootstrap: Some(Plan::BOOTSTRAP), seed: plan.seed, rules: plan.policies.dht, client }
}

fn orchestrator_of(plan: &Plan, me: NodeId) -> orchestrator::Config {
    let late = plan.late_hosts();
    orchestrator::Config {
        me,
        peers: plan.peers().filter(|(_, node)| !late.contains(&node.host)).map(|(id, _)| id).collect(),
        clients: plan.clients().map(|(id, _)| id).collect(),
        ready_within: plan.ready_within,
        warm_up: plan.warm_up,
    }
}

fn client_of(plan: &Plan, me: NodeId, values: bool) -> client::Config {
    let work = plan.workload;
    let batch = u16::try_from(work.batch).expect("a plan keeps to limits::BATCH");
    let asked = |prompt, generate| client::Asked { batch, prompt, generate };
    let (warm_up, workload) = match plan.workload_kind() {
        WorkloadKind::Closed { micro_batches: requests } => {
            let asked = asked(work.prompt, work.generate);
            (client::Asked { generate: 1, ..asked }, client::Workload::Closed { requests, asked })
        }
        WorkloadKind::Open(open) => {
            let mine = open.arrivals.iter().filter(|arrival| arrival.client == me);
            // A client warms up with the prompt of its first request. A client without any request warms up with the
            // prompt of the run's first request.
            let first = mine.clone().chain(&open.arrivals).next();
            let due = |arrival: &Arrival| client::Due {
                at: arrival.at,
                asked: asked(arrival.prompt, arrival.generate),
                route: arrival.route.clone(),
            };
            let arrivals = client::Arrivals { due: mine.map(due).collect(), in_flight: open.in_flight };
            (asked(first.map_or(work.prompt, |first| first.prompt), 1), client::Workload::Open(arrivals))
        }
    };
    client::Config {
        me,
        orchestrator: Plan::ORCHESTRATOR,
        dht: dht_of(plan, me, true),
        blocks: plan.blocks(),
        warm_up,
        workload,
        policies: plan.policies.clone(),
        timeout: plan.timeout,
        seed: plan.seed,
        prompts: values.then(|| prompts_of(plan, me)),
        stops: plan.tokens.stops.clone(),
    }
}

/// Returns the prompts of the client `me`. A live run converts texts and files of prompts to token ids before any host
/// gets the plan. For texts and files that are not converted, this function returns random prompts.
pub fn prompts_of(plan: &Plan, me: NodeId) -> client::Prompts {
    match &plan.tokens.prompts {
        Prompts::Ids(rows) => {
            let (first, stride) = (plan.clients().take_while(|(id, _)| *id != me).count(), plan.clients().count());
            client::Prompts::Given { rows: Arc::new(rows.clone()), first, stride }
        }
        Prompts::Random | Prompts::Texts(_) | Prompts::Lines(_) => {
            client::Prompts::Random { vocab: plan.model.shape.vocab }
        }
    }
}
