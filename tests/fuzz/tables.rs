//! Entries for the tables that a scenario can name: round trips between sites, absences of hosts, samples, and traces
//! in each of their formats.
use actors::seed::Seed;
use scenarios::{Loaded, Overrides};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// The formats of traces, in the order in which the first byte of a trace's input selects them.
const COLUMNS: [&str; 6] = ["Ours", "Azure2023", "Azure2024", "BurstGpt", "Mooncake", "QwenBailian"];

const CLOSED: &str = r#"Closed(on: "client", clients: 1, prompt: 32, generate: 8)"#;

thread_local! {
    static FOLDER: (TempDir, PathBuf) = {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().to_owned();
        (dir, path)
    };
}

/// Reads the bytes as a table of round trips between the sites `a`, `b` and `c`.
pub fn round_trips(bytes: &[u8]) {
    plan(bytes, "rtt: Csv(\"table.csv\")", "", CLOSED);
}

/// Reads the bytes as a table of the times during which hosts are absent.
pub fn times_away(bytes: &[u8]) {
    let churn = r#"events: [Churn(on: "peer", lives: File("table.csv"), until: "60 s")],"#;
    plan(bytes, "", churn, CLOSED);
}

/// Reads the bytes as samples of a delay and of a prompt's length.
pub fn samples(bytes: &[u8]) {
    let delay = r#"default: Link(delay: Empirical(file: "table.csv", column: "rtt_ms", round_trip: true))"#;
    plan(bytes, delay, "", CLOSED);
    let prompt = r#"Open(on: "client", clients: 1, rate: "1/s", requests: 4, generate: 8,
        prompt: Empirical(file: "table.csv", column: "tokens"))"#;
    plan(bytes, "", "", prompt);
}

/// Reads a trace; the first byte selects its format.
pub fn trace(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let columns = COLUMNS[usize::from(*which) % COLUMNS.len()];
    for cut in ["", ", skip: \"1 s\", duration: \"1 h\", limit: 3"] {
        let trace = format!(r#"Trace(on: "client", clients: 2, file: "table.csv", columns: {columns}{cut})"#);
        plan(bytes, "", "", &trace);
    }
}

/// Plans a scenario that reads the table `bytes`.
fn plan(bytes: &[u8], network: &str, events: &str, workload: &str) {
    let text = format!(
        r#"#![enable(implicit_some, unwrap_newtypes)]
Scenario(
    version: 1,
    name: "tables",
    model: Model(shape: Llama("7b")),
    hosts: [
        Host(name: "peer", count: 2, site: "a", device: Preset("a100")),
        Host(name: "far", site: "b", device: Preset("a100")),
        Host(name: "client", site: "c", device: Preset("cpu-8")),
    ],
    peers: [Peers(on: "peer", span: Even), Peers(on: "far", span: Even)],
    swarm: Swarm(cache: "40 GiB"),
    network: Network({network}),
    {events}
    workload: {workload},
)"#
    );
    let planned = FOLDER.with(|(_, dir)| {
        fs::write(dir.join("table.csv"), bytes).expect("the directory can be written to");
        let name = dir.join("tables.ron").display().to_string();
        let loaded = Loaded::read(&name, text).expect("the scenario itself is sound");
        let cell = loaded.cells(&Overrides::default()).expect("the scenario itself is sound").remove(0);
        cell.plan(Seed(1), 0).map(drop).map_err(|why| why.to_string())
    });
    if let Err(why) = planned {
        // If a request or a frame is too long, the error names the scenario's workload and no table, because the
        // workload may depend on more than one table.
        let named = ["table.csv", "both are at most", "a prompt of"].iter().any(|words| why.contains(words));
        assert!(named, "the error does not name the table: {why}");
    }
}

/// Returns valid tables for the entry of this name.
pub fn seeds(entry: &str) -> Vec<Vec<u8>> {
    let texts: &[&str] = match entry {
        "round_trips" => &[
            "from,to,rtt_ms\na,b,8\nb,a,12 ms\na,c,3e1\nb,c,4\n",
            "site,a,b,c\na,0,10,20\nb,10,0,30\nc,20,30,0\n",
            "cty1,cty2,rtt_min,rtt_avg\na,b,1,10\nb,c,2,20\na,c,3,30\n",
        ],
        "samples" => &["# packed or not\nrtt_ms,tokens\n10,32\n20.5,64\n\"1e1\",128\n"],
        "times_away" => &["host,from,till\npeer[0],10 s,12.5 s\npeer[1],11 s,13 s\npeer[0],20 s,21 s\n"],
        "trace" => &[
            "\0at_s,prompt,generate,client,route\n0.5,10,4,1,\n2,20,5,0,\n2.5,30,6,,\n",
            "\u{1}TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,48,10\n2023-11-16 18:17:04.03,40,14\n",
            "\u{2}TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,21,5\n2024-05-10 00:00:00.01+00:00,23,6\n",
            "\u{3}Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,47,0,47,API log\n45,ChatGPT,10,23,33,API log\n",
            "\u{4}{\"timestamp\": 27482, \"input_length\": 69, \"output_length\": 52, \"hash_ids\": [46, 47]}\n{\"timestamp\": 30482, \"input_length\": 73, \"output_length\": 49, \"hash_ids\": [0, 14]}\n",
            "\u{5}{\"chat_id\": 1, \"timestamp\": 61.114, \"input_length\": 52, \"output_length\": 13, \"type\": \"text\"}\n{\"timestamp\": 62.5, \"input_length\": 9e2, \"output_length\": 2.0}\n",
        ],
        other => panic!("there is no table {other}"),
    };
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
