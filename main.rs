//! The front door: the command line, and the only place that knows every crate.
use actors::seed::Seed;
use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::outcome::{Outcome, Run};
use engine::sim::pool::Pool;
use indicatif::{ProgressBar, ProgressStyle};
use miette::{Diagnostic, miette};
use reports::cells::CellStatus;
use reports::manifest::{Manifest, World};
use reports::measures::Verdict;
use reports::table::Table;
use reports::write::{RunDir, RunWriter};
use scenarios::cell::CellKey;
use scenarios::plan::Plan;
use scenarios::{Loaded, Overrides};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Measures decentralised LLM inference, and predicts it.
///
/// One graph of actors runs a scenario in two worlds: live, over real TCP with candle computing real transformer blocks,
/// and simulated, on a virtual clock. SCENARIO is a path, or the name of a scenario of the library.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 internal or I/O, 2 usage, 3 bad scenario, 4 some cells failed, \
                          7 measurement invalid, 8 swarm not ready, 9 not deterministic, 130 interrupted";

#[derive(Subcommand)]
enum Command {
    /// Run the sweep over real TCP and candle, its hosts as child processes
    Live(Sweep),
    /// Run the same sweep in the simulated network
    Sim {
        #[command(flatten)]
        sweep: Sweep,
        /// Run every cell twice and compare, event for event
        #[arg(long)]
        check_determinism: bool,
    },
    /// Run both on this machine, and print how far the prediction was off
    Twin(Sweep),
    /// Validate a scenario and every cell of its sweep
    Check(Sweep),
    /// List the cells of a sweep
    Plan(Sweep),
    /// Draw the charts and tables of run directories, again or together
    Report {
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// Where to write; a single run is redrawn in its own directory
        #[arg(long)]
        out: Option<PathBuf>,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Write a random checkpoint of a scenario's model: config.json and model.safetensors
    Model {
        scenario: String,
        /// The folder to write
        #[arg(long)]
        out: PathBuf,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// List the scenarios of the library
    Library,
    /// One process of a live run; started by `live`, not by people
    #[command(hide = true)]
    Host,
}

#[derive(Args)]
struct Sweep {
    /// A file, or the name of a scenario of the library
    scenario: String,
    /// Where run directories go
    #[arg(long, default_value = "runs")]
    out: PathBuf,
    /// Everything random follows from this
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Put a value over the scenario's, in every cell
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Sweep a path over values
    #[arg(long = "axis", value_name = "PATH=A,B,C", value_parser = assignment)]
    axis: Vec<(String, String)>,
    /// Run only the cells with these values: `path=value`, joined by `&&`
    #[arg(long)]
    only: Option<String>,
    /// How often to run each cell
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// Simulations at a time; as many as there are cores if not given
    #[arg(long)]
    jobs: Option<usize>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
    Csv,
    Md,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').map(|(path, value)| (path.trim().to_owned(), value.trim().to_owned()));
    parts.filter(|(path, _)| !path.is_empty()).ok_or_else(|| format!("`{text}` is not PATH=VALUE"))
}

/// Prints to stdout. A reader that has seen enough and closed the pipe (`head`) is no error.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = write!(std::io::stdout(), $($text)*);
    }};
}

macro_rules! sayln {
    ($($text:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

type Done = Result<u8, Stop>;

/// Why the program ends without what it was asked for.
struct Stop {
    code: u8,
    report: miette::Report,
}

/// Whatever is not said otherwise is internal or I/O.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop { code: 1, report: miette::Report::from_err(error) }
    }
}

fn bad_scenario(error: impl Diagnostic + Send + Sync + 'static) -> Stop {
    Stop { code: 3, report: miette::Report::new(error) }
}

/// Set by the first ^C: what runs is given up, what is done is saved.
static INTERRUPT: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = match Arguments::parse().command {
        Command::Live(sweep) => live(&sweep),
        Command::Sim { sweep, check_determinism } => sim(&sweep, check_determinism),
        Command::Twin(sweep) => twin(&sweep),
        Command::Check(sweep) => check(&sweep),
        Command::Plan(sweep) => plan(&sweep),
        Command::Report { runs, out, format } => report(&runs, out.as_deref(), format),
        Command::Model { scenario, out, seed, set } => model(&scenario, set, &out, seed),
        Command::Library => library(),
        Command::Host => return engine::live::host_main(),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(Stop { code, report }) => {
            eprintln!("{report:?}");
            ExitCode::from(code)
        }
    }
}

/// A sweep made explicit: every cell, every repetition.
struct Batch {
    loaded: Loaded,
    /// Of each plan.
    keys: Vec<CellKey>,
    plans: Vec<Plan>,
}

impl Sweep {
    fn overrides(&self) -> Overrides {
        Overrides { set: self.set.clone(), axis: self.axis.clone(), repeat: self.repeat, only: self.only.clone() }
    }

