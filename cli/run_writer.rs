//! Writes the runs of a sweep as they end, and shows the progress.
use crate::exit::Exit;
use crate::print::{count, errln, stderr_is_terminal};
use crate::progress::Progress;
use crate::signals::{Heeding, INTERRUPTED, interrupted};
use crate::sweep::{Batch, Sweep};
use actors::record::Event;
use reports::cells::CellStatus;
use reports::manifest::{Build, Manifest, World};
use reports::measures::Verdict;
use reports::write::{Recorders, RunDir, RunWriter, WrittenRun};
use scenarios::plan::Plan;
use std::path::Path;
use topology::outcome::{Outcome, Run};

/// Writes each run to the run directory as it ends, and shows the progress of the sweep.
pub struct SweepWriter<'b> {
    batch: &'b Batch,
    writer: RunWriter,
    world: World,
    progress: Progress,
    kept: usize,
    /// Whether a signal interrupted a run.
    cut: bool,
    /// While the writer exists, the first signal saves the completed runs instead of ending the program.
    _heeding: Heeding,
    /// The labels of failed runs, and of runs with failed requests.
    failures: Vec<String>,
    /// The number of runs that ended before some events of their scenario began, and a note on the first such run.
    too_late: (usize, Option<String>),
}

/// The source of a run's rows.
enum Rows<'r> {
    /// All events of the run.
    Events(Vec<Event>),
    /// A run whose rows were written as they happened.
    Recorded(Box<WrittenRun<'r>>),
}

impl<'b> SweepWriter<'b> {
    pub fn new(sweep: &Sweep, batch: &'b Batch, world: World) -> Result<SweepWriter<'b>, Exit> {
        let scenario = batch.scenario();
        let command = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
        let mut manifest = Manifest::new(&scenario.name, world, sweep.seed, batch.charts(), command);
        manifest.build = build();
        manifest.scenario_folder = batch.loaded.folder().map(|folder| folder.to_string_lossy().into_owned());
        manifest.cells = batch.keys.clone();
        manifest.cells.dedup_by_key(|key| key.index);
        let mut writer = RunWriter::create(&sweep.out, manifest, batch.loaded.text(), &batch.plans)?;
        for note in batch.loaded.notes() {
            errln!("note: {note}");
            writer.note(note);
        }
        let (name, run) = match world {
            World::Live => ("live", "live run"),
            World::Sim => ("sim", "simulation"),
        };
        let (runs, cells) = (count(batch.plans.len() as u64, run), count(writer.cells_planned().into(), "cell"));
        let task = format!("{runs} of {cells}");
        let progress = Progress::new(name, batch.plans.len() as u64, &task)?;
        Ok(SweepWriter {
            batch,
            writer,
            world,
            progress,
            kept: 0,
            cut: false,
            _heeding: Heeding::new(),
            failures: Vec::new(),
            too_late: (0, None),
        })
    }

    /// Returns the factory that makes the recorder of each run of the sweep.
    pub fn recorders(&self) -> Recorders {
        self.writer.recorders()
    }

    /// Writes a run together with all of its events, or the reason why the run could not start.
    pub fn keep(&mut self, index: usize, run: Result<Run, String>) -> Result<(), Exit> {
        let (run, events) = match run {
            Ok(mut run) => {
                let events = std::mem::take(&mut run.events);
                (Ok(run), events)
            }
            Err(why) => (Err(why), Vec::new()),
        };
        self.write(index, run, Rows::Events(events)).map_err(|stop| self.left(stop))
    }

    /// Writes a run whose events were recorded as they happened.
    pub fn keep_recorded<'r>(
        &mut self,
        index: usize,
        run: Run,
        recorded: impl Into<WrittenRun<'r>>,
    ) -> Result<(), Exit> {
        self.write(index, Ok(run), Rows::Recorded(Box::new(recorded.into()))).map_err(|stop| self.left(stop))
    }

    /// Adds the directory of the completed runs to an error that ends the sweep.
    pub fn left(&self, stop: Exit) -> Exit {
        left(stop, self.kept, self.writer.partial_dir())
    }

