//! A breakdown of the mean latency: a bar for each cell. The parts have the same order in all bars.
use super::canvas::{Canvas, Lettering, text_width};
use super::group::{self, Keyed};
use super::panel::{self, Area, Axes, Entry, LABEL, MARGIN, TICK};
use super::picture::Picture;
use super::scale::Scale;
use super::{Source, WIDTH, impossible};
use crate::cells::number;
use crate::error::Result;
use crate::table::{self, significant};
use crate::theme::{self, Part};

/// One bar: its label, and its parts in the order of the legend.
struct Bar {
    label: String,
    parts: Vec<f64>,
}

/// Draws the breakdown of the mean latency. The network's time is split into parts only if every run has these parts.
///
/// # Errors
/// No timed request succeeded, or the drawing fails.
pub fn breakdown(source: &Source) -> Result<Picture> {
    let name = "latency-breakdown";
    let cells = group::keyed(source, &[]);
    let mut known: Vec<&Keyed<'_>> = cells.iter().filter(|of| of.cell.mean("part_network_ms").is_some()).collect();
    // The bars of one cell in several runs are adjacent.
    known.sort_by_key(|of| cells.iter().position(|first| first.cell.axes == of.cell.axes));
    if known.is_empty() {
        return Err(impossible(name, source.without_figures()));
    }
    let fine = known.iter().all(|of| of.cell.mean("part_propagation_ms").is_some());
    let parts = if fine { theme::fine_parts() } else { theme::parts() };
    let totals = known.iter().filter_map(|of| of.cell.mean("mean_latency_ms"));
    let (unit, scale) = table::unit_for("ms", totals);
    let bar = |of: &&Keyed<'_>| Bar {
        label: group::label(&of.key),
        parts: parts.iter().map(|part| of.cell.mean(part.0).unwrap_or(0.0) * scale).collect(),
    };
    let bars: Vec<Bar> = known.iter().map(bar).collect();
    let mut rows = vec![vec!["cell".to_owned()]];
    rows[0].extend(parts.iter().map(|part| format!("{} [{unit}]", part.1)));
    for bar in &bars {
        let figures = bar.parts.iter().map(|part| number(*part));
        rows.push([bar.label.clone()].into_iter().chain(figures).collect());
    }
    let title = format!("{}: where the time of a request went", source.scenario);
    let (drawing, size) = draw(&title, &bars, &parts, unit).map_err(|why| impossible(name, why))?;
    Picture::new(name, &title, &drawing, size, &rows)
}

/// Returns the value at the end of the axis. All bars fit, except for a few that are many times as long as the others;
/// those bars are cut off.
fn reach(totals: impl Iterator<Item = f64>) -> f64 {
    const TIMES: f64 = 4.0;
    let mut totals: Vec<f64> = totals.collect();
    totals.sort_by(|a, b| b.total_cmp(a));
    let few = totals.len() / 4;
    let outliers = (1..=few).find(|&count| totals[count - 1] > TIMES * totals[count]);
    outliers.map_or(totals.first().copied().unwrap_or(0.0), |count| 1.4 * totals[count]).max(1e-9)
}

fn draw(title: &str, bars: &[Bar], parts: &[Part], unit: &str) -> std::result::Result<(String, (f64, f64)), String> {
    let total = |bar: &Bar| bar.parts.iter().sum::<f64>();
    let high = reach(bars.iter().map(total));
    let cut = bars.iter().any(|bar| total(bar) > high);
    let x = Scale::Linear { low: 0.0, high };
    let labels = bars.iter().map(|bar| text_width(&bar.label, TICK)).fold(0.0, f64::max);
    let figures = bars.iter().map(|bar| text_width(&significant(total(bar)), TICK)).fold(0.0, f64::max);
    let left = MARGIN + labels + 10.0;
    // Parts without any time are left out of the legend.
    let used = |at: &usize| bars.iter().any(|bar| bar.parts[*at] > 0.0);
    let entries: Vec<Entry> = (0..parts.len())
        .filter(used)
        .map(|at| Entry { label: parts[at].1.to_owned(), color: parts[at].2, series: None })
        .collect();
    let pitch = if bars.len() > 24 { 17.0 } else { 24.0 };
    let area = Area {
        x: left,
        y: panel::HEADING,
        width: WIDTH - left - MARGIN - figures - 10.0,
        height: pitch * bars.len() as f64 + 6.0,
    };
    let legend_y = area.y + area.height + 48.0;
    let size = (WIDTH, (legend_y + panel::legend_height(&entries, WIDTH - 2.0 * MARGIN) + MARGIN).ceil());
    let mut drawing = String::new();
    let mut canvas = Canvas::new(&mut drawing, size);
    let cut = if cut { ". A bar with a gap is cut short" } else { "" };
    let note = format!("parts of the mean latency of timed requests; they sum to it exactly{cut}");
    panel::heading(&mut canvas, title, &note);
    let x_ticks = x.ticks(7);
    let axes = Axes { x, x_ticks, y: Scale::Names { count: bars.len() }, y_ticks: Vec::new() };
    axes.draw(&mut canvas, area, (true, false));
    for (at, bar) in bars.iter().enumerate() {
        let y = area.y + 3.0 + pitch * at as f64;
        let middle = y + pitch / 2.0;
        canvas.text(&bar.label, (area.x - 8.0, middle), Lettering::new(TICK).right());
        let mut from = 0.0;
        for (part, value) in parts.iter().zip(&bar.parts).filter(|(_, value)| **value > 0.0) {
            let (x0, x1) = (axes.x.place(from).min(1.0), axes.x.place(from + value).min(1.0));
            let corner = (area.x + area.width * x0, y + 0.14 * pitch);
            canvas.rect(corner, (area.width * (x1 - x0), 0.72 * pitch), part.2);
            from += value;
        }
        let end = area.x + area.width * axes.x.place(from).min(1.0);
        if from > high {
            let gap = [(end - 30.0, y + pitch), (end - 24.0, y), (end - 18.0, y), (end - 24.0, y + pitch)];
            canvas.polygon(&gap, theme::PAPER, 1.0);
        }
        canvas.text(&significant(from), (end + 6.0, middle), Lettering::new(TICK).color(theme::FAINT));
    }
    let below = (area.x + area.width / 2.0, area.y + area.height + 32.0);
    canvas.text(&format!("mean request latency [{unit}]"), below, Lettering::new(LABEL).center());
    panel::legend(&mut canvas, &entries, (MARGIN, legend_y), WIDTH - 2.0 * MARGIN);
    canvas.finish()?;
    Ok((drawing, size))
}

#[cfg(test)]
mod tests {
    use super::reach;

    #[test]
    fn only_a_few_bars_that_tower_over_all_others_are_cut() {
        let reach = |totals: &[f64]| reach(totals.iter().copied());
        assert_eq!(reach(&[10.0, 30.0, 20.0, 25.0, 90.0]), 90.0, "three times is no tower");
        assert_eq!(reach(&[10.0, 30.0, 20.0, 25.0, 1300.0]), 1.4 * 30.0);
        assert_eq!(reach(&[1.0, 50.0]), 50.0, "one of two is not a few");
    }
}
