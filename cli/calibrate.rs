//! `calibrate`: measures the devices and the transport of this machine and writes a profile, or fits a profile to
//! earlier live runs.
use crate::exit::{Done, Exit, INTERRUPT};
use crate::place;
use crate::print::{errln, say, sayln};
use crate::progress::Progress;
use crate::signals::{Heeding, INTERRUPTED, interrupted};
use crate::sweep::{Sweep, assignment};
use actors::seed::mix;
use calibration::{CalibrationError, ObservedRun, fit, observe};
use clap::Args;
use live::Options;
use miette::miette;
use reports::manifest::Machine;
use scenarios::input;
use scenarios::plan::Plan;
use scenarios::profile::Profile;
use scenarios::units::Time;
use std::path::{Path, PathBuf};
use topology::outcome::Run;

#[derive(Args)]
pub struct Calibrate {
    /// The scenario whose model, devices and request sizes are measured: a file, or a name from the library
    #[arg(default_value = "quickstart", conflicts_with = "from")]
    scenario: String,
    /// Fit the profile to these directories of live runs, instead of measuring
    #[arg(long, num_args = 1..)]
    from: Vec<PathBuf>,
    /// The file of the profile to write
    #[arg(long)]
    out: PathBuf,
    /// The number of measurement rounds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Set a field of the scenario to a value
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Measure only for the cells with these values: `path=value`, several joined by `&&`
    #[arg(long)]
    only: Option<String>,
}

pub fn calibrate(wanted: &Calibrate) -> Done {
    place::file(&wanted.out)?;
    if wanted.from.is_empty() {
        place::temporary()?;
    }
    let _heeding = Heeding::new();
    let name = wanted.out.file_stem().map_or("profile".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let machine = Machine::here();
    let place = format!("{} with {} cores", machine.cpu, machine.cores);
    let Measured { profile, interrupted } = if wanted.from.is_empty() {
        let sweep = Sweep::of(&wanted.scenario, wanted.set.clone(), wanted.only.clone());
        let plans = sweep.live_batch()?.plans;
        measure(&plans, wanted.rounds, &name, &format!("swarmbench calibrate {} on {place}", wanted.scenario))?
    } else {
        let mut seen = Vec::new();
        for dir in &wanted.from {
            let rounds = seen.iter().map(|run: &ObservedRun| run.round + 1).max().unwrap_or(0);
            seen.extend(reports::observed::observed_runs(dir, rounds)?);
        }
        let source = format!("fitted to {} of {}, on {place}", runs(seen.len()), dirs(&wanted.from));
        Measured { profile: fit(&seen, None, &name, &source).map_err(unfit)?, interrupted: None }
    };
    if place::is_stdout(&wanted.out) {
        say!("{}", text(&profile)?);
    } else {
        save(&profile, &wanted.out)?;
        print(&profile);
    }
    Ok(interrupted.map_or(0, |how| {
        errln!("{how}");
        INTERRUPTED
    }))
}

fn runs(count: usize) -> String {
    if count == 1 { "one run".to_owned() } else { format!("{count} runs") }
}

fn dirs(from: &[PathBuf]) -> String {
    let names = from.iter().map(|dir| dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned());
    names.collect::<Vec<_>>().join(", ")
}

pub fn unfit(why: CalibrationError) -> Exit {
    Exit { code: 3, report: miette!("{why}") }
}

/// Returns the text of a profile's file.
fn text(profile: &Profile) -> Result<String, Exit> {
    Ok(format!("#![enable(implicit_some, unwrap_newtypes)]\n{}\n", profile.to_ron()?))
}

/// Writes a profile to a file, or to stdout if the file cannot be written, because measuring may have taken minutes.
pub fn save(profile: &Profile, path: &Path) -> Result<(), Exit> {
    let text = text(profile)?;
    if let Err(why) = reports::files::write_synced(&place::target(path), text.as_bytes()) {
        say!("{text}");
        let report = miette!("the profile could not be saved and was printed to the standard output instead: {why}");
        return Err(Exit { code: 1, report });
    }
    errln!("{}", path.display());
    Ok(())
}

/// Reads a profile from a file.
///
/// # Errors
/// The file cannot be read, or it is not a profile.
pub fn read_profile(path: &std::path::Path) -> Result<Profile, Exit> {
    let bad = |why: String| Exit { code: 3, report: miette!("{why}") };
    let text = input::read_text(path, input::TEXT_BYTES).map_err(|why| bad(why.to_string()))?;
    Profile::read(&path.display().to_string(), &text).map_err(|why| bad(why.to_string()))
}

/// The result of measuring this machine.
pub struct Measured {
    pub profile: Profile,
    /// A message with the number of measured rounds, if a signal interrupted the measurement.
    pub interrupted: Option<String>,
}

/// Runs the calibration swarms of a sweep `rounds` times, each time in a different order, and fits a profile to these
/// runs. After a signal, the profile is fitted to the complete rounds.
///
/// # Errors
/// If a run fails, if no profile can be fitted, or if a signal arrives before the first round is complete.
pub fn measure(plans: &[Plan], rounds: u32, name: &str, source: &str) -> Result<Measured, Exit> {
    let swarms = calibration::swarms::swarms(plans).map_err(|why| Exit { code: 3, report: miette!("{why}") })?;
    let options = Options::new(std::env::current_exe()?);
    let runs = swarms.len() as u64 * u64::from(rounds);
    let task =
        format!("measuring this machine with {runs} short live runs, {} in each of {rounds} rounds", swarms.len());
    let progress = Progress::new("calibrate", runs, &task)?;
    let hand_over = Time(live::calibrate::hand_over(&swarms[0])?.0);
    let mut seen = Vec::new();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..swarms.len()).collect();
        order.sort_by_key(|at| mix(u64::from(round) << 32 | *at as u64));
        for at in order {
            let run = watch(&swarms[at], round, &options);
            if interrupted() {
                break;
            }
            seen.push(run?);
            progress.step();
        }
        if interrupted() {
            progress.end();
            return part(seen, (round, rounds), hand_over, name, source);
        }
    }
    progress.end();
    Ok(Measured { profile: fit(&seen, Some(hand_over), name, source).map_err(unfit)?, interrupted: None })
}

