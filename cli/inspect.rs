//! `check`, `plan`, `report` and `library`: commands that run no sweep.
use crate::exit::Done;
use crate::place;
use crate::print::{Format, count, errln, print_rows, print_table, sayln};
use crate::sweep::Sweep;
use scenarios::CellSummary;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub fn check(sweep: &Sweep) -> Done {
    let (batch, summary) = sweep.look()?;
    let unused = batch.suited()?;
    let obstacles = batch.live_obstacles();
    let warnings: Vec<String> = summary.warnings.iter().map(ToString::to_string).chain(unused).collect();
    let notes = batch.loaded.notes();
    let adapted: Vec<String> = summary.adapted.iter().map(ToString::to_string).collect();
    let (cells, live) = (summary.cells.len(), if obstacles.is_empty() { "yes" } else { "not on this machine" });
    match sweep.format {
        Format::Table => {
            let (cells, repeats) = (count(cells as u64, "cell"), count(summary.repeats.into(), "repetition"));
            sayln!("{}: {cells}, {repeats} each", summary.name);
            adapted.iter().flat_map(|text| text.lines()).for_each(|line| sayln!("  {line}"));
            warnings.iter().for_each(|warning| sayln!("  warning: {warning}"));
            notes.iter().for_each(|note| sayln!("  note: {note}"));
            sayln!("  sim: yes\n  live: {live}");
            obstacles.iter().for_each(|obstacle| sayln!("    {obstacle}"));
        }
        Format::Json => sayln!(
            "{:#}",
            json!({
                "scenario": summary.name, "cells": cells, "repetitions": summary.repeats, "adapted": adapted,
                "warnings": warnings, "notes": notes, "sim": true, "live": obstacles.is_empty(), "live_obstacles": obstacles,
            })
        ),
        Format::Csv | Format::Md => {
            let row = |what: &str, text: &str| vec![what.to_owned(), text.to_owned()];
            let mut rows = vec![row("scenario", &summary.name), row("cells", &cells.to_string())];
            rows.push(row("repetitions", &summary.repeats.to_string()));
            rows.extend(adapted.iter().map(|text| row("adapted", text)));
            rows.extend(warnings.iter().map(|text| row("warning", text)));
            rows.extend(notes.iter().map(|text| row("note", text)));
            rows.extend([row("sim", "yes"), row("live", live)]);
            rows.extend(obstacles.iter().map(|text| row("live_obstacle", text)));
            print_rows(&row("what", "value"), &rows, sweep.format)?;
        }
    }
    Ok(0)
}

pub fn plan(sweep: &Sweep) -> Done {
    let (_, summary) = sweep.look()?;
    match sweep.format {
        Format::Table => {
            for cell in summary.cells {
                let values: Vec<String> =
                    cell.key.values.iter().map(|(path, value)| format!("{path}={value}")).collect();
                let (index, peers, clients) = (cell.key.index, cell.peers, cell.clients);
                sayln!("{index:4}  {peers} peers  {clients} clients  {}", values.join("  "));
            }
        }
        Format::Json => {
            let cell = |cell: &CellSummary| {
                let values: BTreeMap<&str, &str> =
                    cell.key.values.iter().map(|(path, value)| (&**path, &**value)).collect();
                json!({
                    "cell": cell.key.index, "hosts": cell.hosts, "peers": cell.peers, "clients": cell.clients,
                    "values": values,
                })
            };
            sayln!("{:#}", summary.cells.iter().map(cell).collect::<serde_json::Value>());
        }
        Format::Csv | Format::Md => {
            let varied = summary.cells.first().map(|cell| cell.key.values.as_slice()).unwrap_or_default();
            let mut headings = ["cell", "hosts", "peers", "clients"].map(str::to_owned).to_vec();
            headings.extend(varied.iter().map(|(path, _)| path.clone()));
            let row = |cell: &CellSummary| {
                let counts =
                    [cell.key.index as usize, cell.hosts, cell.peers, cell.clients].map(|count| count.to_string());
                counts.into_iter().chain(cell.key.values.iter().map(|(_, value)| value.clone())).collect()
            };
            let rows: Vec<Vec<String>> = summary.cells.iter().map(row).collect();
            print_rows(&headings, &rows, sweep.format)?;
        }
    }
    Ok(0)
}

pub fn report(runs: &[PathBuf], out: Option<&Path>, format: Format) -> Done {
    out.map(place::directory).transpose()?;
    let drawing = reports::draw::draw(runs, out)?;
    for note in drawing.missing() {
        errln!("note: {note}");
    }
    if matches!(format, Format::Json | Format::Csv) {
        drawing.table.notes.iter().for_each(|note| errln!("note: {note}"));
    }
    errln!("{}", drawing.dir.display());
    print_table(&drawing.table, format)?;
    Ok(u8::from(!drawing.unwritten.is_empty()))
}

pub fn library() -> Done {
    for name in scenarios::library::names() {
        let text = scenarios::library::find(name).unwrap_or_default();
        let question = text.lines().next().unwrap_or_default().trim_start_matches("// Question: ");
        sayln!("{name:26} {question}");
    }
    Ok(0)
}
