//! What is asked of the swarm: requests one after another, or when they come.
use crate::schema::lengths::Lengths;
use crate::units::{Frequency, Time};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Workload {
    /// `clients` clients, each on a host of its own made after the group `on`, run `micro_batches` requests one after
    /// another: `batch` rows of `prompt` tokens, of which `generate` more are wanted.
    Closed {
        on: String,
        clients: u32,
        #[serde(default = "one")]
        micro_batches: u32,
        #[serde(default = "one")]
        batch: u32,
        prompt: u32,
        generate: u32,
    },
    /// Requests come at a rate, whatever has become of those before; the clients take them in turn.
    Open {
        on: String,
        clients: u32,
        /// Over all clients, from the barrier's release on.
        rate: Frequency,
        #[serde(default)]
        process: Process,
        /// From the rate of the point before to this one in a straight line; the last one stays.
        #[serde(default)]
        ramp: Vec<(Time, Frequency)>,
        /// Until when requests come, or how many: the earlier of both, where both are given.
        #[serde(default)]
        duration: Option<Time>,
        #[serde(default)]
        requests: Option<u32>,
        #[serde(default = "one")]
        batch: u32,
        prompt: Lengths,
        generate: Lengths,
        /// Prompt and answer together: a longer answer is cut to it, then the prompt to what is left.
        #[serde(default)]
        longest: Option<u32>,
        /// Requests that one client has under way at once; one that comes beyond them is shed.
        #[serde(default = "in_flight")]
        in_flight: u32,
    },
    /// Requests as a file has them.
    Trace {
        on: String,
        clients: u32,
        /// CSV, packed by gzip or not: a path from the scenario's folder on.
        file: String,
        #[serde(default)]
        columns: Columns,
        /// Columns of the file that have no meaning here.
        #[serde(default)]
        ignore: Vec<String>,
        /// So much of the file's beginning is left out, ...
        #[serde(default)]
        skip: Time,
        /// ... and what comes later than this after it.
        #[serde(default)]
        duration: Option<Time>,
        /// Only the first of what is left.
        #[serde(default)]
        limit: Option<u32>,
        /// Twice as fast: 2.
        #[serde(default = "as_recorded")]
        speed: f64,
        #[serde(default = "one")]
        batch: u32,
        #[serde(default)]
        longest: Option<u32>,
        #[serde(default = "in_flight")]
        in_flight: u32,
    },
}

/// How requests follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Process {
    /// At equal distances.
    Constant,
    /// Independent of each other.
    #[default]
    Poisson,
    /// Distances of this coefficient of variation: below 1 steadier than Poisson, above 1 in bursts.
    Gamma { cv: f64 },
}

/// The format of a trace: what its columns are called, and what its times count from.
///
/// Times of our own format count from the trace's beginning, those of the others begin with the first request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
