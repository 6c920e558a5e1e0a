//! The times at which hosts with churn are absent: sampled from a distribution, or read from a trace.
use super::Swarm;
use crate::files::{Files, TableError};
use crate::input::excerpt;
use crate::resolve::fault::Fault;
use crate::schema::{Away, Lives};
use crate::units::Time;
use actors::id::HostId;
use actors::limits;
use actors::seed::Stream;
use actors::time::Duration;
use rand_distr::{Distribution as _, Exp, Weibull};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An absence of a host. Its beginning and end are times after the barrier's release.
pub(super) struct Gap {
    pub host: HostId,
    pub from: Duration,
    pub till: Duration,
}

/// Returns the absences of `hosts` that begin before `until`. The absences of one host are in order of time.
pub(super) fn times(
    swarm: &Swarm<'_>,
    event: usize,
    lives: &Lives,
    hosts: &[HostId],
    until: Duration,
) -> Result<Vec<Gap>, Fault> {
    let at = format!("events.{event}.lives");
    match lives {
        Lives::Exponential { mean_up, mean_down } => {
            let exp = |field: &str, mean: Time| {
                let rate = 1.0 / positive(&at, field, mean)?;
                Exp::new(rate).map_err(|error| Fault::new(&format!("{at}.{field}"), error.to_string()))
            };
            let (up, down) = (exp("mean_up", *mean_up)?, exp("mean_down", *mean_down)?);
            drawn(swarm, event, hosts, until, |stream| up.sample(stream), |stream| down.sample(stream))
        }
        Lives::Weibull { mean_up, mean_down, shape } => {
            if !(0.1..=100.0).contains(shape) {
                return Err(Fault::new(
                    &format!("{at}.shape"),
                    format!("shape is {shape}, but must be from 0.1 to 100"),
                ));
            }
            let weibull = |field: &str, mean: Time| {
                // The mean of Weibull(scale, shape) is scale x Gamma(1 + 1 / shape).
                let scale = positive(&at, field, mean)? / libm::tgamma(1.0 + 1.0 / shape);
                Weibull::new(scale, *shape).map_err(|error| Fault::new(&format!("{at}.{field}"), error.to_string()))
            };
            let (up, down) = (weibull("mean_up", *mean_up)?, weibull("mean_down", *mean_down)?);
            drawn(swarm, event, hosts, until, |stream| up.sample(stream), |stream| down.sample(stream))
        }
        Lives::Trace(trace) => {
            let placed = trace.iter().enumerate().map(|(index, away)| (format!("{at}.0.{index}"), None, away.clone()));
            seen(swarm, placed.collect(), hosts, until)
        }
        Lives::File(path) => {
            let at = format!("{at}.0");
            let rows = read(swarm.files, path).map_err(|error| Fault::table(&at, error))?;
            let placed = rows.into_iter().map(|(place, away)| (at.clone(), Some(place), away));
            seen(swarm, placed.collect(), hosts, until)
        }
    }
}

fn positive(at: &str, field: &str, mean: Time) -> Result<f64, Fault> {
    if mean.0 == 0 {
        return Err(Fault::new(
            &format!("{at}.{field}"),
            "the mean is 0, so hosts would leave and return endlessly; give a mean above 0",
        ));
    }
    Ok(mean.duration().as_secs_f64())
}

/// Samples the absences of each host from a random stream of this host. Every host is present at first.
fn drawn(
    swarm: &Swarm<'_>,
    event: usize,
    hosts: &[HostId],
    until: Duration,
    up: impl Fn(&mut Stream) -> f64,
    down: impl Fn(&mut Stream) -> f64,
) -> Result<Vec<Gap>, Fault> {
    let mut gaps = Vec::new();
    for &host in hosts {
        let mut stream = swarm.seed.stream("churn", u64::from(host.0), event as u64);
        let mut now = Duration::ZERO;
        loop {
            let from = now + Duration::from_secs_f64(up(&mut stream));
            if from >= until {
                break;
            }
            // An absence lasts at least 1 ns, because the order of two faults at the same instant would be undefined.
            let till = from + Duration::from_secs_f64(down(&mut stream)).max(Duration(1));
            gaps.push(Gap { host, from, till });
            if gaps.len() > limits::FAULTS {
                let message =
                    format!("the churn up to this time gives more than {} faults, which is the limit", limits::FAULTS);
                return Err(Fault::new(&format!("events.{event}.until"), message));
            }
            now = till;
        }
    }
    Ok(gaps)
}

