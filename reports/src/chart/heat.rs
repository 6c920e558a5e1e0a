//! A heatmap: a quantity over two swept values, with a coloured field and a number for each pair of values.
use super::canvas::{Canvas, Lettering, text_width};
use super::group::{self, Key, Keyed};
use super::panel::{self, Area, LABEL, MARGIN, TICK};
use super::picture::Picture;
use super::scale::Scale;
use super::{Quantity, Source, WIDTH, impossible, slug};
use crate::cells::number;
use crate::error::Result;
use crate::table::{self, significant};
use crate::theme;

/// A field of a heatmap: the indices of its two swept values in `Map::xs` and `Map::ys`, and the quantity's value in
/// the field.
type Field = (usize, usize, f64);

/// A panel: the values that its fields share, and the fields.
type Panel = (Key, Vec<Field>);

/// The contents of a heatmap.
struct Map {
    xs: Vec<String>,
    ys: Vec<String>,
    facets: Vec<Panel>,
    low: f64,
    high: f64,
}

/// Draws a quantity over the swept paths `x` and `y`.
///
/// # Errors
/// A path was not swept, the runs lack the quantity, or the drawing fails.
pub fn map(source: &Source, x: &str, y: &str, (column, quantity, unit): Quantity) -> Result<Picture> {
    let name = format!("{}-over-{}-and-{}", slug(quantity), slug(x), slug(y));
    group::checked(source, &name, x)?;
    group::checked(source, &name, y)?;
    let (unit, scale) = table::unit_for(unit, source.cells().filter_map(|(_, cell)| cell.mean(column)));
    let map = batch_wait(source, (x, y), column, scale);
    if map.facets.iter().all(|(_, fields)| fields.is_empty()) {
        return Err(impossible(&name, format!("no cell has a {quantity}")));
    }
    let mut rows = vec![vec!["panel".to_owned(), x.to_owned(), y.to_owned(), format!("{quantity} [{unit}]")]];
    for (key, fields) in &map.facets {
        rows.extend(fields.iter().map(|&(at_x, at_y, value)| {
            vec![group::label(key), map.xs[at_x].clone(), map.ys[at_y].clone(), number(value)]
        }));
    }
    let title = format!("{}: {quantity} [{unit}]", source.scenario);
    let axes = (table::short(x), table::short(y));
    let (drawing, size) = draw(&map, &title, unit, &axes).map_err(|why| impossible(&name, why))?;
    Picture::new(&name, &title, &drawing, size, &rows)
}

fn batch_wait(source: &Source, (x, y): (&str, &str), column: &str, scale: f64) -> Map {
    let xs = group::ordered(source.cells().filter_map(|(_, cell)| group::value(cell, x)));
    let ys = group::ordered(source.cells().filter_map(|(_, cell)| group::value(cell, y)));
    let cells = group::keyed(source, &[x, y]);
    let field = |of: &Keyed<'_>| {
        let (in_x, in_y) = (group::value(of.cell, x)?, group::value(of.cell, y)?);
        let place = |all: &[String], value: &String| all.iter().position(|known| known == value);
        Some((place(&xs, &in_x)?, place(&ys, &in_y)?, of.cell.mean(column)? * scale))
    };
    let facets = group::distinct(&cells).into_iter().map(|key| {
        let fields: Vec<_> = cells.iter().filter(|of| of.key == key).filter_map(field).collect();
        (key, fields)
    });
    let facets: Vec<Panel> = facets.collect();
    let values = facets.iter().flat_map(|(_, fields)| fields).map(|field| field.2);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    Map { xs, ys, facets, low, high }
}

impl Map {
    /// Whether colours follow the logarithm of the value, as they do if the values span more than a decade.
    fn logarithmic(&self) -> bool {
        self.low > 0.0 && self.high / self.low > 10.0
    }

    fn shade(&self, value: f64) -> f64 {
        let (at, low, high) = match self.logarithmic() {
            true => (value.ln(), self.low.ln(), self.high.ln()),
            false => (value, self.low, self.high),
        };
        if high > low { (at - low) / (high - low) } else { 0.5 }
    }

    fn scale(&self) -> Scale {
        match self.logarithmic() {
            true => Scale::Log { low: self.low, high: self.high },
            false if self.high > self.low => Scale::Linear { low: self.low, high: self.high },
            false => Scale::Names { count: 1 },
        }
    }
}

const BAR: f64 = 14.0;

