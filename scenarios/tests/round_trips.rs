//! Tests of round trips between sites from files: each pair must be given once, and every mistake is reported with its
//! line.
use actors::seed::Seed;
use scenarios::plan::Distribution;
use scenarios::{Overrides, ScenarioError};
use std::path::Path;

/// Returns the one-way delays between the sites `a` and `b` with the round trips in `table`, in both directions, in ms.
fn delays(dir: &Path, table: &str) -> Result<Vec<f64>, ScenarioError> {
    read(dir, table).map(|(delays, _)| delays)
}

/// Returns the one-way delays between the sites `a` and `b` in ms, and the notes about the file of round trips.
fn read(dir: &Path, table: &str) -> Result<(Vec<f64>, Vec<String>), ScenarioError> {
    std::fs::write(dir.join("rtt.csv"), table).expect("it is written");
    let text = r#"#![enable(implicit_some, unwrap_newtypes)]
Scenario(
    version: 1,
    name: "sites",
    model: Model(shape: Llama("7b")),
    hosts: [
        Host(name: "peer", site: "a", device: Preset("a100")),
        Host(name: "client", site: "b", device: Preset("cpu-8")),
    ],
    peers: [Peers(on: "peer", span: Even)],
    swarm: Swarm(cache: "40 GiB"),
    network: Network(rtt: Csv("rtt.csv")),
    workload: Closed(on: "client", clients: 1, prompt: 32, generate: 8),
)"#;
    let path = dir.join("sites.ron");
    std::fs::write(&path, text).expect("it is written");
    let loaded = scenarios::load(path.to_str().expect("a plain path"))?;
    let plan = loaded.cells(&Overrides::default())?[0].plan(Seed(1), 0)?;
    let apart = plan.network.between.iter().filter(|between| between.from != between.to);
    let delay = |between: &scenarios::plan::Between| match between.link.delay {
        Distribution::Constant(delay) => delay.as_secs_f64() * 1e3,
        _ => panic!("a round trip is a constant"),
    };
    Ok((apart.map(delay).collect(), loaded.notes()))
}

#[test]
fn what_a_table_leaves_open_is_noted() {
    let dir = tempfile::tempdir().expect("a directory");
    for (table, notes) in [
        ("from,to,rtt_ms\na,b,10\n", &[][..]),
        ("from,to,rtt_ms\na,b,10\nA,B,20\n", &["rtt.csv: the table has sites that no host is at: `A`, `B`"]),
        (
            "from,to,rtt_ms\na,b,10\nc,d,1\ne,f,1\n",
            &["rtt.csv: the table has sites that no host is at: `c`, `d`, `e`, `f`"],
        ),
        (
            "from,to,rtt_ms\na,b,10\nc,d,1\ne,f,1\ng,h,1\n",
            &["rtt.csv: the table has sites that no host is at: `c`, `d`, `e`, `f` and 2 more"],
        ),
        ("site,a,b\na,0,10\n", &["rtt.csv: the site `b` has a column but no row"]),
    ] {
        let (delays, said) = read(dir.path(), table).expect(table);
        assert_eq!(
            (delays, said.as_slice()),
            (vec![5.0, 5.0], &notes.iter().map(|note| note.to_string()).collect::<Vec<_>>()[..])
        );
    }
}

#[test]
fn lists_and_matrices_are_read() {
    let dir = tempfile::tempdir().expect("a directory");
    for table in [
        "from,to,rtt_ms\na,b,10\n",
        "from;to;rtt_ms\r\n\r\na;b;1e1\r\n",
        "from,to,rtt_ms\na,b,8\nb,a,12 ms\n",
        "cty1,cty2,rtt_min,rtt_avg\na,b,1,10\n",
        "site,a,b\na,0,10\nb,10,0\n",
        "\"\",\"a\",\"b\"\n\"a\",,\"10\"\n",
        "site\ta\tb\na\t\t8\nb\t12\t\n",
    ] {
        assert_eq!(delays(dir.path(), table).expect(table), [5.0, 5.0], "{table}");
    }
}

#[test]
fn what_stands_twice_is_refused_with_both_places() {
    let dir = tempfile::tempdir().expect("a directory");
    for (table, expected) in [
        (
            "from,to,rtt_ms\na,b,1331\n# later\nb,a,3\na,b,5741\n",
            "rtt.csv:5:1: the round trip from `a` to `b` is given twice: 5.741 s here, and 1.331 s in line 2",
        ),
        (
            "from,to,rtt_ms\na,b,10\na,b,10\n",
            "rtt.csv:3:1: the round trip from `a` to `b` is given twice: 10 ms here, and 10 ms in line 2",
        ),
        ("site,a,b\na,0,10\nb,10,0\na,0,12\n", "rtt.csv:4:1: the site `a` has a second row; its first row is line 2"),
        ("site,a,b,a\na,0,10,1\n", "rtt.csv:1:10: the heading names the column `a` twice, here and at column 6"),
        (
            "from,to,rtt_ms,RTT_ms\na,b,1,2\n",
            "rtt.csv:1:16: the heading names the column `RTT_ms` twice, in two spellings",
        ),
        (
            "from,to,rtt_ms,rtt_ms\na,b,1,2\n",
            "rtt.csv:1:16: the heading names the column `rtt_ms` twice, here and at column 9",
        ),
    ] {
        let said = delays(dir.path(), table).expect_err(table).to_string();
        assert!(said.contains("sites.ron:12:") && said.contains(expected), "{said}\nshould say: {expected}");
    }
}

#[test]
fn what_is_no_round_trip_is_shown_where_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    for (table, expected) in [
        ("from,to,rtt_ms\r\n\r\na,b,-\r\n", "rtt.csv:3:5: `-` is not a time in ms"),
        ("from,to,rtt_ms\na,b,NaN\n", "rtt.csv:2:5: `NaN` is not a time in ms"),
        ("from;to;rtt_ms\na;b;1,5\n", "rtt.csv:2:5: `1,5` is not a time in ms"),
        ("from,to,rtt_ms\na,b,1 s\n", "rtt.csv:2:5: `1 s` does not have the unit of its column, whose times are in ms"),
        ("from,to,rtt_ms\na,,1\n", "rtt.csv:2:3: the field is empty, but the name of a site is expected"),
        ("from,to,rtt\na,b,1\n", "rtt.csv:1:1: the heading has no column `rtt_ms`"),
        ("site,a,b\na,0,x\n", "rtt.csv:2:5: `x` is not a time in ms"),
        ("from,to,rtt_ms\nc,b,1\n", "the site `a` of the host `peer` is not in `rtt.csv`"),
        ("from,to,rtt_ms\na,c,1\nb,c,2\n", "`rtt.csv` has no round trip from `a` to `b`"),
        ("site,a,\na,0,1\n", "rtt.csv:2:5: the column of this round trip has no site in the heading"),
    ] {
        let said = delays(dir.path(), table).expect_err(table).to_string();
        assert!(said.contains("sites.ron:12:") && said.contains(expected), "{said}\nshould say: {expected}");
    }
}
