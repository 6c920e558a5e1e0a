//! Tests that draw every chart once, from a synthetic run with the axes of the FlexLLMGen sweep, and check the written
//! files.
mod synthetic;

use actors::time::Duration;
use reports::cells::CellStatus;
use reports::manifest::{Manifest, World};
use reports::read::Run;
use reports::twin::Twin;
use reports::write::{RunDir, RunWriter};
use scenarios::chart::Chart;
use scenarios::plan::Plan;
use std::path::{Path, PathBuf};
use synthetic::{Sketch, key};

const PROMPT: &str = "workload.prompt";
const GENERATE: &str = "workload.generate";

fn charts() -> Vec<Chart> {
    let path = |text: &str| text.to_owned();
    vec![
        Chart::ThroughputVs(path("hosts.0.egress")),
        Chart::ThroughputVs(path(GENERATE)),
        Chart::LatencyVs(path(PROMPT)),
        Chart::LatencyCdf,
        Chart::Heatmap(path(PROMPT), path(GENERATE)),
        Chart::Breakdown,
        Chart::Discovery(path(PROMPT)),
        Chart::Coverage,
        Chart::Timeline,
        Chart::Gantt,
        Chart::Utilisation,
        Chart::Only(
            "workload.prompt=512 && hosts.0.egress.delay=0.1 s".to_owned(),
            Box::new(Chart::LatencyVs(path(GENERATE))),
        ),
        Chart::Only("workload.generate=32 && workload.prompt = 512".to_owned(), Box::new(Chart::Utilisation)),
    ]
}

/// Writes the run directory of a synthetic sweep over three networks, three prompt lengths and four numbers of new
/// tokens, with three repetitions of each cell.
fn run(parent: &Path, world: World, seed: u64) -> RunDir {
    let manifest = Manifest::new("made-up", world, seed, charts(), vec!["swarmbench".to_owned()]);
    let plans: Vec<Plan> =
        (0..36).flat_map(|cell| (0..3).map(move |repeat| Sketch::default().plan(cell, repeat))).collect();
    let mut writer = RunWriter::create(parent, manifest, "Scenario(..)", &plans).expect("a new directory");
    let networks = [(10, "1 Gbit/s", 1.25e8), (10, "100 Mbit/s", 1.25e7), (100, "100 Mbit/s", 1.25e7)];
    let mut index = 0;
    for (delay, name, bandwidth) in networks {
        for prompt in [256, 512, 1024] {
            for generate in [0, 8, 16, 32] {
                let values = [
                    ("hosts.0.egress.delay", format!("{delay} ms")),
                    ("hosts.0.egress.bandwidth", name.to_owned()),
                    (PROMPT, prompt.to_string()),
                    (GENERATE, generate.to_string()),
                ];
                let values: Vec<(&str, &str)> = values.iter().map(|(path, value)| (*path, value.as_str())).collect();
                for repeat in 0..3 {
                    let sketch = Sketch {
                        clients: 6,
                        peers: 4,
                        prompt,
                        generate,
                        delay: Duration::from_millis(delay),
                        bandwidth,
                        seed: seed + u64::from(repeat),
                        carried: world == World::Sim,
                        ..Sketch::default()
                    };
                    let plan = sketch.plan(index, repeat);
                    writer.cell(&key(index, &values), &plan, CellStatus::Done, &sketch.events()).expect("written");
                }
                index += 1;
            }
        }
    }
    writer.finish().expect("finished")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(dir).expect("there").map(|entry| entry.expect("readable").path()).collect();
    found.sort();
    found
}

#[test]
fn every_chart_is_drawn_and_the_same_run_gives_the_same_bytes() {
    let kept = std::env::var_os("GALLERY");
    let dir = tempfile::tempdir().expect("a directory");
    let parent = kept.as_ref().map_or(dir.path(), Path::new);
    let (one, two) = (run(parent, World::Sim, 1), run(parent, World::Sim, 1));
    assert!(one.notes.is_empty(), "{:?}", one.notes);
    let drawn = files(&one.path.join("charts"));
    assert_eq!(drawn.len(), 3 * 15, "{drawn:?}");
    for file in drawn.iter().chain(
        &["cells.csv", "requests.parquet", "tokens.parquet", "hops.parquet", "lookups.parquet", "summary.json"]
            .map(|name| one.path.join(name)),
    ) {
        let other = two.path.join(file.strip_prefix(&one.path).expect("inside"));
        assert!(std::fs::read(file).expect("there") == std::fs::read(other).expect("there"), "{}", file.display());
    }
    let svg = std::fs::read_to_string(one.path.join("charts/latency-cdf.svg")).expect("there");
    assert!(!svg.contains("<text") && svg.contains("<path"), "text must be outlines");
    let some = std::fs::read_to_string(
        one.path.join("charts/mean-latency-vs-workload-generate-prompt-512-egress-delay-0-1-s.csv"),
    );
    assert_eq!(some.expect("there").lines().count(), 1 + 4, "one network, one prompt, four lengths");
    println!("{}", one.table.text(None));

    let live = run(parent, World::Live, 11);
    let twin = Twin::of(&Run::open(&live.path).expect("whole"), &Run::open(&one.path).expect("whole")).expect("twins");
    assert!(twin.worst < 0.2 && twin.median > 0.0, "{} {}", twin.median, twin.worst);
    println!("{}", twin.text(None));
    assert_eq!(twin.csv().expect("CSV").lines().count(), twin.errors.len() + 1);
    twin.write(parent).expect("written");
    let both = reports::draw::draw(&[live.path, one.path], None).expect("drawn");
    assert!(both.notes.is_empty() && both.dir.starts_with(parent), "{both:?}");
}
