//! The recorder of one run: writes the rows during the run, and thins out the rows of a long run.
use crate::error::{Error, Result};
use crate::figures::RunFigures;
use crate::manifest::{Kept, Thinned};
use crate::sheet::{FinishedPart, PARTS, Part, Row};
use actors::id::RequestId;
use actors::record::{Event, Looked, Pinged, Recorder, Served};
use rows::{HopRow, RareEvents, RequestRow, RowFold, RowSink, TokenRow};
use scenarios::plan::Plan;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Each time that a run has kept this many more token rows, half as many of its requests as before keep their token
/// rows. The same holds for hop rows. So a run with n times this number of rows keeps about log2(n) times this number.
/// Without a limit a long run could fill the disk, where a hop row takes about 60 bytes.
const ROWS_PER_STRIDE: u64 = 200_000;

/// The number of bytes of rare events in memory at which they are written to a file.
const LINES: usize = 1 << 20;

/// Makes the recorder of each run in one run directory.
#[derive(Clone, Debug)]
pub struct Recorders {
    dir: PathBuf,
    chunk: usize,
}

impl Recorders {
    pub(super) fn new(dir: PathBuf, chunk: usize) -> Recorders {
        Recorders { dir, chunk }
    }

    /// Begins a run of a cell. The run's events must be recorded in the order of time. Once `stop` is set, the recorder
    /// is closed, and the run must end.
    pub fn begin<'p>(&self, cell: u32, plan: &'p Plan, stop: Option<&'p AtomicBool>) -> RecordedRun<'p> {
        self.run(cell, plan, RowFold::in_order(), stop)
    }

    /// Begins a run of a cell. The run's events may be recorded in any order.
    pub(super) fn begin_in_any_order<'p>(&self, cell: u32, plan: &'p Plan) -> RecordedRun<'p> {
        self.run(cell, plan, RowFold::in_any_order(), None)
    }

    fn run<'p>(&self, cell: u32, plan: &'p Plan, fold: RowFold, stop: Option<&'p AtomicBool>) -> RecordedRun<'p> {
        let (dir, run) = (&self.dir, (cell, plan.repeat));
        let rows = RunParts {
            figures: RunFigures::new(plan),
            requests: Part::new(dir, "requests", run, self.chunk),
            tokens: Part::new(dir, "tokens", run, self.chunk),
            hops: Part::new(dir, "hops", run, self.chunk),
            lookups: Part::new(dir, "lookups", run, self.chunk),
            pings: Part::new(dir, "pings", run, self.chunk),
            count: 0,
            numbers: BTreeMap::new(),
            numbered: 0,
            thinned: [Thinning::of("tokens"), Thinning::of("hops")],
            error: None,
        };
        RecordedRun { cell, plan, fold, rows, lines: Lines::new(dir, run), stop }
    }
}

/// One run that is being recorded. A recorder that cannot write closes, and its error is reported when the run is added
/// to the run directory.
pub struct RecordedRun<'p> {
    cell: u32,
    plan: &'p Plan,
    fold: RowFold,
    rows: RunParts<'p>,
    lines: Lines,
    stop: Option<&'p AtomicBool>,
}

/// The rows and the figures of a run.
struct RunParts<'p> {
    figures: RunFigures<'p>,
    requests: Part<RequestRow>,
    tokens: Part<TokenRow>,
    hops: Part<HopRow>,
    lookups: Part<Looked>,
    pings: Part<Pinged>,
    /// The number of requests.
    count: u64,
    /// The numbers of the requests in flight. Requests are numbered in the order of their first rows.
    numbers: BTreeMap<RequestId, u64>,
    numbered: u64,
    thinned: [Thinning; 2],
    /// The first error in writing a file.
    error: Option<Error>,
}

/// A run that is over, with its rows written or the error that prevented it.
pub struct WrittenRun<'p>(pub(super) Result<Finished<'p>>);

impl<'p> From<RecordedRun<'p>> for WrittenRun<'p> {
    /// Writes the rest of the run's rows.
    fn from(run: RecordedRun<'p>) -> WrittenRun<'p> {
        WrittenRun(run.finish())
    }
}

/// A finished run with all of its rows written.
pub(super) struct Finished<'p> {
    pub plan: &'p Plan,
    pub figures: RunFigures<'p>,
    pub rare: RareEvents,
    pub parts: FinishedParts,
    pub lines: Lines,
    pub thinned: [Thinning; 2],
}

