//! `soak`: simulates random swarms with faults, and checks whether any token was lost, doubled or changed.
use crate::exit::{Exit, INTERRUPT};
use crate::print::{errln, sayln};
use crate::signals::{Heeding, INTERRUPTED, interrupted};
use crate::sweep::{jobs, threads};
use actors::record::Event;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use simulator::soak::{Soaked, draw, soak};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

#[derive(Args)]
pub struct Soak {
    /// The number of random swarms
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The seed of the first swarm; each further swarm has the next seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of simulations that run in parallel [default: the number of cores]
    #[arg(long, value_parser = jobs())]
    jobs: Option<u32>,
}

/// Prints the random swarm that belongs to a seed, and its faults, to debug a single swarm.
fn show(seed: u64) {
    let plan = draw(seed).plan;
    sayln!("{:?}\n{:?}", plan.workload, plan.policies);
    for (node, planned) in plan.nodes() {
        sayln!("{}: {:?}", plan.called(node), planned.role);
    }
    for fault in &plan.faults {
        sayln!("{}", plan.in_words(&format!("{:?}: {:?}", fault.at, fault.what)));
    }
}

/// Simulates the random swarm that belongs to a seed, and prints its events, except frequent ones such as steps.
fn tell(seed: u64) {
    let plan = draw(seed).plan;
    for event in simulator::run(&plan, simulator::HORIZON).events {
        match event {
            Event::Stepped(_) | Event::Served(_) | Event::Reserved(_) | Event::Carried(_) | Event::Looked(_) => {}
            told => sayln!("{}", plan.in_words(&format!("{told:?}"))),
        }
    }
}

/// One swarm in this many is simulated twice, and the two runs are compared.
const SAMPLE: u64 = 16;

pub fn run(wanted: &Soak) -> Result<u8, Exit> {
    let began = Instant::now();
    let _heeding = Heeding::new();
    if wanted.seeds == 1 {
        show(wanted.seed);
    }
    let threads = threads(wanted.jobs).min(usize::try_from(wanted.seeds).unwrap_or(usize::MAX));
    let (next, done, all, wrong) =
        (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(Soaked::default()), Mutex::new(Vec::new()));
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} swarms, {eta} left").unwrap_or(ProgressStyle::default_bar());
    let bar = ProgressBar::new(wanted.seeds).with_style(style);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= wanted.seeds || INTERRUPT.load(Ordering::Relaxed) {
                return;
            }
            let seed = wanted.seed.wrapping_add(at);
            match soak(seed, at % SAMPLE == 0) {
                Ok(soaked) => all.lock().expect("no thread panics with it").add(&soaked),
                Err(why) => {
                    let why = draw(seed).plan.in_words(&why.to_string());
                    wrong.lock().expect("no thread panics with it").push((seed, why));
                }
            }
            done.fetch_add(1, Ordering::Relaxed);
            bar.inc(1);
        }
    };
    thread::scope(|scope| {
        // This thread simulates swarms too, in case the system refuses to start further threads.
        let _ = (1..threads).map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok()).count();
        work();
    });
    bar.finish_and_clear();
    let all = all.into_inner().expect("no thread panics with it");
    let mut wrong = wrong.into_inner().expect("no thread panics with it");
    wrong.sort_by_key(|(seed, _)| *seed);
    for (seed, why) in &wrong {
        sayln!("seed {seed}: {why}\n  again: swarmbench soak --seed {seed} --seeds 1");
    }
    if wanted.seeds == 1 && !wrong.is_empty() {
        tell(wanted.seed);
    }
    let done = done.into_inner();
    sayln!(
        "{done} swarms, {} wrong; {} faults, {} requests of which {} failed, {} failovers, {} tokens replayed, \
         {} deliveries, {:.1} s",
        wrong.len(),
        all.faults,
        all.requests,
        all.failed,
        all.failovers,
        all.replayed,
        all.delivered,
        began.elapsed().as_secs_f64(),
    );
    if interrupted() && done < wanted.seeds {
        errln!("the soak was interrupted: {done} of {} swarms were simulated", wanted.seeds);
        return Ok(INTERRUPTED);
    }
    Ok(if wrong.is_empty() { 0 } else { 1 })
}
