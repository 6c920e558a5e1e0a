//! `sim`, `live` and `twin`: running a sweep.
use crate::print::{Format, print_table, say, width};
use crate::stop::Done;
use crate::sweep::Sweep;

pub fn sim(sweep: &Sweep, twice: bool) -> Done {
    let (dir, code) = sweep.simulate(&sweep.batch()?, twice)?;
    print_table(&dir.table, sweep.format)?;
    if twice {
        eprintln!("deterministic: every run was the same twice");
    }
    Ok(code)
}

pub fn live(sweep: &Sweep) -> Done {
    let (dir, code) = sweep.measure(&sweep.batch()?)?;
    print_table(&dir.table, sweep.format)?;
    Ok(code)
}

pub fn twin(sweep: &Sweep) -> Done {
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
