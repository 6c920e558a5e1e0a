//! Requests as a file has them.
use super::{Wanted, few_enough};
use crate::files::{Files, Table};
use crate::resolve::fault::Fault;
use crate::schema::{Columns, Workload};
use actors::time::Span;

/// Nanoseconds of a second and of a day.
const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;

/// The requests of a trace, in the order of time, and the time over which they come.
pub(super) fn arrivals(workload: &Workload, files: &Files) -> Result<(Vec<Wanted>, Span), Fault> {
    let Workload::Trace { clients, file, columns, skip, duration, limit, speed, .. } = workload else {
        return Ok((Vec::new(), Span::ZERO));
    };
    if !(1e-6..=1e6).contains(speed) {
        return Err(Fault::new("workload.speed", format!("speed is {speed}: it is a factor from 1e-6 to 1e6")));
    }
    let blame = |why: String| Fault::new("workload.file", why);
    let table = files.table(file).map_err(blame)?;
    let reader = Reader::new(&table, *columns).map_err(|why| blame(format!("{file}: {why}")))?;
    let mut wanted = Vec::with_capacity(table.rows.len());
    for row in 0..table.rows.len() {
        let read = reader.read(row).map_err(|why| blame(format!("{file}:{}: {why}", table.line(row))))?;
        wanted.push(read);
    }
    wanted.sort_by_key(|(wanted, _)| wanted.at);
    // A trace of our own says when its time begins; a time of day does not.
    let begin =
        if *columns == Columns::Ours { Span::ZERO } else { wanted.first().map_or(Span::ZERO, |(first, _)| first.at) };
    let begin = begin + skip.span();
    let until = duration.map_or(Span(u64::MAX), |duration| duration.span());
    let kept = |(wanted, _): &(Wanted, Option<u32>)| wanted.at >= begin && wanted.at - begin <= until;
    let limit = limit.unwrap_or(u32::MAX) as usize;
    let mut kept: Vec<_> = wanted.into_iter().filter(kept).take(limit).collect();
    few_enough("workload.limit", kept.len())?;
    for (index, (wanted, client)) in kept.iter_mut().enumerate() {
        wanted.at = Span::from_secs_f64((wanted.at - begin).as_secs_f64() / speed);
        wanted.client = client.unwrap_or(index as u32 % clients);
        if wanted.client >= *clients {
            let message =
                format!("{file}:{}: a request of client {}, and there are {clients}", wanted.line, wanted.client);
            return Err(Fault::new("workload.clients", message).help("the clients of a trace count from 0"));
        }
    }
    let wanted: Vec<Wanted> = kept.into_iter().map(|(wanted, _)| wanted).collect();
    let last = wanted.last().map_or(Span::ZERO, |wanted| wanted.at);
    // Where a length of time was cut out of the file, and not a number of requests, they come over all of it.
    let whole =
        duration.filter(|_| wanted.len() < limit).map(|time| Span::from_secs_f64(time.span().as_secs_f64() / speed));
    Ok((wanted, whole.unwrap_or(last)))
}

/// Where a trace's columns stand.
struct Reader<'a> {
    table: &'a Table,
    columns: Columns,
    at: usize,
    prompt: usize,
    generate: usize,
    client: Option<usize>,
    route: Option<usize>,
}

impl<'a> Reader<'a> {
    fn new(table: &'a Table, columns: Columns) -> Result<Reader<'a>, String> {
        let [at, prompt, generate] = match columns {
            Columns::Ours => ["at_s", "prompt", "generate"],
            Columns::Azure2023 => ["TIMESTAMP", "ContextTokens", "GeneratedTokens"],
        };
        let (client, route) = match columns {
            Columns::Ours => (table.find("client"), table.find("route")),
            Columns::Azure2023 => (None, None),
        };
        let (at, prompt, generate) = (table.column(at)?, table.column(prompt)?, table.column(generate)?);
        Ok(Reader { table, columns, at, prompt, generate, client, route })
    }

    fn read(&self, row: usize) -> Result<(Wanted, Option<u32>), String> {
        let text = |column: usize| self.table.text(row, column);
        let count = |column: usize| {
            let text = text(column);
            text.parse::<u32>().map_err(|_| format!("`{text}` is no number of tokens"))
        };
        let at = match self.columns {
            Columns::Ours => seconds(text(self.at)),
            Columns::Azure2023 => timestamp(text(self.at)),
        };
        let at = at.ok_or_else(|| format!("`{}` is no time", text(self.at)))?;
        let client = match self.client.map(text).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| format!("`{text}` is no client: they count from 0"))?),
        };
        let names = self.route.map_or("", text);
        let route = names.split('>').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok((
            Wanted {
                at,
                prompt: count(self.prompt)?,
                generate: count(self.generate)?,
                client: 0,
                route,
                line: self.table.line(row),
            },
            client,
        ))
    }
}

/// Seconds since the trace's beginning.
fn seconds(text: &str) -> Option<Span> {
    let seconds: f64 = text.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| Span::from_secs_f64(seconds))
}

/// "2023-11-16 18:17:03.9799600", since 1970.
fn timestamp(text: &str) -> Option<Span> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<u64>().ok()?, time.next()?.parse::<u64>().ok()?);
    let second = seconds(time.next()?)?;
    let sound = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    (sound && hour < 24 && minute < 60 && second.0 <= 60 * SECOND)
        .then(|| Span(days(year, month, day) * DAY + (hour * 3600 + minute * 60) * SECOND + second.0))
}

/// Days since 1970-01-01 in the Gregorian calendar: years begin in March, so that a leap day ends one.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let to_era = 365 * year + year / 4 - year / 100 + year / 400;
    to_era + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::{days, timestamp};
    use actors::time::Span;

    #[test]
    fn timestamps_are_told_apart_to_the_nanosecond() {
        let since = |a: &str, b: &str| timestamp(b).expect(b) - timestamp(a).expect(a);
        assert_eq!(since("2023-11-16 18:17:03.9799600", "2023-11-16 18:17:04.0319600"), Span::from_micros(52_000));
        assert_eq!(since("2023-11-16 23:59:59.5", "2023-11-17 00:00:00.5"), Span::from_secs(1));
        assert_eq!(since("2024-02-28T00:00:00", "2024-03-01T00:00:00"), Span::from_secs(2 * 86_400));
        for bad in ["", "2023-11-16", "2023-13-16 00:00:00", "2023-11-16 24:00:00", "x-y-z a:b:c", "2023-11-16 1:2:-3"]
        {
            assert_eq!(timestamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_count_from_1970() {
        assert_eq!((days(1970, 1, 1), days(1970, 12, 31), days(2000, 3, 1)), (0, 364, 11_017));
    }
}
