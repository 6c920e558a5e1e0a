//! A few requests over time: when a device computes them, when they wait, and when they are in transit. Each client and
//! each peer has a lane.
//!
//! A slanted line is an activation in transit from lane to lane. If the run recorded the times of transfers, the line
//! from a client begins when the activation was sent. Otherwise it begins when the client began the step, so it
//! includes the client's computing.
use super::canvas::{Canvas, Lettering, text_width};
use super::group;
use super::panel::{self, Area, Axes, Entry, LABEL, MARGIN, TICK};
use super::picture::Picture;
use super::scale::Scale;
use super::{Labelled, Source, WIDTH, impossible};
use crate::cells::number;
use crate::error::Result;
use crate::read;
use crate::sheet::{self, Columns};
use crate::theme;
use scenarios::plan::Plan;
use std::collections::{BTreeMap, BTreeSet};

/// The number of requests that the chart shows. They are the first timed requests of different clients.
const REQUESTS: usize = 4;

/// The number of steps shown per request: its prefill and some decode steps.
const STEPS: usize = 4;

/// A step at a peer. Times are in ns on the run's clock.
#[derive(Clone, Copy)]
struct Hop {
    peer: i64,
    received: i64,
    started: i64,
    finished: i64,
    sent: i64,
    /// The duration in ns of the transfer to the peer; `None` if the run did not record it.
    inward: Option<i64>,
    /// The duration in ns of the transfer from the peer; `None` if the run did not record it.
    outward: Option<i64>,
}

/// A step of a request, and its hops in order.
struct Step {
    began: i64,
    seen: i64,
    hops: Vec<Hop>,
}

struct Request {
    client: i64,
    steps: Vec<Step>,
}

/// One mark in a lane, with its start and end, or with its time.
enum Mark {
    Waits(f64, f64),
    Computes(f64, f64),
    /// The client computes the embedding or the LM head, or waits for its device.
    Thinks(f64, f64),
    Token(f64),
}

