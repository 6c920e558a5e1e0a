//! The columns of the raw files. Order and names are part of the format, so new columns are added at the end.
use super::{Field, Filed, Get};
use actors::record::{Looked, Pinged};
use rows::{HopRow, NetworkParts, RequestRow, TokenRow};

const fn field<R>(name: &'static str, about: &'static str, get: Get<R>) -> Field<R> {
    Field { name, about, get }
}

const CELL: &str = "number of the cell in the sweep, from 0";
const REPEAT: &str = "number of the cell's repetition, from 0";
const CLIENT: &str = "node id of the client";
const INDEX: &str = "number of the client's request: 0 is its warm-up";
const SESSION: &str = "session id";
const POSITION: &str = "number of tokens of each row before this step";
const SUSPECT: &str = "whether clocks disagree, so that parts were cut to fit";

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
/// Returns a function that extracts one of the finer parts of the network time.
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
    field(
        "warmup",
        "whether the request is a warm-up, which no timed statistic includes",
        Get::Flag(|f| f.row.warmup()),
    ),
    field(
        "outcome",
        "ok, the reason of the failure, or cut if the end was not recorded",
        Get::Text(|f| f.row.outcome.to_owned()),
    ),
    field("session", SESSION, maybe!(f => f.row.session.map(|session| session.raw()))),
    field("batch", "number of rows", int!(f => f.row.batch)),
    field("prompt", "prompt tokens of each row", int!(f => f.row.prompt)),
    field("generate", "output tokens of each row that were requested", int!(f => f.row.generate)),
    field("generated", "output tokens of each row that were generated", int!(f => f.row.generated)),
    field("route", "node ids of the peers, in order", Get::Text(route)),
    field("intended_ns", "when the request was due", int!(f => f.row.intended)),
    field("sent_ns", "when the request was sent, on the client's clock", int!(f => f.row.sent)),
    field(
        "ended_ns",
        "when the last token arrived, the last activation returned, or the request failed",
        int!(f => f.row.ended),
    ),
    field("schedule_delay_ns", "sent - intended", int!(f => f.row.schedule_delay)),
    field("ttft_ns", "time to first token", maybe!(f => f.row.ttft)),
    field("tpot_ns", "(t_N - t_1) / (N - 1)", maybe!(f => f.row.tpot)),
    field("e2el_ns", "ended - sent", int!(f => f.row.e2el)),
    field("ntpot_ns", "e2el / N", maybe!(f => f.row.ntpot)),
    field("discovery_ns", "of e2el_ns: looking up the peers", int!(f => f.row.discovery)),
    field("sessions_ns", "of e2el_ns: opening sessions", int!(f => f.row.sessions)),
    field("setup_ns", "part: discovery, routing and sessions", int!(f => f.row.parts.setup)),
    field("client_queue_ns", "part: waiting for the client's device", int!(f => f.row.parts.client_queue)),
    field("client_ns", "part: embedding, head, sampling", int!(f => f.row.parts.client)),
    field("peer_queue_ns", "part: waiting for the peers' devices", int!(f => f.row.parts.peer_queue)),
    field("compute_ns", "part: the peers' blocks", int!(f => f.row.parts.compute)),
    field("network_ns", "part: the rest, mostly the network", int!(f => f.row.parts.network)),
    field("unfinished_ns", "part: the step that a failure broke off", int!(f => f.row.unfinished)),
    field("send_queue_ns", "of network_ns: waiting for NICs and links", fine!(send_queue)),
    field("transmit_ns", "of network_ns: bytes over bandwidth", fine!(transmit)),
    field("propagation_ns", "of network_ns: propagation", fine!(propagation)),
    field("network_other_ns", "of network_ns: what remains", fine!(other)),
    field("bytes", "bytes of activations on links", maybe!(f => f.row.bytes)),
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
    field("tokens", "input tokens of each row of the step", int!(f => f.row.tokens)),
    field("batch", "number of rows", int!(f => f.row.batch)),
    field(
        "output",
        "number of the output token that the step gave, from 1; 0 if it gave none",
        int!(f => f.row.output),
    ),
    field(
        "began_ns",
        "when the token before arrived or, for the first step, the request was sent",
        int!(f => f.row.began),
    ),
    field("seen_ns", "when the token arrived at the client", int!(f => f.row.seen)),
    field("took_ns", "seen - began: the sum of the parts", int!(f => f.row.took)),
    field("setup_ns", "part: discovery, routing and sessions", int!(f => f.row.parts.setup)),
    field("client_queue_ns", "part: waiting for the client's device", int!(f => f.row.parts.client_queue)),
    field("client_ns", "part: embedding, head, sampling", int!(f => f.row.parts.client)),
    field("embedding_ns", "of client_ns: the embedding", int!(f => f.row.embedding)),
    field("peer_queue_ns", "part: waiting for the peers' devices", int!(f => f.row.parts.peer_queue)),
    field("compute_ns", "part: the peers' blocks", int!(f => f.row.parts.compute)),
    field("network_ns", "part: the rest, mostly the network", int!(f => f.row.parts.network)),
    field("send_queue_ns", "of network_ns: waiting for NICs and links", fine!(send_queue)),
    field("transmit_ns", "of network_ns: bytes over bandwidth", fine!(transmit)),
    field("propagation_ns", "of network_ns: propagation", fine!(propagation)),
    field("network_other_ns", "of network_ns: what remains", fine!(other)),
    field("hops", "number of peers that computed the step", int!(f => f.row.hops)),
    field("bytes", "bytes of activations on links", maybe!(f => f.row.bytes)),
    field("suspect", SUSPECT, Get::Flag(|f| f.row.suspect)),
];

