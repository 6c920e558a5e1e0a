//! A canvas with fractional pixels on top of plotters' SVG backend, which has integer coordinates.
//!
//! The first drawing error is kept until [`Canvas::finish`] returns it, because drawing to memory fails only if there
//! is a bug.
use crate::theme::{self, FONT, INK, Marker};
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle};

/// The number of backend units per pixel.
const FINE: f64 = 10.0;

/// plotters divides the size of a font by this factor when it writes the SVG.
const FONT_SCALE: f64 = 1.24;

pub type Xy = (f64, f64);

pub struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    fault: Option<String>,
}

/// The size, weight, colour and orientation of a text.
#[derive(Clone, Copy)]
pub struct Lettering {
    pub size: f64,
    pub bold: bool,
    pub color: RGBColor,
    pub h: HPos,
    pub v: VPos,
    /// Whether the text runs from bottom to top.
    pub upright: bool,
}

impl Lettering {
    pub const fn new(size: f64) -> Lettering {
        Lettering { size, bold: false, color: INK, h: HPos::Left, v: VPos::Center, upright: false }
    }

    pub const fn bold(self) -> Lettering {
        Lettering { bold: true, ..self }
    }

    pub const fn color(self, color: RGBColor) -> Lettering {
        Lettering { color, ..self }
    }

    pub const fn right(self) -> Lettering {
        Lettering { h: HPos::Right, ..self }
    }

    pub const fn center(self) -> Lettering {
        Lettering { h: HPos::Center, ..self }
    }

    pub const fn upright(self) -> Lettering {
        Lettering { upright: true, ..self }
    }
}

/// Returns the width in px of a text in a font of `size` px.
pub fn text_width(text: &str, size: f64) -> f64 {
    theme::register();
    let font = (FONT, size * FONT_SCALE * FINE).into_font();
    let measured = font.box_size(text).map_or(0.0, |(width, _)| f64::from(width) / FINE);
    // plotters measures text with the font's height, which is slightly less than the font's size.
    measured * 1.03
}

