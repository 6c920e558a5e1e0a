//! The comparison of simulated runs with published measurements of real systems.
use crate::measures::Measures;
use crate::stats::{quantile, quantile_interval};
use crate::table::significant;
use rows::{RequestRow, RunRows, TokenRow};
use scenarios::columns::Columns;
use scenarios::plan::Plan;
use scenarios::published::{Figure, Measure, Miss, Query, System};
use serde::Serialize;
use std::ops::Range;

/// The number of simulated runs of each system, which differ in their random streams. Their mean is compared with the
/// published figure.
pub const RUNS: u32 = 5;

/// Published measurements of systems, compared with their predictions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Published {
    pub figures: Vec<Compared>,
    /// The comparisons query by query, for systems whose single queries are known.
    pub queries: Vec<Paired>,
    /// The requested scenarios whose simulation a signal prevented or cut short.
    pub not_simulated: Vec<String>,
}

impl Published {
    /// Returns the tables in Markdown, which is also readable in a terminal.
    pub fn markdown(&self) -> String {
        let mut text = figures(&self.figures);
        if !self.queries.is_empty() {
            text += &format!("\nPrompts, one by one:\n\n{}", queries(&self.queries));
        }
        if !self.not_simulated.is_empty() {
            text += &format!(
                "\nThe command was interrupted; these scenarios were not simulated: {}\n",
                self.not_simulated.join(", ")
            );
        }
        text
    }
}

/// One figure, predicted and published.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    pub scenario: String,
    pub measure: String,
    pub published: f64,
    /// The 95 % confidence interval of the published figure, if the figure is a quantile of a known sample. A bound is
    /// `None` if the sample is too small for it.
    pub interval: Option<(Option<f64>, Option<f64>)>,
    pub predicted: f64,
    /// The minimum and the maximum of the figure over the simulated runs.
    pub runs: (f64, f64),
    /// The relative error: (predicted - published) / published.
    pub error: f64,
    /// The largest absolute relative error with which the prediction counts as correct.
    pub within: f64,
    /// Whether a constant of the simulation was fitted to the published figure, so that `predicted` is not a true
    /// prediction.
    pub calibrated: bool,
    /// The reason why the error is above `within`, if the reason is known.
    pub missed: Option<Miss>,
}

impl Compared {
    pub fn kept(&self) -> bool {
        self.error.abs() <= self.within
    }
}

/// Predicted and measured latencies of the same queries, which show errors that quantiles hide.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    pub scenario: String,
    pub queries: usize,
    /// The median over the queries of the relative error (predicted - measured) / measured of the prompt latency.
    pub error: f64,
    /// The median over the queries of the absolute value of the relative error.
    pub off: f64,
    /// The share of the queries with an absolute relative error of at most 10 %.
    pub within_10: f64,
    /// The share of the queries with an absolute relative error of at most 20 %.
    pub within_20: f64,
}

/// Compares the figures of a system with the means of simulated runs. Figures that no run has are left out. `measured`
/// has the single queries behind the published figures, or is empty if they are unknown.
pub fn compare(system: &System, measured: &[Query], runs: &[(Plan, RunRows)]) -> Vec<Compared> {
    let prompts = prompts(system, measured);
    let compared = |figure: &Figure| {
        let values: Vec<f64> = runs.iter().filter_map(|(plan, fold)| value(system, figure, plan, fold)).collect();
        let predicted = (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)?;
        let interval = match figure.measure {
            Measure::PromptLatency(q) if !prompts.is_empty() => Some(quantile_interval(&prompts, q)),
            _ => None,
        };
        Some(Compared {
            scenario: system.scenario.clone(),
            measure: name(&figure.measure),
            published: figure.value,
            interval,
            predicted,
            runs: values.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value))),
            error: (predicted - figure.value) / figure.value,
            within: figure.within,
            calibrated: figure.calibrated,
            missed: figure.missed.clone(),
        })
    };
    system.figures.iter().filter_map(compared).collect()
}

/// Returns the measured latencies in ms of the prompts that got their first token within the system's time window, in
/// ascending order.
fn prompts(system: &System, measured: &[Query]) -> Vec<f64> {
    let mut took: Vec<f64> = measured.iter().filter(|query| counts(system, query)).map(first_ms).collect();
    took.sort_by(f64::total_cmp);
    took
}

fn counts(system: &System, query: &Query) -> bool {
    let came = query.sent.0 + query.first.0;
    system.window.is_none_or(|(from, till)| (from.0..=till.0).contains(&came))
}

fn first_ms(query: &Query) -> f64 {
    query.first.as_millis_f64()
}

