//! Round trips between regions of the world. The CSV files in `regions/` name their sources and licences.
use actors::time::Duration;

/// A set of regions, and the round trips between them.
pub struct Regions {
    /// The names of the regions, in the order of the CSV matrix.
    pub names: Vec<&'static str>,
    /// The round trips of all ordered pairs of regions for which the CSV matrix has a value.
    pub pairs: Vec<Pair>,
}

/// The round trips from one region to another.
pub struct Pair {
    pub from: &'static str,
    pub to: &'static str,
    /// The median round trip. A median of 0 within a region means that this round trip is unknown.
    pub median: Duration,
    /// The 90th percentile of the round trips, if it is known.
    pub p90: Option<Duration>,
}

/// The tables of a set of regions: CSV matrices with times in ms.
struct Tables {
    name: &'static str,
    median: &'static str,
    p90: Option<&'static str>,
}

const SETS: [Tables; 2] = [
    Tables { name: "aws-2019", median: include_str!("regions/aws-2019-ms.csv"), p90: None },
    Tables {
        name: "aws-2025",
        median: include_str!("regions/aws-2025-p50-ms.csv"),
        p90: Some(include_str!("regions/aws-2025-p90-ms.csv")),
    },
];

/// Returns the set of regions called `name`, or `None`.
pub fn regions(name: &str) -> Option<Regions> {
    let tables = SETS.iter().find(|tables| tables.name == name)?;
    let p90s = tables.p90.map(matrix);
    let p90 = |row: usize, column: usize| p90s.as_ref()?.1.get(row)?.1.get(column).copied().flatten();
    let (names, rows) = matrix(tables.median);
    let mut pairs = Vec::with_capacity(names.len() * names.len());
    for (row, (from, medians)) in rows.iter().enumerate() {
        for (column, (to, median)) in names.iter().zip(medians).enumerate() {
            let Some(median) = *median else { continue };
            pairs.push(Pair { from, to, median, p90: p90(row, column) });
        }
    }
    Some(Regions { names, pairs })
}

/// The names of all built-in sets of regions.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    SETS.iter().map(|tables| tables.name)
}

/// A row of a matrix: the region, and the round trip to the region of each column. An empty field is `None`.
type Times = (&'static str, Vec<Option<Duration>>);

/// Reads a matrix: the regions of its columns, and its rows.
fn matrix(text: &'static str) -> (Vec<&'static str>, Vec<Times>) {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = |line: &'static str| line.split(',').map(str::trim);
    let names = lines.next().map(|heading| fields(heading).skip(1).collect()).unwrap_or_default();
    let time = |field: &str| field.parse().ok().map(|ms: f64| Duration::from_secs_f64(ms / 1e3));
    let row = |line: &'static str| (fields(line).next().unwrap_or_default(), fields(line).skip(1).map(time).collect());
    (names, lines.map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::{SETS, matrix, regions};
    use actors::time::Duration;
    use std::collections::BTreeMap;

    #[test]
    fn every_table_has_a_round_trip_for_every_pair() {
        for tables in &SETS {
            for text in [Some(tables.median), tables.p90].into_iter().flatten() {
                let (names, rows) = matrix(text);
                assert_eq!(names, rows.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{}", tables.name);
                assert!(rows.iter().all(|(_, times)| times.len() == names.len() && times.iter().all(Option::is_some)));
                assert!(text.starts_with('#') && text.contains("Apache-2.0"), "{} names its source", tables.name);
            }
        }
    }

    #[test]
    fn the_round_trips_of_2019_are_the_same_from_both_ends() {
        let set = regions("aws-2019").expect("a set");
        assert_eq!(set.names.len(), 11);
        let pairs: BTreeMap<_, _> = set.pairs.iter().map(|pair| ((pair.from, pair.to), pair.median)).collect();
        assert_eq!((pairs.len(), pairs[&("Oregon", "Virginia")]), (121, Duration::from_millis(81)));
        assert!(pairs.iter().all(|((from, to), rtt)| pairs[&(*to, *from)] == *rtt));
        assert!(pairs.iter().all(|((from, to), rtt)| (*rtt == Duration::ZERO) == (from == to)));
        assert!(set.pairs.iter().all(|pair| pair.p90.is_none()));
    }

    #[test]
    fn the_round_trips_of_2025_have_a_90th_percentile_above_the_median() {
        let set = regions("aws-2025").expect("a set");
        assert_eq!((set.names.len(), set.pairs.len()), (33, 33 * 33));
        assert!(set.pairs.iter().all(|pair| pair.p90.is_some_and(|p90| p90 > pair.median)));
        let pair = set.pairs.iter().find(|pair| (pair.from, pair.to) == ("af-south-1", "ap-east-1")).expect("a pair");
        assert_eq!((pair.median, pair.p90), (Duration::from_micros(347_550), Some(Duration::from_micros(376_120))));
    }
}