fn draw(
    map: &Map,
    title: &str,
    unit: &str,
    (x_name, y_name): &(String, String),
) -> std::result::Result<(String, (f64, f64)), String> {
    let count = map.facets.len();
    let columns = if count == 1 {
        1
    } else if count.is_multiple_of(3) || count > 4 {
        3
    } else {
        2
    };
    let y_labels = map.ys.iter().map(|label| text_width(label, TICK)).fold(0.0, f64::max);
    let scale_labels =
        [map.low, map.high].map(|value| text_width(&significant(value), TICK)).into_iter().fold(0.0, f64::max);
    let left = MARGIN + 24.0 + y_labels + 8.0;
    let right = MARGIN + scale_labels + 8.0 + BAR + 22.0;
    let gap = 16.0;
    let width = ((WIDTH - left - right - gap * (columns - 1) as f64) / columns as f64).min(200.0 * map.xs.len() as f64);
    let field = (width / map.xs.len() as f64, if count == 1 { 40.0 } else { 30.0 });
    let height = field.1 * map.ys.len() as f64;
    let panel_title = if count == 1 { 0.0 } else { 22.0 };
    let rows = count.div_ceil(columns);
    let step = height + panel_title + 26.0;
    let used = columns as f64 * width + gap * (columns - 1) as f64;
    let wide = (left + used + right).max(text_width(title, panel::TITLE) * 1.1 + 2.0 * MARGIN).min(WIDTH);
    // The colour scale has a minimum height, which exceeds the height of a map of one or two rows.
    let scale = height.clamp(120.0, 260.0);
    let high = (rows as f64 * step + 20.0).max(panel_title + scale + TICK);
    let size = (wide.ceil(), (panel::HEADING + high + MARGIN).ceil());
    let mut drawing = String::new();
    let mut canvas = Canvas::new(&mut drawing, size);
    let kind = if map.logarithmic() { "; colours by its logarithm" } else { "" };
    panel::heading(&mut canvas, title, &format!("mean over repetitions{kind}"));
    for (at, (key, fields)) in map.facets.iter().enumerate() {
        let area = Area {
            x: left + (at % columns) as f64 * (width + gap),
            y: panel::HEADING + panel_title + (at / columns) as f64 * step,
            width,
            height,
        };
        if count > 1 {
            panel::title(&mut canvas, &group::label(key), area);
        }
        draw_fields(&mut canvas, map, area, field, fields);
        draw_labels(&mut canvas, map, area, field, at % columns == 0);
    }
    let bottom = panel::HEADING + rows as f64 * step;
    canvas.text(x_name, (left + used / 2.0, bottom + 10.0), Lettering::new(LABEL).center());
    canvas.text(
        y_name,
        (MARGIN + 6.0, (panel::HEADING + bottom - 26.0) / 2.0),
        Lettering::new(LABEL).center().upright(),
    );
    draw_scale(&mut canvas, map, unit, (left + used + 22.0, panel::HEADING + panel_title, scale));
    canvas.finish()?;
    Ok((drawing, size))
}

fn draw_fields(canvas: &mut Canvas<'_>, map: &Map, area: Area, (width, height): (f64, f64), fields: &[Field]) {
    for &(x, y, value) in fields {
        // The first value of the y axis is at the bottom.
        let corner = (area.x + x as f64 * width, area.y + area.height - (y + 1) as f64 * height);
        let color = theme::cividis(map.shade(value));
        canvas.rect((corner.0 + 0.5, corner.1 + 0.5), (width - 1.0, height - 1.0), color);
        let text = significant(value);
        let size = (TICK * (width - 6.0) / text_width(&text, TICK)).clamp(6.5, TICK + 1.0);
        let middle = (corner.0 + width / 2.0, corner.1 + height / 2.0);
        canvas.text(&text, middle, Lettering::new(size).center().color(theme::ink_on(color)));
    }
}

fn draw_labels(canvas: &mut Canvas<'_>, map: &Map, area: Area, (width, height): (f64, f64), y_labels: bool) {
    let how = Lettering::new(TICK).color(theme::FAINT);
    let mut free = f64::MIN;
    for (at, label) in map.xs.iter().enumerate() {
        let x = area.x + (at as f64 + 0.5) * width;
        let half = text_width(label, TICK) / 2.0;
        if x - half >= free {
            canvas.text(label, (x, area.y + area.height + 12.0), how.center());
            free = x + half + 4.0;
        }
    }
    for (at, label) in map.ys.iter().enumerate().filter(|_| y_labels) {
        let y = area.y + area.height - (at as f64 + 0.5) * height;
        canvas.text(label, (area.x - 7.0, y), how.right());
    }
}

fn draw_scale(canvas: &mut Canvas<'_>, map: &Map, unit: &str, (x, y, height): (f64, f64, f64)) {
    const SLICES: usize = 64;
    let slice = height / SLICES as f64;
    for at in 0..SLICES {
        let shade = 1.0 - at as f64 / (SLICES - 1) as f64;
        canvas.rect((x, y + at as f64 * slice), (BAR, slice + 0.4), theme::cividis(shade));
    }
    let mut ticks: Vec<(f64, String)> = map.scale().ticks(5).into_iter().map(|t| (t.value, t.label)).collect();
    if ticks.len() < 2 {
        ticks = vec![(map.low, significant(map.low)), (map.high, significant(map.high))];
    }
    for (value, label) in ticks {
        let at = y + height * (1.0 - map.shade(value));
        canvas.line(&[(x + BAR, at), (x + BAR + 4.0, at)], theme::AXIS, 1.0);
        canvas.text(&label, (x + BAR + 8.0, at), Lettering::new(TICK).color(theme::FAINT));
    }
    canvas.text(unit, (x, y - 13.0), Lettering::new(TICK).color(theme::FAINT));
}
