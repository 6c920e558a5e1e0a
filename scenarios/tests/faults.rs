//! Tests that the events of a scenario become faults of the named hosts, in order of time, with random times that
//! depend on the seed.
use actors::id::HostId;
use actors::seed::Seed;
use actors::time::Duration;
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use scenarios::plan::{Fault, Plan, What, When};
use scenarios::{Loaded, Overrides};
use std::collections::BTreeMap;

const SCENARIO: &str = r#"Scenario(
    version: 1,
    name: "faults",
    model: Model(shape: Opt("125m")),
    hosts: [
        Host(name: "a", count: 3, site: "eu", device: Preset("t4")),
        Host(name: "peer", count: 2, site: "us", device: Preset("l4")),
        Host(name: "client", site: "us", device: Preset("cpu-8")),
    ],
    peers: [Peers(on: "a"), Peers(on: "peer", span: Blocks(0, 12))],
    workload: Closed(on: "client", clients: 2, prompt: 8, generate: 4),
)"#;

fn plan(events: &str, seed: u64) -> Plan {
    let loaded = Loaded::read("faults.ron", SCENARIO.to_owned()).unwrap_or_else(|error| panic!("{error}"));
    let set = vec![("events".to_owned(), events.to_owned())];
    let cells = loaded.cells(&Overrides { set, ..Overrides::default() }).unwrap_or_else(|error| panic!("{error}"));
    cells[0].plan(Seed(seed), 0).unwrap_or_else(|error| panic!("{error}"))
}

fn faults(events: &str) -> Vec<Fault> {
    plan(events, 1).faults
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn names_are_groups_hosts_and_sites() {
    let host = |on: &str| {
        let faults = faults(&format!("[Stall(on: \"{on}\", at: \"1 s\", for: \"2 s\")]"));
        faults.iter().filter_map(|fault| fault.what.host()).map(|host| host.0).collect::<Vec<_>>()
    };
    assert_eq!(host("a"), [1, 2, 3]);
    assert_eq!(host("a[2]"), [3]);
    assert_eq!(host("us"), [4, 5, 6, 7]);
    assert_eq!(host("client[1]"), [7]);
    let stall = Fault { at: When::Release(s(1)), what: What::Stall { host: HostId(3), lasts: s(2) } };
    assert_eq!(faults("[Stall(on: \"a[2]\", at: \"1 s\", for: \"2 s\")]"), [stall]);
}

#[test]
fn a_crash_that_comes_back_is_a_crash_and_a_restart_in_the_order_of_time() {
    let events = r#"[
        Crash(on: "a[0]", at: "5 s", back: "2 s"), Leave(on: "peer[1]", at: "6 s"),
        Stall(on: "client[0]", at: Start("9 s"), for: "1 s"), Crash(on: "a[1]", at: Steps(12), back: "1 s"),
    ]"#;
    let crash = |host, back| What::Crash { host, back };
    let a0 = HostId(1);
    assert_eq!(
        faults(events),
        [
            Fault { at: When::Start(s(9)), what: What::Stall { host: HostId(6), lasts: s(1) } },
            Fault { at: When::Release(s(5)), what: crash(a0, None) },
            Fault { at: When::Release(s(6)), what: What::Leave { host: HostId(5) } },
            Fault { at: When::Release(s(7)), what: What::Restart { host: a0 } },
            Fault { at: When::Steps { host: HostId(2), count: 12 }, what: crash(HostId(2), Some(s(1))) },
        ]
    );
}

#[test]
fn links_and_partitions_name_hosts_on_both_sides() {
    let link = |both| {
        format!("[Degrade(what: Link(from: \"eu\", to: \"client\", both: {both}), by: 8, at: \"1 s\", for: \"2 s\")]")
    };
    let (eu, client) = (vec![HostId(1), HostId(2), HostId(3)], vec![HostId(6), HostId(7)]);
    let slow = |from: &[HostId], to: &[HostId]| Fault {
        at: When::Release(s(1)),
        what: What::SlowLink { from: from.to_vec(), to: to.to_vec(), by: 8.0, lasts: s(2) },
    };
    assert_eq!(faults(&link(false)), [slow(&eu, &client)]);
    assert_eq!(faults(&link(true)), [slow(&eu, &client), slow(&client, &eu)]);
    let apart = faults("[Partition(groups: [[\"a[0]\", \"a[1]\"], [\"us\"]], at: \"1 s\", for: \"3 s\")]");
    let groups = vec![vec![HostId(1), HostId(2)], vec![HostId(4), HostId(5), HostId(6), HostId(7)]];
    assert_eq!(apart, [Fault { at: When::Release(s(1)), what: What::Partition { groups, lasts: s(3) } }]);
}

