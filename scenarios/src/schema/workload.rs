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
        /// The number of rows of a request.
        #[serde(default = "one")]
        batch: u32,
        /// The prompt tokens of each row.
        prompt: u32,
        /// The tokens that are generated for each row. 0: a request ends when its prompt has been processed.
        generate: u32,
    },
    /// Requests arrive at a rate, whether or not earlier ones have ended. The clients take them in turn.
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
        /// Points (time, rate). The rate changes linearly from one point to the next and stays at the last.
        #[serde(default)]
        ramp: Vec<(Time, Frequency)>,
        /// The time for which requests arrive.
        #[serde(default)]
        duration: Option<Time>,
        /// The number of requests. If `duration` is given as well, the earlier end counts.
        #[serde(default)]
        requests: Option<u32>,
        /// The number of rows of a request.
        #[serde(default = "one")]
        batch: u32,
        /// The prompt tokens of each row.
        prompt: Lengths,
        /// The tokens that are generated for each row.
        generate: Lengths,
        /// The largest sum of prompt and generated tokens. The answer is cut first, then the prompt.
        #[serde(default)]
        longest: Option<u32>,
        /// The largest number of requests that one client has in flight. Further requests are shed: counted, and not sent.
        #[serde(default = "in_flight")]
        in_flight: u32,
    },
    /// Requests arrive as a file has recorded them.
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
        /// `Ours`: further columns of the file, which are not read.
        #[serde(default)]
        ignore: Vec<String>,
        /// The time at the beginning of the trace that is left out.
        #[serde(default)]
        skip: Time,
        /// The time after `skip` from which on requests are left out.
        #[serde(default)]
        duration: Option<Time>,
        /// The largest number of requests.
        #[serde(default)]
        limit: Option<u32>,
        /// The factor by which the trace is replayed faster.
        #[serde(default = "as_recorded")]
        speed: f64,
        /// The number of rows of a request.
        #[serde(default = "one")]
        batch: u32,
        /// The largest sum of prompt and generated tokens. The answer is cut first, then the prompt.
        #[serde(default)]
        longest: Option<u32>,
        /// The largest number of requests that one client has in flight. Further requests are shed: counted, and not sent.
        #[serde(default = "in_flight")]
        in_flight: u32,
    },
}

/// The distribution of the times between requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Process {
    /// Equal times.
    Constant,
    /// Exponentially distributed times: a Poisson process.
    #[default]
    Poisson,
    /// Gamma-distributed times.
    Gamma {
        /// The coefficient of variation. Below 1, requests arrive more regularly than in a Poisson process; above 1, in
        /// bursts.
        cv: f64,
    },
}

/// The format of a trace.
///
/// Times of our own format count from the trace's beginning, those of the others begin with the first request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Columns {
    /// CSV with the columns at_s, prompt, generate, and where they are there client (from 0), route (hosts of peers with
    /// `>` between) and first_ms (the measured time to the first token, for `published`). Others must be in `ignore`.
    #[default]
    Ours,
    /// CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens: Azure's traces of LLM inference, 2023.
    Azure2023,
    /// The same of 2024, whose timestamps have an offset.
    Azure2024,
    /// CSV with the columns Timestamp (s), Request tokens, Response tokens among others: BurstGPT. Failed requests, which
    /// have no response tokens, are left out.
    BurstGpt,
    /// JSON lines with timestamp (ms), input_length, output_length and hash_ids: Mooncake.
    Mooncake,
    /// JSON lines with timestamp (s), input_length, output_length among others: Qwen's traces from Bailian.
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

/// A quarter of what a peer holds for all clients together.
fn in_flight() -> u32 {
    256
}
