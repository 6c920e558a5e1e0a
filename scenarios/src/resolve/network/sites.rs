//! Delays between sites: round trips are read from a matrix or a list and become one-way delays.
use super::Group;
use crate::files::{Files, Row, Table, TableError};
use crate::input::{ROUND_TRIPS, excerpt};
use crate::plan::{Between, Distribution, Drawn, Link, SiteTable};
use crate::presets::regions;
use crate::resolve::fault::Fault;
use crate::resolve::hosts::ORCHESTRATOR;
use crate::schema::RoundTrips;
use crate::units::Time;
use actors::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// The path of the round trips in a scenario.
const AT: &str = "network.rtt";

/// The largest number of sites in a plan's table of sites, which has a link for each ordered pair of sites.
const SITES: usize = 256;

/// Round trips between pairs of sites.
pub(in crate::resolve) struct Distances {
    /// The name of the set of regions or of the file that gives the round-trip times.
    name: String,
    /// The number of each site, by the name of the site. Sites are numbered in the order of their first occurrence.
    sites: BTreeMap<String, u32>,
    /// The round trips by (from, to), as numbers of sites.
    round_trips: BTreeMap<(u32, u32), RoundTrip>,
}

/// The round trip from one site to another.
#[derive(Clone, Copy)]
struct RoundTrip {
    median: Duration,
    p90: Option<Duration>,
    /// The line of the file that gives the round trip, counted from 1.
    line: u64,
}

/// Returns the round trips between sites that a scenario gives, or `None` if it gives none.
pub(in crate::resolve) fn distances(rtt: &RoundTrips, files: &Files) -> Result<Option<Distances>, Fault> {
    match rtt {
        RoundTrips::Off => Ok(None),
        RoundTrips::Regions(name) => Distances::preset(name).map(Some),
        RoundTrips::Csv(file) => Distances::read(file, files).map(Some).map_err(|error| Fault::table(AT, error)),
    }
}