    fn batch(&self) -> Result<Batch, Stop> {
        let loaded = scenarios::load(&self.scenario).map_err(bad_scenario)?;
        let overrides = self.overrides();
        let repeats = loaded.repeats(&overrides).map_err(bad_scenario)?;
        let (mut keys, mut plans) = (Vec::new(), Vec::new());
        for cell in loaded.cells(&overrides).map_err(bad_scenario)? {
            for repeat in 0..repeats {
                plans.push(cell.plan(Seed(self.seed), repeat).map_err(bad_scenario)?);
                keys.push(cell.key.clone());
            }
        }
        Ok(Batch { loaded, keys, plans })
    }

    fn simulate(&self, batch: &Batch, twice: bool) -> Result<(RunDir, u8), Stop> {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let pool = Pool { threads: self.jobs.unwrap_or_else(cores), twice, interrupt: &INTERRUPT };
        let mut keeper = Keeper::new(self, batch, World::Sim)?;
        pool.run(&batch.plans, |index, finished| {
            if !finished.deterministic {
                let message = "two runs of one plan differed: this is a fault of swarmbench";
                return Err(Stop { code: 9, report: miette!("cell {}: {message}", batch.plans[index].cell) });
            }
            keeper.keep(index, Ok(finished.run))
        })?;
        keeper.finish()
    }

    fn measure(&self, batch: &Batch) -> Result<(RunDir, u8), Stop> {
        let obstacles = batch.plans.first().map_or(Vec::new(), scenarios::live_obstacles);
        if !obstacles.is_empty() {
            let why = obstacles.join("\n");
            return Err(Stop { code: 3, report: miette!("this machine cannot run the scenario live:\n{why}") });
        }
        let options = engine::live::Options::new(std::env::current_exe()?);
        let mut keeper = Keeper::new(self, batch, World::Live)?;
        for (index, plan) in batch.plans.iter().enumerate() {
            if INTERRUPT.load(Ordering::Relaxed) {
                break;
            }
            let run = engine::live::run(plan, &options, &INTERRUPT);
            keeper.keep(index, run.map_err(|error| error.to_string()))?;
        }
        keeper.finish()
    }
}

/// Writes runs to their directory as they end, and tells how far the sweep is.
struct Keeper<'b> {
    batch: &'b Batch,
    writer: RunWriter,
    bar: ProgressBar,
    kept: usize,
    /// Labels of the runs that failed.
    failures: Vec<String>,
}

