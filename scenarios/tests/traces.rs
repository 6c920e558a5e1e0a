//! Tests that traces are read exactly and cut as requested, and that their errors name the file, the line and the
//! column.
use actors::seed::Seed;
use actors::time::Duration;
use flate2::{Compression, write::GzEncoder};
use miette::Diagnostic;
use scenarios::plan::{Open, Role};
use scenarios::{Overrides, ScenarioError};
use std::io::Write;
use std::path::Path;

const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
    2023-11-16 18:17:03.9799600,374,44\n\
    2023-11-16 18:17:04.0319600,396,109\n\
    2023-11-16 18:17:05.9799600,879,55\n";

const OURS: &str = "at_s,prompt,generate,client,route\n0.5,10,4,1,box/1\n2,20,5,0,box/0>far\n2.5,30,6,,\n";

/// Returns the requests of a trace and the notes about its file, or the error.
fn read(dir: &Path, trace: &[u8], columns: &str, set: &[(&str, &str)]) -> Result<(Open, Vec<String>), ScenarioError> {
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
    let cells = loaded.cells(&Overrides { set, ..Overrides::default() })?;
    let plan = cells[0].plan(Seed(1), 0)?;
    assert!(plan.peers().all(|(_, node)| matches!(node.role, Role::Peer { .. })));
    Ok((plan.open.expect("requests come"), loaded.notes()))
}

fn open(dir: &Path, trace: &str, columns: &str, set: &[(&str, &str)]) -> Result<Open, String> {
    read(dir, trace.as_bytes(), columns, set).map(|(open, _)| open).map_err(|error| error.to_string())
}

/// Returns the time, the length of the prompt and the number of new tokens of each request.
fn requests(open: &Open) -> Vec<(Duration, u32, u32)> {
    open.arrivals.iter().map(|one| (one.at, one.prompt, one.generate)).collect()
}

/// Writes `trace` to a file. Returns its requests and the notes about the file.
fn said(trace: &str, columns: &str, set: &[(&str, &str)]) -> (Vec<(Duration, u32, u32)>, Vec<String>) {
    let dir = tempfile::tempdir().expect("a directory");
    let (open, notes) = read(dir.path(), trace.as_bytes(), columns, set).expect("it is sound");
    (requests(&open), notes)
}

#[test]
fn azures_columns_give_arrivals_and_lengths() {
    let dir = tempfile::tempdir().expect("a directory");
    let all = open(dir.path(), AZURE, "Azure2023", &[]).expect("it is sound");
    let ms = Duration::from_millis;
    assert_eq!(requests(&all), [(ms(0), 374, 44), (ms(52), 396, 109), (ms(2000), 879, 55)]);
    let fast = open(dir.path(), AZURE, "Azure2023", &[("workload.speed", "2"), ("workload.skip", "10 ms")]);
    assert_eq!(requests(&fast.expect("it is sound")), [(ms(21), 396, 109), (ms(995), 879, 55)]);
    let short = open(dir.path(), AZURE, "Azure2023", &[("workload.limit", "2"), ("workload.longest", "200")]);
    assert_eq!(requests(&short.expect("it is sound")), [(ms(0), 156, 44), (ms(52), 91, 109)]);
}

