//! Tests that a client whose request was refused looks up peers again only if the known peers give no route.
use actors::record::{Event, Purpose};
use actors::seed::Seed;
use scenarios::Overrides;
use simulator::{HORIZON, run};

#[test]
fn a_refusal_needs_no_lookup_while_other_peers_serve_the_blocks() {
    // Each of the four replicas has room for one session, and there are eight clients.
    let set = [("swarm.routing", "MinLatency"), ("workload.clients", "8"), ("swarm.cache", "30 MiB")];
    let set = set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    let overrides = Overrides { set, repeat: Some(1), ..Overrides::default() };
    let cells = scenarios::load("herd").and_then(|loaded| loaded.cells(&overrides)).expect("its cells");
    let plan = cells[0].plan(Seed(1), 0).expect("a plan");
    let events = run(&plan, HORIZON).events;
    let failures = events.iter().filter(|event| matches!(event, Event::Failover(_))).count();
    let finds = |event: &&Event| matches!(event, Event::Looked(it) if it.purpose == Purpose::Find);
    let lookups = events.iter().filter(finds).count();
    let clients = plan.clients().count();
    assert!(failures > 20, "{failures}");
    // Every client begins with a lookup. A few find each known peer banned for a while, and look up again.
    assert!((clients..clients + failures / 4).contains(&lookups), "{lookups} lookups, {failures} failures");
}
