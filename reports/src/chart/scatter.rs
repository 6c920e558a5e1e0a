//! Prediction against measurement: a point for each cell, a panel for each measure, and the line of equality.
use super::canvas::{Canvas, Lettering, Xy};
use super::panel::{self, Area, Axes, LABEL, MARGIN};
use super::picture::Picture;
use super::scale::Scale;
use super::{WIDTH, impossible};
use crate::cells::number;
use crate::error::Result;
use crate::theme;

/// A cell's name, and the live and the simulated value of one measure.
pub type Pair = (String, f64, f64);

/// The points of one measure.
pub struct Group {
    pub measure: String,
    pub points: Vec<Pair>,
}

/// The relative half width of the band around the line of equality.
const BAND: f64 = 0.10;

/// Draws a panel for each group.
///
/// # Errors
/// No cell has a measure both live and simulated, or the drawing fails.
pub fn draw(title: &str, note: &str, groups: &[Group]) -> Result<Picture> {
    let name = "twin";
    let finite = |p: &Pair| p.1.is_finite() && p.2.is_finite() && p.1 > 0.0 && p.2 > 0.0;
    let groups: Vec<(&str, Vec<&Pair>)> = groups
        .iter()
        .map(|group| (group.measure.as_str(), group.points.iter().filter(|p| finite(p)).collect()))
        .collect();
    let groups: Vec<_> = groups.into_iter().filter(|(_, points): &(&str, Vec<_>)| !points.is_empty()).collect();
    if groups.is_empty() {
        return Err(impossible(name, "no cell has a measure both live and simulated"));
    }
    let columns = groups.len().min(2);
    let rows = groups.len().div_ceil(columns);
    let (left, gap) = (MARGIN + 74.0, 84.0);
    let side = (WIDTH - left - MARGIN - gap * (columns - 1) as f64) / columns as f64;
    let side = side.min(340.0);
    let step = side + 84.0;
    let size = (WIDTH, (panel::HEADING + rows as f64 * step + MARGIN).ceil());
    let mut drawing = String::new();
    let mut canvas = Canvas::new(&mut drawing, size);
    panel::heading(&mut canvas, title, note);
    for (at, (measure, points)) in groups.iter().enumerate() {
        let area = Area {
            x: left + (at % columns) as f64 * (side + gap),
            y: panel::HEADING + 24.0 + (at / columns) as f64 * step,
            width: side,
            height: side,
        };
        draw_panel(&mut canvas, area, measure, points, at);
    }
    canvas.finish().map_err(|why| impossible(name, why))?;
    let mut table = vec![["measure", "cell", "live", "sim"].map(str::to_owned).to_vec()];
    for (measure, points) in &groups {
        table.extend(
            points
                .iter()
                .map(|(cell, live, sim)| vec![(*measure).to_owned(), cell.clone(), number(*live), number(*sim)]),
        );
    }
    Picture::new(name, title, &drawing, size, &table)
}

fn draw_panel(canvas: &mut Canvas<'_>, area: Area, measure: &str, points: &[&Pair], look: usize) {
    let scale = Scale::of_places(points.iter().flat_map(|point| [point.1, point.2]));
    let ticks = scale.ticks(5);
    let axes = Axes { x: scale.clone(), x_ticks: ticks.clone(), y: scale.clone(), y_ticks: ticks };
    canvas.text(measure, (area.x, area.y - 12.0), Lettering::new(LABEL).bold());
    let (low, high) = match scale {
        Scale::Linear { low, high } | Scale::Log { low, high } => (low, high),
        Scale::Names { .. } => (0.0, 1.0),
    };
    // The band's edges are drawn in small steps, because they are curved on a logarithmic axis.
    let edge = |factor: f64| {
        (0..=64)
            .map(move |at| low + (high - low) * f64::from(at) / 64.0)
            .map(move |x| (x, (x * factor).clamp(low, high)))
    };
    let band: Vec<Xy> = edge(1.0 + BAND)
        .chain(edge(1.0 - BAND).collect::<Vec<_>>().into_iter().rev())
        .map(|xy| axes.at(area, xy))
        .collect();
    canvas.polygon(&band, theme::GRID, 0.8);
    axes.draw(canvas, area, (true, true));
    canvas.line(&[axes.at(area, (low, low)), axes.at(area, (high, high))], theme::AXIS, 1.2);
    for (_, live, sim) in points.iter().copied() {
        let look = look % theme::SERIES;
        canvas.marker(axes.at(area, (*live, *sim)), theme::MARKERS[look], theme::PALETTE[look], 4.0);
    }
    let below = (area.x + area.width / 2.0, area.y + area.height + 34.0);
    canvas.text("measured live", below, Lettering::new(LABEL).center());
    let beside = (area.x - 62.0, area.y + area.height / 2.0);
    canvas.text("simulated", beside, Lettering::new(LABEL).center().upright());
}