#[test]
fn our_columns_may_say_client_and_route() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = open(dir.path(), OURS, "Ours", &[]).expect("it is sound");
    // The plan's nodes are the orchestrator, the bootstrap node, three peers and two clients, in this order.
    let of: Vec<_> =
        open.arrivals.iter().map(|one| (one.client.0, one.route.iter().map(|peer| peer.0).collect())).collect();
    assert_eq!(of, [(6, vec![3]), (5, vec![2, 4]), (5, vec![])]);
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_column() {
    let dir = tempfile::tempdir().expect("a directory");
    let wrong = |trace: &str, columns: &str| open(dir.path(), trace, columns, &[]).expect_err("it is wrong");
    let ours = |from: &str, to: &str| {
        assert!(OURS.contains(from));
        wrong(&OURS.replacen(from, to, 1), "Ours")
    };
    for (said, expected) in [
        (ours("2,20", "soon,20"), "trace.csv:3:1: `soon` is not a time in s"),
        (ours("2,20", "NaN,20"), "trace.csv:3:1: `NaN` is not a time in s"),
        (ours("2,20", "20 ms,20"), "trace.csv:3:1: `20 ms` does not have the unit of its column, whose times are in s"),
        (ours("30,6", "30,six"), "trace.csv:4:8: `six` is not a number of tokens"),
        (ours("30,6", "30,-6"), "trace.csv:4:8: `-6` is not a number of tokens"),
        (ours("30,6", "-,6"), "trace.csv:4:5: `-` is not a number of tokens"),
        (ours("30,6", "30.5,6"), "trace.csv:4:5: `30.5` is not a whole number, but a number of tokens must be one"),
        (ours("30,6", ",6"), "trace.csv:4:5: the field is empty, but a number of tokens is expected"),
        (
            ours("10,4,1", "10,4,7"),
            "trace.csv:2:10: the request names client 7, but the workload has 2 clients, numbered from 0",
        ),
        (ours("10,4,1", "10,4,b"), "trace.csv:2:10: `b` is not a client's number"),
        (ours("10,4,1", "0,4,1"), "trace.csv:2:5: the request has 0 prompt tokens"),
        (ours("box/0>far", "box/0>fur"), "trace.csv:3:10: the peer's host `fur` does not exist"),
        (ours("box/0>far", "box>far"), "trace.csv:3:10: the host `box` has 2 peers"),
        (ours("box/0>far", "box/2"), "trace.csv:3:10: the peer's host `box/2` does not exist"),
        (ours("2,20,5,0,box/0>far", "2,20"), "trace.csv:3:3: the row has 2 fields, but the heading has 5"),
        (ours("prompt", "promt"), "trace.csv:1:1: the heading has no column `prompt`"),
        (
            wrong(&AZURE.replacen("18:17:05", "18:77:05", 1), "Azure2023"),
            "trace.csv:4:1: `2023-11-16 18:77:05.9799600` is not a timestamp such as",
        ),
        (
            wrong(&AZURE.replacen(".0319600,", ".0319600Z,", 1), "Azure2023"),
            "trace.csv:3:1: `2023-11-16 18:17:04.0319600Z` has an offset from UTC, but the times above have none",
        ),
        (wrong(OURS, "Azure2023"), "trace.csv:1:1: the heading has no column `TIMESTAMP`"),
        (wrong("", "Ours"), "trace.csv: the file is empty"),
        (wrong("at_s,prompt,generate\n", "Ours"), "trace.csv: the selected part of the trace has no request"),
    ] {
        assert!(said.contains("traced.ron:") && said.contains(expected), "{said}\nshould say: {expected}");
    }
}

#[test]
fn a_column_that_nothing_reads_is_an_error_until_it_is_ignored() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = |trace: &str, columns: &str| {
        let error = read(dir.path(), trace.as_bytes(), columns, &[]).expect_err("it is wrong");
        (error.to_string(), error.help().map(|help| help.to_string()).unwrap_or_default())
    };
    let (said, help) = error(&OURS.replacen("route", "rute", 1), "Ours");
    assert!(said.contains("trace.csv:1:29: the column `rute` is unknown"), "{said}");
    assert_eq!(help, "did you mean `route`?");
    let noted = OURS.replacen("route", "remark", 1);
    let (said, help) = error(&noted, "Ours");
    assert!(said.contains("trace.csv:1:29: the column `remark` is unknown"), "{said}");
    assert_eq!(help, "if the column is to be ignored, write: `ignore: [\"remark\"]`");
    let ignored = open(dir.path(), &noted, "Ours", &[("workload.ignore", "[\"remark\"]")]).expect("it is ignored");
    assert!(ignored.arrivals.iter().all(|one| one.route.is_empty()));
    let (said, _) = error(&OURS.replacen("client,route", "route,route", 1), "Ours");
    assert!(
        said.contains("trace.csv:1:28: the heading names the column `route` twice, here and at column 22"),
        "{said}"
    );
    // Formats other than this program's own may have further columns.
    open(dir.path(), &AZURE.replace("\n", ",x\n"), "Azure2023", &[]).expect("a further column");
    // The heading of a trace in another format is recognised, and that format is suggested.
    assert_eq!(error(AZURE, "Ours").1, "the heading matches `columns: Azure2023`; use that format");
    assert_eq!(error(BURST, "Ours").1, "the heading matches `columns: BurstGpt`; use that format");
    assert_eq!(error(MOONCAKE, "Ours").1, "write `columns: Mooncake` or `columns: QwenBailian`");
}

const AZURE_2024: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
    2024-05-10 00:00:00.009930+00:00,2162,5\r\n\
    2024-05-10 00:00:00.017335+00:00,2399,6\r\n";

const BURST: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
    5,ChatGPT,472,18,490,Conversation log\n\
    45,ChatGPT,1087,230,1317,Conversation log\n\
    50,GPT-4,417,0,417,\"API log, failed\"\n\
    118.5,ChatGPT,417,276,693,API log\n";

const MOONCAKE: &str = r#"{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]}
"#;

const QWEN: &str = r#"{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 521, "output_length": 132, "type": "text", "turn": 1, "hash_ids": [1089]}
{"chat_id": 160, "parent_chat_id": 159, "timestamp": 62.5, "input_length": 9e2, "output_length": 2.0, "type": "search", "turn": 2, "hash_ids": []}
"#;

