//! Delays between sites: the round trips of a matrix or a list, halved to one direction.
use super::Group;
use crate::files::{Files, Row, Table, TableError};
use crate::input::{ROUND_TRIPS, excerpt};
use crate::plan::{Between, Distribution, Drawn, Link};
use crate::presets::regions;
use crate::resolve::fault::Fault;
use crate::resolve::hosts::ORCHESTRATOR;
use crate::schema::RoundTrips;
use crate::units::Time;
use actors::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// Round trips between pairs of sites.
#[derive(Default)]
struct Matrix {
    /// The number of each site by its name, in the order of their first occurrence.
    sites: BTreeMap<String, u32>,
    /// The round trip from the first site to the second, with its line in the file.
    round_trips: BTreeMap<(u32, u32), (Duration, u64)>,
}

/// Returns links between any two groups on different sites: the default link, with half the round trip as its delay.
pub(super) fn between(
    rtt: &RoundTrips,
    groups: &[Group<'_>],
    default: &Link,
    files: &Files,
) -> Result<Vec<Between>, Fault> {
    let path = "network.rtt";
    let (name, matrix) = match rtt {
        RoundTrips::Off => return Ok(Vec::new()),
        RoundTrips::Regions(name) => (name, preset(name)?),
        RoundTrips::Csv(file) => (file, Matrix::read(file, files).map_err(|error| Fault::table(path, error))?),
    };
    if let RoundTrips::Csv(file) = rtt {
        let used: BTreeSet<&str> = groups.iter().map(|group| group.site).collect();
        let unused: Vec<&str> = matrix.sites.keys().map(String::as_str).filter(|site| !used.contains(site)).collect();
        note_unused(file, &unused, files);
    }
    let mut between = Vec::new();
    // The orchestrator has no site.
    let groups = || groups.iter().filter(|group| group.name != ORCHESTRATOR);
    for from in groups() {
        if !matrix.sites.contains_key(from.site) {
            let known = matrix.sites.keys().map(String::as_str);
            let what = format!("site in `{name}` for the host `{}`, called", from.name);
            return Err(Fault::unknown(path, &what, from.site, known));
        }
        for to in groups() {
            match matrix.one_way(from.site, to.site) {
                Some(delay) => {
                    let link =
                        Link { delay: Distribution::Constant(delay), drawn: Drawn::PerMessage, ..default.clone() };
                    between.push(Between { from: from.hosts, to: to.hosts, link });
                }
                None if from.site == to.site => {}
                None => {
                    let message = format!("`{name}` has no round trip from `{}` to `{}`", from.site, to.site);
                    return Err(Fault::new(path, message).help("add the pair, or give it an entry of `network.links`"));
                }
            }
        }
    }
    Ok(between)
}

/// Sites that a note names.
const NAMED: usize = 4;

/// Says which sites of a table are no host's: of two spellings of one site, one is meant.
fn note_unused(file: &str, unused: &[&str], files: &Files) {
    if unused.is_empty() {
        return;
    }
    let names: Vec<String> = unused.iter().take(NAMED).map(|site| format!("`{}`", excerpt(site))).collect();
    let more = unused.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    files.note(&format!("{file}: no host's site is {}{more}", names.join(", ")));
}

fn preset(name: &str) -> Result<Matrix, Fault> {
    let set = regions::regions(name)
        .ok_or_else(|| Fault::unknown("network.rtt.0", "set of regions", name, regions::names()))?;
    let mut matrix = Matrix::default();
    for (from, to, rtt) in set.pairs() {
        let pair = (matrix.site(from), matrix.site(to));
        matrix.round_trips.insert(pair, (Duration::from_millis(u64::from(rtt)), 0));
    }
    Ok(matrix)
}

/// The accepted names of a list's columns: the names of this program, then those of RIPE Atlas' table of countries.
const FROM: [&str; 2] = ["from", "cty1"];
const TO: [&str; 2] = ["to", "cty2"];
const ROUND_TRIP_MS: [&str; 2] = ["rtt_ms", "rtt_avg"];

/// The hint for a pair or a site that occurs twice.
const ONCE: &str = "leave one of them out; A to B beside B to A is no repetition, and the mean of both is taken";

impl Matrix {
    fn read(file: &str, files: &Files) -> Result<Matrix, TableError> {
        let mut table = files.table(file)?;
        let mut matrix = Matrix::default();
        let [from, to, rtt] = [FROM, TO, ROUND_TRIP_MS]
            .map(|names| names.into_iter().find(|name| table.header.iter().any(|column| column == name)));
        if [from, to, rtt].iter().flatten().count() >= 2 {
            let columns = [
                table.column(from.unwrap_or(FROM[0]))?,
                table.column(to.unwrap_or(TO[0]))?,
                table.column(rtt.unwrap_or(ROUND_TRIP_MS[0]))?,
            ];
            for (at, name) in table.header.iter().enumerate().filter(|(at, _)| !columns.contains(at)) {
                if columns.iter().any(|column| table.header[*column].eq_ignore_ascii_case(name)) {
                    return Err(table.heading(at, format!("the column `{name}` is named twice, in two spellings")));
                }
            }
            matrix.read_list(&mut table, columns)?;
        } else {
            matrix.read_matrix(&mut table)?;
            let rows: BTreeSet<u32> = matrix.round_trips.keys().map(|pair| pair.0).collect();
            let columns = table.header.iter().skip(1).filter(|name| !name.is_empty());
            for name in columns.filter(|name| matrix.sites.get(*name).is_none_or(|site| !rows.contains(site))) {
                files.note(&format!("{file}: the site `{}` has a column and no row", excerpt(name)));
            }
        }
        if matrix.sites.is_empty() { Err(table.heading(0, "the table names no site")) } else { Ok(matrix) }
    }

    fn read_list(&mut self, table: &mut Table, [from, to, rtt]: [usize; 3]) -> Result<(), TableError> {
        while let Some(row) = table.read()? {
            let pair = (self.named(&row, from)?, self.named(&row, to)?);
            self.add(&row, pair, from, row.time(rtt, "ms")?)?;
        }
        Ok(())
    }

    /// Reads a matrix. The first column holds the sites, with any heading. An empty field means that the round trip is
    /// unknown.
    fn read_matrix(&mut self, table: &mut Table) -> Result<(), TableError> {
        let names = table.header.clone();
        let columns: BTreeSet<&str> = names.iter().skip(1).map(String::as_str).collect();
        for name in columns.into_iter().filter(|name| !name.is_empty()) {
            table.column(name)?;
        }
        let mut rows: BTreeMap<u32, u64> = BTreeMap::new();
        while let Some(row) = table.read()? {
            let from = self.named(&row, 0)?;
            if let Some(line) = rows.insert(from, row.line()) {
                let message = format!("the site `{}` has a second row, the first is line {line}", row.text(0));
                return Err(row.wrong(0, message).help(ONCE.to_owned()));
            }
            for (column, to) in names.iter().enumerate().skip(1) {
                if row.text(column).is_empty() {
                    continue;
                }
                if to.is_empty() {
                    return Err(row.wrong(column, "the heading names no site above this round trip"));
                }
                let to = self.site(to);
                self.add(&row, (from, to), column, row.time(column, "ms")?)?;
            }
        }
        Ok(())
    }

    /// Returns the number of the site that a field names.
    fn named(&mut self, row: &Row<'_>, at: usize) -> Result<u32, TableError> {
        let name = row.text(at);
        if name.is_empty() {
            Err(row.wrong(at, "the field is empty: the name of a site is expected"))
        } else {
            Ok(self.site(&name))
        }
    }

    fn site(&mut self, name: &str) -> u32 {
        match self.sites.get(name) {
            Some(site) => *site,
            None => {
                let site = self.sites.len() as u32;
                self.sites.insert(name.to_owned(), site);
                site
            }
        }
    }

    /// Stores the round trip of a row. Errors point at field `at`.
    fn add(&mut self, row: &Row<'_>, pair: (u32, u32), at: usize, rtt: Duration) -> Result<(), TableError> {
        if self.round_trips.len() == ROUND_TRIPS {
            let error = row.wrong(at, format!("the table has more than {ROUND_TRIPS} round trips"));
            return Err(error.help("cut it to the sites of the scenario".to_owned()));
        }
        match self.round_trips.insert(pair, (rtt, row.line())) {
            None => Ok(()),
            Some((before, line)) => {
                let name = |site: u32| self.sites.iter().find(|known| *known.1 == site).map_or("", |known| known.0);
                let (from, to) = (name(pair.0), name(pair.1));
                let (before, rtt) = (Time(before.0), Time(rtt.0));
                let message = format!(
                    "the round trip from `{from}` to `{to}` is given a second time: {rtt} here, {before} in line {line}"
                );
                Err(row.wrong(at, message).help(ONCE.to_owned()))
            }
        }
    }

    /// Half the round trip, where the round trip is the mean of the measurements from both ends, or the only
    /// measurement. A 0 within a site means unknown.
    fn one_way(&self, from: &str, to: &str) -> Option<Duration> {
        let (from, to) = (*self.sites.get(from)?, *self.sites.get(to)?);
        let measured = |pair: (u32, u32)| self.round_trips.get(&pair).map(|(rtt, _)| *rtt);
        let (there, back) = (measured((from, to)), measured((to, from)));
        let twice = there.or(back)? + back.or(there)?;
        (from != to || twice > Duration::ZERO).then_some(Duration(twice.0 / 4))
    }
}