pub(super) const HOPS: &[Field<HopRow>] = &[
    field("cell", CELL, int!(f => f.cell)),
    field("repeat", REPEAT, int!(f => f.repeat)),
    field("client", CLIENT, int!(f => f.row.request.client.0)),
    field("request", INDEX, int!(f => f.row.request.index)),
    field("session", SESSION, int!(f => f.row.session.raw())),
    field("position", POSITION, int!(f => f.row.position)),
    field("hop", "number of the peer on the route, from 0", int!(f => f.row.hop)),
    field("peer", "node id of the peer", int!(f => f.row.peer.0)),
    field("block_start", "first block computed", int!(f => f.row.blocks.start)),
    field("block_end", "the block after the last", int!(f => f.row.blocks.end)),
    field("tokens", "input tokens of each row", int!(f => f.row.tokens)),
    field("batch", "number of rows", int!(f => f.row.batch)),
    field("received_ns", "when the step arrived, on the peer's clock", int!(f => f.row.received)),
    field("started_ns", "when the device started the job", int!(f => f.row.started)),
    field("finished_ns", "when the device finished the job", int!(f => f.row.finished)),
    field("sent_ns", "when the result was given to the link", int!(f => f.row.sent)),
    field("peer_queue_ns", "started - received", int!(f => f.row.peer_queue)),
    field("compute_ns", "finished - started", int!(f => f.row.compute)),
    field("in_bytes", "bytes on the way to the peer", way!(inward bytes)),
    field("in_queue_ns", "the way to the peer: waiting for NICs and link", way!(inward queue)),
    field("in_transmit_ns", "the way to the peer: bytes over bandwidth", way!(inward transmit)),
    field("in_propagation_ns", "the way to the peer: propagation", way!(inward propagation)),
    field("out_bytes", "bytes on the way from the peer", way!(outward bytes)),
    field("out_queue_ns", "the way from the peer: waiting for NICs and link", way!(outward queue)),
    field("out_transmit_ns", "the way from the peer: bytes over bandwidth", way!(outward transmit)),
    field("out_propagation_ns", "the way from the peer: propagation", way!(outward propagation)),
];

pub(super) const LOOKUPS: &[Field<Looked>] = &[
    field("cell", CELL, int!(f => f.cell)),
    field("repeat", REPEAT, int!(f => f.repeat)),
    field("node", "node id of the node that looked up", int!(f => f.row.node.0)),
    field("purpose", "find (peers that serve blocks), announce, join, or fill (buckets)", Get::Text(purpose)),
    field("ended_ns", "when the lookup ended, on the node's clock", int!(f => f.row.at.0)),
    field("took_ns", "time from the first query to the end", int!(f => f.row.took.0)),
    field("keys", "number of keys that were looked up together", int!(f => f.row.keys)),
    field("hops", "successive queries to the node nearest to a key, maximum over keys", int!(f => f.row.hops)),
    field("asked", "number of all queries", int!(f => f.row.asked)),
    field("silent", "number of queries that no node answered", int!(f => f.row.silent)),
    field("found", "number of peers whose records were found", int!(f => f.row.found)),
];

pub(super) const PINGS: &[Field<Pinged>] = &[
    field("cell", CELL, int!(f => f.cell)),
    field("repeat", REPEAT, int!(f => f.repeat)),
    field("client", CLIENT, int!(f => f.row.client.0)),
    field("peer", "node id of the peer that answered", int!(f => f.row.peer.0)),
    field("ended_ns", "when the answer arrived, on the client's clock", int!(f => f.row.at.0)),
    field("took_ns", "round-trip time", int!(f => f.row.took.0)),
];

fn purpose(f: &Filed<Looked>) -> String {
    format!("{:?}", f.row.purpose).to_ascii_lowercase()
}
