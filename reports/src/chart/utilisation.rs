//! The utilisation of each peer over time: a strip for each peer, from the first repetition of each cell.
use super::canvas::{Canvas, Lettering, text_width};
use super::group::{self, Keyed};
use super::panel::{self, Area, Axes, LABEL, MARGIN, TICK};
use super::picture::Picture;
use super::scale::Scale;
use super::{Labelled, Source, WIDTH, impossible};
use crate::cells::number;
use crate::error::Result;
use crate::read;
use crate::run_timeline::{Busy, RunTimeline};
use crate::theme;
use actors::id::NodeId;
use scenarios::plan::Plan;

/// The maximum number of cells in one picture.
const CELLS: usize = 4;

/// The maximum number of peers of a cell in one picture.
const PEERS: usize = 24;

struct Strips {
    title: String,
    /// The time in s from the barrier's release to the end of the last interval.
    length: f64,
    /// The peers in the order of the swarm: their names, and their utilisation in each interval.
    peers: Vec<(String, Vec<f64>)>,
    left_out: usize,
}

/// Draws the utilisation of each peer over time.
///
/// # Errors
/// The runs have no data on utilisation, or the drawing fails.
pub fn strips(source: &Source) -> Result<Picture> {
    let name = "utilisation";
    let mut all = Vec::new();
    let mut more = 0;
    for Keyed { key, run, cell } in &group::keyed(source, &[]) {
        if all.len() == CELLS {
            more += 1;
            continue;
        }
        if let Some(strips) = strips_of(run, cell.cell, group::label(key))? {
            all.push(strips);
        }
    }
    if all.is_empty() {
        return Err(impossible(name, "no run reached the start of its timed part"));
    }
    let title = format!("{}: how busy the peers are", source.scenario);
    let more = if more > 0 { format!("; {more} more cells are not shown") } else { String::new() };
    let note = format!("share of short spans of the first repetition that a peer computed{more}");
    let (drawing, size) = draw(&title, &note, &all).map_err(|why| impossible(name, why))?;
    let mut rows = vec![["cell", "peer", "from [s]", "busy share"].map(str::to_owned).to_vec()];
    for strips in &all {
        for (peer, shares) in &strips.peers {
            let width = strips.length / shares.len().max(1) as f64;
            rows.extend(shares.iter().enumerate().map(|(at, share)| {
                vec![strips.title.clone(), peer.clone(), number(at as f64 * width), number(*share)]
            }));
        }
    }
    Picture::new(name, &title, &drawing, size, &rows)
}

/// Returns the strips of a cell, which begin at the barrier's release, or `None` if the run has no timeline of the
/// cell.
fn strips_of(run: &Labelled, cell: u32, title: String) -> Result<Option<Strips>> {
    let course = RunTimeline::read(&run.dir)?;
    let busy: Vec<&Busy> = course.busy.iter().filter(|busy| busy.cell == cell).collect();
    let here = course.bins.iter().filter(|bin| bin.cell == cell && bin.repeat == 0);
    let Some(length) = here.map(|bin| bin.till_ns).max().filter(|_| !busy.is_empty()) else { return Ok(None) };
    let plans = read::plans(&run.dir)?;
    let Some(plan) = plans.iter().find(|plan| plan.cell == cell) else { return Ok(None) };
    Ok(Some(chosen(plan, busy, title, length as f64 / 1e9)))
}

/// Returns the strips of at most `PEERS` peers: those with the highest utilisation.
fn chosen(plan: &Plan, mut busy: Vec<&Busy>, title: String, length: f64) -> Strips {
    let total = |busy: &Busy| busy.thousandths.iter().sum::<u32>();
    let shares = |busy: &Busy| busy.thousandths.iter().map(|share| f64::from(*share) / 1000.0).collect();
    busy.sort_by(|a, b| total(b).cmp(&total(a)).then(a.peer.cmp(&b.peer)));
    busy.truncate(PEERS);
    busy.sort_by_key(|busy| busy.peer);
    let left_out = plan.peers().count().saturating_sub(busy.len());
    let peers = busy.into_iter().map(|busy| (plan.called(NodeId(busy.peer)), shares(busy))).collect();
    Strips { title, length, peers, left_out }
}

