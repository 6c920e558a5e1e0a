//! The share of the model's blocks that is served, over time: a step line for each cell.
use super::group::{self, Keyed};
use super::lines::{self, Point, Series};
use super::picture::Picture;
use super::scale::Scale;
use super::{Source, impossible};
use crate::cells::number;
use crate::error::Result;
use crate::run_timeline::{Cover, RunTimeline};
use std::collections::BTreeMap;

/// Draws the share of served blocks over time.
///
/// # Errors
/// The runs have no data on served blocks, or the drawing fails.
pub fn over_time(source: &Source) -> Result<Picture> {
    let name = "coverage";
    let cells = group::keyed(source, &[]);
    let keys = group::distinct(&cells);
    let courses = source.runs.iter().map(|run| RunTimeline::read(&run.dir)).collect::<Result<Vec<_>>>()?;
    let mut rows = vec![["series", "since the release [s]", "share of blocks served"].map(str::to_owned).to_vec()];
    let mut series = Vec::new();
    for key in &keys {
        let mut runs: BTreeMap<(usize, u32, u32), Vec<&Cover>> = BTreeMap::new();
        for Keyed { run, cell, .. } in cells.iter().filter(|of| of.key == *key) {
            let at = source.runs.iter().position(|known| std::ptr::eq(known, *run)).unwrap_or(0);
            for cover in courses[at].covers.iter().filter(|cover| cover.cell == cell.cell) {
                runs.entry((at, cover.cell, cover.repeat)).or_default().push(cover);
            }
        }
        let points = mean(&runs.into_values().collect::<Vec<_>>());
        rows.extend(points.iter().map(|p| vec![group::label(key), number(p.x), number(p.y)]));
        series.push(Series { key: key.clone(), points });
    }
    let places = || series.iter().flat_map(|series| &series.points).map(|point| point.x);
    let (low, high) = (places().fold(0.0, f64::min), places().fold(f64::MIN, f64::max));
    if high <= low {
        return Err(impossible(name, "no peer announced the blocks that it serves"));
    }
    let x = Scale::Linear { low, high };
    lines::draw(lines::LineChart {
        name: name.to_owned(),
        title: format!("{}: blocks served", source.scenario),
        note: "share of the model's blocks that some peer serves; mean over repetitions".to_owned(),
        x_name: "time since the barrier's release [s]".to_owned(),
        y_name: "share of blocks served".to_owned(),
        x_ticks: x.ticks(8),
        x,
        y: Scale::Linear { low: 0.0, high: 1.0 },
        facets: group::facets(keys),
        series,
        steps: true,
        rows,
    })
}

/// Returns the mean share of served blocks over the runs, at each change and at the end. A run that has not begun
/// counts with no served block. A run that has ended does not count.
fn mean(runs: &[Vec<&Cover>]) -> Vec<Point> {
    let mut changes: Vec<i64> = runs.iter().flatten().map(|cover| cover.from_ns).collect();
    changes.sort_unstable();
    changes.dedup();
    let end = |run: &Vec<&Cover>| run.last().map_or(i64::MIN, |cover| cover.till_ns);
    let at = |now: i64| {
        let under_way: Vec<&Vec<&Cover>> = runs.iter().filter(|run| now < end(run)).collect();
        let served = under_way.iter().filter_map(|run| run.iter().find(|c| c.from_ns <= now && now < c.till_ns));
        let sum: f64 = served.map(|cover| f64::from(cover.served) / f64::from(cover.blocks.max(1))).sum();
        Point { x: now as f64 / 1e9, y: sum / under_way.len().max(1) as f64, half: None }
    };
    let mut points: Vec<Point> = changes.into_iter().map(at).collect();
    if let (Some(last), Some(end)) = (points.last().copied(), runs.iter().map(end).max()) {
        points.push(Point { x: end as f64 / 1e9, ..last });
    }
    points
}
