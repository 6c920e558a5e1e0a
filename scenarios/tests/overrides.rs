//! Tests of the overrides of the command line: values, axes, and filters of cells.
use actors::message::Forwarding;
use actors::seed::Seed;
use actors::time::Duration;
use scenarios::plan::{Distribution, Executor, Plan};
use scenarios::{Cell, Loaded, Overrides, live_obstacles, load};

fn over(set: &[(&str, &str)], axis: &[(&str, &str)]) -> Overrides {
    let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Overrides { set: owned(set), axis: owned(axis), ..Overrides::default() }
}

fn loaded(name: &str) -> Loaded {
    load(name).expect("of the library")
}

fn cells(name: &str, overrides: &Overrides) -> Vec<Cell> {
    loaded(name).cells(overrides).unwrap_or_else(|error| panic!("{error}"))
}

fn plan(cell: &Cell) -> Plan {
    cell.plan(Seed(1), 0).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(name: &str, overrides: &Overrides) -> String {
    loaded(name).check(overrides).expect_err("a mistake").to_string()
}

fn values(cells: &[Cell], path: &str) -> Vec<String> {
    let value = |cell: &Cell| cell.key.values.iter().find(|(name, _)| name == path).map(|(_, value)| value.clone());
    cells.iter().filter_map(value).collect()
}

#[test]
fn the_first_axis_is_the_slowest() {
    let cells = cells("quickstart", &Overrides::default());
    assert_eq!(values(&cells, "workload.prompt"), ["16", "16", "16", "64", "64", "64"]);
    assert_eq!(values(&cells, "workload.generate"), ["1", "8", "16", "1", "8", "16"]);
    assert_eq!(cells.iter().map(|cell| cell.key.index).collect::<Vec<_>>(), (0..6).collect::<Vec<_>>());
    let generated: Vec<u32> = cells.iter().map(|cell| plan(cell).workload.generate).collect();
    assert_eq!(generated, [1, 8, 16, 1, 8, 16]);
}

#[test]
fn a_value_is_set_as_a_shell_gives_it() {
    let overrides = over(
        &[("swarm.forwarding", "Push"), ("network.default.delay", "5 ms"), ("name", "mine"), ("network.shape", "true")],
        &[],
    );
    for cell in cells("quickstart", &overrides) {
        let plan = plan(&cell);
        assert_eq!((plan.policies.forwarding, plan.scenario.as_str()), (Forwarding::Push, "mine"));
        assert_eq!(plan.network.default.delay, Distribution::Constant(Duration::from_millis(5)));
        assert!(plan.network.shape);
    }
    assert_eq!(
        plan(&cells("flexgen-petals-opt30b", &over(&[("swarm.forwarding", "Push")], &[]))[7]).policies.forwarding,
        Forwarding::Push
    );
}

#[test]
fn a_whole_part_can_be_set_and_its_defaults_are_there() {
    let overrides = over(
        &[
            ("hosts.0.egress", "Link(delay: LogNormal(median: \"1 ms\", sigma: 0.5))"),
            ("hosts.0.egress.delay.sigma", "0.25"),
        ],
        &[],
    );
    let plan = plan(&cells("quickstart", &overrides)[0]);
    let expected = Distribution::LogNormal { median: Duration::from_millis(1), sigma: 0.25 };
    assert_eq!((plan.hosts[1].egress.delay.clone(), plan.hosts[1].egress.bandwidth), (expected, None));
}

#[test]
fn what_is_set_is_not_varied() {
    let fixed = cells("quickstart", &over(&[("workload.prompt", "24")], &[]));
    assert_eq!(values(&fixed, "workload.generate"), ["1", "8", "16"]);
    assert!(fixed.iter().all(|cell| plan(cell).workload.prompt == 24));
    // With a fixed `workload.generate`, the cases of the file's sweep are the same as cells of its axes. Each cell
    // still occurs once.
    let flexgen = cells("flexgen-petals-opt30b", &over(&[("workload.generate", "8")], &[]));
    assert_eq!(flexgen.len(), 3 * 2 * 3);
}

#[test]
fn what_is_set_below_an_axis_holds_in_every_cell() {
    let flexgen = cells("flexgen-petals-opt30b", &over(&[("hosts.0.egress.delay", "3 ms")], &[]));
    let delays: Vec<_> = flexgen.iter().map(|cell| plan(cell).hosts[1].egress.delay.clone()).collect();
    assert!(delays.iter().all(|delay| *delay == Distribution::Constant(Duration::from_millis(3))));
}

#[test]
fn an_axis_replaces_the_files_or_is_one_more() {
    let replaced = cells("quickstart", &over(&[], &[("workload.generate", "2,4")]));
    assert_eq!(values(&replaced, "workload.generate"), ["2", "4", "2", "4"]);
    let added = cells("nano", &over(&[], &[("network.default.delay", "1 ms,Uniform(low: \"1 ms\", high: \"2 ms\")")]));
    let expected = ["1 ms", "Uniform(low: \"1 ms\", high: \"2 ms\")"];
    assert_eq!(values(&added, "network.default.delay"), expected);
    assert_ne!(plan(&added[0]).network, plan(&added[1]).network);
}

#[test]
fn a_structured_axis_is_named_by_the_leaves_that_differ() {
    let flexgen = cells("flexgen-petals-opt30b", &Overrides::default());
    let names: Vec<&str> = flexgen[0].key.values.iter().map(|(path, _)| path.as_str()).collect();
    let expected =
        ["hosts.0.egress.delay", "hosts.0.egress.bandwidth", "workload.batch", "workload.prompt", "workload.generate"];
    assert_eq!(names, expected);
    assert!(flexgen.iter().all(|cell| cell.key.values.iter().map(|(path, _)| path.as_str()).eq(names.iter().copied())));
    assert_eq!(flexgen[47].key.values[0].1, "100 ms");
    assert_eq!(flexgen[47].key.values[1].1, "100 Mbit/s");
}

#[test]
fn a_choice_keeps_the_index_of_its_cells() {
    let only = |only: &str| Overrides { only: Some(only.to_owned()), ..Overrides::default() };
    let chosen = cells("quickstart", &only("workload.prompt=64 && workload.generate == 8"));
    assert_eq!(chosen.iter().map(|cell| cell.key.index).collect::<Vec<_>>(), [4]);
    let slow = cells("flexgen-petals-opt30b", &only("hosts.0.egress.delay=0.1 s"));
    assert_eq!(slow.len(), 16);
    assert!(refused("quickstart", &only("workload.promt=64")).contains("does not vary the path `workload.promt`"));
    assert!(refused("quickstart", &only("workload.prompt=65")).contains("no cell"));
    assert!(refused("quickstart", &only("workload.prompt")).contains("does not have the form path=value"));
}

#[test]
fn repetitions_are_counted_and_seeded_apart() {
    let loaded = loaded("quickstart");
    assert_eq!(loaded.repeats(&Overrides::default()).expect("one"), 1);
    assert_eq!(loaded.repeats(&Overrides { repeat: Some(5), ..Overrides::default() }).expect("five"), 5);
    assert_eq!(loaded.repeats(&over(&[("sweep.repeat", "4")], &[])).expect("four"), 4);
    let cells = loaded.cells(&Overrides::default()).expect("cells");
    let seed = |cell: usize, seed: u64, repeat| cells[cell].plan(Seed(seed), repeat).expect("a plan").seed;
    assert_eq!(seed(0, 1, 0), seed(0, 1, 0));
    let seeds = [seed(0, 1, 0), seed(0, 1, 1), seed(1, 1, 0), seed(0, 2, 0)];
    let different: std::collections::BTreeSet<u64> = seeds.iter().map(|seed| seed.0).collect();
    assert_eq!(different.len(), seeds.len());
}

#[test]
fn a_mistake_in_a_flag_names_the_flag() {
    for (set, message) in [
        (("workload.promt", "3"), "--set workload.promt=3: `workload` has no field `promt`"),
        (("workload.prompt", "many"), "--set workload.prompt=many: expected integer"),
        (
            ("network.default.delay", "10"),
            "--set network.default.delay=10: the unit is missing: write for example \"10 ms\"",
        ),
        (("measure.timeout", "10 mss"), "--set measure.timeout=10 mss: the unit `mss` is unknown: did you mean `ms`?"),
        (("swarm.forwarding", "push"), "--set swarm.forwarding=push: unknown variant `push` of `Forwarding`"),
        (("workload.clients", "0"), "--set workload.clients=0: clients is 0, but must be at least 1"),
        (("sweep.axes", "{}"), "--set sweep.axes={}: the axes and cases of a sweep cannot be changed with --set"),
        // The text of a value must not be able to change other fields of the scenario.
        (("workload.prompt", "3, generate: 5"), "--set workload.prompt=3, generate: 5: expected integer"),
    ] {
        assert_eq!(refused("quickstart", &over(&[set], &[])), message);
    }
    let axis = refused("quickstart", &over(&[], &[("workload.prompt", "8,x")]));
    assert_eq!(axis, "--axis workload.prompt=8,x: expected integer");
}

#[test]
fn a_mistake_that_a_flag_makes_elsewhere_names_the_flag() {
    // The file also varies the rate, which is another field of the workload. The error must name the duration, which is
    // wrong.
    let none = refused("open-loop", &over(&[("workload.duration", "0 s")], &[]));
    assert_eq!(none, "--set workload.duration=0 s: no request arrives during the workload");
    // The frame is too large because of the two overrides, not because of the file's prompt.
    let rows = refused("nano", &over(&[("workload.batch", "4096"), ("model.shape.hidden", "65532")], &[]));
    assert!(
        rows.starts_with("--set model.shape.hidden=65532: a prompt of 8 tokens in 4096 rows gives a message of"),
        "{rows}"
    );
    let axis = refused("nano", &over(&[("model.shape.hidden", "65532")], &[("workload.batch", "4096")]));
    assert!(axis.starts_with("--axis workload.batch=4096: a prompt of 8 tokens"), "{axis}");
}

#[test]
fn a_sweep_has_no_more_runs_than_can_be_planned() {
    let often = Overrides { repeat: Some(4_000_000_000), ..Overrides::default() };
    let said = loaded("quickstart").cells(&often).expect_err("24 thousand million runs").to_string();
    let expected = "--repeat 4000000000: the sweep has 6 cells with 4000000000 repetitions each, which are 24000000000 runs, but at most 65536 are allowed";
    assert_eq!(said, expected);
    let values = (1..=300).map(|value| value.to_string()).collect::<Vec<_>>().join(",");
    let axes: Vec<_> = ["workload.prompt", "workload.generate", "workload.batch", "workload.clients"]
        .map(|path| (path, values.as_str()))
        .to_vec();
    let said = refused("nano", &over(&[], &axes));
    assert!(said.contains("the axes and cases give 8100000000 cells, but a sweep has at most 65536"), "{said}");
    // The limit of runs applies to the selected cells, so a single cell may have more repetitions than a whole sweep.
    let only = Some("workload.prompt=16 && workload.generate=1".to_owned());
    let one = Overrides { repeat: Some(65_536), only, ..Overrides::default() };
    assert_eq!(loaded("quickstart").cells(&one).expect("as many as there may be").len(), 1);
}

#[test]
fn a_path_is_set_or_varied() {
    let both = over(&[("workload.prompt", "8")], &[("workload.prompt", "8,16")]);
    let expected = "--set workload.prompt=8: the option sets a value that --axis workload.prompt=8,16 varies";
    assert_eq!(refused("quickstart", &both), expected);
    let above = over(&[("network.default", "Link(delay: \"1 ms\")")], &[("network.default.delay", "1 ms,2 ms")]);
    assert!(refused("quickstart", &above).contains("the option sets a value that"));
    // An override of a path below an axis applies in every cell.
    let below =
        over(&[("network.default.delay", "3 ms")], &[("network.default", "Link(),Link(bandwidth: \"1 Gbit/s\")")]);
    assert_eq!(cells("nano", &below).len(), 2);
}

#[test]
fn what_the_live_world_lacks_is_cured_as_it_says() {
    let t4 = plan(&cells("flexgen-petals-opt6.7b", &Overrides::default())[0]);
    let obstacles = live_obstacles(&t4);
    assert!(obstacles[0].starts_with("host t4: the device t4 is not on this machine"), "{obstacles:?}");
    let cpus = [("hosts.0.device", "Cpu(threads: 1)"), ("hosts.1.device", "Cpu(threads: 1)")];
    let apart = plan(&cells("flexgen-petals-opt6.7b", &over(&cpus, &[]))[0]);
    assert_eq!(apart.hosts[1].device.executor, Executor::Cpu { threads: 1 });
    assert!(live_obstacles(&apart)[0].contains("the scenario has CPUs of 7 machines"));
    let here = [("machines", "[Machine(name: \"here\")]"), ("hosts.0.machine", "here"), ("hosts.1.machine", "here")];
    let together = plan(&cells("flexgen-petals-opt6.7b", &over(&[&cpus[..], &here[..]].concat(), &[]))[0]);
    assert_eq!((live_obstacles(&together), together.machines.len()), (vec![], 1));
    assert_eq!(together.machines[0].leases, Some(1));
}

#[test]
fn a_plan_survives_its_text() {
    let plan = plan(&cells("flexgen-petals-opt30b", &Overrides::default())[0]);
    assert_eq!(Plan::from_ron(&plan.to_ron().expect("printed")).expect("read"), plan);
}

#[test]
fn what_a_later_flag_would_drop_is_refused_with_both() {
    let twice = over(&[("workload.prompt", "8"), ("workload.prompt", "16")], &[]);
    let expected = "--set workload.prompt=16: the option overrides `--set workload.prompt=8`, which is given before";
    assert_eq!(refused("nano", &twice), expected);
    // An override of the whole link follows an override of one of the link's fields.
    let above = over(&[("network.default.delay", "3 ms"), ("network.default", "Link()")], &[]);
    assert!(refused("nano", &above).contains("the option overrides `--set network.default.delay=3 ms`"));
    let below = over(&[("network.default", "Link()"), ("network.default.delay", "3 ms")], &[]);
    assert_eq!(cells("nano", &below).len(), 1);
    let repeat = Overrides { repeat: Some(3), ..over(&[("sweep.repeat", "2")], &[]) };
    assert!(refused("nano", &repeat).contains("--repeat 3: the option overrides `--set sweep.repeat=2`"));
    let axes = over(&[], &[("workload.prompt", "1,2"), ("workload.prompt", "3,4")]);
    let expected =
        "--axis workload.prompt=3,4: the option overrides `--axis workload.prompt=1,2`, which is given before";
    assert_eq!(refused("nano", &axes), expected);
}

#[test]
fn an_axis_has_no_value_twice_however_it_is_written() {
    let same = refused("nano", &over(&[], &[("workload.prompt", "8,8")]));
    assert_eq!(same, "--axis workload.prompt=8,8: the value `8` is given twice");
    let same = refused("nano", &over(&[], &[("measure.timeout", "30 s,20 s,30000 ms")]));
    assert!(same.ends_with("the values `30 s` and `30000 ms` are the same"), "{same}");
}

#[test]
fn a_long_flag_is_told_without_its_middle() {
    let digits = "9".repeat(100_000);
    let said = refused("nano", &over(&[("workload.prompt", &digits)], &[]));
    assert!(said.starts_with("--set workload.prompt=999") && said.len() < 2_000, "{} bytes", said.len());
    let values = (1..=500).map(|value| format!("{value} mss")).collect::<Vec<_>>().join(",");
    let said = refused("nano", &over(&[], &[("network.default.delay", &values)]));
    assert!(said.starts_with("--axis network.default.delay=1 mss,2 mss") && said.len() < 2_000, "{said}");
    assert!(said.contains("500 mss: the unit `mss` is unknown"), "{said}");
    let name = "x".repeat(100_000);
    assert!(load(&name).expect_err("there is none").to_string().len() < 1_000);
}

#[test]
fn a_scenario_is_called_as_its_directories_can_be() {
    let said = refused("nano", &over(&[("name", "\".\"")], &[]));
    assert!(said.contains("`.` cannot be the name of a scenario"), "{said}");
    let said = refused("nano", &over(&[("name", &"n".repeat(300))], &[]));
    assert!(said.contains("has 300 bytes, which is too long for the name of a directory"), "{said}");
    assert_eq!(cells("nano", &over(&[("name", "\"é☃\"")], &[])).len(), 1);
}