    fn write(&mut self, index: usize, run: Result<Run, String>, rows: Rows<'_>) -> Result<(), Exit> {
        let (key, plan) = (&self.batch.keys[index], &self.batch.plans[index]);
        let (status, lost, trace) = match run {
            Ok(Run { outcome, trace, .. }) => {
                if let Outcome::Done(drained) = &outcome
                    && let Some(told) = self.batch.events_missed(plan, drained.wall)
                {
                    self.too_late.0 += 1;
                    self.too_late.1.get_or_insert(told);
                }
                let (status, lost) = status_of(plan, &outcome);
                (status, lost, trace)
            }
            Err(why) => {
                let (label, detail) = ("not_started".to_owned(), plan.in_words(&why));
                (CellStatus::Failed { label, detail }, 0, None)
            }
        };
        let said = match (&status, lost) {
            (CellStatus::Done, 0) => "ok".to_owned(),
            // The figures of the cell are valid, but the sweep has not succeeded.
            (CellStatus::Done, lost) => {
                self.failures.push("requests_failed".to_owned());
                format!("{lost} requests failed")
            }
            (CellStatus::Failed { label, detail }, _) => {
                self.failures.push(label.clone());
                format!("{label}: {detail}")
            }
            (CellStatus::Interrupted, _) => {
                self.cut = true;
                "interrupted".to_owned()
            }
        };
        match rows {
            Rows::Recorded(recorded) => _ = self.writer.add(key, status, *recorded)?,
            Rows::Events(events) => {
                self.writer.cell(key, plan, status, &events)?;
                #[cfg(feature = "live")]
                if self.world == World::Live {
                    self.keep_texts(plan, &events)?;
                }
            }
        }
        if let Some(hash) = trace {
            self.writer.trace_hash(plan, hash);
        }
        self.kept += 1;
        let values: Vec<String> = key.values.iter().map(|(path, value)| format!("{path}={value}")).collect();
        let line = format!("{} ({}) {said}", values.join(" "), plan.repeat);
        if stderr_is_terminal() && said == "ok" {
            self.progress.doing(line);
        } else {
            self.progress.line(&format!("{} {}/{} {line}", self.world, self.kept, self.batch.plans.len()));
        }
        self.progress.count();
        Ok(())
    }

    /// Shows beside the bar the work between two runs.
    pub fn doing(&self, what: &str) {
        self.progress.doing(what.to_owned());
    }

    #[cfg(feature = "live")]
    /// Writes the prompts and the answers of a run whose scenario gives its prompts as text or ids, and shows the first
    /// prompt with its answer.
    fn keep_texts(&mut self, plan: &Plan, events: &[Event]) -> Result<(), Exit> {
        let said = match live::texts(plan, events) {
            Ok(said) => said,
            // The figures are valid without the text, so the sweep continues.
            Err(why) => {
                errln!("note: the generated token ids cannot be decoded to text: {why}");
                return Ok(());
            }
        };
        self.writer.texts(plan.cell, plan.repeat, &said)?;
        if let Some((prompt, answer)) = said.iter().find_map(|said| said.texts.as_ref()) {
            self.progress.line(&format!("  {:?} -> {:?}", shortened(prompt), shortened(answer)));
        }
        Ok(())
    }

    /// Completes the run directory, and returns it with the exit code of the sweep.
    ///
    /// # Errors
    /// If the run directory cannot be written.
    pub fn finish(mut self) -> Result<(RunDir, u8), Exit> {
        self.progress.end();
        let interrupted = interrupted() && (self.cut || self.kept < self.batch.plans.len());
        if interrupted {
            self.writer.interrupt();
        }
        if let (runs, Some(first)) = &self.too_late {
            let note = match *runs {
                1 => first.clone(),
                runs => format!("{first}; the same holds in {runs} of {} runs", self.kept),
            };
            errln!("note: {note}");
            self.writer.note(note);
        }
        let (kept, partial) = (self.kept, self.writer.partial_dir().to_owned());
        let dir = self.writer.finish().map_err(|why| left(why.into(), kept, &partial))?;
        for note in dir.notes.iter().chain(&dir.unwritten) {
            errln!("note: {note}");
        }
        errln!("{}", dir.path.display());
        let missed = objectives_missed(&self.batch.plans, &dir)?;
        let code = match () {
            () if interrupted => INTERRUPTED,
            () if self.failures.iter().any(|label| label == "broken") => 7,
            () if self.failures.is_empty() && dir.verdict.verdict == Verdict::Invalid => 7,
            () if self.failures.is_empty() && missed => 5,
            // The data are complete, but some files that are made from them are missing.
            () if self.failures.is_empty() && !dir.unwritten.is_empty() => 1,
            () if self.failures.is_empty() => 0,
            () if self.failures.iter().all(|label| label == "not_ready") => 8,
            () => 4,
        };
        Ok((dir, code))
    }
}