/// Draws the first requests of a cell over time.
///
/// # Errors
/// The runs lack the rows, or the drawing fails.
pub fn gantt(source: &Source) -> Result<Picture> {
    let name = "gantt";
    let (Some(run), Some(cell)) = (source.runs.first(), source.runs.first().and_then(|run| run.cells.first())) else {
        return Err(impossible(name, "the directory has no run"));
    };
    let requests = first_requests(run, cell.cell)?;
    if requests.is_empty() {
        return Err(impossible(name, "the files of the run have no timed request of the first cell"));
    }
    let plans = read::plans(&run.dir)?;
    let plan = plans.iter().find(|plan| plan.cell == cell.cell);
    let label = group::keyed(source, &[]).first().map(|of| group::label(&of.key)).unwrap_or_default();
    let title = match label.as_str() {
        "" => format!("{}: where requests are", source.scenario),
        label => format!("{}: where requests are ({label})", source.scenario),
    };
    let (drawing, size) = draw(&title, &requests, plan).map_err(|why| impossible(name, why))?;
    let header = ["request of", "step", "peer", "received [ms]", "started [ms]", "finished [ms]"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let zero = begin(&requests);
    let ms = |at: i64| number((at - zero) as f64 / 1e6);
    for request in &requests {
        for (at, step) in request.steps.iter().enumerate() {
            rows.extend(step.hops.iter().map(|hop| {
                let who = [called(plan, request.client), at.to_string(), called(plan, hop.peer)];
                who.into_iter().chain([hop.received, hop.started, hop.finished].map(ms)).collect()
            }));
        }
    }
    Picture::new(name, &title, &drawing, size, &rows)
}

/// Returns the first timed request of up to `REQUESTS` clients, in the first repetition of a cell.
fn first_requests(run: &Labelled, cell: u32) -> Result<Vec<Request>> {
    let keys = ["cell", "repeat", "request"];
    let here = |of: &Columns, at: usize| {
        let [in_cell, repeat, request] = keys.map(|name| of.int(name, at).unwrap_or(-1));
        in_cell == i64::from(cell) && repeat == 0 && request == 1
    };
    // The steps of a client, by the position of the first token after the step: `position + tokens`. The hops of a step
    // have the same sum, which assigns them to the step.
    let mut requests: BTreeMap<i64, BTreeMap<i64, Step>> = BTreeMap::new();
    let names = ["client", "position", "tokens", "began_ns", "seen_ns"];
    sheet::scan_where(&run.dir.join("tokens.parquet"), &keys, here, &names, |tokens, rows| {
        for at in rows {
            let [client, position, count, began, seen] = names.map(|name| tokens.int(name, *at).unwrap_or(0));
            requests.entry(client).or_default().insert(position + count, Step { began, seen, hops: Vec::new() });
        }
    })?;
    let names = [
        "client",
        "position",
        "tokens",
        "peer",
        "received_ns",
        "started_ns",
        "finished_ns",
        "sent_ns",
        "in_queue_ns",
        "in_transmit_ns",
        "in_propagation_ns",
        "out_queue_ns",
        "out_transmit_ns",
        "out_propagation_ns",
    ];
    sheet::scan_where(&run.dir.join("hops.parquet"), &keys, here, &names, |hops, rows| {
        for at in rows {
            let value = |name: &str| hops.int(name, *at).unwrap_or(0);
            let way = |side: &str| {
                let part = |part: &str| hops.int(&format!("{side}_{part}_ns"), *at);
                Some(part("queue")? + part("transmit")? + part("propagation")?)
            };
            let steps = requests.get_mut(&value("client"));
            if let Some(step) = steps.and_then(|steps| steps.get_mut(&(value("position") + value("tokens")))) {
                step.hops.push(Hop {
                    peer: value("peer"),
                    received: value("received_ns"),
                    started: value("started_ns"),
                    finished: value("finished_ns"),
                    sent: value("sent_ns"),
                    inward: way("in"),
                    outward: way("out"),
                });
            }
        }
    })?;
    let first = requests.into_iter().take(REQUESTS).map(|(client, steps)| {
        let mut steps: Vec<Step> = steps.into_values().take(STEPS).collect();
        steps.iter_mut().for_each(|step| step.hops.sort_by_key(|hop| hop.received));
        Request { client, steps }
    });
    Ok(first.filter(|request| !request.steps.is_empty()).collect())
}

fn begin(requests: &[Request]) -> i64 {
    requests.iter().flat_map(|request| &request.steps).map(|step| step.began).min().unwrap_or(0)
}

fn called(plan: Option<&Plan>, node: i64) -> String {
    let id = actors::id::NodeId(u32::try_from(node).unwrap_or(u32::MAX));
    plan.map_or_else(|| id.to_string(), |plan| plan.called(id))
}

fn draw(title: &str, requests: &[Request], plan: Option<&Plan>) -> std::result::Result<(String, (f64, f64)), String> {
    let zero = begin(requests);
    let steps = || requests.iter().flat_map(|request| &request.steps);
    let end = steps().map(|step| step.seen).max().unwrap_or(zero);
    let (unit, scale) = if end - zero > 10_000_000_000 { ("s", 1e-9) } else { ("ms", 1e-6) };
    let time = |at: i64| (at - zero) as f64 * scale;
    let clients: Vec<i64> = requests.iter().map(|request| request.client).collect();
    let peers: BTreeSet<i64> = steps().flat_map(|step| &step.hops).map(|hop| hop.peer).collect();
    let lanes: Vec<i64> = clients.iter().copied().chain(peers).collect();
    let names: Vec<String> = lanes.iter().map(|node| called(plan, *node)).collect();
    let pitch = if lanes.len() > 16 { 22.0 } else { 34.0 };
    let left = MARGIN + names.iter().map(|name| text_width(name, TICK)).fold(0.0, f64::max) + 10.0;
    let x = Scale::Linear { low: 0.0, high: time(end).max(1e-9) * 1.01 };
    let entry = |(at, request): (usize, &Request)| Entry {
        label: format!("request of {}", called(plan, request.client)),
        color: theme::PALETTE[at % theme::SERIES],
        series: None,
    };
    let entries: Vec<Entry> = requests.iter().enumerate().map(entry).collect();
    let height = pitch * lanes.len() as f64;
    let area = Area { x: left, y: panel::HEADING, width: WIDTH - left - MARGIN, height };
    let legend_y = area.y + height + 48.0;
    let size = (WIDTH, (legend_y + panel::legend_height(&entries, WIDTH - 2.0 * MARGIN) + MARGIN).ceil());
    let mut drawing = String::new();
    let mut canvas = Canvas::new(&mut drawing, size);
    let note = "full: computing, pale: waiting for the device, slanting: on its way, diamond: a token is there";
    panel::heading(&mut canvas, title, note);
    let axes = Axes { x_ticks: x.ticks(8), x, y: Scale::Names { count: lanes.len() }, y_ticks: Vec::new() };
    for at in 1..lanes.len() {
        let y = area.y + pitch * at as f64;
        canvas.line(&[(area.x, y), (area.x + area.width, y)], theme::GRID, 1.0);
    }
    axes.draw(&mut canvas, area, (true, false));
    let lane = |node: i64| lanes.iter().position(|known| *known == node).unwrap_or(0);
    let middle = |node: i64| area.y + pitch * (lane(node) as f64 + 0.5);
    for name in names.iter().zip(&lanes) {
        canvas.text(name.0, (area.x - 8.0, middle(*name.1)), Lettering::new(TICK).right());
    }
    let place = |at: f64| area.x + area.width * axes.x.place(at);
    let colored = || requests.iter().enumerate().map(|(at, request)| (theme::PALETTE[at % theme::SERIES], request));
    // Later drawings cover earlier ones. Transfers are drawn first, then waiting, and computing last.
    for (color, request) in colored() {
        for (from, till) in ways(request) {
            let ends = [(place(time(from.1)), middle(from.0)), (place(time(till.1)), middle(till.0))];
            canvas.line(&ends, color, 0.9);
        }
    }
    for waiting in [true, false] {
        for (color, request) in colored() {
            for (node, mark) in marks(request, time) {
                let y = middle(node);
                let (from, till, thick, opacity) = match mark {
                    Mark::Waits(from, till) if waiting => (from, till, 0.30, 0.35),
                    Mark::Thinks(from, till) if !waiting => (from, till, 0.36, 1.0),
                    Mark::Computes(from, till) if !waiting => (from, till, 0.62, 1.0),
                    Mark::Token(at) if !waiting => {
                        canvas.marker((place(at), y), theme::Marker::Diamond, color, 3.4);
                        continue;
                    }
                    _ => continue,
                };
                let (x0, x1, half) = (place(from), place(till), thick * pitch / 2.0);
                if x1 - x0 >= 0.1 {
                    canvas.polygon(&[(x0, y - half), (x1, y - half), (x1, y + half), (x0, y + half)], color, opacity);
                }
            }
        }
    }
    let below = (area.x + area.width / 2.0, area.y + height + 32.0);
    canvas.text(&format!("time since the first request was sent [{unit}]"), below, Lettering::new(LABEL).center());
    panel::legend(&mut canvas, &entries, (MARGIN, legend_y), WIDTH - 2.0 * MARGIN);
    canvas.finish()?;
    Ok((drawing, size))
}

/// Returns the transfers of a request's activations. Each transfer has its sending and its receipt, both as (node,
/// time).
fn ways(request: &Request) -> Vec<((i64, i64), (i64, i64))> {
    let (client, mut ways) = (request.client, Vec::new());
    for step in &request.steps {
        let Some((first, last)) = step.hops.first().zip(step.hops.last()) else { continue };
        ways.push((
            (client, first.inward.map_or(step.began, |way| first.received - way)),
            (first.peer, first.received),
        ));
        for pair in step.hops.windows(2) {
            let (one, next) = (pair[0], pair[1]);
            let back = one.outward.map(|way| one.sent + way);
            let out = next.inward.map(|way| next.received - way);
            match (back, out) {
                // The activation returned to the client, which forwarded it.
                (Some(back), Some(out)) if back <= out => {
                    ways.push(((one.peer, one.sent), (client, back)));
                    ways.push(((client, out), (next.peer, next.received)));
                }
                _ => ways.push(((one.peer, one.sent), (next.peer, next.received))),
            }
        }
        ways.push(((last.peer, last.sent), (client, last.outward.map_or(step.seen, |way| last.sent + way))));
    }
    ways
}

fn marks(request: &Request, time: impl Fn(i64) -> f64) -> Vec<(i64, Mark)> {
    let (client, mut marks) = (request.client, Vec::new());
    for step in &request.steps {
        for hop in &step.hops {
            marks.push((hop.peer, Mark::Waits(time(hop.received), time(hop.started))));
            marks.push((hop.peer, Mark::Computes(time(hop.started), time(hop.finished))));
        }
        if let Some((first, way)) = step.hops.first().and_then(|hop| Some((hop, hop.inward?))) {
            marks.push((client, Mark::Thinks(time(step.began), time(first.received - way))));
        }
        if let Some((last, way)) = step.hops.last().and_then(|hop| Some((hop, hop.outward?))) {
            marks.push((client, Mark::Thinks(time(last.sent + way), time(step.seen))));
        }
        marks.push((client, Mark::Token(time(step.seen))));
    }
    marks
}
