//! The columns of the raw files. Order and names are part of the format, so new columns are added at the end.
use super::{Field, Filed, Get};
use actors::record::{Looked, Pinged};
use rows::{HopRow, NetworkParts, RequestRow, TokenRow};

const fn field<R>(name: &'static str, about: &'static str, get: Get<R>) -> Field<R> {
    Field { name, about, get }
}

const CELL: &str = "which cell of the sweep, from 0";
const REPEAT: &str = "which repetition of it, from 0";
const CLIENT: &str = "node id of the client";
const INDEX: &str = "which request of the client: 0 is its warm-up";
const SESSION: &str = "session id";
const POSITION: &str = "tokens of each row before this step";
const SUSPECT: &str = "clocks disagree: parts were cut to fit";

macro_rules! int {
    ($f:ident => $value:expr) => {
        Get::Int(|$f: &Filed<_>| $value as i64)
    };
}
macro_rules! maybe {
    ($f:ident => $value:expr) => {
        Get::Maybe(|$f: &Filed<_>| $value.map(|value| value as i64))
    };
}
/// Returns the extractor of one of the finer parts of the network's time.
macro_rules! fine {
    ($part:ident) => {
        Get::Maybe(|f: &Filed<_>| f.row.network.map(|NetworkParts { $part, .. }| $part as i64))
    };
}
macro_rules! way {
    ($side:ident $part:ident) => {
        Get::Maybe(|f: &Filed<HopRow>| f.row.$side.map(|way| way.$part as i64))
    };
}

pub(super) const REQUESTS: &[Field<RequestRow>] = &[
    field("cell", CELL, int!(f => f.cell)),
    field("repeat", REPEAT, int!(f => f.repeat)),
    field("client", CLIENT, int!(f => f.row.request.client.0)),
    field("request", INDEX, int!(f => f.row.request.index)),
    field("warmup", "not part of timed statistics", Get::Flag(|f| f.row.warmup())),
    field("outcome", "ok, why it failed, or cut", Get::Text(|f| f.row.outcome.to_owned())),
    field("session", SESSION, maybe!(f => f.row.session.map(|session| session.raw()))),
    field("batch", "rows", int!(f => f.row.batch)),
    field("prompt", "tokens of each row", int!(f => f.row.prompt)),
    field("generate", "tokens of each row asked for", int!(f => f.row.generate)),
    field("generated", "tokens of each row given", int!(f => f.row.generated)),
    field("route", "node ids of the peers, in order", Get::Text(route)),
    field("intended_ns", "when it should have been sent", int!(f => f.row.intended)),
    field("sent_ns", "when it was, on the client's clock", int!(f => f.row.sent)),
    field("ended_ns", "the last token, the last activation's return, or the failure", int!(f => f.row.ended)),
    field("schedule_delay_ns", "sent - intended", int!(f => f.row.schedule_delay)),
    field("ttft_ns", "time to first token", maybe!(f => f.row.ttft)),
    field("tpot_ns", "(t_N - t_1) / (N - 1)", maybe!(f => f.row.tpot)),
    field("e2el_ns", "ended - sent", int!(f => f.row.e2el)),
    field("ntpot_ns", "e2el / N", maybe!(f => f.row.ntpot)),
    field("discovery_ns", "of e2el: looking up the peers", int!(f => f.row.discovery)),
    field("sessions_ns", "of e2el: opening sessions", int!(f => f.row.sessions)),
    field("setup_ns", "part: discovery, routing and sessions", int!(f => f.row.parts.setup)),
    field("client_queue_ns", "part: waiting for the client's device", int!(f => f.row.parts.client_queue)),
    field("client_ns", "part: embedding, head, sampling", int!(f => f.row.parts.client)),
    field("peer_queue_ns", "part: waiting for the peers' devices", int!(f => f.row.parts.peer_queue)),
    field("compute_ns", "part: the peers' blocks", int!(f => f.row.parts.compute)),
    field("network_ns", "part: the rest", int!(f => f.row.parts.network)),
    field("unfinished_ns", "part: the step that a failure broke off", int!(f => f.row.unfinished)),
    field("send_queue_ns", "of network: waiting for NICs and links", fine!(send_queue)),
    field("transmit_ns", "of network: bytes over bandwidth", fine!(transmit)),
    field("propagation_ns", "of network", fine!(propagation)),
    field("network_other_ns", "of network: what remains", fine!(other)),
    field("bytes", "of activations on links", maybe!(f => f.row.bytes)),
    field("suspect", SUSPECT, Get::Flag(|f| f.row.suspect)),
];

fn route(f: &Filed<RequestRow>) -> String {
    f.row.route.iter().map(|peer| peer.0.to_string()).collect::<Vec<_>>().join(" ")
}

