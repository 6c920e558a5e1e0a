//! `sim` and `live`: running a sweep.
use crate::place;
use crate::print::{errln, print_table};
use crate::stop::Done;
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

pub fn live(sweep: &Sweep) -> Done {
    place::directory(&sweep.out)?;
    let (dir, code) = sweep.measure(&sweep.ready()?)?;
    print_table(&dir.table, sweep.format)?;
    Ok(code)
}
