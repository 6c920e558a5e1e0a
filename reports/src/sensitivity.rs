//! The inputs that change a prediction most, as a table and a tornado chart.
use crate::cells::number;
use crate::chart::{Picture, tornado};
use crate::claim;
use crate::error::{Error, Result};
use crate::files::{write_json, write_synced};
use scenarios::columns::Columns;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// One input, and the relative changes of the results when it is varied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    pub input: String,
    /// The relative changes of the throughput: with a smaller value of the input (or the other choice), and with a
    /// larger value.
    pub throughput: (f64, Option<f64>),
    /// The relative changes of the mean latency: with a smaller value (or the other choice), and with a larger value.
    pub latency: (f64, Option<f64>),
}

impl Effect {
    /// Computes the relative changes of an input. `base`, `less` and `more` are (tokens/s, seconds per request) with
    /// the scenario's value, with a smaller value (or the other choice), and with a larger value.
    pub fn of(input: &str, base: (f64, f64), less: (f64, f64), more: Option<(f64, f64)>) -> Effect {
        let change = |now: f64, was: f64| now / was - 1.0;
        Effect {
            input: input.to_owned(),
            throughput: (change(less.0, base.0), more.map(|more| change(more.0, base.0))),
            latency: (change(less.1, base.1), more.map(|more| change(more.1, base.1))),
        }
    }

    fn size(&self) -> f64 {
        self.latency.0.abs().max(self.latency.1.unwrap_or(0.0).abs())
    }
}

/// The effects of a scenario's inputs, the largest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sensitivity {
    pub scenario: String,
    /// The throughput with the scenario's own inputs: the geometric mean over the cells.
    pub throughput_tokens_per_s: f64,
    /// The mean latency with the scenario's own inputs: the geometric mean over the cells.
    pub mean_latency_s: f64,
    pub effects: Vec<Effect>,
    /// The inputs that were not varied, because a signal ended the command.
    pub not_varied: Vec<String>,
}

impl Sensitivity {
    pub fn new(scenario: &str, base: (f64, f64), mut effects: Vec<Effect>, not_varied: Vec<String>) -> Sensitivity {
        effects.sort_by(|a, b| b.size().total_cmp(&a.size()));
        let (scenario, (throughput_tokens_per_s, mean_latency_s)) = (scenario.to_owned(), base);
        Sensitivity { scenario, throughput_tokens_per_s, mean_latency_s, effects, not_varied }
    }

    /// Returns a sentence that names the inputs that were not varied, or `None` if all were varied.
    pub fn missing(&self) -> Option<String> {
        (!self.not_varied.is_empty()).then(|| {
            format!("the analysis was interrupted; these inputs were not varied: {}", self.not_varied.join(", "))
        })
    }

    fn rows(&self) -> Vec<[String; 5]> {
        let percent = |share: f64| format!("{:+.1} %", 100.0 * share);
        let maybe = |share: Option<f64>| share.map_or("–".to_owned(), percent);
        let row = |effect: &Effect| {
            let (latency, throughput) = (effect.latency, effect.throughput);
            [effect.input.clone(), percent(latency.0), maybe(latency.1), percent(throughput.0), maybe(throughput.1)]
        };
        self.effects.iter().map(row).collect()
    }

    /// Returns the table for a terminal.
    pub fn text(&self, _width: Option<usize>) -> String {
        let heading = ["input", "latency, less", "more", "throughput, less", "more"].map(str::to_owned);
        let rows: Vec<[String; 5]> = [heading].into_iter().chain(self.rows()).collect();
        let columns = Columns::of(&rows, &[false, true, true, true, true]);
        let text: String = rows.iter().map(|row| columns.line(row) + "\n").collect();
        let (throughput, latency) = (self.throughput_tokens_per_s, self.mean_latency_s);
        let missing = self.missing().map_or(String::new(), |missing| missing + "\n");
        text + &format!("as it is: {throughput:.2} tokens/s, {latency:.3} s a request\n{missing}")
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("# {}: what moves the result\n\n", self.scenario);
        text += &format!("As it is: {:.2} tokens/s, ", self.throughput_tokens_per_s);
        text += &format!("{:.3} s a request (geometric means over the cells).\n\n", self.mean_latency_s);
        text += "| input | latency, less or chosen | more | throughput, less or chosen | more |\n";
        text += "| --- | --: | --: | --: | --: |\n";
        self.rows().iter().for_each(|row| text += &format!("| {} |\n", row.join(" | ")));
        self.missing().into_iter().for_each(|missing| text += &format!("\n{missing}\n"));
        text + "\n![tornado](charts/tornado.svg)\n"
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Returns a CSV row for each input.
    ///
    /// # Errors
    /// The rows cannot be encoded as CSV.
    pub fn csv(&self) -> Result<String> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let wrong = Error::encode("the sensitivity's CSV");
        let written = (|| {
            csv.write_record(["input", "latency_less", "latency_more", "throughput_less", "throughput_more"])?;
            for effect in &self.effects {
                let maybe = |share: Option<f64>| share.map(number).unwrap_or_default();
                let (latency, throughput) = (effect.latency, effect.throughput);
                let figures = [number(latency.0), maybe(latency.1), number(throughput.0), maybe(throughput.1)];
                csv.write_record([effect.input.clone()].iter().chain(&figures))?;
            }
            // An input that was not varied gets a row without figures.
            for input in &self.not_varied {
                csv.write_record([input, "", "", "", ""])?;
            }
            csv.flush().map_err(csv::Error::from)
        })();
        written.map_err(wrong)?;
        let bytes = csv.into_inner().map_err(Error::encode("the sensitivity's CSV"))?;
        String::from_utf8(bytes).map_err(Error::encode("the sensitivity's CSV"))
    }

    /// Returns the tornado chart of the effects.
    ///
    /// # Errors
    /// The chart cannot be drawn.
    pub fn picture(&self) -> Result<Picture> {
        let bars: Vec<tornado::Bar> = self
            .effects
            .iter()
            .map(|effect| tornado::Bar { label: effect.input.clone(), less: effect.latency.0, more: effect.latency.1 })
            .collect();
        tornado::draw(&format!("{}: what moves the mean latency", self.scenario), &bars)
    }

    /// Writes `sensitivity.json`, `.md`, `.csv` and the chart to a new `<scenario>-sensitivity-<n>` under `parent`.
    /// Returns the directory, and the reason if the chart is missing.
    ///
    /// # Errors
    /// The directory or one of the other files cannot be written.
    pub fn write(&self, parent: &Path) -> Result<(PathBuf, Option<Error>)> {
        let dir = claim::directory(parent, &format!("{}-sensitivity", self.scenario))?;
        write_json(&dir.join("sensitivity.json"), self)?;
        write_synced(&dir.join("sensitivity.md"), self.markdown().as_bytes())?;
        write_synced(&dir.join("sensitivity.csv"), self.csv()?.as_bytes())?;
        let drawn = self.picture().and_then(|picture| picture.write(&dir.join("charts")));
        Ok((dir, drawn.err()))
    }
}
