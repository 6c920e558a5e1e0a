//! The charts that a scenario can request. Charts refer to scenario fields by path, for example `workload.prompt`.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A chart that is drawn after the run. Paths name swept fields, as `workload.prompt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Chart {
    /// Output throughput, plotted against a swept path, with error bars. Each combination of the other axes' values has
    /// its own series.
    ThroughputVs(String),
    /// Mean request latency, plotted against a swept path, with error bars. Each combination of the other axes' values
    /// has its own series.
    LatencyVs(String),
    /// Request latency against output throughput. Each line joins cells in the order of the values of this swept path.
    Pareto(String),
    /// Cumulative distribution of the latency of requests, for each cell.
    LatencyCdf,
    /// Mean request latency and output throughput for each pair of values of two swept paths.
    Heatmap(String, String),
    /// Stacked parts of the mean request latency, a bar for each cell.
    Breakdown,
    /// The duration and the number of hops of a client's lookup of peers in the DHT, plotted against a swept path.
    Discovery(String),
    /// The share of the model's blocks that are served, over time.
    Coverage,
    /// Output throughput over time, with the injected faults.
    Timeline,
    /// The phases of a few requests over time: computing, waiting and in transit.
    Gantt,
    /// The share of time for which each peer computes, over time.
    Utilisation,
    /// A chart of only the cells that match a filter: `Only("swarm.routing=LoadAware && workload.clients=16", Gantt)`.
    Only(String, Box<Chart>),
}

/// The largest number of series that can be told apart in a chart.
const SERIES: usize = 8;
/// The largest number of bars that can be read side by side in a chart.
const BARS: usize = 32;

impl Chart {
    /// Returns the charts that suit a sweep if its scenario asks for none. `axes` are the varied paths and their
    /// numbers of values, in the order of the sweep; `cells` is the number of cells.
    pub fn suited(axes: &[(&str, usize)], cells: usize) -> Vec<Chart> {
        let longest = axes.iter().rev().max_by_key(|(_, values)| values);
        let mut charts = Vec::new();
        if let Some((path, values)) = longest {
            if cells.div_ceil(*values) <= SERIES {
                charts.extend([Chart::ThroughputVs((*path).to_owned()), Chart::LatencyVs((*path).to_owned())]);
            }
            if let [(x, columns), (y, rows)] = axes
                && *columns > 2
                && *rows > 2
            {
                charts.push(Chart::Heatmap((*x).to_owned(), (*y).to_owned()));
            }
        }
        if cells <= SERIES {
            charts.push(Chart::LatencyCdf);
        }
        if cells <= BARS {
            charts.push(Chart::Breakdown);
        }
        charts
    }
}

#[cfg(test)]
mod tests {
    use super::Chart;

    #[test]
    fn charts_suit_the_axes() {
        let line = |path: &str| [Chart::ThroughputVs(path.to_owned()), Chart::LatencyVs(path.to_owned())];
        let heat = Chart::Heatmap("a".to_owned(), "b".to_owned());
        assert_eq!(Chart::suited(&[], 1), [Chart::LatencyCdf, Chart::Breakdown]);
        let few = [&line("a")[..], &[Chart::LatencyCdf, Chart::Breakdown]].concat();
        assert_eq!(Chart::suited(&[("a", 3)], 3), few);
        assert_eq!(Chart::suited(&[("a", 2), ("b", 12)], 24), [&line("b")[..], &[Chart::Breakdown]].concat());
        assert_eq!(Chart::suited(&[("a", 60), ("b", 60)], 3600), [heat]);
        assert_eq!(Chart::suited(&[("a", 6), ("b", 6), ("c", 100)], 3600), []);
    }
}
