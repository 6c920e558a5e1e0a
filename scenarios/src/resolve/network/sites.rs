//! How far sites are apart: the round trips of a matrix or a list, halved to one way.
use super::Group;
use crate::files::{Files, Table};
use crate::plan::{Between, Distribution, Drawn, Link};
use crate::presets::regions;
use crate::resolve::fault::Fault;
use crate::resolve::hosts::ORCHESTRATOR;
use crate::schema::RoundTrips;
use crate::units::Time;
use actors::time::Span;
use std::collections::{BTreeMap, BTreeSet};

/// Round trips by their two ends.
#[derive(Default)]
struct Matrix {
    round_trips: BTreeMap<(String, String), Span>,
    sites: BTreeSet<String>,
}

/// A link between any two groups whose sites are apart: the default's, with half the round trip as its delay.
pub(super) fn between(
    rtt: &RoundTrips,
    groups: &[Group<'_>],
    default: &Link,
    files: &Files,
) -> Result<Vec<Between>, Fault> {
    let (path, matrix) = match rtt {
        RoundTrips::Off => return Ok(Vec::new()),
        RoundTrips::Regions(name) => ("network.rtt", preset(name)?),
        RoundTrips::Csv(file) => {
            ("network.rtt", Matrix::read(file, files).map_err(|why| Fault::new("network.rtt", why))?)
        }
    };
    let mut between = Vec::new();
    // The orchestrator stands nowhere.
    let groups = || groups.iter().filter(|group| group.name != ORCHESTRATOR);
    for from in groups() {
        if !matrix.sites.contains(from.site) {
            let known = matrix.sites.iter().map(String::as_str);
            let what = format!("site of the host `{}` among its round trips, called", from.name);
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
                    let message = format!("nothing says how far `{}` is from `{}`", from.site, to.site);
                    return Err(Fault::new(path, message).help("add the pair, or give it an entry of `network.links`"));
                }
            }
        }
    }
    Ok(between)
}

fn preset(name: &str) -> Result<Matrix, Fault> {
    let set = regions::regions(name)
        .ok_or_else(|| Fault::unknown("network.rtt.0", "set of regions", name, regions::names()))?;
    let mut matrix = Matrix::default();
    set.pairs().for_each(|(from, to, rtt)| matrix.add(from, to, Span::from_millis(u64::from(rtt))));
    Ok(matrix)
}

/// What the columns of a list may be called: our names, then those of RIPE Atlas' table of countries.
const FROM: [&str; 2] = ["from", "cty1"];
const TO: [&str; 2] = ["to", "cty2"];
const ROUND_TRIP_MS: [&str; 2] = ["rtt_ms", "rtt_avg"];

impl Matrix {
    fn read(file: &str, files: &Files) -> Result<Matrix, String> {
        let table = files.table(file)?;
        let find = |names: [&str; 2]| names.into_iter().find_map(|name| table.find(name));
        let mut matrix = Matrix::default();
        let read = match (find(FROM), find(TO), find(ROUND_TRIP_MS)) {
            (Some(from), Some(to), Some(rtt)) => matrix.read_list(&table, [from, to, rtt]),
            _ => matrix.read_matrix(&table),
        };
        read.map_err(|why| format!("{file}: {why}"))?;
        if matrix.sites.is_empty() { Err(format!("{file} names no site")) } else { Ok(matrix) }
    }

    fn read_list(&mut self, table: &Table, [from, to, rtt]: [usize; 3]) -> Result<(), String> {
        for row in 0..table.rows.len() {
            let rtt = milliseconds(table.text(row, rtt)).map_err(|why| format!("line {}: {why}", table.line(row)))?;
            self.add(table.text(row, from), table.text(row, to), rtt);
        }
        Ok(())
    }

    /// The first column holds the sites, whatever it is called. An empty field says nothing.
    fn read_matrix(&mut self, table: &Table) -> Result<(), String> {
        for row in 0..table.rows.len() {
            let from = table.text(row, 0);
            for (column, to) in table.header.iter().enumerate().skip(1) {
                let text = table.text(row, column);
                if !text.is_empty() {
                    let rtt = milliseconds(text)
                        .map_err(|why| format!("line {}: from `{from}` to `{to}`: {why}", table.line(row)))?;
                    self.add(from, to, rtt);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, from: &str, to: &str, rtt: Span) {
        for site in [from, to] {
            if !self.sites.contains(site) {
                self.sites.insert(site.to_owned());
            }
        }
        self.round_trips.insert((from.to_owned(), to.to_owned()), rtt);
    }

    /// Half a round trip, which is the mean of the two that were measured from either end. Within a site, 0 says nothing.
    fn one_way(&self, from: &str, to: &str) -> Option<Span> {
        let measured = |a: &str, b: &str| self.round_trips.get(&(a.to_owned(), b.to_owned())).copied();
        let (there, back) = (measured(from, to), measured(to, from));
        let twice = there.or(back)? + back.or(there)?;
        (from != to || twice > Span::ZERO).then_some(Span(twice.0 / 4))
    }
}

fn milliseconds(text: &str) -> Result<Span, String> {
    format!("{text} ms").parse().map(Time::span).map_err(|_| format!("`{text}` is no time in ms"))
}