#[test]
fn who_joins_later_is_not_there_from_the_start() {
    let plan = plan("[Join(on: \"peer\", at: \"3 s\")]", 1);
    assert_eq!(plan.late_hosts().into_iter().collect::<Vec<_>>(), [HostId(4), HostId(5)]);
}

#[test]
fn a_node_is_called_by_its_role_and_its_host() {
    let plan = plan("[]", 1);
    let called: Vec<String> = plan.nodes().map(|(id, _)| plan.called(id)).collect();
    assert_eq!(called[..3], ["the orchestrator", "the bootstrap node", "peer a[0]"]);
    assert_eq!(called[5..], ["peer[0]", "peer[1]", "client[0]", "client[1]"]);
}

/// Returns the times at which each host becomes absent (`false`) and present again (`true`).
fn lives(plan: &Plan) -> BTreeMap<HostId, Vec<(u64, bool)>> {
    let mut lives: BTreeMap<HostId, Vec<(u64, bool)>> = BTreeMap::new();
    for fault in &plan.faults {
        let (When::Release(at), Some(host)) = (fault.at, fault.what.host()) else { panic!("{fault:?} is no churn") };
        lives.entry(host).or_default().push((at.0, matches!(fault.what, What::Restart { .. })));
    }
    lives
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn churn_goes_and_comes_back_in_turn_and_follows_the_seed(seed: u64, shape in 0.4..4.0f64) {
        let events = format!(
            "[Churn(on: \"eu\", lives: Weibull(mean_up: \"20 s\", mean_down: \"5 s\", shape: {shape}), until: \"300 s\")]"
        );
        let churned = plan(&events, seed);
        prop_assert_eq!(&churned.faults, &plan(&events, seed).faults);
        prop_assert!(churned.faults != plan(&events, seed ^ 1).faults);
        for times in lives(&churned).values() {
            prop_assert!(times.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 != pair[1].1));
            prop_assert!(!times[0].1, "a host is there first");
            let goes = times.iter().filter(|(_, back)| !back);
            prop_assert!(goes.clone().count() * 2 == times.len(), "who goes comes back");
            prop_assert!(goes.into_iter().all(|(at, _)| *at < s(300).0));
        }
        // The random times of one host do not depend on other hosts.
        let alone = plan(&events.replace("eu", "a[1]"), seed);
        prop_assert_eq!(lives(&alone).remove(&HostId(2)), lives(&churned).remove(&HostId(2)));
    }
}

#[test]
fn the_means_of_churn_are_those_that_were_asked_for() {
    for drawn in [
        "Exponential(mean_up: \"2 s\", mean_down: \"500 ms\")",
        "Weibull(mean_up: \"2 s\", mean_down: \"500 ms\", shape: 0.7)",
    ] {
        let plan = plan(&format!("[Churn(on: \"a[0]\", lives: {drawn}, until: \"20000 s\")]"), 3);
        let lives = lives(&plan);
        let times = &lives[&HostId(1)];
        let gaps = |back: bool| {
            let gaps: Vec<f64> = times
                .windows(2)
                .filter(|pair| pair[1].1 == back)
                .map(|pair| (pair[1].0 - pair[0].0) as f64 / 1e9)
                .collect();
            gaps.iter().sum::<f64>() / gaps.len() as f64
        };
        assert!((gaps(false) - 2.0).abs() < 0.15, "{drawn}: up {}", gaps(false));
        assert!((gaps(true) - 0.5).abs() < 0.04, "{drawn}: down {}", gaps(true));
    }
}

#[test]
fn a_trace_is_carried_out_as_it_is_from_text_and_from_a_file() {
    let listed = faults(
        r#"[Churn(on: "a", lives: Trace([Away(host: "a[1]", from: "4 s", till: "5 s"), Away(host: "a", from: "1 s", till: "2 s")]), until: "60 s")]"#,
    );
    assert_eq!(listed.len(), 8);
    let file = std::env::temp_dir().join(format!("swarmbench-trace-{}.csv", std::process::id()));
    std::fs::write(&file, "host,from,till\na[1], 4 s,5 s\na,1 s,2 s\na,70 s,71 s\n").expect("a file");
    let path = file.to_str().expect("UTF-8");
    let read = faults(&format!("[Churn(on: \"a\", lives: File(\"{path}\"), until: \"60 s\")]"));
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!(read, listed);
}

