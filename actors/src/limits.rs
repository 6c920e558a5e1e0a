//! All limits of the swarm, each with its reason. A run that reaches a limit gets a typed error or does what the
//! limit's comment says; it never hangs.
use crate::time::Duration;

/// The maximum number of sessions that a peer has open at once. Each session takes one map entry and one KV cache. 1024
/// sessions suffice for 16 clients on each of 64 machines.
pub const SESSIONS_PER_PEER: usize = 1024;

/// The maximum number of sessions that wait for room in a peer's KV cache, if the admission policy lets sessions wait.
/// It equals the maximum number of open sessions.
pub const WAITING_SESSIONS_PER_PEER: usize = SESSIONS_PER_PEER;

/// The maximum number of steps that wait for a peer's device. A session has at most one step in flight, so at most one
/// step of each session waits. A step beyond the limit is refused as `Busy`. The limit is needed because actix
/// mailboxes are unbounded for `do_send`.
pub const QUEUED_STEPS_PER_PEER: usize = SESSIONS_PER_PEER;

/// The maximum number of records that a node of the DHT stores; each peer has one record for each of its blocks. With 5
/// replicas, the limit suffices for a thousand peers with 80 blocks each, if their records are spread over a hundred
/// nodes. A full store takes some megabytes.
pub const DHT_RECORDS: usize = 16_384;

/// The maximum number of keys in one DHT query or STORE request. Each block has one key, and the largest models have
/// one or two hundred blocks.
pub const DHT_KEYS_PER_CALL: usize = 256;

/// The maximum number of contacts in one DHT response. Without this limit, the response to a query for many keys would
/// contain `k` contacts for each key.
pub const DHT_CONTACTS_PER_ANSWER: usize = 256;

/// The maximum number of records in one DHT response, one record for each peer. In a large public swarm, hundreds of
/// peers serve one block.
pub const DHT_RECORDS_PER_ANSWER: usize = 4096;

/// The maximum number of round-trip times in a peer's announcement. Petals' servers measure ten at a time. Each
/// round-trip time adds twelve bytes to every DHT response that contains the announcement.
pub const ROUND_TRIPS_PER_RECORD: usize = 64;

/// The maximum lifetime of a DHT record. A longer lifetime in a STORE request is reduced to this maximum.
pub const DHT_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The maximum number of rounds in which a peer simulates the moves of all peers to other blocks, before it decides
/// whether to move itself. The moves usually converge within a few rounds.
pub const PLACEMENT_ROUNDS: usize = 100;

/// A simulation that processes nothing but upkeep (announcements, lookups, pings) for this virtual time is reported as
/// deadlocked. No job takes as long. Twice the run's request timeout, or twice its readiness timeout, applies instead
/// if it is longer.
pub const STILLNESS: Duration = Duration::from_secs(3600);

/// The maximum number of hops of one route. Every hop serves at least one block, and no known model has more than 1024
/// blocks.
pub const HOPS_PER_ROUTE: usize = 1024;

/// The maximum number of rows in the batch of one request. The wire format stores the number in 16 bits.
pub const BATCH: u32 = 4096;

/// The maximum number of tokens in each row of a request, prompt and generated tokens together. It exceeds the context
/// windows of nearly all models of today, and rejects mistyped lengths.
pub const TOKENS_PER_REQUEST: u32 = 1 << 20;

/// The maximum hidden size of a model. The wire format stores the hidden size in 16 bits.
pub const HIDDEN: u32 = 65_535;

/// The maximum intermediate size of a feed-forward layer. It is usually four times the hidden size, and in no known
/// model more than eight times.
pub const FFN: u32 = 16 * HIDDEN;

/// The maximum number of tokens in a model's vocabulary. It exceeds the vocabulary of any tokenizer of today.
pub const VOCABULARY: u32 = 1 << 22;

/// The maximum number of threads of one device, of core leases of one machine, and of simulations that run at the same
/// time. No machine has as many cores.
pub const THREADS: u32 = 4096;

/// The maximum number of further devices of one host, besides its first device. No server has slots for as many.
pub const DEVICES: u32 = 64;

/// The maximum number of hosts in one plan, and the maximum number of nodes in it. Making a plan takes about 5 kB of
/// memory for each host or node.
pub const NODES: usize = 1 << 18;

