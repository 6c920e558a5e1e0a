//! The catalogue of measures: each column's name, which ends in its unit, and its definition.
use std::sync::LazyLock;

/// The column of a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub about: String,
}

/// The latencies that are given as distributions, with their definitions.
pub const DISTRIBUTIONS: [(&str, &str); 8] = [
    ("ttft", "time to first token: t_1 - t_sent"),
    ("tpot", "time per output token: (t_N - t_1) / (N - 1)"),
    ("itl", "inter-token latency: t_k - t_(k-1), pooled over requests"),
    ("e2el", "end-to-end latency: t_end - t_sent"),
    ("schedule_delay", "how late a request was sent: t_sent - t_intended"),
    ("ttft_corrected", "time to first token, counted from when the request was due: t_1 - t_intended"),
    ("discovery", "time of a client's lookup of all blocks in the DHT, also of lookups for warm-ups"),
    ("e2el_corrected", "end-to-end latency, counted from when the request was due: t_end - t_intended"),
];

const STATISTICS: [&str; 8] = ["mean", "std", "min", "max", "p50", "p90", "p95", "p99"];

const CONTRACT: [(&str, &str); 8] = [
    ("total_tokens", "output tokens of all rows of all timed requests: P x M x B x T if nothing failed"),
    ("throughput_tokens_per_s", "total_tokens / wall_s"),
    ("mean_latency_ms", "mean time of a whole generate(), prompt included, over timed requests that succeeded"),
    ("cold_start_ms", "mean time of the clients' warm-up requests"),
    ("cold_start_discovery_ms", "part of cold_start_ms: looking up the peers"),
    ("cold_start_sessions_ms", "part of cold_start_ms: routing and opening sessions"),
    ("cold_start_first_compute_ms", "part of cold_start_ms: the rest, computing the first token"),
    ("cold_start_ratio", "cold_start_ms / mean ttft of timed requests"),
];

const COUNTS: [(&str, &str); 10] = [
    ("wall_s", "time from the barrier's release to the last client's end"),
    ("requests", "timed requests that the plan asks for: P x M in a closed workload"),
    ("completed", "timed requests that succeeded"),
    ("failed", "timed requests that were sent and did not succeed"),
    ("shed", "timed requests that were never sent, because their client already had the allowed number in flight"),
    ("failovers", "failures of peers that timed requests survived"),
    ("tokens_replayed", "tokens of each row that were computed again because of failovers"),
    (
        "time_to_notice_ms",
        "mean time from a failed peer's last message, or the last message to it, until its failure was noticed",
    ),
    ("time_to_recover_ms", "mean time from noticing a failure until the step that the failure held up had returned"),
    (
        "time_to_recover_max_ms",
        "longest time from noticing a failure until the step that the failure held up had returned",
    ),
];

const OTHERS: [(&str, &str); 38] = [
    ("ntpot_mean_ms", "mean of e2el / N over requests, where N is the number of output tokens"),
    (
        "output_throughput_tokens_per_s",
        "output tokens of all rows that arrived in the window, of failed requests too / wall_s",
    ),
    ("prefill_throughput_tokens_per_s", "prompt tokens of all rows whose prefill ended in the window / wall_s"),
    ("total_token_throughput_tokens_per_s", "output_throughput_tokens_per_s + prefill_throughput_tokens_per_s"),
    ("request_throughput_per_s", "successful requests that ended in the window / wall_s"),
    ("requested_rate_per_s", "requests of an open workload / the time during which the workload lets requests arrive"),
    (
        "achieved_rate_per_s",
        "requests sent / the time of requested_rate_per_s, or the time until the last was sent if that is longer",
    ),
    ("slo_share", "requests that succeeded and met every objective / all requests of the plan"),
    ("goodput_requests_per_s", "requests that succeeded and met every objective / wall_s"),
    ("goodput_tokens_per_s", "output tokens of requests that succeeded and met every objective / wall_s"),
    ("concurrency_mean", "timed requests in flight, averaged over the window"),
    ("concurrency_peak", "largest number of timed requests in flight at one instant"),
    ("barrier_skew_ms", "time between the first timed request of the first client and that of the last client"),
    ("petals_speed_steps_per_s", "1 / mean time of a one-token step, for each client, averaged over clients"),
    ("forward_tokens_per_s", "prompt tokens / prefill time, for each client, averaged over clients"),
    ("hop_count", "peers on the route of a successful timed request, mean"),
    (
        "lookup_hops_mean",
        "successive queries to the node nearest to a key; maximum over a lookup's keys, mean over clients' lookups",
    ),
    ("lookup_hops_max", "the same as lookup_hops_mean, but the maximum over lookups"),
    ("lookup_questions_mean", "all queries of a client's lookup, mean over lookups"),
    ("lookup_silent", "queries of clients' lookups that no node answered"),
    ("coverage_mean", "share of the model's blocks that some peer served, averaged over the window"),
    ("coverage_min", "share of the model's blocks that some peer served, minimum over the window"),
    ("holes", "intervals of the window in which some block was served by no peer"),
    ("hole_s", "total time of the window in which some block was served by no peer"),
    ("bytes_per_token", "bytes of activations on links for each output token, of successful timed requests"),
    ("peer_utilisation_mean", "share of the window in which a peer computed for timed requests, mean over peers"),
    ("peer_utilisation_max", "share of the window in which the busiest peer computed for timed requests"),
    ("network_fraction", "part_network_ms / mean_latency_ms"),
    ("part_setup_ms", "part of mean_latency_ms: discovery, routing and session set-up"),
    ("part_client_queue_ms", "part of mean_latency_ms: waiting for the client's device"),
    ("part_client_ms", "part of mean_latency_ms: embedding, LM head, sampling"),
    ("part_peer_queue_ms", "part of mean_latency_ms: waiting for the peers' devices"),
    ("part_compute_ms", "part of mean_latency_ms: computing the peers' blocks"),
    ("part_network_ms", "part of mean_latency_ms: the rest, mostly the network"),
    (
        "part_send_queue_ms",
        "part of the network: waiting for NICs and links (where the link model runs: simulated, or live and shaped)",
    ),
    (
        "part_transmit_ms",
        "part of the network: bytes / bandwidth (where the link model runs: simulated, or live and shaped)",
    ),
    (
        "part_propagation_ms",
        "part of the network: propagation (where the link model runs: simulated, or live and shaped)",
    ),
    (
        "part_network_other_ms",
        "part of the network: what remains (where the link model runs: simulated, or live and shaped)",
    ),
];

/// All columns, in the order in which they are written.
pub static COLUMNS: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let plain = |&(name, about): &(&str, &str)| Column { name: name.to_owned(), about: about.to_owned() };
    let mut columns: Vec<Column> = CONTRACT.iter().chain(&COUNTS).map(plain).collect();
    for (latency, about) in DISTRIBUTIONS {
        let count = Column { name: format!("{latency}_count"), about: format!("samples of {latency}") };
        let statistic = |stat| Column { name: format!("{latency}_{stat}_ms"), about: format!("{about} ({stat})") };
        columns.push(count);
        columns.extend(STATISTICS.map(statistic));
    }
    columns.extend(OTHERS.iter().map(plain));
    columns
});
