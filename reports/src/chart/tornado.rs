//! A tornado chart: each input has two bars that begin at a middle line, one for a smaller value of the input and one
//! for a larger value. The longest bars are on top.
use super::canvas::{Canvas, Lettering, text_width};
use super::panel::{self, Entry, LABEL, MARGIN, TICK};
use super::picture::Picture;
use super::{WIDTH, impossible};
use crate::cells::number;
use crate::error::Result;
use crate::theme;

/// The effect of one input on the result.
pub struct Bar {
    pub label: String,
    /// The relative change of the result with a smaller value of the input or, for a choice, with the other choice.
    pub less: f64,
    /// The relative change of the result with a larger value of the input; `None` for a choice.
    pub more: Option<f64>,
}

const PITCH: f64 = 26.0;

/// Draws the bars in the given order, the first on top.
///
/// # Errors
/// No input changes the result, or the drawing fails.
pub fn draw(title: &str, bars: &[Bar]) -> Result<Picture> {
    let name = "tornado";
    let sound = |bar: &&Bar| bar.less.is_finite() && bar.more.is_none_or(f64::is_finite);
    let bars: Vec<&Bar> = bars.iter().filter(sound).collect();
    let shares = || bars.iter().flat_map(|bar| [Some(bar.less), bar.more]).flatten();
    let (low, high) = shares().fold((0.0f64, 0.0f64), |(low, high), share| (low.min(share), high.max(share)));
    if bars.is_empty() || high - low <= 0.0 {
        return Err(impossible(name, "no input changes the result"));
    }
    let labels = bars.iter().map(|bar| text_width(&bar.label, TICK)).fold(0.0, f64::max);
    // Both sides have room for the number at the end of a bar.
    let room = text_width("+000.0 %", TICK) + 8.0;
    let (left, right) = (MARGIN + labels + 10.0 + room, WIDTH - MARGIN - room);
    let place = |share: f64| left + (right - left) * (share - low) / (high - low);
    let height = PITCH * bars.len() as f64;
    let size = (WIDTH, (panel::HEADING + height + 74.0 + MARGIN).ceil());
    let mut drawing = String::new();
    let mut canvas = Canvas::new(&mut drawing, size);
    panel::heading(&mut canvas, title, "change of the mean latency, geometric mean over the cells");
    let (less, more, choice) = (theme::PALETTE[0], theme::PALETTE[1], theme::PALETTE[2]);
    for (at, bar) in bars.iter().enumerate() {
        let y = panel::HEADING + PITCH * at as f64;
        let middle = y + PITCH / 2.0;
        canvas.text(&bar.label, (MARGIN + labels, middle), Lettering::new(TICK).right());
        let colour = if bar.more.is_some() { less } else { choice };
        for (share, colour) in [(Some(bar.less), colour), (bar.more, more)] {
            let Some(share) = share else { continue };
            let (from, to) = (place(0.0).min(place(share)), place(0.0).max(place(share)));
            canvas.rect((from, y + 0.16 * PITCH), (to - from, 0.68 * PITCH), colour);
        }
        let ends = [Some(bar.less), bar.more];
        for (positive, at) in [(false, low), (true, high)] {
            let end = ends.iter().flatten().filter(|share| (**share > 0.0) == positive).copied();
            let far = end.fold(0.0f64, |far, share| if share.abs() > far.abs() { share } else { far });
            // An input without effect gets its number on one side only.
            let nothing = !positive && ends.iter().flatten().all(|share| *share == 0.0);
            if (far == 0.0 || at == 0.0) && !nothing {
                continue;
            }
            let text = if far.abs() < 0.0005 { "0.0 %".to_owned() } else { format!("{:+.1} %", 100.0 * far) };
            let how = Lettering::new(TICK).color(theme::FAINT);
            match positive {
                true => canvas.text(&text, (place(far) + 6.0, middle), how),
                false => canvas.text(&text, (place(far) - 6.0, middle), how.right()),
            }
        }
    }
    let bottom = panel::HEADING + height;
    canvas.line(&[(place(0.0), panel::HEADING), (place(0.0), bottom)], theme::AXIS, 1.2);
    canvas.text("as it is", (place(0.0), bottom + 14.0), Lettering::new(LABEL).center());
    let entry = |label: &str, color| Entry { label: label.to_owned(), color, series: None };
    let entries = [entry("less of it", less), entry("more of it", more), entry("another choice", choice)];
    let used: Vec<Entry> = entries
        .into_iter()
        .zip([
            bars.iter().any(|bar| bar.more.is_some()),
            bars.iter().any(|bar| bar.more.is_some()),
            bars.iter().any(|bar| bar.more.is_none()),
        ])
        .filter(|(_, used)| *used)
        .map(|(entry, _)| entry)
        .collect();
    panel::legend(&mut canvas, &used, (MARGIN, bottom + 48.0), WIDTH - 2.0 * MARGIN);
    canvas.finish().map_err(|why| impossible(name, why))?;
    let mut rows = vec![["input", "less", "more"].map(str::to_owned).to_vec()];
    rows.extend(
        bars.iter().map(|bar| vec![bar.label.clone(), number(bar.less), bar.more.map(number).unwrap_or_default()]),
    );
    Picture::new(name, title, &drawing, size, &rows)
}