#[test]
fn published_formats_are_read() {
    let us = Duration::from_micros;
    let (requests, notes) = said(AZURE_2024, "Azure2024", &[]);
    assert_eq!(requests, [(us(0), 2162, 5), (us(7405), 2399, 6)]);
    assert_eq!(notes, [""; 0]);
    let (requests, notes) = said(BURST, "BurstGpt", &[]);
    assert_eq!(requests, [(us(0), 472, 18), (us(40_000_000), 1087, 230), (us(113_500_000), 417, 276)]);
    let failed = "they are requests that failed or have no prompt tokens or no response tokens";
    assert_eq!(notes, [format!("trace.csv: 1 of 4 rows were left out: {failed}")]);
    assert_eq!(said(MOONCAKE, "Mooncake", &[]).0, [(us(0), 6758, 500), (us(3_000_000), 7322, 490)]);
    assert_eq!(said(QWEN, "QwenBailian", &[]).0, [(us(0), 521, 132), (us(1_386_000), 900, 2)]);
    let semicolons = OURS.replace(',', ";").replace("0.5", "5e-1");
    assert_eq!(said(&semicolons, "Ours", &[]), said(OURS, "Ours", &[]));
}

#[test]
fn lines_that_are_no_requests_are_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let wrong = |from: &str, to: &str| {
        assert!(MOONCAKE.contains(from));
        open(dir.path(), &MOONCAKE.replacen(from, to, 1), "Mooncake", &[]).expect_err("it is wrong")
    };
    for (said, expected) in [
        (
            wrong("7322", "null"),
            "trace.csv:2:40: the line is not a request of the format `columns: Mooncake`: invalid type: null",
        ),
        (wrong("7322", "73.5"), "trace.csv:2:21: `73.5` is not a whole number, but a number of tokens must be one"),
        (wrong("7322", "-1"), "trace.csv:2:21: `-1` is not a number of tokens"),
        (wrong("490", "5000000000"), "trace.csv:2:43: `5000000000` is too large for a number of tokens"),
        (wrong("\"output_length\": 490,", ""), "missing field `output_length`"),
        (wrong("[0, 14]}", ""), "trace.csv:2:"),
        (open(dir.path(), BURST, "Mooncake", &[]).expect_err("CSV"), "trace.csv:1:1: the line is not a request"),
    ] {
        assert!(said.contains("traced.ron:") && said.contains(expected), "{said}\nshould say: {expected}");
    }
}

#[test]
fn a_trace_in_order_is_read_up_to_its_cut_and_another_is_sorted() {
    let (ms, cut) = (Duration::from_millis, [("workload.limit", "2")]);
    // The first row beyond the limit is read to find the end of the part, and no later row is read.
    let ordered = "at_s,prompt,generate\n0,1,1\n1,2,1\n2,3,1\nnever,4,1\n";
    let (requests, notes) = said(ordered, "Ours", &cut);
    assert_eq!(requests, [(ms(0), 1, 1), (ms(1000), 2, 1)]);
    let later = "all later rows are assumed to be later in time";
    assert_eq!(notes, [format!("trace.csv was read only up to line 4, where `limit` is reached; {later}")]);
    let (requests, notes) = said(ordered, "Ours", &[("workload.duration", "1 s")]);
    assert_eq!(requests, [(ms(0), 1, 1), (ms(1000), 2, 1)]);
    assert_eq!(notes, [format!("trace.csv was read only up to line 4, where `duration` is reached; {later}")]);
    let disordered = "at_s,prompt,generate\n1,2,1\n0,1,1\n2,3,1\n1,4,1\n";
    let (requests, notes) = said(disordered, "Ours", &cut);
    assert_eq!(requests, [(ms(0), 1, 1), (ms(1000), 2, 1)]);
    let note = "this request is earlier than the one above, so the whole file was read and sorted";
    assert_eq!(notes, [format!("trace.csv:3:1: {note}")]);
    let all = said(disordered, "Ours", &[]).0;
    assert_eq!(all.iter().map(|one| one.1).collect::<Vec<_>>(), [1, 2, 4, 3]);
    // The times of a trace with timestamps count from its earliest request, wherever that is in the file.
    let lines: Vec<&str> = AZURE.lines().collect();
    let reversed = [lines[0], lines[3], lines[2], lines[1], ""].join("\n");
    let skip = [("workload.skip", "10 ms"), ("workload.duration", "1 s")];
    assert_eq!(said(&reversed, "Azure2023", &skip).0, said(AZURE, "Azure2023", &skip).0);
}

#[test]
fn a_packed_trace_of_any_length_takes_little_and_too_many_requests_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(b"at_s,prompt,generate\n").expect("packed");
    let row = "1,1,1\n".repeat(1 << 12);
    for _ in 0..(1 << 8) + 1 {
        gz.write_all(row.as_bytes()).expect("packed");
    }
    let packed = gz.finish().expect("packed");
    let error = read(dir.path(), &packed, "Ours", &[]).expect_err("more than a plan holds");
    assert!(error.to_string().contains("the workload has more than 1048576 requests, which is the limit"), "{error}");
    assert_eq!(error.help().expect("what to do").to_string(), "cut the trace with a `duration` or a `limit`");
    let (open, _) = read(dir.path(), &packed, "Ours", &[("workload.limit", "3")]).expect("a part");
    assert_eq!(open.arrivals.len(), 3);
}
