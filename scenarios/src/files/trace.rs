//! Requests from trace files, cut to the part that a scenario replays.
//!
//! A trace that is ordered by time is read up to the end of the part. Any other trace is read up to three times: to
//! detect that it is not in order, to find the earliest request, and to collect the part. The memory therefore depends
//! on the length of the part, not of the trace.
mod format;
mod timestamp;

use super::{Files, TableError};
use crate::input::STREAM_BYTES;
use crate::schema::Columns;
use actors::limits::ARRIVALS;
use actors::time::Duration;
use format::Rows;
use std::sync::{Arc, PoisonError};

/// The largest number of requests that are kept from all traces together. The cells of a sweep may cut their traces
/// differently.
const KEPT: usize = 2 * ARRIVALS;

/// The part of a trace that a scenario replays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    pub file: String,
    pub columns: Columns,
    /// The names of the file's columns that are ignored.
    pub ignore: Vec<String>,
    /// The time from the beginning of the trace to the beginning of the part.
    pub skip: Duration,
    /// The duration of the part. `None` if the part extends to the end of the trace.
    pub duration: Option<Duration>,
    /// The largest number of requests in the part. `None` for no limit.
    pub limit: Option<u32>,
}

/// A request that was read from a trace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recorded {
    /// The time of arrival: in a cut trace after the beginning of the part, otherwise as in the file.
    pub at: Duration,
    pub prompt: u32,
    pub generate: u32,
    pub client: Option<u32>,
    /// The names of the hosts of the request's peers, in the order of the route and separated by `>`.
    pub route: String,
    pub place: Place,
}

/// The position of a request in its file: its line, and the column of each of its fields (0 for an absent field).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub line: u64,
    pub at: u32,
    pub prompt: u32,
    pub client: u32,
    pub route: u32,
}

/// The result of reading a trace once from its beginning.
enum Pass {
    Done(Vec<Recorded>),
    /// The trace is not ordered by time: the request at this position is earlier than the request before it.
    Disordered(Place),
}

impl Files {
    /// Returns the part `cut` of a trace, ordered by time. If the part has more than [`ARRIVALS`] requests,
    /// [`ARRIVALS`] + 1 are returned.
    pub fn trace(&self, cut: &Cut) -> Result<Arc<[Recorded]>, TableError> {
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trace) = traces.get(cut) {
            return Ok(trace.clone());
        }
        let trace: Arc<[Recorded]> = self.cut(cut)?.into();
        if traces.values().map(|trace| trace.len()).sum::<usize>() + trace.len() > KEPT {
            traces.clear();
        }
        traces.insert(cut.clone(), trace.clone());
        Ok(trace)
    }

    fn cut(&self, cut: &Cut) -> Result<Vec<Recorded>, TableError> {
        let Place { line, at: column, .. } = match self.in_order(cut)? {
            Pass::Done(requests) => return Ok(requests),
            Pass::Disordered(place) => place,
        };
        let file = &cut.file;
        self.note(&format!(
            "{file}:{line}:{column}: this request is earlier than the one above, so the whole file was read and sorted"
        ));
        let begin = match begin(cut.columns) {
            Some(begin) => begin,
            None => self.earliest(cut)?,
        };
        self.sorted(cut, begin + cut.skip)
    }

    /// Returns the part `cut` of a trace if its rows are in the order of time, or else the place where the order is
    /// broken.
    fn in_order(&self, cut: &Cut) -> Result<Pass, TableError> {
        let mut rows = self.rows(cut)?;
        let (mut start, mut last) = (begin(cut.columns).map(|begin| begin + cut.skip), Duration::ZERO);
        let mut part = Part::new(cut);
        while let Some(request) = rows.read()? {
            if request.at < last {
                return Ok(Pass::Disordered(request.place));
            }
            last = request.at;
            let start = *start.get_or_insert(request.at + cut.skip);
            let line = request.place.line;
            if part.is_full() || part.is_after(&request, start) {
                let file = &cut.file;
                let reached = if part.is_full() { "limit" } else { "duration" };
                self.note(&format!(
                    "{file} was read only up to line {line}, where `{reached}` is reached; all later rows are assumed \
                     to be later in time"
                ));
                break;
            }
            part.add(request, start);
            if part.requests.len() > ARRIVALS {
                break;
            }
        }
        self.note_skipped(&rows, cut);
        Ok(Pass::Done(part.requests))
    }

    /// The time of the earliest request of a trace that is not in the order of time.
    fn earliest(&self, cut: &Cut) -> Result<Duration, TableError> {
        let (mut rows, mut earliest) = (self.rows(cut)?, Duration(u64::MAX));
        while let Some(request) = rows.read()? {
            earliest = earliest.min(request.at);
        }
        Ok(earliest)
    }

    /// Returns the part of a trace that begins at `start`. The rows of the trace may be in any order.
    fn sorted(&self, cut: &Cut, start: Duration) -> Result<Vec<Recorded>, TableError> {
        let mut rows = self.rows(cut)?;
        let mut part = Part::new(cut);
        while let Some(request) = rows.read()? {
            if !part.is_after(&request, start) {
                part.add(request, start);
            }
            if part.requests.len() >= 2 * part.most {
                part.sort();
            }
        }
        part.sort();
        self.note_skipped(&rows, cut);
        Ok(part.requests)
    }

    fn rows(&self, cut: &Cut) -> Result<Rows, TableError> {
        Rows::new(self.lines(&cut.file, STREAM_BYTES)?, cut.columns, &cut.ignore)
    }

    fn note_skipped(&self, rows: &Rows, cut: &Cut) {
        let (skipped, read) = (rows.skipped, rows.read);
        if skipped > 0 {
            let why = match cut.columns {
                Columns::BurstGpt => "they are requests that failed or have no prompt tokens or no response tokens",
                _ => "they are requests without prompt tokens",
            };
            self.note(&format!("{}: {skipped} of {read} rows were left out: {why}", cut.file));
        }
    }
}

/// Returns the beginning of a trace if its format defines one: times in this program's own format count from 0. Traces
/// in other formats begin with their earliest request.
fn begin(columns: Columns) -> Option<Duration> {
    (columns == Columns::Ours).then_some(Duration::ZERO)
}

/// The requests that have been collected so far for a part of a trace.
struct Part {
    requests: Vec<Recorded>,
    duration: Duration,
    /// The largest number of requests to collect: one more than a plan may hold, which is enough to detect that there
    /// are too many.
    most: usize,
    limited: bool,
}

impl Part {
    fn new(cut: &Cut) -> Part {
        let limit = cut.limit.map_or(usize::MAX, |limit| limit as usize);
        let (most, duration) = (limit.min(ARRIVALS + 1), cut.duration.unwrap_or(Duration(u64::MAX)));
        Part { requests: Vec::new(), duration, most, limited: limit <= ARRIVALS }
    }

    fn is_full(&self) -> bool {
        self.limited && self.requests.len() >= self.most
    }

    fn is_after(&self, request: &Recorded, start: Duration) -> bool {
        request.at > start && request.at - start > self.duration
    }

    fn add(&mut self, request: Recorded, start: Duration) {
        if request.at >= start {
            self.requests.push(Recorded { at: request.at - start, ..request });
        }
    }

    /// Sorts by time and keeps the first `most` requests. Requests of the same instant keep the order of the file.
    fn sort(&mut self) {
        self.requests.sort_by_key(|request| (request.at, request.place.line));
        self.requests.truncate(self.most);
    }
}
