//! The command line. Only this folder depends on all crates.
// Some helpers are used only by commands that a build without the feature `live` leaves out.
#![cfg_attr(not(feature = "live"), allow(dead_code, unused_imports))]
#[cfg(feature = "live")]
mod ablation;
#[cfg(feature = "live")]
mod calibrate;
mod documents;
mod execute;
mod exit;
#[cfg(feature = "live")]
mod generate;
mod inspect;
#[cfg(feature = "live")]
mod live_runs;
#[cfg(feature = "live")]
mod model;
mod place;
mod print;
mod progress;
mod published;
#[cfg(feature = "live")]
mod replay;
mod run_writer;
mod sensitivity;
mod signals;
mod simulate;
mod soak;
mod sweep;
#[cfg(feature = "live")]
mod twin;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use exit::Exit;
use print::{Format, errln};
use std::path::PathBuf;
use std::process::ExitCode;
use sweep::Sweep;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures and predicts the performance of decentralised LLM inference.
///
/// The same actors run a scenario live, over real TCP with transformer blocks that candle computes, or simulated, on a
/// virtual clock. SCENARIO is the path of a file, or the name of a scenario of the built-in library.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn is_host(command: &Command) -> bool {
    #[cfg(feature = "live")]
    return matches!(command, Command::Host);
    #[cfg(not(feature = "live"))]
    return {
        let _ = command;
        false
    };
}

const EXIT_CODES: &str = "Exit codes: 0 success, 1 internal or I/O error, 2 wrong command line, 3 wrong scenario, 4 some cells \
                          or requests failed, 5 objectives missed, 7 measurement invalid, 8 swarm not ready, 9 \
                          simulation not deterministic, 10 prediction error above --fail-above, 130 interrupted";

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "live")]
    /// Run a sweep live: each host is a child process, over real TCP and with candle
    #[command(
        after_help = "Examples:\n  swarmbench live quickstart\n  swarmbench live quickstart --set network.shape=true --set 'network.default.delay=20 ms'"
    )]
    Live(Sweep),
    /// Run a sweep in the simulated network
    #[command(
        after_help = "Examples:\n  swarmbench sim quickstart\n  swarmbench sim quickstart --axis workload.clients=1,2,4 --repeat 3\n  swarmbench sim my.ron --only 'workload.prompt=16 && swarm.forwarding=Push'"
    )]
    Sim {
        #[command(flatten)]
        sweep: Sweep,
        /// Run every cell twice, and compare the two runs event by event
        #[arg(long)]
        check_determinism: bool,
    },
    #[cfg(feature = "live")]
    /// Run a sweep live and simulated on this machine, and print the prediction errors
    #[command(
        after_help = "Examples:\n  swarmbench twin quickstart\n  swarmbench twin my.ron --repeat 3 --observed --fail-above 10%"
    )]
    Twin(twin::Arguments),
    /// Simulate the live runs of a twin again, without running anything live
    #[cfg(feature = "live")]
    #[command(
        after_help = "Examples:\n  swarmbench replay runs/quickstart-twin-001\n  swarmbench replay runs/quickstart-twin-001 --without cpu-steal,cold-cache"
    )]
    Replay(replay::Replay),
    /// Vary the inputs of a scenario one at a time, and show which one changes the result most
    #[command(after_help = "Example: swarmbench sensitivity flexgen-petals-opt30b --by 20")]
    Sensitivity(sensitivity::Arguments),
    #[cfg(feature = "live")]
    /// Measure the devices and the transport of this machine, and write a profile that a scenario can name
    #[command(
        after_help = "Examples:\n  swarmbench calibrate quickstart --out here.ron\n  swarmbench calibrate --from runs/quickstart-live-001 --out here.ron"
    )]
    Calibrate(calibrate::Calibrate),
    /// Check a scenario and every cell of its sweep for errors
    #[command(after_help = "Example: swarmbench check my.ron")]
    Check(Sweep),
    /// List the cells of a sweep
    #[command(after_help = "Example: swarmbench plan quickstart --axis 'network.default.delay=1 ms,10 ms'")]
    Plan(Sweep),
    /// Draw the charts and tables of one or more run directories
    #[command(after_help = "Example: swarmbench report runs/quickstart-live-001 runs/quickstart-sim-001 --out both")]
    Report {
        /// The run directories
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// The directory for the report; without this option, a single run is redrawn in its own directory
        #[arg(long)]
        out: Option<PathBuf>,
        /// The output format of the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    #[cfg(feature = "live")]
    /// Generate text from a checkpoint with a local live swarm
    #[command(
        after_help = "Examples:\n  swarmbench generate models/opt-125m --prompt \"A swarm of\" --new 16 --peers 2\n  swarmbench generate models/opt-125m --ids 5,17,3 --temperature 0.8 --seed 3"
    )]
    Generate(Box<generate::Generate>),
    #[cfg(feature = "live")]
    /// Write a checkpoint with random weights, or inspect a model folder
    #[command(
        subcommand,
        after_help = "Examples:\n  swarmbench model write opt-125m --scale 0.5 --out models/half\n  swarmbench model inspect models/half"
    )]
    Model(model::Model),
    /// Simulate systems that others have measured, and compare with the published figures
    #[command(after_help = "Examples:\n  swarmbench published\n  swarmbench published helix-a100")]
    Published(published::Arguments),
    /// Simulate random swarms with faults, and check that none loses, duplicates or changes a token
    #[command(after_help = "Example: swarmbench soak --seeds 1000")]
    Soak(soak::Soak),
    /// List the scenarios of the built-in library
    #[command(after_help = "Example: swarmbench library")]
    Library,
    /// Print the JSON schema of scenario files, or their reference
    #[command(after_help = "Example: swarmbench schema > scenario.schema.json")]
    Schema {
        /// Print the scenario reference as Markdown instead of the JSON schema
        #[arg(long)]
        markdown: bool,
    },
    /// Print a completion script for a shell
    #[command(
        after_help = "Example: swarmbench completions bash > ~/.local/share/bash-completion/completions/swarmbench"
    )]
    Completions {
        /// The shell that reads the script
        shell: Shell,
    },
    /// Print the manual page, or write one page for each command into a folder
    #[command(after_help = "Examples:\n  swarmbench man | man -l -\n  swarmbench man --out ~/.local/share/man/man1")]
    Man {
        /// The folder for the manual pages of all commands
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    #[cfg(feature = "live")]
    /// The process of one host of a live run, which only live runs start
    #[command(hide = true)]
    Host,
}

