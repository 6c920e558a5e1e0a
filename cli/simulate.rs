//! `sim`: runs a sweep in the simulated network.
use crate::exit::{Done, Exit, INTERRUPT};
use crate::place;
use crate::print::{errln, print_table};
use crate::run_writer::SweepWriter;
use crate::sweep::{Batch, Sweep, threads};
use miette::miette;
use reports::manifest::World;
use reports::write::{RunDir, WrittenRun};
use simulator::pool::{Finished, Pool};
use topology::outcome::Run;

pub fn sim(sweep: &Sweep, twice: bool) -> Done {
    place::directory(&sweep.out)?;
    let (dir, code) = sweep.simulate(&sweep.ready()?, twice)?;
    print_table(&dir.table, sweep.format)?;
    if twice {
        errln!("deterministic: both runs of every cell were identical");
    }
    Ok(code)
}

impl Sweep {
    pub fn simulate(&self, batch: &Batch, twice: bool) -> Result<(RunDir, u8), Exit> {
        let pool = Pool { threads: threads(self.jobs), twice, interrupt: &INTERRUPT };
        let mut writer = SweepWriter::new(self, batch, World::Sim)?;
        let recorders = writer.recorders();
        pool.run(
            &batch.plans,
            |index| recorders.begin(batch.keys[index].index, &batch.plans[index], Some(&INTERRUPT)),
            WrittenRun::from,
            |index, finished| {
                let (run, recorded) = same_twice(finished, batch.plans[index].cell)?;
                writer.keep_recorded(index, run, recorded)
            },
        )?;
        writer.finish()
    }
}

/// Returns the run and its recorder, or an error if a second run of the same plan gave other events.
fn same_twice<R>(finished: Finished<R>, cell: u32) -> Result<(Run, R), Exit> {
    if finished.deterministic {
        return Ok((finished.run, finished.recorder));
    }
    let message = "two runs of the same plan differ, which is a bug in swarmbench; please report it";
    Err(Exit { code: 9, report: miette!("cell {cell}: {message}") })
}

#[cfg(test)]
mod tests {
    use super::same_twice;
    use crate::sweep::Sweep;
    use simulator::pool::Finished;
    use simulator::{HORIZON, is_deterministic};

    #[test]
    fn two_runs_that_differ_have_an_exit_code_of_their_own() {
        let sweep = Sweep::of("nano", Vec::new(), None);
        let plan = &sweep.batch().unwrap_or_else(|stop| panic!("{:?}", stop.report)).plans[0];
        let mut recorder = ();
        let (run, deterministic) = is_deterministic(plan, HORIZON, &mut recorder);
        let differed = Finished { run: run.clone(), recorder, deterministic: false };
        assert_eq!(same_twice(differed, 3).map_err(|stop| stop.code).err(), Some(9));
        assert!(same_twice(Finished { run, recorder, deterministic }, 3).is_ok());
    }
}