/// Compares the simulated latency of each prompt with the measured one. Only prompts that got their measured first
/// token within the system's time window are compared. Returns `None` if a run does not have as many prompts as were
/// measured, or if a compared prompt of a run has no first token.
pub fn paired(system: &System, measured: &[Query], runs: &[(Plan, RunRows)]) -> Option<Paired> {
    let mut errors = Vec::new();
    for (_, fold) in runs {
        let mut requests: Vec<&RequestRow> = fold.requests.iter().filter(|row| !row.request.is_warmup()).collect();
        requests.sort_by_key(|row| row.intended);
        if requests.len() != measured.len() {
            return None;
        }
        for (row, query) in requests.iter().zip(measured).filter(|(_, query)| counts(system, query)) {
            let first = row.ttft?.saturating_sub(row.parts.setup) as f64 / 1e6;
            errors.push(first / first_ms(query) - 1.0);
        }
    }
    let mut off: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    errors.sort_by(f64::total_cmp);
    off.sort_by(f64::total_cmp);
    let within = |most: f64| off.partition_point(|off| *off <= most) as f64 / off.len() as f64;
    Some(Paired {
        scenario: system.scenario.clone(),
        queries: errors.len() / runs.len(),
        error: quantile(&errors, 0.5)?,
        off: quantile(&off, 0.5)?,
        within_10: within(0.1),
        within_20: within(0.2),
    })
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

fn value(system: &System, figure: &Figure, plan: &Plan, fold: &RunRows) -> Option<f64> {
    let released = fold.rare.released?.0;
    let (from, till) = system.window.map_or((0, u64::MAX), |(from, till)| (released + from.0, released + till.0));
    let times = |wanted: &dyn Fn(&TokenRow) -> bool, time: &dyn Fn(&TokenRow) -> u64| {
        let rows = fold.tokens.iter().filter(|row| !row.request.is_warmup() && (from..=till).contains(&row.seen));
        let mut times: Vec<f64> = rows.filter(|row| wanted(row)).map(|row| time(row) as f64 / 1e6).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let decodes = || times(&|row| row.output > 1, &|row| row.took);
    let prompts = || times(&|row| row.output == 1, &|row| row.took - row.parts.setup);
    match &figure.measure {
        Measure::DecodeThroughput => Some(decodes().len() as f64 / ((till - from) as f64 / 1e9)),
        Measure::DecodeLatency(q) => quantile(&decodes(), *q),
        Measure::PromptLatency(q) => quantile(&prompts(), *q),
        Measure::Column(column) => Measures::of(fold, plan).get(column),
    }
}

fn figures(compared: &[Compared]) -> String {
    let heading = ["scenario", "measure", "published", "95 % interval", "predicted", "runs", "error", "asked", ""];
    let rows: Vec<[String; 9]> = compared.iter().map(row).collect();
    lines(&heading.map(str::to_owned), &rows, 2..8)
}

fn queries(paired: &[Paired]) -> String {
    let heading = ["scenario", "queries", "median error", "median size", "within 10 %", "within 20 %"];
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let row = |one: &Paired| {
        let (error, off) = (format!("{:+.1} %", 100.0 * one.error), format!("{:.1} %", 100.0 * one.off));
        let within = [percent(one.within_10), percent(one.within_20)];
        let [ten, twenty] = within;
        [one.scenario.clone(), one.queries.to_string(), error, off, ten, twenty]
    };
    lines(&heading.map(str::to_owned), &paired.iter().map(row).collect::<Vec<_>>(), 1..6)
}

/// Returns a table in Markdown whose columns in `right` are aligned to the right.
fn lines<const N: usize>(heading: &[String; N], rows: &[[String; N]], right: Range<usize>) -> String {
    let all: Vec<[String; N]> = std::iter::once(heading).chain(rows).cloned().collect();
    let flush: Vec<bool> = (0..N).map(|at| right.contains(&at)).collect();
    let columns = Columns::of(&all, &flush);
    let mut lines: Vec<String> = all.iter().map(|row| columns.markdown(row) + "\n").collect();
    lines.insert(1, columns.markdown_rule() + "\n");
    lines.concat()
}

fn row(one: &Compared) -> [String; 9] {
    let note = match (one.kept(), one.calibrated) {
        (true, false) => String::new(),
        (true, true) => "calibrated on it".to_owned(),
        (false, _) => format!("missed: {}", one.missed.as_ref().map_or("the reason is not known", |miss| &miss.why)),
    };
    let interval = match one.interval {
        None | Some((None, None)) => String::new(),
        Some((Some(low), Some(high))) => format!("{} to {}", significant(low), significant(high)),
        Some((Some(low), None)) => format!("from {}", significant(low)),
        Some((None, Some(high))) => format!("up to {}", significant(high)),
    };
    let (low, high) = (significant(one.runs.0), significant(one.runs.1));
    [
        one.scenario.clone(),
        one.measure.clone(),
        significant(one.published),
        interval,
        significant(one.predicted),
        if low == high { low } else { format!("{low} to {high}") },
        format!("{:+.1} %", 100.0 * one.error),
        format!("{:.0} %", 100.0 * one.within),
        note,
    ]
}