impl<'b> Keeper<'b> {
    fn new(sweep: &Sweep, batch: &'b Batch, world: World) -> Result<Keeper<'b>, Stop> {
        // From here on a ^C has results to save.
        let _ = ctrlc::set_handler(|| {
            if INTERRUPT.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        let scenario = batch.loaded.scenario();
        let command = std::env::args().collect();
        let manifest = Manifest::new(&scenario.name, world, sweep.seed, scenario.report.clone(), command);
        let writer = RunWriter::create(&sweep.out, manifest, batch.loaded.text())?;
        let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg}  {eta} left")?;
        let bar = ProgressBar::new(batch.plans.len() as u64).with_style(style).with_prefix(world.to_string());
        Ok(Keeper { batch, writer, bar, kept: 0, failures: Vec::new() })
    }

    fn keep(&mut self, index: usize, run: Result<Run, String>) -> Result<(), Stop> {
        let (key, plan) = (&self.batch.keys[index], &self.batch.plans[index]);
        let (status, events, trace) = match run {
            Ok(Run { outcome, events, trace, .. }) => (status_of(&outcome), events, trace),
            Err(detail) => (CellStatus::Failed { label: "not_started".to_owned(), detail }, Vec::new(), None),
        };
        let said = match &status {
            CellStatus::Done => "ok".to_owned(),
            CellStatus::Failed { label, detail } => {
                self.failures.push(label.clone());
                format!("{label}: {detail}")
            }
        };
        self.kept += 1;
        self.writer.cell(key, plan, status, &events)?;
        if let Some(hash) = trace {
            self.writer.trace_hash(plan, hash);
        }
        let values: Vec<String> = key.values.iter().map(|(path, value)| format!("{path}={value}")).collect();
        let line = format!("{} ({}) {said}", values.join(" "), plan.repeat);
        if std::io::stderr().is_terminal() && said == "ok" {
            self.bar.set_message(line);
        } else {
            let (world, all) = (self.bar.prefix(), self.batch.plans.len());
            self.bar.suspend(|| eprintln!("{world} {}/{all} {line}", self.kept));
        }
        self.bar.inc(1);
        Ok(())
    }

    /// The run directory and the exit code that what it holds deserves.
    fn finish(self) -> Result<(RunDir, u8), Stop> {
        self.bar.finish_and_clear();
        let interrupted =
            self.kept < self.batch.plans.len() || self.failures.iter().any(|label| label == "interrupted");
        let dir = self.writer.finish()?;
        for note in &dir.notes {
            eprintln!("note: {note}");
        }
        eprintln!("{}", dir.path.display());
        let code = match () {
            () if interrupted => 130,
            () if self.failures.is_empty() && dir.verdict.verdict == Verdict::Invalid => 7,
            () if self.failures.is_empty() => 0,
            () if self.failures.iter().all(|label| label == "not_ready") => 8,
            () => 4,
        };
        Ok((dir, code))
    }
}

fn status_of(outcome: &Outcome) -> CellStatus {
    if outcome.is_ok() {
        return CellStatus::Done;
    }
    CellStatus::Failed { label: outcome.label().to_owned(), detail: outcome.to_string() }
}

fn sim(sweep: &Sweep, twice: bool) -> Done {
    let (dir, code) = sweep.simulate(&sweep.batch()?, twice)?;
    print_table(&dir.table, sweep.format)?;
    if twice {
        eprintln!("deterministic: every run was the same twice");
    }
    Ok(code)
}

fn live(sweep: &Sweep) -> Done {
    let (dir, code) = sweep.measure(&sweep.batch()?)?;
    print_table(&dir.table, sweep.format)?;
    Ok(code)
}

fn twin(sweep: &Sweep) -> Done {
    let batch = sweep.batch()?;
    let (live, measured) = sweep.measure(&batch)?;
    let (sim, simulated) = sweep.simulate(&batch, false)?;
    let twin = reports::twin::Twin::of(&reports::read::Run::open(&live.path)?, &reports::read::Run::open(&sim.path)?)?;
    let dir = twin.write(&sweep.out)?;
    reports::draw::draw(&[live.path, sim.path], Some(&dir))?;
    match sweep.format {
        Format::Table => say!("{}", twin.text(width())),
        Format::Json => say!("{}", twin.json()),
        Format::Csv => say!("{}", twin.csv()?),
        Format::Md => say!("{}", twin.markdown()),
    }
    eprintln!("{}", dir.display());
    Ok(measured.max(simulated))
}

fn check(sweep: &Sweep) -> Done {
    let loaded = scenarios::load(&sweep.scenario).map_err(bad_scenario)?;
    let summary = loaded.check(&sweep.overrides()).map_err(bad_scenario)?;
    sayln!("{}: {} cells, {} repetitions each", summary.name, summary.cells.len(), summary.repeats);
    for line in summary.adaptation {
        sayln!("  {line}");
    }
    for warning in summary.warnings {
        sayln!("  warning: {warning}");
    }
    let batch = sweep.batch()?;
    let obstacles = batch.plans.first().map_or(Vec::new(), scenarios::live_obstacles);
    sayln!("  sim: yes");
    sayln!("  live: {}", if obstacles.is_empty() { "yes" } else { "not on this machine" });
    for obstacle in obstacles {
        sayln!("    {obstacle}");
    }
    Ok(0)
}

fn plan(sweep: &Sweep) -> Done {
    let loaded = scenarios::load(&sweep.scenario).map_err(bad_scenario)?;
    let summary = loaded.check(&sweep.overrides()).map_err(bad_scenario)?;
    for cell in summary.cells {
        let values: Vec<String> = cell.key.values.iter().map(|(path, value)| format!("{path}={value}")).collect();
        let (index, peers, clients) = (cell.key.index, cell.peers, cell.clients);
        sayln!("{index:4}  {peers} peers  {clients} clients  {}", values.join("  "));
    }
    Ok(0)
}

fn report(runs: &[PathBuf], out: Option<&Path>, format: Format) -> Done {
    let drawing = reports::draw::draw(runs, out)?;
    for note in &drawing.notes {
        eprintln!("note: {note}");
    }
    eprintln!("{}", drawing.dir.display());
    print_table(&drawing.table, format)?;
    Ok(0)
}

fn model(scenario: &str, set: Vec<(String, String)>, out: &Path, seed: u64) -> Done {
    let loaded = scenarios::load(scenario).map_err(bad_scenario)?;
    let overrides = Overrides { set, ..Overrides::default() };
    let cells = loaded.cells(&overrides).map_err(bad_scenario)?;
    let cell = cells.first().expect("a sweep without cells is a bad scenario");
    let shape = cell.plan(Seed(seed), 0).map_err(bad_scenario)?.model.shape;
    engine::model::write_checkpoint(&shape, seed, out)?;
    sayln!("{}", out.display());
    Ok(0)
}

fn library() -> Done {
    for name in scenarios::library::names() {
        let text = scenarios::library::find(name).unwrap_or_default();
        let question = text.lines().next().unwrap_or_default().trim_start_matches("// Question: ");
        sayln!("{name:26} {question}");
    }
    Ok(0)
}

fn print_table(table: &Table, format: Format) -> Result<(), Stop> {
    match format {
        Format::Table => say!("{}", table.text(width())),
        Format::Json => sayln!("{}", table.json()),
        Format::Csv => say!("{}", table.csv()),
        Format::Md => say!("{}", table.markdown()),
    }
    Ok(())
}

/// Columns of the terminal, if it is one.
fn width() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}
