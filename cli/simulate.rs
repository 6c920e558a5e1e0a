//! `sim`: running a sweep in the simulated network.
use crate::exit::Done;
use crate::place;
use crate::print::{errln, print_table};
use crate::sweep::Sweep;

pub fn sim(sweep: &Sweep, twice: bool) -> Done {
    place::directory(&sweep.out)?;
    let (dir, code) = sweep.simulate(&sweep.ready()?, twice)?;
    print_table(&dir.table, sweep.format)?;
    if twice {
        errln!("deterministic: every run was the same twice");
    }
    Ok(code)
}
