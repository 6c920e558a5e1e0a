//! Conversion of one run's events into rows: requests, tokens (steps) and hops.
//!
//! [`RowFold`] takes the events one after another and passes finished rows to a [`RowSink`], so its memory does not
//! grow with the run. [`RunRows`] has all rows of a short run, sorted by request or node, whatever the order of the
//! events.
//!
//! The parts of a step sum exactly to its time, and the parts of a request to its latency. If the clocks of different
//! hosts disagree, some parts are reduced and the row is marked as suspect. The sum stays exact.
#![forbid(unsafe_code)]

mod fold;
mod observed;
mod parts;
pub mod probe;
mod rows;
pub mod stats;

pub use fold::{RareEvents, RowFold};
pub use observed::ObservedRun;
pub use parts::{NetworkParts, Parts};
pub use rows::{HopRow, RequestRow, TokenRow};

use actors::record::{Event, Looked, Pinged, Served};

/// Receives the rows of a run as they are finished. It receives a request's token rows and hop rows before the
/// request's own row. The exception are hops of a failed attempt that a peer finished long after the request.
pub trait RowSink {
    fn request(&mut self, row: RequestRow);
    fn token(&mut self, row: TokenRow);
    fn hop(&mut self, row: HopRow);
    /// Receives a hop as soon as its event arrives, before the hop's row is finished.
    fn served(&mut self, hop: &Served);
    fn looked(&mut self, looked: Looked);
    fn pinged(&mut self, pinged: Pinged);
}

/// The rows of one run of one cell, and its rare events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunRows {
    /// The requests, ordered by client and index. A client's warm-up is its request 0.
    pub requests: Vec<RequestRow>,
    /// The steps, ordered by request, session and position.
    pub tokens: Vec<TokenRow>,
    /// The hops, ordered by request, position, hop and session.
    pub hops: Vec<HopRow>,
    /// The lookups in the DHT, ordered by node and time.
    pub lookups: Vec<Looked>,
    /// The answered pings, ordered by client, peer and time.
    pub pings: Vec<Pinged>,
    pub rare: RareEvents,
}

impl RunRows {
    /// Converts all events of a run, which may be in any order, into rows.
    pub fn of(events: &[Event]) -> RunRows {
        let (mut fold, mut rows) = (RowFold::in_any_order(), RunRows::default());
        events.iter().for_each(|event| fold.take(event, &mut rows));
        rows.rare = fold.finish(&mut rows);
        rows.requests.sort_by_key(|row| row.request);
        rows.tokens.sort_by_key(|row| (row.request, row.session, row.position));
        rows.hops.sort_by_key(|row| (row.request, row.position, row.hop, row.session));
        rows.lookups.sort_by_key(|looked| (looked.node, looked.at, looked.purpose));
        rows.pings.sort_by_key(|pinged| (pinged.client, pinged.peer, pinged.at));
        rows
    }

    /// Returns the requests that count in the statistics: all except warm-ups.
    pub fn timed(&self) -> impl Iterator<Item = &RequestRow> {
        self.requests.iter().filter(|row| !row.warmup())
    }
}

impl RowSink for RunRows {
    fn request(&mut self, row: RequestRow) {
        self.requests.push(row);
    }

    fn token(&mut self, row: TokenRow) {
        self.tokens.push(row);
    }

    fn hop(&mut self, row: HopRow) {
        self.hops.push(row);
    }

    fn served(&mut self, _: &Served) {}

    fn looked(&mut self, looked: Looked) {
        self.lookups.push(looked);
    }

    fn pinged(&mut self, pinged: Pinged) {
        self.pings.push(pinged);
    }
}
