//! The frame of a panel: title, axes, grid and tick labels that do not overlap, and the legend below the panels.
use super::canvas::{Canvas, Lettering, Xy, text_width};
use super::scale::{Scale, Tick};
use crate::theme;
use plotters::style::RGBColor;

pub const TITLE: f64 = 16.0;
pub const LABEL: f64 = 12.5;
pub const TICK: f64 = 11.0;

/// The outer margin of a picture in px.
pub const MARGIN: f64 = 18.0;

/// A panel's plotting area in px.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// The axes of a panel with their ticks.
pub struct Axes {
    pub x: Scale,
    pub x_ticks: Vec<Tick>,
    pub y: Scale,
    pub y_ticks: Vec<Tick>,
}

impl Axes {
    /// Returns the position of a point on the canvas.
    pub fn at(&self, area: Area, (x, y): Xy) -> Xy {
        (area.x + area.width * self.x.place(x), area.y + area.height * (1.0 - self.y.place(y)))
    }

    /// Returns the width of the y axis's labels in px.
    pub fn y_label_width(&self) -> f64 {
        self.y_ticks.iter().map(|tick| text_width(&tick.label, TICK)).fold(0.0, f64::max)
    }

    /// Draws the grid, the axes and the tick labels. Labels of the x axis that would overlap are broken into several
    /// lines or left out.
    pub fn draw(&self, canvas: &mut Canvas<'_>, area: Area, (x_labels, y_labels): (bool, bool)) {
        let (right, bottom) = (area.x + area.width, area.y + area.height);
        for tick in &self.y_ticks {
            let y = area.y + area.height * (1.0 - self.y.place(tick.value));
            canvas.line(&[(area.x, y), (right, y)], theme::GRID, 1.0);
            if y_labels {
                canvas.text(&tick.label, (area.x - 7.0, y), Lettering::new(TICK).right().color(theme::FAINT));
            }
        }
        let named = matches!(self.x, Scale::Names { .. });
        for tick in &self.x_ticks {
            let x = area.x + area.width * self.x.place(tick.value);
            if !named {
                canvas.line(&[(x, area.y), (x, bottom)], theme::GRID, 1.0);
            }
            canvas.line(&[(x, bottom), (x, bottom + 4.0)], theme::AXIS, 1.0);
        }
        canvas.line(&[(area.x, bottom), (right, bottom)], theme::AXIS, 1.2);
        canvas.line(&[(area.x, area.y), (area.x, bottom)], theme::AXIS, 1.2);
        if x_labels {
            self.draw_x_labels(canvas, area);
        }
    }

    fn draw_x_labels(&self, canvas: &mut Canvas<'_>, area: Area) {
        let bottom = area.y + area.height;
        let how = Lettering::new(TICK).center().color(theme::FAINT);
        let room = match self.x {
            Scale::Names { count } => area.width / count.max(1) as f64 - 6.0,
            _ => f64::MAX,
        };
        let mut free = f64::MIN;
        for tick in &self.x_ticks {
            let x = area.x + area.width * self.x.place(tick.value);
            let lines = wrap(&tick.label, room);
            let width = lines.iter().map(|line| text_width(line, TICK)).fold(0.0, f64::max);
            if x - width / 2.0 < free {
                continue;
            }
            for (at, line) in lines.iter().enumerate() {
                canvas.text(line, (x, bottom + 14.0 + 14.0 * at as f64), how);
            }
            free = x + width / 2.0 + 5.0;
        }
    }

    /// Returns the number of text lines that the labels of the x axis take.
    pub fn x_label_rows(&self, width: f64) -> usize {
        let Scale::Names { count } = self.x else { return 1 };
        let room = width / count.max(1) as f64 - 6.0;
        self.x_ticks.iter().map(|tick| wrap(&tick.label, room).len()).max().unwrap_or(1)
    }
}

/// Breaks a label into lines, at commas or else at spaces, if it is wider than `room` px.
pub fn wrap(label: &str, room: f64) -> Vec<String> {
    if text_width(label, TICK) <= room {
        return vec![label.to_owned()];
    }
    let separator = if label.contains(", ") { ", " } else { " " };
    let mut lines: Vec<String> = Vec::new();
    for word in label.split(separator) {
        let longer = lines.last().map(|line| format!("{line}{separator}{word}"));
        match (lines.last_mut(), longer) {
            (Some(line), Some(longer)) if text_width(&longer, TICK) <= room => *line = longer,
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Draws the title of one of several panels above it, no wider than the panel.
pub fn title(canvas: &mut Canvas<'_>, text: &str, area: Area) {
    let size = (LABEL * area.width / (1.08 * text_width(text, LABEL).max(1.0))).clamp(7.0, LABEL);
    canvas.text(text, (area.x, area.y - 11.0), Lettering::new(size).bold());
}

/// Draws the picture's title and the note on its figures. Returns their height in px.
pub fn heading(canvas: &mut Canvas<'_>, title: &str, note: &str) -> f64 {
    canvas.text(title, (MARGIN, MARGIN + 8.0), Lettering::new(TITLE).bold());
    canvas.text(note, (MARGIN, MARGIN + 29.0), Lettering::new(TICK).color(theme::FAINT));
    HEADING
}

pub const HEADING: f64 = MARGIN + 48.0;

/// One entry of a legend.
pub struct Entry {
    pub label: String,
    pub color: RGBColor,
    /// The marker and the dashes of a series; `None` for a filled box.
    pub series: Option<(Option<theme::Marker>, &'static [f64])>,
}

/// The height of a legend's row in px.
const ROW: f64 = 20.0;
const SWATCH: f64 = 34.0;

fn entry_width(entry: &Entry) -> f64 {
    SWATCH + text_width(&entry.label, LABEL) + 22.0
}

/// Returns the number of columns of the legend, which have equal width, and the legend's height in px.
fn legend_grid(entries: &[Entry], width: f64) -> (usize, f64) {
    let widest = entries.iter().map(entry_width).fold(1.0, f64::max);
    let columns = ((width / widest) as usize).clamp(1, entries.len().max(1));
    (columns, entries.len().div_ceil(columns) as f64 * ROW)
}

pub fn legend_height(entries: &[Entry], width: f64) -> f64 {
    if entries.is_empty() { 0.0 } else { legend_grid(entries, width).1 + 8.0 }
}

pub fn legend(canvas: &mut Canvas<'_>, entries: &[Entry], (x, y): Xy, width: f64) {
    let (columns, _) = legend_grid(entries, width);
    let widest = entries.iter().map(entry_width).fold(1.0, f64::max);
    for (at, entry) in entries.iter().enumerate() {
        let x = x + (at % columns) as f64 * widest;
        let y = y + (at / columns) as f64 * ROW + ROW / 2.0;
        match entry.series {
            Some((marker, dash)) => {
                canvas.dashed(&[(x, y), (x + 26.0, y)], entry.color, 1.8, dash);
                if let Some(marker) = marker {
                    canvas.marker((x + 13.0, y), marker, entry.color, 3.6);
                }
            }
            None => canvas.rect((x + 8.0, y - 6.0), (16.0, 12.0), entry.color),
        }
        canvas.text(&entry.label, (x + SWATCH, y), Lettering::new(LABEL));
    }
}
