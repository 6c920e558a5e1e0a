//! `model`: checkpoints.
use crate::print::sayln;
use crate::stop::{Done, bad_scenario};
use actors::seed::Seed;
use scenarios::Overrides;
use std::path::Path;

pub fn model(scenario: &str, set: Vec<(String, String)>, out: &Path, seed: u64) -> Done {
    let loaded = scenarios::load(scenario).map_err(bad_scenario)?;
    let overrides = Overrides { set, ..Overrides::default() };
    let cells = loaded.cells(&overrides).map_err(bad_scenario)?;
    let cell = cells.first().expect("a sweep without cells is a bad scenario");
    let shape = cell.plan(Seed(seed), 0).map_err(bad_scenario)?.model.shape;
    engine::model::write_checkpoint(&shape, seed, out)?;
    sayln!("{}", out.display());
    Ok(0)
}
