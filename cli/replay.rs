//! `replay`: predicts the live runs of a twin again, without running anything live.
use crate::ablation::{Ablation, Recorded};
use crate::exit::Done;
use crate::print::{Format, errln, say, width};
use crate::twin::{OFF, fraction};
use calibration::Term;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct Replay {
    /// The directory of the twin, such as `runs/quickstart-twin-001`; the directory of its live run must be next to it
    twin: PathBuf,
    /// Simulate again without this term of the host model, and print the errors with and without the term
    #[arg(long, value_name = "TERM", value_delimiter = ',')]
    without: Vec<Term>,
    /// Exit with code 10 if a prediction error exceeds this limit (`10%` or `0.1`) and its noise floor
    #[arg(long, value_parser = fraction)]
    fail_above: Option<f64>,
    /// The output format of the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub fn replay(wanted: &Replay) -> Done {
    let recorded = Recorded::open(&wanted.twin)?;
    let ablated = Ablation::of(&recorded, &wanted.without)?;
    let twin = ablated.twin(&recorded)?;
    match wanted.format {
        Format::Table => say!("{}", twin.text(width())),
        Format::Json => say!("{}", twin.json()),
        Format::Csv => say!("{}", twin.csv()?),
        Format::Md => say!("{}", twin.markdown()),
    }
    if !wanted.without.is_empty() && matches!(wanted.format, Format::Table | Format::Md) {
        say!("\n{}", ablated.text());
    }
    let off = wanted.fail_above.map_or(0, |limit| twin.beyond(limit).count());
    if off > 0 {
        errln!(
            "{off} of {} prediction errors are above both the limit of --fail-above and their noise floor",
            twin.errors.len()
        );
        return Ok(OFF);
    }
    Ok(0)
}