#[test]
fn mistakes_in_a_file_of_times_away_are_shown_where_they_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("away.csv");
    let events = format!("[Churn(on: \"a\", lives: File({file:?}), until: \"60 s\")]");
    let said = |table: &str| {
        std::fs::write(&file, table).expect("a file");
        let loaded = Loaded::read("faults.ron", SCENARIO.to_owned()).expect("a scenario");
        let set = vec![("events".to_owned(), events.clone())];
        let cells = loaded.cells(&Overrides { set, ..Overrides::default() }).expect("cells");
        cells[0].plan(Seed(1), 0).map(|plan| plan.faults.len()).map_err(|error| error.to_string())
    };
    // Line numbers in errors count all lines of the file, with any line ends, including empty lines and comments.
    assert_eq!(said("# seen\r\nhost,from,till\r\n\r\na[1],4 s,5e0 s\r\n"), Ok(2));
    for (table, expected) in [
        ("# seen\r\nhost,from,till\r\n\r\n# one\r\na[1],4 s,soon\r\n", "away.csv:5:10: `soon` is not a number"),
        ("host,from,till\n\na[1],4,5 s\n", "away.csv:3:6: the unit is missing: write for example \"4 ms\""),
        ("host,from,till\na[1],,5 s\n", "away.csv:2:6: the field is empty, but a time with its unit is expected"),
        ("host,from,till\na[1],5 s,4 s\n", "away.csv:2:6: `a[1]` is absent from 5 s till 4 s"),
        ("host,from,till\n\nb9,1 s,2 s\n", "away.csv:3:1: the site or host `b9` does not exist"),
        (
            "host,from,till\na[1],1 s,2 s\n\na[1],1 s,3 s\n",
            "away.csv:4:6: `a[1]` has two absences from 1 s, which line 2 gives already",
        ),
        (
            "host,from,till\na[1],1 s,9 s\na[2],2 s,3 s\na,5 s,12 s\n",
            "away.csv:4:3: `a[1]` leaves at 5 s, but is already absent till 9 s according to line 2",
        ),
        ("host;from;till\na[1];1,5 s;9 s\n", "away.csv:2:6: `1,5 s` has a comma: write a decimal point"),
        ("host,from,to\na[1],1 s,2 s\n", "away.csv:1:1: the heading has no column `till`"),
    ] {
        let said = said(table).expect_err(table);
        assert!(said.contains(expected), "{said}\nshould say: {expected}");
    }
}

#[test]
fn what_a_file_of_times_away_leaves_open_is_noted() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("faults.ron"), SCENARIO).expect("a file");
    let notes = |table: &str| {
        std::fs::write(dir.path().join("away.csv"), table).expect("a file");
        let path = dir.path().join("faults.ron");
        let loaded = scenarios::load(path.to_str().expect("a plain path")).expect("a scenario");
        let events = "[Churn(on: \"a\", lives: File(\"away.csv\"), until: \"60 s\")]".to_owned();
        let overrides = Overrides { set: vec![("events".to_owned(), events)], ..Overrides::default() };
        loaded.cells(&overrides).expect("cells")[0].plan(Seed(1), 0).expect("a plan");
        loaded.notes()
    };
    assert_eq!(notes("host,from,till\na[1],4 s,5 s\n"), [""; 0]);
    assert_eq!(
        notes("host,from,till\n"),
        ["away.csv: the file has no rows below the heading, so no host is ever absent"]
    );
    let late = "away.csv: 2 absences are ignored, because they begin after `until`, 60 s; the first is in line 3";
    assert_eq!(notes("host,from,till\na[1],4 s,5 s\na[1],60 s,61 s\na[1],2 min,3 min\n"), [late]);
    assert_eq!(notes("host,from,till,why\na[1],4 s,5 s,x\n"), ["away.csv: the column `why` is not used"]);
}

#[test]
fn failures_per_step_come_at_their_rate() {
    let plan = plan("[StepFailures(on: \"a\", rate: 0.01, back: \"0 s\")]", 1);
    assert_eq!(plan.faults.len(), 3000);
    let steps: Vec<u64> = plan
        .faults
        .iter()
        .map(|fault| match (&fault.at, &fault.what) {
            (When::Steps { host, count }, What::Crash { host: crashed, back: Some(Duration(0)) })
                if host == crashed =>
            {
                *count
            }
            _ => panic!("{fault:?}"),
        })
        .collect();
    let mean = steps.iter().sum::<u64>() as f64 / steps.len() as f64;
    assert!((mean - 100.0).abs() < 6.0, "{mean}");
    assert!(steps.contains(&1) || steps.iter().min() <= Some(&3), "a first step may fail as well");
}