impl<'a> Canvas<'a> {
    pub fn new(svg: &'a mut String, (width, height): Xy) -> Canvas<'a> {
        theme::register();
        let size = ((width * FINE) as u32, (height * FINE) as u32);
        let area = SVGBackend::with_string(svg, size).into_drawing_area();
        let mut canvas = Canvas { area, fault: None };
        canvas.rect((0.0, 0.0), (width, height), theme::PAPER);
        canvas
    }

    /// Ends the drawing.
    ///
    /// # Errors
    /// Returns the first error of the drawing.
    pub fn finish(mut self) -> Result<(), String> {
        let end = self.area.present().map_err(|error| error.to_string());
        self.note(end);
        self.fault.map_or(Ok(()), Err)
    }

    fn note<E: std::fmt::Display>(&mut self, result: Result<(), E>) {
        if let (Err(error), None) = (result, &self.fault) {
            self.fault = Some(error.to_string());
        }
    }

    /// Draws a line. A line without length is left out, because the rasteriser would warn about it.
    pub fn line(&mut self, points: &[Xy], color: RGBColor, width: f64) {
        let points: Vec<(i32, i32)> = points.iter().map(|&xy| fine(xy)).collect();
        if points.windows(2).all(|ends| ends[0] == ends[1]) {
            return;
        }
        let drawn = self.area.draw(&PathElement::new(points, stroke(color, width)));
        self.note(drawn);
    }

    pub fn dashed(&mut self, points: &[Xy], color: RGBColor, width: f64, dash: &[f64]) {
        if dash.is_empty() {
            self.line(points, color, width);
            return;
        }
        for piece in dashes(points, dash) {
            self.line(&piece, color, width);
        }
    }

    /// Draws a filled rectangle. A rectangle without area is left out.
    pub fn rect(&mut self, (x, y): Xy, (width, height): Xy, color: RGBColor) {
        let corners = [fine((x, y)), fine((x + width, y + height))];
        if corners[0].0 == corners[1].0 || corners[0].1 == corners[1].1 {
            return;
        }
        let drawn = self.area.draw(&Rectangle::new(corners, color.filled()));
        self.note(drawn);
    }

    pub fn polygon(&mut self, points: &[Xy], color: RGBColor, opacity: f64) {
        let points: Vec<(i32, i32)> = points.iter().map(|&xy| fine(xy)).collect();
        let drawn = self.area.draw(&Polygon::new(points, color.mix(opacity).filled()));
        self.note(drawn);
    }

    pub fn marker(&mut self, (x, y): Xy, marker: Marker, color: RGBColor, r: f64) {
        match marker {
            Marker::Circle => {
                let drawn = self.area.draw(&Circle::new(fine((x, y)), (r * FINE) as i32, color.filled()));
                self.note(drawn);
            }
            Marker::Square => self.rect((x - 0.88 * r, y - 0.88 * r), (1.76 * r, 1.76 * r), color),
            Marker::Up => {
                self.polygon(&[(x, y - 1.2 * r), (x + 1.1 * r, y + 0.8 * r), (x - 1.1 * r, y + 0.8 * r)], color, 1.0)
            }
            Marker::Down => {
                self.polygon(&[(x, y + 1.2 * r), (x + 1.1 * r, y - 0.8 * r), (x - 1.1 * r, y - 0.8 * r)], color, 1.0)
            }
            Marker::Diamond => {
                self.polygon(&[(x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r), (x - 1.3 * r, y)], color, 1.0)
            }
            Marker::Cross => {
                self.line(&[(x - r, y - r), (x + r, y + r)], color, 1.8);
                self.line(&[(x - r, y + r), (x + r, y - r)], color, 1.8);
            }
            Marker::Plus => {
                self.line(&[(x - 1.2 * r, y), (x + 1.2 * r, y)], color, 1.8);
                self.line(&[(x, y - 1.2 * r), (x, y + 1.2 * r)], color, 1.8);
            }
        }
    }

    pub fn text(&mut self, text: &str, xy: Xy, how: Lettering) {
        let style = if how.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = (FONT, how.size * FONT_SCALE * FINE, style).into_font();
        let font = if how.upright { font.transform(FontTransform::Rotate270) } else { font };
        let style = TextStyle::from(font).color(&how.color).pos(Pos::new(how.h, how.v));
        let drawn = self.area.draw(&Text::new(text.to_owned(), fine(xy), style));
        self.note(drawn);
    }
}

fn fine((x, y): Xy) -> (i32, i32) {
    ((x * FINE).round() as i32, (y * FINE).round() as i32)
}

fn stroke(color: RGBColor, width: f64) -> ShapeStyle {
    color.stroke_width((width * FINE).round() as u32)
}

/// Splits a path into dashes. A dash that reaches a corner of the path continues around it.
fn dashes(points: &[Xy], dash: &[f64]) -> Vec<Vec<Xy>> {
    let (mut pieces, mut piece) = (Vec::new(), Vec::new());
    let (mut at, mut left) = (0, dash[0]);
    for pair in points.windows(2) {
        let ((mut x, mut y), (x1, y1)) = (pair[0], pair[1]);
        loop {
            let on = at % 2 == 0;
            if on && piece.is_empty() {
                piece.push((x, y));
            }
            let rest = (x1 - x).hypot(y1 - y);
            if rest <= left {
                left -= rest;
                if on {
                    piece.push((x1, y1));
                }
                break;
            }
            (x, y) = (x + (x1 - x) * left / rest, y + (y1 - y) * left / rest);
            if on {
                piece.push((x, y));
                pieces.push(std::mem::take(&mut piece));
            }
            at = (at + 1) % dash.len();
            left = dash[at];
        }
    }
    if piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}