fn draw(title: &str, note: &str, all: &[Strips]) -> std::result::Result<(String, (f64, f64)), String> {
    const BAR: f64 = 14.0;
    let names = all.iter().flat_map(|strips| &strips.peers).map(|(name, _)| text_width(name, TICK));
    let left = MARGIN + names.fold(0.0, f64::max) + 10.0;
    let right = MARGIN + BAR + 22.0 + text_width("100 %", TICK) + 8.0;
    let most = all.iter().map(|strips| strips.peers.len()).max().unwrap_or(0);
    let pitch = if most > 12 { 16.0 } else { 22.0 };
    let x = Scale::Linear { low: 0.0, high: all.iter().map(|strips| strips.length).fold(0.0, f64::max).max(1e-9) };
    let heights: Vec<f64> = all.iter().map(|strips| pitch * strips.peers.len() as f64).collect();
    let above = if all.len() > 1 || all.iter().any(|strips| !strips.title.is_empty()) { 24.0 } else { 4.0 };
    let total: f64 = heights.iter().map(|height| above + height + 10.0).sum();
    let size = (WIDTH, (panel::HEADING + total + 46.0 + MARGIN).ceil());
    let mut drawing = String::new();
    let mut canvas = Canvas::new(&mut drawing, size);
    panel::heading(&mut canvas, title, note);
    let mut y = panel::HEADING;
    for (at, (strips, &height)) in all.iter().zip(&heights).enumerate() {
        let area = Area { x: left, y: y + above, width: WIDTH - left - right, height };
        let others = if strips.left_out > 0 {
            format!(" ({} less busy peers not shown)", strips.left_out)
        } else {
            String::new()
        };
        canvas.text(&format!("{}{others}", strips.title), (area.x, area.y - 11.0), Lettering::new(TICK).bold());
        let last = at + 1 == all.len();
        let x_ticks = x.ticks(8);
        let axes = Axes { x: x.clone(), x_ticks, y: Scale::Names { count: strips.peers.len() }, y_ticks: Vec::new() };
        axes.draw(&mut canvas, area, (last, false));
        for (row, (name, shares)) in strips.peers.iter().enumerate() {
            let top = area.y + pitch * row as f64;
            canvas.text(name, (area.x - 8.0, top + pitch / 2.0), Lettering::new(TICK).right());
            let width = area.width * x.place(strips.length) / shares.len().max(1) as f64;
            for (bin, share) in shares.iter().enumerate() {
                let color = theme::cividis(share.clamp(0.0, 1.0));
                // Each rectangle reaches under the next one, because rectangles that only touch would show a seam.
                let beyond = if bin + 1 < shares.len() { 0.8 } else { 0.0 };
                canvas.rect((area.x + bin as f64 * width, top + 1.0), (width + beyond, pitch - 2.0), color);
            }
        }
        y += above + height + 10.0;
    }
    let below = (left + (WIDTH - left - right) / 2.0, y + 24.0);
    canvas.text("time since the barrier's release [s]", below, Lettering::new(LABEL).center());
    let (x, top, height) =
        (WIDTH - right + 18.0, panel::HEADING + above, heights[0].clamp(90.0, 220.0).min(total - 20.0));
    for slice in 0..64 {
        let share = 1.0 - f64::from(slice) / 63.0;
        canvas.rect((x, top + f64::from(slice) * height / 64.0), (BAR, height / 64.0 + 0.4), theme::cividis(share));
    }
    for quarter in 0..=2 {
        let share = f64::from(quarter) / 2.0;
        let label = format!("{:.0} %", share * 100.0);
        let at = (x + BAR + 6.0, top + height * (1.0 - share));
        canvas.text(&label, at, Lettering::new(TICK).color(theme::FAINT));
    }
    canvas.finish()?;
    Ok((drawing, size))
}