pub(super) const TOKENS: &[Field<TokenRow>] = &[
    field("cell", CELL, int!(f => f.cell)),
    field("repeat", REPEAT, int!(f => f.repeat)),
    field("client", CLIENT, int!(f => f.row.request.client.0)),
    field("request", INDEX, int!(f => f.row.request.index)),
    field("session", SESSION, int!(f => f.row.session.raw())),
    field("position", POSITION, int!(f => f.row.position)),
    field("tokens", "new tokens of each row that the step took in", int!(f => f.row.tokens)),
    field("batch", "rows", int!(f => f.row.batch)),
    field("output", "which output token, from 1; 0: none", int!(f => f.row.output)),
    field("began_ns", "the last token's arrival, or the request's sending", int!(f => f.row.began)),
    field("seen_ns", "the token's arrival at the client", int!(f => f.row.seen)),
    field("took_ns", "seen - began: the sum of the parts", int!(f => f.row.took)),
    field("setup_ns", "part: discovery, routing and sessions", int!(f => f.row.parts.setup)),
    field("client_queue_ns", "part: waiting for the client's device", int!(f => f.row.parts.client_queue)),
    field("client_ns", "part: embedding, head, sampling", int!(f => f.row.parts.client)),
    field("embedding_ns", "of client_ns: the embedding", int!(f => f.row.embedding)),
    field("peer_queue_ns", "part: waiting for the peers' devices", int!(f => f.row.parts.peer_queue)),
    field("compute_ns", "part: the peers' blocks", int!(f => f.row.parts.compute)),
    field("network_ns", "part: the rest", int!(f => f.row.parts.network)),
    field("send_queue_ns", "of network: waiting for NICs and links", fine!(send_queue)),
    field("transmit_ns", "of network: bytes over bandwidth", fine!(transmit)),
    field("propagation_ns", "of network", fine!(propagation)),
    field("network_other_ns", "of network: what remains", fine!(other)),
    field("hops", "peers that computed it", int!(f => f.row.hops)),
    field("bytes", "of activations on links", maybe!(f => f.row.bytes)),
    field("suspect", SUSPECT, Get::Flag(|f| f.row.suspect)),
];

pub(super) const HOPS: &[Field<HopRow>] = &[
    field("cell", CELL, int!(f => f.cell)),
    field("repeat", REPEAT, int!(f => f.repeat)),
    field("client", CLIENT, int!(f => f.row.request.client.0)),
    field("request", INDEX, int!(f => f.row.request.index)),
    field("session", SESSION, int!(f => f.row.session.raw())),
    field("position", POSITION, int!(f => f.row.position)),
    field("hop", "which of the route, from 0", int!(f => f.row.hop)),
    field("peer", "node id", int!(f => f.row.peer.0)),
    field("block_start", "first block computed", int!(f => f.row.blocks.start)),
    field("block_end", "the block after the last", int!(f => f.row.blocks.end)),
    field("tokens", "new tokens of each row", int!(f => f.row.tokens)),
    field("batch", "rows", int!(f => f.row.batch)),
    field("received_ns", "on the peer's clock", int!(f => f.row.received)),
    field("started_ns", "when the device was the job's", int!(f => f.row.started)),
    field("finished_ns", "when the device was through", int!(f => f.row.finished)),
    field("sent_ns", "when the result was given to the link", int!(f => f.row.sent)),
    field("peer_queue_ns", "started - received", int!(f => f.row.peer_queue)),
    field("compute_ns", "finished - started", int!(f => f.row.compute)),
    field("in_bytes", "the way to the peer", way!(inward bytes)),
    field("in_queue_ns", "the way to the peer: waiting for NICs and link", way!(inward queue)),
    field("in_transmit_ns", "the way to the peer: bytes over bandwidth", way!(inward transmit)),
    field("in_propagation_ns", "the way to the peer", way!(inward propagation)),
    field("out_bytes", "the way from the peer", way!(outward bytes)),
    field("out_queue_ns", "the way from the peer: waiting for NICs and link", way!(outward queue)),
    field("out_transmit_ns", "the way from the peer: bytes over bandwidth", way!(outward transmit)),
    field("out_propagation_ns", "the way from the peer", way!(outward propagation)),
];

pub(super) const LOOKUPS: &[Field<Looked>] = &[
    field("cell", CELL, int!(f => f.cell)),
    field("repeat", REPEAT, int!(f => f.repeat)),
    field("node", "node id of who looked up", int!(f => f.row.node.0)),
    field("purpose", "what for: find (who serves blocks), announce, join, fill (buckets)", Get::Text(purpose)),
    field("ended_ns", "when it was over, on its own clock", int!(f => f.row.at.0)),
    field("took_ns", "from the first question", int!(f => f.row.took.0)),
    field("keys", "looked up together", int!(f => f.row.keys)),
    field(
        "hops",
        "questions one after another to the node nearest to a key: the most of all keys",
        int!(f => f.row.hops),
    ),
    field("asked", "questions in all", int!(f => f.row.asked)),
    field("silent", "of them, those that nobody answered", int!(f => f.row.silent)),
    field("found", "peers whose records it found", int!(f => f.row.found)),
];

pub(super) const PINGS: &[Field<Pinged>] = &[
    field("cell", CELL, int!(f => f.cell)),
    field("repeat", REPEAT, int!(f => f.repeat)),
    field("client", CLIENT, int!(f => f.row.client.0)),
    field("peer", "node id of who answered", int!(f => f.row.peer.0)),
    field("ended_ns", "when it was back, on the client's clock", int!(f => f.row.at.0)),
    field("took_ns", "the round trip", int!(f => f.row.took.0)),
];

fn purpose(f: &Filed<Looked>) -> String {
    format!("{:?}", f.row.purpose).to_ascii_lowercase()
}
