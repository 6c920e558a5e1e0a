//! Which charts a scenario asks for. Paths are those of scenario fields, `workload.prompt` for one.
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Chart {
    /// Output throughput against a swept path, a series for each combination of the others, with error bars.
    ThroughputVs(String),
    /// Mean request latency against a swept path, likewise.
    LatencyVs(String),
    /// Request latency against output throughput, the cells of a line in the order of a swept path: what more load costs.
    Pareto(String),
    /// Cumulative distribution of request latency.
    LatencyCdf,
    /// Mean latency and throughput over two swept paths.
    Heatmap(String, String),
    /// Stacked parts of the mean request latency, a bar for each cell.
    Breakdown,
    /// How long a client's lookup of the peers takes, and over how many hops, against a swept path.
    Discovery(String),
    /// Share of the model's blocks that are served, over time.
    Coverage,
    /// Throughput over time, with the faults that struck.
    Timeline,
    /// Where a few requests are over time: computing, waiting, on their way.
    Gantt,
    /// How busy each peer is over time.
    Utilisation,
    /// A chart of those cells alone that have some values: `Only("swarm.routing=LoadAware && workload.clients=16", Gantt)`.
    Only(String, Box<Chart>),
}