/// Fits a profile to the rounds before the interrupted one.
fn part(
    mut seen: Vec<ObservedRun>,
    (over, rounds): (u32, u32),
    hand_over: Time,
    name: &str,
    source: &str,
) -> Result<Measured, Exit> {
    if over == 0 {
        let why = format!(
            "the calibration was interrupted before the first of {rounds} rounds was complete, so no profile can be \
             fitted"
        );
        return Err(Exit { code: INTERRUPTED, report: miette!("{why}") });
    }
    seen.retain(|run| run.round < over);
    let how = format!("the calibration was interrupted, so the profile is fitted to {over} of {rounds} rounds");
    let source = format!("{source}, {over} of {rounds} rounds");
    let profile = fit(&seen, Some(hand_over), name, &source).map_err(unfit)?;
    Ok(Measured { profile, interrupted: Some(how) })
}

/// Runs a plan live and returns its observed data.
pub fn watch(plan: &Plan, round: u32, options: &Options) -> Result<ObservedRun, Exit> {
    let Run { outcome, events, .. } = live::run(plan, options, &INTERRUPT)?;
    if !outcome.is_ok() {
        let code = if interrupted() { INTERRUPTED } else { 4 };
        return Err(Exit {
            code,
            report: miette!("a run of the calibration failed: {}", plan.in_words(&outcome.to_string())),
        });
    }
    Ok(observe(plan.clone(), round, &events))
}

/// Prints a summary of the profile for people.
fn print(profile: &Profile) {
    for measured in &profile.models {
        sayln!("{}", measured.model);
        sayln!("  a job without its blocks {}", measured.per_job);
        for row in &measured.prefill {
            let points: Vec<String> = row.times.iter().map(|(tokens, time)| format!("{tokens}: {time}")).collect();
            sayln!("  a block, new tokens      {}", points.join("  "));
        }
        for row in &measured.decode {
            let points: Vec<String> = row.times.iter().map(|(rows, time)| format!("{rows}: {time}")).collect();
            sayln!("  a block, rows at {:5}   {}", row.context, points.join("  "));
        }
        let points = |points: &[(u32, Time)]| {
            points.iter().map(|(size, time)| format!("{size}: {time}")).collect::<Vec<_>>().join("  ")
        };
        sayln!("  embedding, new tokens    {}", points(&measured.embed));
        sayln!("  head, rows               {}", points(&measured.head));
    }
    let over = &profile.overhead;
    sayln!("to the device {}, back {}; a lease's hand-over {}", over.to_device, over.from_device, over.hand_over);
    sayln!(
        "sending or receiving a frame {} and {} a kilobyte; up to {} more after an idle time, half of that after {}",
        over.frame,
        over.per_kilobyte,
        over.idle,
        over.half_after
    );
    if over.cpu_steal.every > Time(0) {
        let ms = |time: Time| time.duration().as_secs_f64() * 1e3;
        sayln!("a core is stolen every {:.0} ms, for {:.1} ms", ms(over.cpu_steal.every), ms(over.cpu_steal.last));
    }
    for path in &profile.links {
        let middle = path.rtt.get(path.rtt.len() / 2).copied().unwrap_or_default();
        let (least, most) =
            (path.rtt.first().copied().unwrap_or_default(), path.rtt.last().copied().unwrap_or_default());
        let bandwidth = path.bandwidth.map_or("as much as was asked".to_owned(), |rate| rate.to_string());
        sayln!("{} to {} and back {least}, {middle}, {most} (least, median, most), {bandwidth}", path.from, path.to);
    }
    if let Some(spread) = &profile.spread {
        let percent = |fraction: f64| format!("{:.1} %", 100.0 * fraction);
        sayln!(
            "{} rounds, which differ by {} in computing and by {} in overheads (median)",
            spread.repetitions,
            percent(spread.compute),
            percent(spread.overhead)
        );
    }
}
