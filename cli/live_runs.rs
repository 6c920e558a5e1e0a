//! `live`: runs a sweep over real TCP with real transformer blocks.
use crate::exit::INTERRUPT;
use crate::exit::{Done, Exit};
use crate::place;
use crate::print::{errln, print_table};
use crate::run_writer::SweepWriter;
use crate::sweep::{Batch, Sweep};
use live::Options;
use miette::miette;
use reports::manifest::World;
use reports::write::RunDir;
use std::sync::atomic::Ordering;

pub fn live(sweep: &Sweep) -> Done {
    place::directory(&sweep.out)?;
    let (dir, code) = sweep.measure(&sweep.live_ready()?)?;
    print_table(&dir.table, sweep.format)?;
    Ok(code)
}

impl Sweep {
    /// Checks that this machine can run the sweep live, and returns warnings.
    ///
    /// # Errors
    /// If this machine cannot run the sweep; the error gives the reasons.
    pub fn able(&self, batch: &Batch) -> Result<Vec<String>, Exit> {
        let obstacles = batch.live_obstacles();
        if !obstacles.is_empty() {
            let why = obstacles.join("\n");
            return Err(Exit { code: 3, report: miette!("this machine cannot run the scenario live:\n{why}") });
        }
        batch.suited()
    }

    pub fn measure(&self, batch: &Batch) -> Result<(RunDir, u8), Exit> {
        place::temporary()?;
        self.able(batch)?.iter().for_each(|warning| errln!("warning: {warning}"));
        let options = Options::new(std::env::current_exe()?);
        let mut writer = SweepWriter::new(self, batch, World::Live)?;
        for (index, plan) in batch.plans.iter().enumerate() {
            if INTERRUPT.load(Ordering::Relaxed) {
                break;
            }
            let run = live::run(plan, &options, &INTERRUPT);
            writer.keep(index, run.map_err(|error| error.to_string()))?;
        }
        writer.finish()
    }
}
