//! A trace is read as it stands, cut to size as asked, and what is wrong in it is said with file and line.
use actors::seed::Seed;
use actors::time::Span;
use scenarios::Overrides;
use scenarios::plan::{Open, Role};
use std::path::Path;

const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
    2023-11-16 18:17:03.9799600,374,44\n\
    2023-11-16 18:17:04.0319600,396,109\n\
    2023-11-16 18:17:05.9799600,879,55\n";

const OURS: &str = "at_s,prompt,generate,client,route\n0.5,10,4,1,box/1\n2,20,5,0,box/0>far\n2.5,30,6,,\n";

fn open(dir: &Path, trace: &str, columns: &str, set: &[(&str, &str)]) -> Result<Open, String> {
    std::fs::write(dir.join("trace.csv"), trace).expect("it is written");
    let text = format!(
        r#"#![enable(implicit_some, unwrap_newtypes)]
Scenario(
    version: 1,
    name: "traced",
    model: Model(shape: Llama("7b")),
    hosts: [
        Host(name: "box", device: Preset("a100")),
        Host(name: "far", device: Preset("t4")),
        Host(name: "client", device: Preset("cpu-8")),
    ],
    peers: [Peers(on: "box", count: 2, span: Blocks(0, 32)), Peers(on: "far", span: Blocks(16, 32))],
    swarm: Swarm(cache: "40 GiB", routing: Replay),
    workload: Trace(on: "client", clients: 2, file: "trace.csv", columns: {columns}),
)"#
    );
    let path = dir.join("traced.ron");
    std::fs::write(&path, text).expect("it is written");
    let set = set.iter().map(|(path, value)| (path.to_string(), value.to_string())).collect();
    let loaded = scenarios::load(path.to_str().expect("a plain path")).expect("it reads");
    let cells = loaded.cells(&Overrides { set, ..Overrides::default() }).map_err(|error| error.to_string())?;
    let plan = cells[0].plan(Seed(1), 0).map_err(|error| error.to_string())?;
    assert!(plan.peers().all(|(_, node)| matches!(node.role, Role::Peer { .. })));
    Ok(plan.open.expect("requests come"))
}

#[test]
fn azures_columns_give_arrivals_and_lengths() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |open: &Open| open.arrivals.iter().map(|one| (one.at, one.prompt, one.generate)).collect::<Vec<_>>();
    let all = open(dir.path(), AZURE, "Azure2023", &[]).expect("it is sound");
    let ms = Span::from_millis;
    assert_eq!(at(&all), [(ms(0), 374, 44), (ms(52), 396, 109), (ms(2000), 879, 55)]);
    let fast = open(dir.path(), AZURE, "Azure2023", &[("workload.speed", "2"), ("workload.skip", "10 ms")]);
    assert_eq!(at(&fast.expect("it is sound")), [(ms(21), 396, 109), (ms(995), 879, 55)]);
    let short = open(dir.path(), AZURE, "Azure2023", &[("workload.limit", "2"), ("workload.longest", "200")]);
    assert_eq!(at(&short.expect("it is sound")), [(ms(0), 156, 44), (ms(52), 91, 109)]);
}

#[test]
fn our_columns_may_say_client_and_route() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path(), OURS, "Ours", &[]).expect("it is sound");
    // The orchestrator and the bootstrap node, three peers, two clients.
    let of: Vec<_> =
        open.arrivals.iter().map(|one| (one.client.0, one.route.iter().map(|peer| peer.0).collect())).collect();
    assert_eq!(of, [(6, vec![3]), (5, vec![2, 4]), (5, vec![])]);
}

#[test]
fn what_is_wrong_is_said_with_file_and_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let wrong = |trace: &str, columns: &str| open(dir.path(), trace, columns, &[]).expect_err("it is wrong");
    let ours = |from: &str, to: &str| {
        assert!(OURS.contains(from));
        wrong(&OURS.replacen(from, to, 1), "Ours")
    };
    for (said, expected) in [
        (ours("2,20", "soon,20"), "trace.csv:3: `soon` is no time"),
        (ours("30,6", "30,six"), "trace.csv:4: `six` is no number of tokens"),
        (ours("30,6", "30,-6"), "trace.csv:4: `-6` is no number of tokens"),
        (ours("10,4,1", "10,4,7"), "trace.csv:2: a request of client 7, and there are 2"),
        (ours("10,4,1", "0,4,1"), "trace.csv:2: a request of 0 tokens"),
        (ours("box/0>far", "box/0>fur"), "trace.csv:3: there is no peer's host `fur`"),
        (ours("box/0>far", "box>far"), "trace.csv:3: the host `box` has 2 peers"),
        (ours("box/0>far", "box/2"), "trace.csv:3: there is no peer's host `box/2`"),
        (ours("2,20,5,0,box/0>far", "2,20"), "trace.csv:3: 2 fields, and the heading has 5"),
        (ours("prompt", "promt"), "trace.csv: it has no column `prompt`: did you mean `promt`?"),
        (
            wrong(&AZURE.replacen("18:17:05", "18:77:05", 1), "Azure2023"),
            "trace.csv:4: `2023-11-16 18:77:05.9799600` is no time",
        ),
        (wrong(OURS, "Azure2023"), "trace.csv: it has no column `TIMESTAMP`"),
    ] {
        assert!(said.contains("traced.ron:") && said.contains(expected), "{said}\nshould say: {expected}");
    }
}
