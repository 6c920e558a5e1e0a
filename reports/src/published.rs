//! A simulated run beside what others have published of the system that it is of.
use crate::fold::{Fold, TokenRow};
use crate::measures::Measures;
use crate::stats::quantile;
use crate::table::significant;
use scenarios::columns::Columns;
use scenarios::plan::Plan;
use scenarios::published::{Figure, Measure, System};
use serde::Serialize;

/// One figure, predicted and published.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    pub scenario: String,
    pub measure: String,
    pub published: f64,
    pub predicted: f64,
    /// (predicted - published) / published.
    pub error: f64,
    /// The error that was asked for.
    pub within: f64,
    /// A constant was fitted to it: no prediction.
    pub calibrated: bool,
    /// Why it is not within, where that is known.
    pub missed: Option<String>,
}

impl Compared {
    pub fn kept(&self) -> bool {
        self.error.abs() <= self.within
    }
}

/// The figures of a system beside the means of simulated runs of it; those that no run has are left out.
pub fn compare(system: &System, runs: &[(Plan, Fold)]) -> Vec<Compared> {
    let mean = |figure: &Figure| {
        let values: Vec<f64> = runs.iter().filter_map(|(plan, fold)| value(system, figure, plan, fold)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let compared = |figure: &Figure| {
        let predicted = mean(figure)?;
        Some(Compared {
            scenario: system.scenario.clone(),
            measure: name(&figure.measure),
            published: figure.value,
            predicted,
            error: (predicted - figure.value) / figure.value,
            within: figure.within,
            calibrated: figure.calibrated,
            missed: figure.missed.clone(),
        })
    };
    system.figures.iter().filter_map(compared).collect()
}

fn name(measure: &Measure) -> String {
    let of = |what: &str, q: f64| match q {
        0.5 => format!("median {what} latency, ms"),
        q => format!("p{:.0} {what} latency, ms", q * 100.0),
    };
    match measure {
        Measure::DecodeThroughput => "decode tokens/s".to_owned(),
        Measure::DecodeLatency(q) => of("decode", *q),
        Measure::PromptLatency(q) => of("prompt", *q),
        Measure::Column(column) => column.replace("_per_s", "/s").replace('_', " "),
    }
}

fn value(system: &System, figure: &Figure, plan: &Plan, fold: &Fold) -> Option<f64> {
    let released = fold.released?.0;
    let (from, till) = system.window.map_or((0, u64::MAX), |(from, till)| (released + from.0, released + till.0));
    let took = |wanted: &dyn Fn(&TokenRow) -> bool| {
        let rows = fold.tokens.iter().filter(|row| !row.request.is_warmup() && (from..=till).contains(&row.seen));
        let mut took: Vec<f64> = rows.filter(|row| wanted(row)).map(|row| row.took as f64 / 1e6).collect();
        took.sort_by(f64::total_cmp);
        took
    };
    let decodes = || took(&|row| row.output > 1);
    match &figure.measure {
        Measure::DecodeThroughput => Some(decodes().len() as f64 / ((till - from) as f64 / 1e9)),
        Measure::DecodeLatency(q) => quantile(&decodes(), *q),
        Measure::PromptLatency(q) => quantile(&took(&|row| row.output == 1), *q),
        Measure::Column(column) => Measures::of(fold, plan).get(column),
    }
}

/// As a table of Markdown, which a terminal shows well enough too.
pub fn markdown(compared: &[Compared]) -> String {
    let heading = ["scenario", "measure", "published", "predicted", "error", "asked", ""].map(str::to_owned);
    let mut rows = vec![heading];
    rows.extend(compared.iter().map(row));
    let columns = Columns::of(&rows, &[false, false, true, true, true, true, false]);
    let mut lines: Vec<String> = rows.iter().map(|row| columns.markdown(row) + "\n").collect();
    lines.insert(1, columns.markdown_rule() + "\n");
    lines.concat()
}

fn row(one: &Compared) -> [String; 7] {
    let note = match (one.kept(), one.calibrated) {
        (true, false) => String::new(),
        (true, true) => "calibrated on it".to_owned(),
        (false, _) => format!("missed: {}", one.missed.as_deref().unwrap_or("it is not known why")),
    };
    [
        one.scenario.clone(),
        one.measure.clone(),
        significant(one.published),
        significant(one.predicted),
        format!("{:+.1} %", 100.0 * one.error),
        format!("{:.0} %", 100.0 * one.within),
        note,
    ]
}