/// Returns a link for each pair of groups with a known round-trip time between their sites: the default link, with the
/// delay between the two sites. Every group must be on a single site.
pub(super) fn between(distances: &Distances, groups: &[Group<'_>], default: &Link) -> Result<Vec<Between>, Fault> {
    let mut between = Vec::new();
    // The orchestrator has no round trips to other hosts in the table.
    let groups = || groups.iter().filter(|group| group.name != ORCHESTRATOR);
    for from in groups() {
        distances.check(AT, from.name, from.sites[0])?;
        for to in groups() {
            if let Some(link) = distances.link(from.sites[0], to.sites[0], default)? {
                between.push(Between { from: from.hosts, to: to.hosts, link });
            }
        }
    }
    Ok(between)
}

/// Returns the table of sites for groups that are spread over several sites. Its links are the default link with the
/// delay between two sites. The first site is that of the orchestrator.
pub(super) fn table(distances: &Distances, groups: &[Group<'_>], default: &Link) -> Result<SiteTable, Fault> {
    let mut names: Vec<&str> = Vec::new();
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut of: Vec<u32> = Vec::new();
    for group in groups {
        let mut taken = Vec::new();
        for &site in &group.sites {
            if group.name == ORCHESTRATOR {
                taken.push(0);
                names.push(site);
                continue;
            }
            distances.check(AT, group.name, site)?;
            taken.push(*numbers.entry(site).or_insert_with(|| {
                names.push(site);
                names.len() as u32 - 1
            }));
        }
        of.extend(taken.iter().cycle().take(group.hosts.count()));
    }
    if names.len() > SITES {
        let message = format!("the hosts are on {} sites: there may be {SITES}", names.len() - 1);
        return Err(Fault::new("hosts", message).help("spread them over fewer sites"));
    }
    let mut links = Vec::with_capacity(names.len() * names.len());
    for (row, from) in names.iter().enumerate() {
        for (column, to) in names.iter().enumerate() {
            let with_orchestrator = row == 0 || column == 0;
            let link = if with_orchestrator { None } else { distances.link(from, to, default)? };
            links.push(link.unwrap_or_else(|| default.clone()));
        }
    }
    Ok(SiteTable { names: names.into_iter().map(str::to_owned).collect(), of, links })
}

/// Adds a note for the user about sites that are in the file of round-trip times but have no host, because such a site
/// may be misspelt.
pub(super) fn note_unused(rtt: &RoundTrips, distances: &Distances, groups: &[Group<'_>], files: &Files) {
    let RoundTrips::Csv(file) = rtt else { return };
    let used: BTreeSet<&str> = groups.iter().flat_map(|group| group.sites.iter().copied()).collect();
    let unused: Vec<&str> = distances.sites.keys().map(String::as_str).filter(|site| !used.contains(site)).collect();
    note(file, &unused, files);
}

/// The number of sites that a note lists by name.
const NAMED: usize = 4;

fn note(file: &str, unused: &[&str], files: &Files) {
    if unused.is_empty() {
        return;
    }
    let names: Vec<String> = unused.iter().take(NAMED).map(|site| format!("`{}`", excerpt(site))).collect();
    let more = unused.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    files.note(&format!("{file}: the table has sites that no host is at: {}{more}", names.join(", ")));
}

/// The accepted names of the column with the first site, in a list of round trips: this program's name, then the name
/// in RIPE Atlas' table of countries.
const FROM: [&str; 2] = ["from", "cty1"];
/// The accepted names of the column with the second site: this program's name, then RIPE Atlas' name.
const TO: [&str; 2] = ["to", "cty2"];
/// The accepted names of the column with the round trip in ms: this program's name, then RIPE Atlas' name.
const ROUND_TRIP_MS: [&str; 2] = ["rtt_ms", "rtt_avg"];

/// The help text for a pair or a site that occurs twice.
const ONCE: &str = "remove one of the two; only A to B and B to A may both be given, and then their mean is used";

impl Distances {
    fn named_set(name: &str) -> Distances {
        Distances { name: name.to_owned(), sites: BTreeMap::new(), round_trips: BTreeMap::new() }
    }

    /// Returns the round trips of the built-in set of regions called `name`.
    fn preset(name: &str) -> Result<Distances, Fault> {
        let set = regions::regions(name)
            .ok_or_else(|| Fault::unknown(&format!("{AT}.0"), "set of regions", name, regions::names()))?;
        let mut distances = Distances::named_set(name);
        for regions::Pair { from, to, median, p90 } in set.pairs {
            let pair = (distances.site(from), distances.site(to));
            distances.round_trips.insert(pair, RoundTrip { median, p90, line: 0 });
        }
        Ok(distances)
    }

    fn read(file: &str, files: &Files) -> Result<Distances, TableError> {
        let mut table = files.table(file)?;
        let mut matrix = Distances::named_set(file);
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
                    return Err(table.heading(
                        at,
                        format!(
                            "the heading names the column `{name}` twice, in two \
                        spellings"
                        ),
                    ));
                }
            }
            matrix.read_list(&mut table, columns)?;
        } else {
            matrix.read_matrix(&mut table)?;
            let rows: BTreeSet<u32> = matrix.round_trips.keys().map(|pair| pair.0).collect();
            let columns = table.header.iter().skip(1).filter(|name| !name.is_empty());
            for name in columns.filter(|name| matrix.sites.get(*name).is_none_or(|site| !rows.contains(site))) {
                files.note(&format!("{file}: the site `{}` has a column but no row", excerpt(name)));
            }
        }
        if matrix.sites.is_empty() { Err(table.heading(0, "the table has no sites")) } else { Ok(matrix) }
    }

    fn read_list(&mut self, table: &mut Table, [from, to, rtt]: [usize; 3]) -> Result<(), TableError> {
        while let Some(row) = table.read()? {
            let pair = (self.named(&row, from)?, self.named(&row, to)?);
            self.add(&row, pair, from, row.time(rtt, "ms")?)?;
        }
        Ok(())
    }

    /// Reads a matrix of round trips. The first column holds the names of sites; its heading is ignored. An empty field
    /// means that the round trip is unknown.
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
                let message = format!("the site `{}` has a second row; its first row is line {line}", row.text(0));
                return Err(row.wrong(0, message).help(ONCE.to_owned()));
            }
            for (column, to) in names.iter().enumerate().skip(1) {
                if row.text(column).is_empty() {
                    continue;
                }
                if to.is_empty() {
                    return Err(row.wrong(column, "the column of this round trip has no site in the heading"));
                }
                let to = self.site(to);
                self.add(&row, (from, to), column, row.time(column, "ms")?)?;
            }
        }
        Ok(())
    }

    /// Returns the number of the site whose name is in field `at` of a row.
    fn named(&mut self, row: &Row<'_>, at: usize) -> Result<u32, TableError> {
        let name = row.text(at);
        if name.is_empty() {
            Err(row.wrong(at, "the field is empty, but the name of a site is expected"))
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
            return Err(error.help("cut the table to the sites of the scenario".to_owned()));
        }
        match self.round_trips.insert(pair, RoundTrip { median: rtt, p90: None, line: row.line() }) {
            None => Ok(()),
            Some(RoundTrip { median: before, line, .. }) => {
                let name = |site: u32| self.sites.iter().find(|known| *known.1 == site).map_or("", |known| known.0);
                let (from, to) = (name(pair.0), name(pair.1));
                let (before, rtt) = (Time(before.0), Time(rtt.0));
                let message = format!(
                    "the round trip from `{from}` to `{to}` is given twice: {rtt} here, and {before} in line {line}"
                );
                Err(row.wrong(at, message).help(ONCE.to_owned()))
            }
        }
    }

    /// The names of the sites, in the order of their first occurrence.
    pub fn sites(&self) -> Vec<String> {
        let mut names: Vec<(&String, &u32)> = self.sites.iter().collect();
        names.sort_by_key(|(_, number)| **number);
        names.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// Checks that the site of a group is known. Errors point at the value at `path`.
    pub fn check(&self, path: &str, group: &str, site: &str) -> Result<(), Fault> {
        if self.sites.contains_key(site) {
            return Ok(());
        }
        let message = format!("the site `{site}` of the host `{group}` is not in `{}`", self.name);
        Err(Fault { message, ..Fault::unknown(path, "site", site, self.sites.keys().map(String::as_str)) })
    }

    /// Returns the default link with the delay between two sites. `None` if both are the same site and the round trip
    /// within it is unknown.
    fn link(&self, from: &str, to: &str, default: &Link) -> Result<Option<Link>, Fault> {
        match self.one_way(from, to) {
            Some(delay) => Ok(Some(Link { delay, drawn: Drawn::PerMessage, ..default.clone() })),
            None if from == to => Ok(None),
            None => {
                let message = format!("`{}` has no round trip from `{from}` to `{to}`", self.name);
                Err(Fault::new(AT, message).help("add the pair to the table, or give it an entry in `network.links`"))
            }
        }
    }

    /// The one-way delay between two sites. The round trip is the mean of the measurements in both directions, or the
    /// only measurement. A round trip of 0 within a site means that it is unknown.
    fn one_way(&self, from: &str, to: &str) -> Option<Distribution> {
        let (from, to) = (*self.sites.get(from)?, *self.sites.get(to)?);
        let measured = |pair: (u32, u32)| self.round_trips.get(&pair);
        let (there, back) = (measured((from, to)), measured((to, from)));
        let (there, back) = (there.or(back)?, back.or(there)?);
        let twice = there.median + back.median;
        if from == to && twice == Duration::ZERO {
            return None;
        }
        let tail = there.p90.or(back.p90).zip(back.p90.or(there.p90));
        let tail = tail.map(|(there, back)| (there + back).as_secs_f64() / 2.0);
        let sigma = tail.map_or(0.0, |p90| (p90 / (twice.as_secs_f64() / 2.0)).ln() / Z_90);
        Some(half_of_log_normal(Duration(twice.0 / 4), sigma))
    }
}

/// The 90th percentile of the standard normal distribution.
const Z_90: f64 = 1.281_551_565_544_600_4;

/// Returns the distribution of a one-way delay. The round trip, which is the sum of two such delays, is nearly
/// log-normal with the median `2 * half` and the parameter `sigma`. A `sigma` of 0 or less gives a constant delay; it
/// results from a 90th percentile at or below the median.
///
/// The delays of both directions are independent and equally distributed. Their sum has the mean and the variance of
/// the log-normal distribution of the round trip (Fenton and Wilkinson's approximation: L. Fenton, IRE Transactions on
/// Communications Systems 8, 1960). A log-normal distribution has the squared coefficient of variation `exp(sigma^2) -
/// 1`, and the sum of two such delays has half of this.
fn half_of_log_normal(half: Duration, sigma: f64) -> Distribution {
    if !(sigma > 0.0 && sigma.is_finite()) || half == Duration::ZERO {
        return Distribution::Constant(half);
    }
    let whole = sigma * sigma;
    let part = (1.0 + 2.0 * (whole.exp() - 1.0)).ln();
    let median = half.as_secs_f64() * ((whole - part) / 2.0).exp();
    Distribution::LogNormal { median: Duration::from_secs_f64(median), sigma: part.sqrt() }
}