/// The position of an absence in its file: the line of the absence, and the columns of its fields `host` and `from`.
struct Place {
    file: Arc<str>,
    line: u64,
    host: u32,
    from: u32,
}

/// An absence with its path in the scenario, and with its position in a file if it was read from a file.
type Line = (String, Option<Place>, Away);

fn seen(swarm: &Swarm<'_>, lines: Vec<Line>, hosts: &[HostId], until: Duration) -> Result<Vec<Gap>, Fault> {
    let mut gaps: BTreeMap<(HostId, Duration), (Gap, usize)> = BTreeMap::new();
    let known: BTreeSet<HostId> = hosts.iter().copied().collect();
    // The first absence of the file that begins after `until`, and the number of such absences.
    let mut late: Option<(&Place, u32)> = None;
    for (index, (at, place, Away { host, from, till })) in lines.iter().enumerate() {
        let wrong = |field: &str, message: String| match place {
            Some(Place { file, line, host, from }) => {
                let column = if field == ".host" { *host } else { *from };
                Fault::table(at, TableError::at(file, *line, column, message))
            }
            None => Fault::new(&format!("{at}{field}"), message),
        };
        if from >= till {
            return Err(wrong(
                "",
                format!("`{host}` is absent from {from} till {till}, but an absence must end after it begins"),
            ));
        }
        let named = swarm.hosts(at, host).map_err(|fault| {
            let help = fault.help.clone();
            Fault { help, ..wrong(".host", fault.message) }
        })?;
        for id in named {
            if !known.contains(&id) {
                return Err(wrong(".host", format!("`{host}` is not one of the hosts that the event names with `on`")));
            }
            let gap = Gap { host: id, from: from.duration(), till: till.duration() };
            if gap.from >= until {
                if let Some(place) = place {
                    late.get_or_insert((place, 0)).1 += 1;
                }
                continue;
            }
            if let Some((_, before)) = gaps.insert((id, gap.from), (gap, index)) {
                let before = lines[before].1.as_ref().map(|place| format!(", which line {} gives already", place.line));
                let before = before.unwrap_or_default();
                return Err(wrong(".from", format!("`{host}` has two absences from {from}{before}")));
            }
        }
    }
    for (((first, _), (before, earlier)), ((host, from), (_, index))) in gaps.iter().zip(gaps.iter().skip(1)) {
        if first != host || *from >= before.till {
            continue;
        }
        let (name, till) = (&swarm.hosts[host.0 as usize].host.name, Time(before.till.0));
        let above =
            lines[*earlier].1.as_ref().map(|place| format!(" according to line {}", place.line)).unwrap_or_default();
        let message = format!("`{name}` leaves at {}, but is already absent till {till}{above}", Time(from.0));
        let (at, place, _) = &lines[*index];
        return Err(match place {
            Some(Place { file, line, from, .. }) => Fault::table(at, TableError::at(file, *line, *from, message)),
            None => Fault::new(&format!("{at}.from"), message),
        }
        .help("merge the two absences, or let the second begin later"));
    }
    if let Some((Place { file, line, .. }, count)) = late {
        let until = Time(until.0);
        swarm.files.note(&format!(
            "{file}: {count} absences are ignored, because they begin after `until`, {until}; the first is in line \
             {line}"
        ));
    }
    Ok(gaps.into_values().map(|(gap, _)| gap).collect())
}

/// Reads a table of absences with the columns `host`, `from` and `till`.
fn read(files: &Files, path: &str) -> Result<Vec<(Place, Away)>, TableError> {
    let mut table = files.table(path)?;
    let [host, from, till] = [table.column("host")?, table.column("from")?, table.column("till")?];
    let (mut rows, file) = (Vec::new(), Arc::from(path));
    for name in table.header.iter().enumerate().filter(|(at, _)| ![host, from, till].contains(at)).map(|named| named.1)
    {
        files.note(&format!("{path}: the column `{}` is not used", excerpt(name)));
    }
    while let Some(row) = table.read()? {
        if rows.len() == limits::FAULTS {
            let error =
                row.wrong(0, format!("the file has more than {} rows, which is the limit of faults", limits::FAULTS));
            return Err(error.help("cut the file to fewer rows".to_owned()));
        }
        let place = Place { file: Arc::clone(&file), line: row.line(), host: row.column(host), from: row.column(from) };
        let away = Away { host: row.text(host).into_owned(), from: row.quantity(from)?, till: row.quantity(till)? };
        rows.push((place, away));
    }
    if rows.is_empty() {
        files.note(&format!("{path}: the file has no rows below the heading, so no host is ever absent"));
    }
    Ok(rows)
}