pub(super) struct FinishedParts {
    pub requests: FinishedPart<RequestRow>,
    pub tokens: FinishedPart<TokenRow>,
    pub hops: FinishedPart<HopRow>,
    pub lookups: FinishedPart<Looked>,
    pub pings: FinishedPart<Pinged>,
    /// The number of requests.
    pub count: u64,
}

impl<'p> RecordedRun<'p> {
    /// The number of rows of all kinds in memory.
    pub fn buffered(&self) -> usize {
        let rows = &self.rows;
        let small = rows.requests.buffered() + rows.lookups.buffered() + rows.pings.buffered();
        small + rows.tokens.buffered() + rows.hops.buffered()
    }

    pub(super) fn take(&mut self, event: &Event) {
        if self.rows.error.is_some() {
            return;
        }
        self.take_release(event);
        if is_rare(event) {
            let line = serde_json::json!({ "cell": self.cell, "repeat": self.plan.repeat, "event": event });
            self.rows.error = self.lines.push(&line.to_string()).err();
        }
        self.fold.take(event, &mut self.rows);
    }

    /// Takes all events of a run, in any order.
    pub(super) fn take_all(&mut self, events: &[Event]) {
        let released = events.iter().filter(|event| matches!(event, Event::Released { .. }));
        released.for_each(|event| self.take_release(event));
        let served = |event: &&Event| matches!(event, Event::Served(_));
        events.iter().filter(|event| !served(event)).for_each(|event| self.take(event));
        // A peer's figures need its jobs in order of time.
        let mut jobs: Vec<&Event> = events.iter().filter(served).collect();
        jobs.sort_by_key(|event| match event {
            Event::Served(hop) => Some((hop.peer, hop.finished)),
            _ => None,
        });
        jobs.into_iter().for_each(|event| self.take(event));
    }

    fn take_release(&mut self, event: &Event) {
        if let Event::Released { at } = event {
            self.rows.figures.release(*at);
        }
    }

    fn finish(mut self) -> Result<Finished<'p>> {
        let rare = self.fold.finish(&mut self.rows);
        let RunParts { mut figures, requests, tokens, hops, lookups, pings, count, thinned, error, .. } = self.rows;
        if let Some(error) = error {
            return Err(error);
        }
        figures.sort();
        let parts = FinishedParts {
            requests: requests.finish()?,
            tokens: tokens.finish()?,
            hops: hops.finish()?,
            lookups: lookups.finish()?,
            pings: pings.finish()?,
            count,
        };
        Ok(Finished { plan: self.plan, figures, rare, parts, lines: self.lines, thinned })
    }
}

impl Recorder for RecordedRun<'_> {
    fn record(&mut self, event: Event) {
        self.take(&event);
    }

    fn is_open(&self) -> bool {
        self.rows.error.is_none() && !self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

/// Whether an event has a line in `events.jsonl` rather than a row.
fn is_rare(event: &Event) -> bool {
    let rows = matches!(event, Event::Stepped(_) | Event::Served(_) | Event::Carried(_) | Event::Ended(_));
    let other = matches!(event, Event::Looked(_) | Event::Pinged(_) | Event::Reserved(_) | Event::Routed(_));
    !rows && !other
}

impl RunParts<'_> {
    /// Whether a row of a request is kept. `of` is 0 for a token row and 1 for a hop row.
    fn keeps(&mut self, request: RequestId, of: usize) -> bool {
        let number = *self.numbers.entry(request).or_insert_with(|| {
            self.numbered += 1;
            self.numbered - 1
        });
        self.thinned[of].keeps(number)
    }

    fn note(&mut self, written: Result<()>) {
        if let Err(error) = written {
            self.error.get_or_insert(error);
        }
    }
}

/// Adds a row, unless an earlier one could not be written.
fn push<R: Row>(part: &mut Part<R>, row: R, error: &Option<Error>) -> Result<()> {
    if error.is_none() { part.push(row) } else { Ok(()) }
}

impl RowSink for RunParts<'_> {
    fn request(&mut self, row: RequestRow) {
        self.numbers.remove(&row.request);
        self.count += 1;
        self.figures.add_request(&row);
        let written = push(&mut self.requests, row, &self.error);
        self.note(written);
    }

    fn token(&mut self, row: TokenRow) {
        self.figures.add_token(&row);
        if self.keeps(row.request, 0) {
            let written = push(&mut self.tokens, row, &self.error);
            self.note(written);
        }
    }

    fn hop(&mut self, row: HopRow) {
        if self.keeps(row.request, 1) {
            let written = push(&mut self.hops, row, &self.error);
            self.note(written);
        }
    }

    fn served(&mut self, hop: &Served) {
        self.figures.served(hop);
    }

    fn looked(&mut self, looked: Looked) {
        self.figures.add_lookup(&looked);
        let written = push(&mut self.lookups, looked, &self.error);
        self.note(written);
    }

    fn pinged(&mut self, pinged: Pinged) {
        let written = push(&mut self.pings, pinged, &self.error);
        self.note(written);
    }
}