/// The commit of this program's source code, as `build.rs` found it, and the features of the build.
fn build() -> Build {
    let features = [("cuda", cfg!(feature = "cuda"))].into_iter().filter(|feature| feature.1);
    Build {
        commit: option_env!("SWARMBENCH_COMMIT").map(str::to_owned),
        modified: option_env!("SWARMBENCH_MODIFIED").map(|modified| modified == "true"),
        features: features.map(|feature| feature.0.to_owned()).collect(),
    }
}

/// Adds the directory of the `kept` completed runs to an error that ended their sweep.
fn left(stop: Exit, kept: usize, dir: &Path) -> Exit {
    if kept == 0 {
        return stop;
    }
    let dir = dir.display();
    let why = format!("the sweep ended after {kept} runs, which are saved; `swarmbench report {dir}` draws them");
    Exit { code: stop.code, report: stop.report.wrap_err(why) }
}

/// Whether in some run a smaller share of the requests met the objectives than its scenario requires. Prints a line for
/// each such run.
fn objectives_missed(plans: &[Plan], dir: &RunDir) -> Result<bool, Exit> {
    if plans.iter().all(|plan| plan.objectives.share.is_none()) {
        return Ok(false);
    }
    let mut missed = false;
    for row in reports::read::Run::open(&dir.path)?.rows {
        let plan = plans.iter().find(|plan| (plan.cell, plan.repeat) == (row.cell, row.repeat));
        let Some(wanted) = plan.and_then(|plan| plan.objectives.share) else { continue };
        let share = row.get("slo_share").unwrap_or(0.0);
        if share < wanted {
            missed = true;
            let (cell, repeat) = (row.cell, row.repeat);
            errln!(
                "cell {cell}, repetition {repeat}: {:.1} % of the requests meet the objectives, but {:.1} % must",
                share * 100.0,
                wanted * 100.0
            );
        }
    }
    Ok(missed)
}

/// The first characters of a text that may be long.
fn shortened(text: &str) -> String {
    const CHARS: usize = 60;
    let more = if text.chars().count() > CHARS { ".." } else { "" };
    text.chars().take(CHARS).collect::<String>() + more
}

/// The status of a run, and the number of its failed requests.
fn status_of(plan: &Plan, outcome: &Outcome) -> (CellStatus, u32) {
    match outcome {
        Outcome::Done(drained) => (CellStatus::Done, drained.failed),
        Outcome::Interrupted => (CellStatus::Interrupted, 0),
        _ => {
            let (label, detail) = (outcome.label().to_owned(), plan.in_words(&outcome.to_string()));
            (CellStatus::Failed { label, detail }, 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SweepWriter;
    use crate::sweep::Sweep;
    use actors::record::Event;
    use reports::manifest::World;
    use simulator::{HORIZON, run};
    use topology::outcome::Run;

    /// The exit code of a sweep of one cell after `spoil` has changed the cell's events.
    fn code(spoil: impl FnOnce(&mut Run)) -> u8 {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let only = Some("workload.generate=1 && workload.prompt=16".to_owned());
        let sweep = Sweep { out: dir.path().to_owned(), ..Sweep::of("quickstart", Vec::new(), only) };
        let batch = sweep.batch().unwrap_or_else(|stop| panic!("{:?}", stop.report));
        assert!(!batch.plans.is_empty());
        let mut writer =
            SweepWriter::new(&sweep, &batch, World::Sim).unwrap_or_else(|stop| panic!("{:?}", stop.report));
        let mut runs: Vec<Run> = batch.plans.iter().map(|plan| run(plan, HORIZON)).collect();
        spoil(&mut runs[0]);
        for (index, run) in runs.into_iter().enumerate() {
            writer.keep(index, Ok(run)).unwrap_or_else(|stop| panic!("{:?}", stop.report));
        }
        writer.finish().unwrap_or_else(|stop| panic!("{:?}", stop.report)).1
    }

    #[test]
    fn a_record_that_was_merged_twice_makes_the_measurement_invalid() {
        assert_eq!(code(|_| {}), 0);
        let twice = |run: &mut Run| {
            let ended = run.events.iter().find(|event| matches!(event, Event::Ended(it) if !it.request.is_warmup()));
            let ended = ended.expect("a timed request").clone();
            run.events.push(ended);
        };
        assert_eq!(code(twice), 7);
    }
}