/// The maximum number of requests of one client in one run. A session's id has 24 bits for the index of its request.
pub const REQUESTS_PER_CLIENT: u32 = 1 << 24;

/// The maximum number of sessions of one request over all its routes. A session's id has 16 bits for the session
/// number.
pub const SESSIONS_PER_REQUEST: u32 = 1 << 16;

/// The maximum number of faults in one plan. Each fault takes about a hundred bytes of the plan, and every host that
/// joins a live run receives all faults.
pub const FAULTS: usize = 1 << 18;

/// The maximum size in bytes of the outputs that a peer keeps to send them again after a failure, over all of its
/// sessions. It suffices for a hundred sessions of two thousand tokens of a large model. A session whose outputs would
/// exceed it keeps none; if its next hop then fails, the request restarts.
pub const KEPT_BYTES: u64 = 8 << 30;

/// The rate of the slowest link that the failure detector assumes, in bytes per second. To the time that it waits for a
/// pong, the detector adds the time that the hidden states of the current step take over such a link, because the pong
/// may be delayed behind them.
pub const SLOWEST_LINK: u64 = 1 << 20;

/// The longest time for which a client learns to wait for a peer's answer to a ping. The learnt time at least doubles
/// whenever the client has declared the peer failed and then hears from it. One minute exceeds the delays of slow links
/// and devices, and users still wait that long. From a heartbeat of one millisecond, it is reached after at most
/// sixteen false alarms.
pub const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// The maximum size of a frame's control part (all of the frame but its tensor), in bytes. The largest control part is
/// a plan of thousands of nodes.
pub const FRAME_CONTROL_BYTES: usize = 64 << 20;

/// The maximum size of a frame's tensor part, in bytes. A plan whose longest step would need more for its hidden states
/// (up to batch x tokens x hidden size x 4 bytes) is rejected.
pub const FRAME_TENSOR_BYTES: usize = 1 << 30;

/// The maximum number of bytes that wait to be sent on one connection: two frames of the maximum size. A session has at
/// most one step in flight, so a longer queue means that the receiver has stopped reading.
pub const LINK_QUEUE_BYTES: usize = 2 * FRAME_TENSOR_BYTES;

/// The maximum size of the chunks in which a tensor is sent, in bytes. A decode step that shares a connection with a
/// large prefill waits for at most one chunk of the prefill.
pub const FRAME_CHUNK_BYTES: usize = 256 << 10;

/// The maximum size of the greeting, the first frame of a connection, in bytes. Nothing else is read before the
/// greeting.
pub const GREETING_BYTES: usize = 256;

/// The maximum number of open connections that have not sent their greeting yet. Further connections are dropped at
/// once.
pub const STRANGERS: usize = 1024;

/// The maximum number of warnings of one kind that a process logs, for warnings that other hosts or unknown programs
/// can cause. Further warnings are counted, not logged.
pub const REPEATED_WARNINGS: u64 = 4;

/// The time for which a process holds the greeting of a new host process until the orchestrator has announced that
/// process. The greeting and the announcement travel on different connections, so the greeting may arrive first.
pub const CALLS_AHEAD: Duration = Duration::from_secs(5);

/// The time for which a run continues after the last peer that serves some block is lost for good. Within this time,
/// steps that have already passed the block return to their clients.
pub const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The maximum number of jobs that wait for a device. It suffices even if all sessions of a few peers close at once,
/// each with a job that frees its KV cache.
pub const QUEUED_JOBS: usize = 4 * SESSIONS_PER_PEER;

/// The maximum number of samples of one empirical delay distribution in a plan. 1024 samples take 8 KiB, and their
/// quantiles are finer than the tail of any measurement.
pub const DELAY_SAMPLES: usize = 1024;

/// The minimum time for which a leaving host keeps running, so that its announcements as OFFLINE are sent and received.
pub const FAREWELL: Duration = Duration::from_millis(500);
/// The interval at which a leaving host checks, once [`FAREWELL`] is over, whether it still holds a session.
pub const FAREWELL_LOOK: Duration = Duration::from_millis(20);

/// The maximum number of requests of an open-loop workload or a trace in one plan. Each request takes about fifty bytes
/// in the copy of the plan that every host gets.
pub const ARRIVALS: usize = 1 << 20;