fn main() -> ExitCode {
    print::log();
    let code = Arguments::try_parse().map_or_else(|usage| refuse(&usage), |arguments| run(arguments.command));
    match print::finish() {
        Ok(()) => ExitCode::from(code),
        Err(why) => {
            errln!("results could not be written to stdout: {why}");
            ExitCode::from(if code == 0 { 1 } else { code })
        }
    }
}

/// If a line of a command-line error has more bytes than this, the lines of the error are shortened.
const LONGEST: usize = 1000;

/// The maximum number of characters of an error report that are shown. There is a limit, because a path or a name in
/// the report may have any length.
const LONGEST_REPORT: usize = 20_000;

/// Prints the requested help, or the error in the command line.
fn refuse(usage: &clap::Error) -> u8 {
    // The error repeats the wrong argument, which may be very long.
    let text = usage.to_string();
    if usage.use_stderr() && text.lines().any(|line| line.len() > LONGEST) {
        text.lines().for_each(|line| errln!("{}", scenarios::shortened(line)));
        return usage.exit_code() as u8;
    }
    let printed = usage.print();
    if !usage.use_stderr() {
        print::keep(printed);
    }
    usage.exit_code() as u8
}

/// Runs a command, and prints the error if it fails.
fn run(command: Command) -> u8 {
    // A host process does not listen for signals: it ends when its controller orders it to.
    if !is_host(&command)
        && let Err(why) = signals::listen()
    {
        errln!("the handler for signals such as Ctrl-C cannot be installed: {why}");
        return 1;
    }
    let done = match command {
        #[cfg(feature = "live")]
        Command::Live(sweep) => live_runs::live(&sweep),
        Command::Sim { sweep, check_determinism } => simulate::sim(&sweep, check_determinism),
        #[cfg(feature = "live")]
        Command::Twin(wanted) => twin::twin(&wanted),
        #[cfg(feature = "live")]
        Command::Replay(wanted) => replay::replay(&wanted),
        Command::Published(wanted) => published::published(&wanted),
        Command::Sensitivity(wanted) => sensitivity::sensitivity(&wanted),
        #[cfg(feature = "live")]
        Command::Calibrate(wanted) => calibrate::calibrate(&wanted),
        Command::Check(sweep) => inspect::check(&sweep),
        Command::Plan(sweep) => inspect::plan(&sweep),
        Command::Report { runs, out, format } => inspect::report(&runs, out.as_deref(), format),
        #[cfg(feature = "live")]
        Command::Generate(asked) => generate::generate(&asked),
        #[cfg(feature = "live")]
        Command::Model(asked) => model::model(&asked),
        Command::Soak(wanted) => soak::run(&wanted),
        Command::Library => inspect::library(),
        Command::Schema { markdown } => documents::schema(markdown),
        Command::Completions { shell } => documents::completions(&mut Arguments::command(), shell),
        Command::Man { out } => documents::manual(Arguments::command(), out.as_deref()),
        #[cfg(feature = "live")]
        Command::Host => return host(),
    };
    done.unwrap_or_else(|Exit { code, report }| {
        errln!("{}", scenarios::shortened_to(&format!("{report:?}"), LONGEST_REPORT));
        code
    })
}

/// Runs the process of a host. The host inherits stderr from the process that started it.
#[cfg(feature = "live")]
fn host() -> u8 {
    live::host_main().map_or_else(
        |why| {
            errln!("swarmbench host: {why}");
            1
        },
        |()| 0,
    )
}
