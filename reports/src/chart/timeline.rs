//! The throughput of the swarm over time, with the faults that occurred: a panel for each cell's first repetition.
use super::canvas::{Canvas, Lettering, text_width};
use super::group::{self, Keyed};
use super::panel::{self, Area, Axes, Entry, LABEL, MARGIN, TICK};
use super::picture::Picture;
use super::scale::Scale;
use super::{Source, WIDTH, impossible};
use crate::cells::number;
use crate::error::Result;
use crate::run_timeline::{Bin, RunTimeline, TimelineFault};
use crate::theme;
use plotters::style::RGBColor;

/// The maximum number of cells in one picture.
const PANELS: usize = 6;

struct Panel {
    title: String,
    bins: Vec<Bin>,
    faults: Vec<TimelineFault>,
}

impl Panel {
    fn rate(bin: &Bin) -> f64 {
        bin.tokens as f64 / ((bin.till_ns - bin.from_ns).max(1) as f64 / 1e9)
    }

    fn end_s(&self) -> f64 {
        self.bins.last().map_or(0.0, |bin| bin.till_ns as f64 / 1e9)
    }
}

/// Draws the throughput and the faults over time.
///
/// # Errors
/// The runs have no timeline, or the drawing fails.
pub fn timeline(source: &Source) -> Result<Picture> {
    let name = "timeline";
    let courses = source.runs.iter().map(|run| RunTimeline::read(&run.dir)).collect::<Result<Vec<_>>>()?;
    let cells = group::keyed(source, &[]);
    let mut panels = Vec::new();
    for Keyed { key, run, cell } in &cells {
        let at = source.runs.iter().position(|known| std::ptr::eq(known, *run)).unwrap_or(0);
        let bins = courses[at].bins.iter().filter(|bin| bin.cell == cell.cell && bin.repeat == 0).copied();
        let bins: Vec<Bin> = bins.collect();
        if let Some(end) = bins.last().map(|bin| bin.till_ns) {
            let here = |fault: &&TimelineFault| {
                fault.cell == cell.cell && fault.repeat == 0 && (0..end).contains(&fault.at_ns)
            };
            let faults = courses[at].faults.iter().filter(here).cloned().collect();
            panels.push(Panel { title: group::label(key), bins, faults });
        }
    }
    let left_out = panels.len().saturating_sub(PANELS);
    panels.truncate(PANELS);
    if panels.is_empty() {
        return Err(impossible(name, "no run reached the start of its timed part"));
    }
    let title = format!("{}: throughput over time", source.scenario);
    let more = if left_out > 0 { format!("; {left_out} more cells are not shown") } else { String::new() };
    let note = format!("tokens that arrived in short spans of the first repetition, over their length{more}");
    let (drawing, size) = draw(&title, &note, &panels).map_err(|why| impossible(name, why))?;
    let header = ["cell", "from [s]", "tokens/s", "requests under way", "peers busy"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for panel in &panels {
        rows.extend(panel.bins.iter().map(|bin| {
            let figures = [bin.from_ns as f64 / 1e9, Panel::rate(bin), bin.under_way, bin.peers_busy].map(number);
            [panel.title.clone()].into_iter().chain(figures).collect()
        }));
    }
    Picture::new(name, &title, &drawing, size, &rows)
}

/// Returns the colour and the dashes of a kind of fault.
fn look(what: &str) -> (RGBColor, &'static [f64]) {
    let at = match what {
        "crash" => 1,
        "restart" | "join" => 2,
        "leave" => 3,
        "stall" => 4,
        "partition" => 6,
        _ => 5,
    };
    (theme::PALETTE[at], theme::DASHES[at])
}

fn draw(title: &str, note: &str, panels: &[Panel]) -> std::result::Result<(String, (f64, f64)), String> {
    let x = Scale::Linear { low: 0.0, high: panels.iter().map(Panel::end_s).fold(0.0, f64::max).max(1e-9) };
    let rates = panels.iter().flat_map(|panel| &panel.bins).map(Panel::rate);
    let y = Scale::Linear { low: 0.0, high: rates.fold(0.0, f64::max).max(1e-9) * 1.06 };
    let axes = Axes { x_ticks: x.ticks(8), x, y_ticks: y.ticks(4), y };
    let mut entries = Vec::new();
    let mut kinds: Vec<&str> = panels.iter().flat_map(|panel| &panel.faults).map(|fault| fault.what.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let (color, dash) = look(kind);
        entries.push(Entry { label: kind.to_owned(), color, series: Some((None, dash)) });
    }
    let left = MARGIN + 24.0 + axes.y_label_width() + 10.0;
    let height = if panels.len() == 1 { 260.0 } else { 120.0 };
    // The space above a panel holds its title, if it has one, and two rows for the names of hosts that faults affected.
    let above = if panels.iter().any(|panel| !panel.title.is_empty()) { 22.0 } else { 6.0 }
        + if entries.is_empty() { 0.0 } else { 26.0 };
    let step = above + height + 12.0;
    let bottom = panel::HEADING + panels.len() as f64 * step;
    let legend_y = bottom + 42.0;
    let size = (WIDTH, (legend_y + panel::legend_height(&entries, WIDTH - left - MARGIN) + MARGIN).ceil());
    let mut drawing = String::new();
    let mut canvas = Canvas::new(&mut drawing, size);
    panel::heading(&mut canvas, title, note);
    for (at, panel) in panels.iter().enumerate() {
        let y = panel::HEADING + at as f64 * step + above;
        let area = Area { x: left, y, width: WIDTH - left - MARGIN, height };
        canvas.text(&panel.title, (left, y - above + 9.0), Lettering::new(LABEL).bold());
        draw_panel(&mut canvas, &axes, area, panel, at + 1 == panels.len());
    }
    let middle = (panel::HEADING + bottom) / 2.0;
    canvas.text("throughput [tokens/s]", (MARGIN + 6.0, middle), Lettering::new(LABEL).center().upright());
    let below = ((left + WIDTH - MARGIN) / 2.0, bottom + 22.0);
    canvas.text("time since the barrier's release [s]", below, Lettering::new(LABEL).center());
    panel::legend(&mut canvas, &entries, (left, legend_y), WIDTH - left - MARGIN);
    canvas.finish()?;
    Ok((drawing, size))
}

fn draw_panel(canvas: &mut Canvas<'_>, axes: &Axes, area: Area, panel: &Panel, last: bool) {
    for fault in &panel.faults {
        if let Some(lasts) = fault.lasts_ns {
            let from = axes.at(area, (fault.at_ns as f64 / 1e9, 0.0)).0;
            let till = axes.at(area, ((fault.at_ns as f64 + lasts as f64) / 1e9, 0.0)).0.min(area.x + area.width);
            let corners = [(from, area.y), (till, area.y), (till, area.y + area.height), (from, area.y + area.height)];
            canvas.polygon(&corners, look(&fault.what).0, 0.15);
        }
    }
    axes.draw(canvas, area, (last, true));
    let mut steps = Vec::new();
    for bin in &panel.bins {
        let rate = Panel::rate(bin);
        steps.push(axes.at(area, (bin.from_ns as f64 / 1e9, rate)));
        steps.push(axes.at(area, (bin.till_ns as f64 / 1e9, rate)));
    }
    let floor = area.y + area.height;
    let ends = (steps.first().map_or(area.x, |first| first.0), steps.last().map_or(area.x, |last| last.0));
    let filled: Vec<_> = [(ends.0, floor)].into_iter().chain(steps.iter().copied()).chain([(ends.1, floor)]).collect();
    canvas.polygon(&filled, theme::PALETTE[0], 0.18);
    canvas.line(&steps, theme::PALETTE[0], 1.5);
    let line = |fault: &TimelineFault| axes.at(area, (fault.at_ns as f64 / 1e9, 0.0)).0;
    for fault in &panel.faults {
        let (color, dash) = look(&fault.what);
        canvas.dashed(&[(line(fault), area.y - 3.0), (line(fault), floor)], color, 1.3, dash);
    }
    for (fault, center, row) in names(&panel.faults, area, line) {
        let how = Lettering::new(TICK).center().color(look(&fault.what).0);
        canvas.text(&fault.on, (center, area.y - 10.0 - 13.0 * row as f64), how);
    }
}

/// Returns where to write the names of the hosts that faults affected: the fault, the middle of the name in px, and one
/// of two rows. If some name has no free place in either row, no names at all are returned.
fn names(
    faults: &[TimelineFault],
    area: Area,
    line: impl Fn(&TimelineFault) -> f64,
) -> Vec<(&TimelineFault, f64, usize)> {
    let (mut free, mut names) = ([f64::MIN; 2], Vec::new());
    // Names that are too long are left out, such as the list of all hosts that a partition affects.
    for fault in faults.iter().filter(|fault| !fault.on.is_empty() && text_width(&fault.on, TICK) < 120.0) {
        let half = text_width(&fault.on, TICK) / 2.0;
        let center = line(fault).clamp(area.x + half, (area.x + area.width - half).max(area.x));
        let Some(row) = free.iter().position(|free| *free <= center - half) else { return Vec::new() };
        free[row] = center + half + 6.0;
        names.push((fault, center, row));
    }
    names
}
