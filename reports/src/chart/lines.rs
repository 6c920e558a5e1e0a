//! Line charts of quantities with their intervals against a swept value, and charts of cumulative distributions.
use super::canvas::{Canvas, Lettering, Xy};
use super::group::{self, Facet, Key, Keyed};
use super::panel::{self, Area, Axes, Entry, LABEL, MARGIN};
use super::picture::Picture;
use super::scale::{Scale, Tick};
use super::{Quantity, Source, WIDTH, impossible, slug};
use crate::cells::number;
use crate::error::Result;
use crate::table;
use crate::theme;

/// One line of a panel.
pub(super) struct Series {
    pub key: Key,
    pub points: Vec<Point>,
}

#[derive(Clone, Copy)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
    /// Half the width of the 95 % confidence interval of `y`; `None` for a value without an interval.
    pub half: Option<f64>,
}

/// The contents of a line chart.
pub(super) struct LineChart {
    pub name: String,
    pub title: String,
    pub note: String,
    pub x_name: String,
    pub y_name: String,
    pub x: Scale,
    pub x_ticks: Vec<Tick>,
    pub y: Scale,
    pub facets: Vec<Facet>,
    pub series: Vec<Series>,
    /// Whether the lines are step lines without markers.
    pub steps: bool,
    pub rows: Vec<Vec<String>>,
}

/// Draws a quantity against a swept path, with a line for each combination of the other swept values.
///
/// # Errors
/// The path was not swept, the runs lack the quantity, or the drawing fails.
pub fn against(source: &Source, path: &str, (column, quantity, unit): Quantity) -> Result<Picture> {
    let name = format!("{}-vs-{}", slug(quantity), slug(path));
    group::checked(source, &name, path)?;
    let places = group::ordered(source.cells().filter_map(|(_, cell)| group::value(cell, path)));
    let numbers = group::numbers(&places);
    let (unit, scale) = table::unit_for(unit, source.cells().filter_map(|(_, cell)| cell.mean(column)));
    let cells = group::keyed(source, &[path]);
    let mut keys = group::distinct(&cells);
    // A combination of the other swept values that has only one value of the path gives a point and not a line. It is
    // left out if other combinations give lines.
    let values = |key: &Key| {
        let of_key = cells.iter().filter(|of| of.key == *key && of.cell.get(column).is_some());
        group::ordered(of_key.filter_map(|of| group::value(of.cell, path))).len()
    };
    if keys.iter().any(|key| values(key) > 1) {
        keys.retain(|key| values(key) > 1);
    }
    let mut rows = vec![vec![
        "series".into(),
        path.to_owned(),
        in_unit(quantity, unit),
        "ci95 half width".into(),
        "repetitions".into(),
    ]];
    let mut series = Vec::new();
    for key in &keys {
        let mut points = Vec::new();
        for Keyed { cell, .. } in cells.iter().filter(|of| of.key == *key) {
            let Some(value) = group::value(cell, path) else { continue };
            let (Some(at), Some(sample)) = (places.iter().position(|place| *place == value), cell.get(column)) else {
                continue;
            };
            let x = numbers.as_ref().map_or(at as f64, |numbers| numbers[at]);
            let half = sample.half_width.map(|half| half * scale);
            points.push(Point { x, y: sample.mean * scale, half });
            let half = half.map(number).unwrap_or_default();
            rows.push(vec![group::label(key), value, number(sample.mean * scale), half, sample.count.to_string()]);
        }
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        series.push(Series { key: key.clone(), points });
    }
    if series.iter().all(|series| series.points.is_empty()) {
        return Err(impossible(&name, format!("no cell has a {quantity}")));
    }
    let y = Scale::of_quantities(ends(&series));
    let (x, x_ticks) = match &numbers {
        Some(numbers) => (Scale::of_places(numbers.iter().copied()), numbers.clone()),
        None => (Scale::Names { count: places.len() }, (0..places.len()).map(|at| at as f64).collect()),
    };
    let x_ticks = x_ticks.into_iter().zip(places).map(|(value, label)| Tick { value, label }).collect();
    draw(LineChart {
        title: format!("{}: {quantity} against {}", source.scenario, table::short(path)),
        note: repetitions_note(source, column),
        x_name: table::short(path),
        y_name: in_unit(quantity, unit),
        name,
        x,
        x_ticks,
        y,
        facets: group::facets(keys),
        series,
        steps: false,
        rows,
    })
}