/// Decides row by row which requests of a run keep their rows of a kind.
#[derive(Debug)]
pub(super) struct Thinning {
    file: &'static str,
    pub kept: Kept,
    /// Only requests with a number divisible by this one keep their rows.
    stride: u64,
    /// The number of rows kept with this stride.
    with_stride: u64,
    /// (row, stride): the row at which each stride after the first began.
    strides: Vec<(u64, u64)>,
}

impl Thinning {
    fn of(file: &'static str) -> Thinning {
        Thinning { file, kept: Kept::default(), stride: 1, with_stride: 0, strides: Vec::new() }
    }

    /// Whether the next row, which belongs to the request with this number, is kept. Counts the row.
    fn keeps(&mut self, number: u64) -> bool {
        if self.with_stride >= ROWS_PER_STRIDE {
            self.stride *= 2;
            self.with_stride = 0;
            self.strides.push((self.kept.of, self.stride));
        }
        self.kept.of += 1;
        let keeps = number.is_multiple_of(self.stride);
        self.kept.rows += u64::from(keeps);
        self.with_stride += u64::from(keeps);
        keeps
    }

    /// Returns the manifest's entry about rows that were left out, or `None` if all were kept.
    pub fn said(self, cell: u32, repeat: u32) -> Option<Thinned> {
        let left_out = self.kept.rows < self.kept.of;
        left_out.then(|| Thinned { file: self.file.to_owned(), cell, repeat, every: self.strides })
    }
}

/// The lines of rare events of a run. They go to a file when they reach `LINES` bytes in memory.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    text: String,
    file: Option<File>,
}

impl Lines {
    fn new(dir: &Path, (cell, repeat): (u32, u32)) -> Lines {
        let path = dir.join(PARTS).join(format!("events-{cell:06}-{repeat:06}.jsonl"));
        Lines { path, text: String::new(), file: None }
    }

    fn push(&mut self, line: &str) -> Result<()> {
        self.text.push_str(line);
        self.text.push('\n');
        if self.text.len() < LINES {
            return Ok(());
        }
        self.spill().map_err(Error::io(&self.path))
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                fs::create_dir_all(self.path.parent().unwrap_or(Path::new("")))?;
                let open = File::options().read(true).write(true).create(true).truncate(true).open(&self.path);
                none.insert(open?)
            }
        };
        file.write_all(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }

    /// Copies all lines, and removes the file of the run.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn copy(mut self, into: &mut impl Write) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.rewind()?;
            io::copy(file, into)?;
            fs::remove_file(&self.path)?;
        }
        into.write_all(self.text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{ROWS_PER_STRIDE, Thinning};

    #[test]
    fn a_long_run_is_thinned_as_it_is_written_and_the_manifest_says_how() {
        let mut thinning = Thinning::of("tokens");
        let (requests, each) = (100_000, 100);
        let mut kept = vec![0; requests];
        for row in 0..requests * each {
            // Ten requests are under way at a time.
            let number = row / (10 * each) * 10 + row % 10;
            kept[number] += u64::from(thinning.keeps(number as u64));
        }
        assert_eq!(thinning.kept.of, (requests * each) as u64);
        assert!(thinning.kept.rows < 7 * ROWS_PER_STRIDE, "{:?}", thinning.kept);
        assert!(kept[..1990].iter().all(|rows| *rows == each as u64), "the first requests are kept whole");
        let cut = kept.iter().filter(|rows| !(**rows == 0 || **rows == each as u64)).count();
        assert!(cut <= 10 * thinning.strides.len(), "only those under way at a change are cut: {cut}");
        let said = thinning.said(2, 3).expect("rows were left out");
        assert_eq!((said.file.as_str(), said.cell, said.repeat, said.every[0]), ("tokens", 2, 3, (200_000, 2)));
        let strides: Vec<u64> = said.every.iter().map(|(_, every)| *every).collect();
        assert_eq!(strides, (1..=strides.len() as u32).map(|power| 2u64.pow(power)).collect::<Vec<_>>());
        let mut short = Thinning::of("hops");
        assert!((0..ROWS_PER_STRIDE).all(|number| short.keeps(number)));
        assert_eq!(short.said(0, 0), None);
    }
}
