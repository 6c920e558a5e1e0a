//! The requests that clients send.
use crate::schema::lengths::Lengths;
use crate::units::{Frequency, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The requests that clients send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Workload {
    /// Each client sends its requests one after another.
    Closed {
        /// The host group of the clients. Each client has a host of its own.
        on: String,
        /// The number of clients.
        clients: u32,
        /// The number of requests of each client (micro-batches in FlexLLMGen).
        #[serde(default = "one")]
        micro_batches: u32,
        /// The number of rows (sequences) of each request.
        #[serde(default = "one")]
        batch: u32,
        /// The prompt tokens of each row.
        prompt: u32,
        /// The tokens that are generated for each row. 0: a request ends when its prompt has been processed.
        generate: u32,
    },
    /// Requests arrive at a rate, whether or not earlier requests have ended. They are assigned to the clients in turn.
    Open {
        /// The host group of the clients. Each client has a host of its own.
        on: String,
        /// The number of clients.
        clients: u32,
        /// The arrival rate of all clients together, from the barrier's release on.
        rate: Frequency,
        /// The distribution of the times between requests.
        #[serde(default)]
        process: Process,
        /// Points (time, rate) of a changing rate, which begins with `rate`. The rate is linear between two points, and
        /// constant after the last point. Times count from the barrier's release.
        #[serde(default)]
        ramp: Vec<(Time, Frequency)>,
        /// The time for which requests arrive, from the barrier's release on. Without it, `requests` ends the arrivals.
        #[serde(default)]
        duration: Option<Time>,
        /// The number of requests of all clients together. If `duration` is given as well, the limit that is reached
        /// first ends the arrivals.
        #[serde(default)]
        requests: Option<u32>,
        /// The number of rows (sequences) of each request.
        #[serde(default = "one")]
        batch: u32,
        /// The prompt tokens of each row.
        prompt: Lengths,
        /// The tokens that are generated for each row.
        generate: Lengths,
        /// The largest sum of prompt and generated tokens of a row. The answer is cut to at most `longest` - 1 tokens,
        /// then the prompt to the remaining tokens.
        #[serde(default)]
        longest: Option<u32>,
        /// The largest number of requests that one client has in flight. Requests beyond it are shed: counted, but not
        /// sent.
        #[serde(default = "in_flight")]
        in_flight: u32,
    },
    /// Requests arrive at the times that are recorded in a trace file.
    Trace {
        /// The host group of the clients. Each client has a host of its own.
        on: String,
        /// The number of clients.
        clients: u32,
        /// The file of the trace, which may be compressed by gzip.
        file: String,
        /// The format of the file.
        #[serde(default)]
        columns: Columns,
        /// With `columns: Ours`: the names of further columns that the file may have. They are not read.
        #[serde(default)]
        ignore: Vec<String>,
        /// The length of the beginning of the trace that is left out, in the trace's own time.
        #[serde(default)]
        skip: Time,
        /// The length of the part of the trace that is replayed, which begins at `skip`, in the trace's own time.
        /// Without it, the part extends to the end of the trace.
        #[serde(default)]
        duration: Option<Time>,
        /// The largest number of requests that are replayed.
        #[serde(default)]
        limit: Option<u32>,
        /// The factor by which the trace is replayed faster than it was recorded.
        #[serde(default = "as_recorded")]
        speed: f64,
        /// The number of rows (sequences) of each request.
        #[serde(default = "one")]
        batch: u32,
        /// The largest sum of prompt and generated tokens of a row. The answer is cut to at most `longest` - 1 tokens,
        /// then the prompt to the remaining tokens.
        #[serde(default)]
        longest: Option<u32>,
        /// The largest number of requests that one client has in flight. Requests beyond it are shed: counted, but not
        /// sent.
        #[serde(default = "in_flight")]
        in_flight: u32,
    },
}

/// The distribution of the times between requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Process {
    /// All times between requests are equal.
    Constant,
    /// The times between requests are exponentially distributed: a Poisson process.
    #[default]
    Poisson,
    /// The times between requests are gamma-distributed.
    Gamma {
        /// The coefficient of variation of the times. Below 1, requests arrive more regularly than in a Poisson
        /// process; above 1, in bursts.
        cv: f64,
    },
}

/// The format of a trace.
///
/// In the format `Ours`, the trace begins at time 0. In all other formats, the trace begins with its earliest request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Columns {
    /// CSV with the columns at_s, prompt and generate. Optional columns are client (counted from 0), route (the hosts
    /// of the peers, separated by `>`) and first_ms (the measured time to the first token, for `swarmbench published`).
    /// Any other column must be named in `ignore`.
    #[default]
    Ours,
    /// CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens: Azure's traces of LLM inference, 2023.
    Azure2023,
    /// CSV with the columns of `Azure2023`: Azure's traces of LLM inference, 2024, whose timestamps have an offset from
    /// UTC.
    Azure2024,
    /// CSV with the columns Timestamp (s), Request tokens, Response tokens and others: BurstGPT's traces. Failed
    /// requests, which have no response tokens, are left out.
    BurstGpt,
    /// JSON lines with timestamp (ms), input_length, output_length and hash_ids: Mooncake's traces.
    Mooncake,
    /// JSON lines with timestamp (s), input_length, output_length and others: Qwen's traces from Bailian.
    QwenBailian,
}

impl Workload {
    /// The host group of the clients.
    pub fn on(&self) -> &str {
        let (Workload::Closed { on, .. } | Workload::Open { on, .. } | Workload::Trace { on, .. }) = self;
        on
    }

    pub fn clients(&self) -> u32 {
        let (Workload::Closed { clients, .. } | Workload::Open { clients, .. } | Workload::Trace { clients, .. }) =
            self;
        *clients
    }
}

fn one() -> u32 {
    1
}

fn as_recorded() -> f64 {
    1.0
}

/// A quarter of the sessions that a peer holds at most (`limits::SESSIONS_PER_PEER`).
fn in_flight() -> u32 {
    256
}