/// Returns the values that the y axis must show: the points, the upper ends of their intervals, and the lower ends down
/// to half of the point's value.
fn ends(series: &[Series]) -> impl Iterator<Item = f64> {
    let ends = |p: &Point| [p.y, p.y + p.half.unwrap_or(0.0), (p.y - p.half.unwrap_or(0.0)).max(0.5 * p.y)];
    series.iter().flat_map(|series| &series.points).flat_map(ends)
}

/// Returns a label such as `latency [ms]`; a count has no unit.
fn in_unit(quantity: &str, unit: &str) -> String {
    if unit.is_empty() { quantity.to_owned() } else { format!("{quantity} [{unit}]") }
}

/// Draws the mean latency, counted from a request's scheduled time, against throughput. A line joins the cells in the
/// order of `path`.
///
/// # Errors
/// The path was not swept, the runs lack the quantities, or the drawing fails.
pub fn pareto(source: &Source, path: &str) -> Result<Picture> {
    let (throughput, latency) = ("throughput_tokens_per_s", "e2el_corrected_mean_ms");
    let name = format!("pareto-{}", slug(path));
    group::checked(source, &name, path)?;
    let places = group::ordered(source.cells().filter_map(|(_, cell)| group::value(cell, path)));
    let (unit, scale) = table::unit_for("ms", source.cells().filter_map(|(_, cell)| cell.mean(latency)));
    let cells = group::keyed(source, &[path]);
    let keys = group::distinct(&cells);
    let header = ["series", path, "throughput [tokens/s]", &format!("latency [{unit}]"), "ci95 half width"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut series = Vec::new();
    for key in &keys {
        let mut points = Vec::new();
        for place in &places {
            let here = cells.iter().filter(|of| of.key == *key);
            let Some(found) = here.into_iter().find(|of| group::value(of.cell, path).as_ref() == Some(place)) else {
                continue;
            };
            let (Some(x), Some(sample)) = (found.cell.mean(throughput), found.cell.get(latency)) else { continue };
            let half = sample.half_width.map(|half| half * scale);
            points.push(Point { x, y: sample.mean * scale, half });
            let half = half.map(number).unwrap_or_default();
            rows.push(vec![group::label(key), place.clone(), number(x), number(sample.mean * scale), half]);
        }
        series.push(Series { key: key.clone(), points });
    }
    let points = || series.iter().flat_map(|series| &series.points);
    if points().next().is_none() {
        return Err(impossible(&name, "no cell has both a throughput and a latency"));
    }
    let x = Scale::of_quantities(points().map(|point| point.x));
    let x_ticks = x.ticks(6);
    let y = Scale::of_quantities(ends(&series));
    let (first, last) = (places.first().cloned().unwrap_or_default(), places.last().cloned().unwrap_or_default());
    draw(LineChart {
        title: format!("{}: latency against throughput", source.scenario),
        note: format!("along each line {} goes from {first} to {last}", table::short(path)),
        x_name: "throughput [tokens/s]".to_owned(),
        y_name: format!("latency, from when it was due [{unit}]"),
        name,
        x,
        x_ticks,
        y,
        facets: group::facets(keys),
        series,
        steps: false,
        rows,
    })
}

fn repetitions_note(source: &Source, column: &str) -> String {
    let counts: Vec<usize> = source.cells().filter_map(|(_, cell)| cell.get(column)).map(|s| s.count).collect();
    match (counts.iter().min(), counts.iter().max()) {
        (_, None | Some(0..=1)) => "one repetition of each cell, so no intervals".to_owned(),
        (Some(least), Some(most)) if least == most => {
            format!("mean of {most} repetitions; bars: 95 % t interval of the mean")
        }
        (least, most) => {
            let (least, most) = (least.unwrap_or(&0), most.unwrap_or(&0));
            format!("mean of {least} to {most} repetitions; bars: 95 % t interval of the mean")
        }
    }
}

/// The maximum number of points of a cumulative distribution: some tens for each pixel of the chart's height.
const CDF_POINTS: usize = 10_000;

/// Draws the cumulative distribution of request latency, with a step line for each cell over all of its repetitions.
///
/// # Errors
/// The runs lack the latencies, or the drawing fails.
pub fn cdf(source: &Source) -> Result<Picture> {
    let name = "latency-cdf";
    let cells = group::keyed(source, &[]);
    let keys = group::distinct(&cells);
    let all = source.runs.iter().flat_map(|run| &run.latencies).map(|latency| latency.e2el_ms);
    let (unit, scale) = table::unit_for("ms", all);
    let mut rows = vec![vec!["series".to_owned(), format!("request latency [{unit}]"), "share of requests".to_owned()]];
    let mut series = Vec::new();
    for key in &keys {
        let mut values: Vec<f64> = Vec::new();
        for Keyed { run, cell, .. } in cells.iter().filter(|of| of.key == *key) {
            let of_cell = run.latencies.iter().filter(|latency| latency.cell == cell.cell);
            values.extend(of_cell.map(|latency| latency.e2el_ms * scale));
        }
        values.sort_unstable_by(f64::total_cmp);
        let share = |at: usize| (at + 1) as f64 / values.len() as f64;
        // Only some points are drawn: a curve with a point for each of a million requests would take a hundred
        // megabytes and look the same.
        let (every, last) = (values.len().div_ceil(CDF_POINTS).max(1), values.len().saturating_sub(1));
        let shown = values.iter().enumerate().filter(|(at, _)| at.is_multiple_of(every) || *at == last);
        let points: Vec<Point> = shown.map(|(at, &x)| Point { x, y: share(at), half: None }).collect();
        rows.extend(points.iter().map(|p| vec![group::label(key), number(p.x), number(p.y)]));
        series.push(Series { key: key.clone(), points });
    }
    let places = series.iter().flat_map(|series| &series.points).map(|point| point.x);
    if places.clone().next().is_none() {
        return Err(impossible(name, source.without_figures()));
    }
    let x = Scale::of_places(places);
    draw(LineChart {
        name: name.to_owned(),
        title: format!("{}: request latency, cumulative", source.scenario),
        note: "share of timed requests that took at most so long; repetitions pooled".to_owned(),
        x_name: format!("request latency [{unit}]"),
        y_name: "share of requests".to_owned(),
        x_ticks: x.ticks(7),
        x,
        y: Scale::Linear { low: 0.0, high: 1.0 },
        facets: group::facets(keys),
        series,
        steps: true,
        rows,
    })
}

/// The positions of the panels.
struct Layout {
    size: Xy,
    areas: Vec<Area>,
    columns: usize,
    legend_y: f64,
}

fn layout(chart: &LineChart, axes: &Axes, entries: &[Entry]) -> Layout {
    let count = chart.facets.len();
    let columns = if count == 1 {
        1
    } else if count == 2 || count == 4 {
        2
    } else {
        3
    };
    let rows = count.div_ceil(columns);
    let left = MARGIN + 24.0 + axes.y_label_width() + 10.0;
    let gap = 18.0;
    let width = (WIDTH - left - MARGIN - gap * (columns - 1) as f64) / columns as f64;
    let height = if count == 1 { 330.0 } else { 200.0 };
    let panel_title = if count == 1 { 0.0 } else { 22.0 };
    let foot = 12.0 + 14.0 * axes.x_label_rows(width) as f64;
    let areas = (0..count).map(|at| Area {
        x: left + (at % columns) as f64 * (width + gap),
        y: panel::HEADING + panel_title + (at / columns) as f64 * (height + panel_title + foot),
        width,
        height,
    });
    let areas: Vec<Area> = areas.collect();
    let bottom = panel::HEADING + rows as f64 * (height + panel_title + foot);
    let legend_y = bottom + 22.0;
    let size = (WIDTH, (legend_y + panel::legend_height(entries, WIDTH - left - MARGIN) + MARGIN).ceil());
    Layout { size, areas, columns, legend_y }
}

pub(super) fn draw(chart: LineChart) -> Result<Picture> {
    let y_ticks = if chart.steps { share_ticks() } else { chart.y.ticks(6) };
    let axes = Axes { x: chart.x.clone(), x_ticks: chart.x_ticks.clone(), y: chart.y.clone(), y_ticks };
    // Series with the same label have the same look in every panel.
    let labels = group::labels(&chart.facets);
    let look = |label: &String| labels.iter().position(|known| known == label).unwrap_or(0) % theme::SERIES;
    let entry = |label: &String| {
        let at = look(label);
        Entry {
            label: label.clone(),
            color: theme::PALETTE[at],
            series: Some(((!chart.steps).then_some(theme::MARKERS[at]), theme::DASHES[at])),
        }
    };
    let entries: Vec<Entry> = if labels == [String::new()] { Vec::new() } else { labels.iter().map(entry).collect() };
    let layout = layout(&chart, &axes, &entries);
    let mut drawing = String::new();
    let mut canvas = Canvas::new(&mut drawing, layout.size);
    panel::heading(&mut canvas, &chart.title, &chart.note);
    for (at, (facet, &area)) in chart.facets.iter().zip(&layout.areas).enumerate() {
        if chart.facets.len() > 1 {
            panel::title(&mut canvas, &facet.title, area);
        }
        axes.draw(&mut canvas, area, (true, at % layout.columns == 0));
        for (place, key) in facet.keys.iter().enumerate() {
            let Some(series) = chart.series.iter().find(|series| series.key == *key) else { continue };
            let look = look(&group::label(&group::within(facet, key)));
            let dodge = match axes.x {
                Scale::Names { .. } => 9.0 * (place as f64 - (facet.keys.len() - 1) as f64 / 2.0),
                _ => 0.0,
            };
            draw_series(&mut canvas, &axes, area, series, (look, dodge, chart.steps));
        }
    }
    let (first, last) = (layout.areas[0], layout.areas[layout.areas.len() - 1]);
    let middle = (first.y + last.y + last.height) / 2.0;
    canvas.text(&chart.y_name, (MARGIN + 6.0, middle), Lettering::new(LABEL).center().upright());
    let center = (first.x + WIDTH - MARGIN) / 2.0;
    canvas.text(&chart.x_name, (center, layout.legend_y - 13.0), Lettering::new(LABEL).center());
    panel::legend(&mut canvas, &entries, (first.x, layout.legend_y + 4.0), WIDTH - first.x - MARGIN);
    canvas.finish().map_err(|why| impossible(&chart.name, why))?;
    Picture::new(&chart.name, &chart.title, &drawing, layout.size, &chart.rows)
}

fn share_ticks() -> Vec<Tick> {
    (0..=4).map(|at| Tick { value: f64::from(at) / 4.0, label: format!("{} %", at * 25) }).collect()
}

fn draw_series(
    canvas: &mut Canvas<'_>,
    axes: &Axes,
    area: Area,
    series: &Series,
    (look, dodge, steps): (usize, f64, bool),
) {
    let (color, dash) = (theme::PALETTE[look], theme::DASHES[look]);
    let at = |x: f64, y: f64| {
        let (x, y) = axes.at(area, (x, y));
        (x + dodge, y.clamp(area.y, area.y + area.height))
    };
    if steps {
        let mut path: Vec<Xy> = Vec::new();
        let mut before = 0.0;
        for point in &series.points {
            path.extend([at(point.x, before), at(point.x, point.y)]);
            before = point.y;
        }
        canvas.dashed(&path, color, 1.8, dash);
        return;
    }
    for point in &series.points {
        if let Some(half) = point.half.filter(|half| *half > 0.0) {
            let ((x, top), (_, bottom)) = (at(point.x, point.y + half), at(point.x, point.y - half));
            canvas.line(&[(x, top), (x, bottom)], color, 1.2);
            canvas.line(&[(x - 4.0, top), (x + 4.0, top)], color, 1.2);
            // An interval that leaves the axis has no end mark there.
            if axes.y.shows(point.y - half) {
                canvas.line(&[(x - 4.0, bottom), (x + 4.0, bottom)], color, 1.2);
            }
        }
    }
    let path: Vec<Xy> = series.points.iter().map(|point| at(point.x, point.y)).collect();
    if path.len() > 1 {
        canvas.dashed(&path, color, 1.8, dash);
    }
    for &xy in &path {
        canvas.marker(xy, theme::MARKERS[look], color, 4.0);
    }
}
