//! All bounds of the swarm in one place, each with its reason. A bound that is reached leads to a typed error, never to
//! a hang.
use crate::time::Duration;

/// The maximum number of sessions that a peer holds at once. Each session is a map entry and a cache slot; 1024
/// sessions are 16 clients on 64 machines.
pub const SESSIONS_PER_PEER: usize = 1024;

/// The maximum number of sessions that wait for room in a peer's cache, where the policy lets sessions wait: as many as
/// the peer can hold.
pub const WAITING_SESSIONS_PER_PEER: usize = SESSIONS_PER_PEER;

/// The maximum number of steps that wait for a peer's device. A session has at most one step in flight, so at most one
/// step of each session waits. Any further step is refused as `Busy`. The bound is needed because actix mailboxes are
/// unbounded for `do_send`.
pub const QUEUED_STEPS_PER_PEER: usize = SESSIONS_PER_PEER;

/// The maximum number of records that a node of the DHT keeps, one for each block and peer. With 5 replicas this
/// suffices for a swarm of a thousand peers of 80 blocks on a hundred nodes, in some megabytes.
pub const DHT_RECORDS: usize = 16_384;

/// The maximum number of keys of one query or one STORE. The largest models have a few hundred blocks.
pub const DHT_KEYS_PER_CALL: usize = 256;

/// The maximum number of contacts in one response. Without it, a query for many keys would be answered with `k`
/// contacts for each key.
pub const DHT_CONTACTS_PER_ANSWER: usize = 256;

/// The maximum number of peers in one response, each with its record. In a large public swarm, hundreds of peers serve
/// one block.
pub const DHT_RECORDS_PER_ANSWER: usize = 4096;

/// The maximum number of round-trip times that a peer announces. Petals' servers measure ten at a time, and each takes
/// twelve bytes in many responses.
pub const ROUND_TRIPS_PER_RECORD: usize = 64;

/// The longest lifetime of a record. A longer lifetime that an announcer asks for is clamped to it.
pub const DHT_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The maximum number of rounds in which a peer that considers moving simulates the moves of all peers. The moves
/// usually converge within a few rounds.
pub const PLACEMENT_ROUNDS: usize = 100;

/// The minimum virtual time for which a simulation may process nothing but upkeep (announcements, lookups, pings)
/// before it is reported as a deadlock. It is longer than any job. Twice the longer of the run's request and readiness
/// timeouts applies instead if that is longer.
pub const STILLNESS: Duration = Duration::from_secs(3600);

/// The maximum number of hops of one route. Every hop serves at least one block, and no known model has more blocks.
pub const HOPS_PER_ROUTE: usize = 1024;

/// The maximum batch size of one request. The wire format has 16 bits for it.
pub const BATCH: u32 = 4096;

/// The maximum number of tokens of one request, prompt and generation together. It exceeds the context windows of
/// nearly all models of today, and bounds what a mistyped length can ask for.
pub const TOKENS_PER_REQUEST: u32 = 1 << 20;

/// The maximum hidden size. The wire format has 16 bits for it.
pub const HIDDEN: u32 = 65_535;

/// The maximum intermediate size of a feed-forward layer. Four times the hidden size is usual, and no known model has
/// more than eight times.
pub const FFN: u32 = 16 * HIDDEN;

/// The maximum vocabulary size. It exceeds any tokenizer of today.
pub const VOCABULARY: u32 = 1 << 22;

/// The maximum number of threads of one device, and of simulations that run at a time. No machine has as many cores.
pub const THREADS: u32 = 4096;

/// The maximum number of devices of one host besides its first. No server has as many slots.
pub const DEVICES: u32 = 64;

/// The maximum number of hosts of one plan, and of nodes. The making of a plan takes about 5 kB of memory for each of
/// them.
pub const NODES: usize = 1 << 18;

/// The maximum number of requests of one client in one run. A session's id has 24 bits for the request.
pub const REQUESTS_PER_CLIENT: u32 = 1 << 24;

/// The maximum number of sessions of one request over all its routes. A session's id has 16 bits for the session
/// number.
pub const SESSIONS_PER_REQUEST: u32 = 1 << 16;

/// The maximum number of faults of one plan. Each takes about a hundred bytes of the plan, and a host that joins a live
/// run receives all of them.
pub const FAULTS: usize = 1 << 18;

/// The maximum bytes of hidden states that a node keeps for a replay after a failure, over all its sessions: a hundred
/// sessions of a large model over two thousand tokens. Beyond it, the history of a session is not kept, and a failure
/// then restarts its request.
pub const KEPT_BYTES: u64 = 8 << 30;

/// The rate of the slowest link that the failure detector allows for, in bytes per second. A peer may be silent while
/// the hidden states of a step are still in transit at this rate.
pub const SLOWEST_LINK: u64 = 1 << 20;

/// The upper bound of a client's timeout for a silent peer. The timeout grows each time a peer was given up and then
/// answered after all. The bound is longer than links and devices are slow, and shorter than people wait. From a
/// heartbeat of one millisecond, it is reached after at most sixteen false alarms.
pub const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// The maximum bytes of the control part of a frame. The largest control part is a plan of thousands of nodes.
pub const FRAME_CONTROL_BYTES: usize = 64 << 20;

/// The maximum bytes of the tensor part of a frame, for every plan: batch x tokens x hidden x 4 of the largest sweep.
pub const FRAME_TENSOR_BYTES: usize = 1 << 30;

/// The maximum bytes that wait for one connection: two frames of the maximum size. A session has at most one step in
/// flight, so more bytes mean that the other side has stopped reading.
pub const LINK_QUEUE_BYTES: usize = 2 * FRAME_TENSOR_BYTES;

/// The maximum bytes of a tensor that are sent as one chunk. A decode step waits for at most one such chunk of a large
/// prefill.
pub const FRAME_CHUNK_BYTES: usize = 256 << 10;

/// The maximum bytes of the greeting, the first frame of a connection. Nothing else is read before the greeting.
pub const GREETING_BYTES: usize = 256;

/// The maximum number of connections that have not sent their greeting yet. Further connections are dropped at once.
pub const STRANGERS: usize = 1024;

/// The maximum number of warnings of one kind that a process logs, if strangers or other hosts can cause them. Further
/// warnings are only counted.
pub const REPEATED_WARNINGS: u64 = 4;

/// The time for which a host's greeting waits for the orchestrator's announcement of that host. The two travel on
/// different connections over the loopback, so the greeting may arrive first.
pub const CALLS_AHEAD: Duration = Duration::from_secs(5);

/// The time for which a run continues after the last peer of some blocks is lost for good. Responses that have already
/// passed those blocks arrive within it.
pub const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The maximum number of jobs that wait for a device. It suffices if every session of a few peers frees its cache at
/// once.
pub const QUEUED_JOBS: usize = 4 * SESSIONS_PER_PEER;

/// The maximum number of samples of an empirical delay in a plan. The samples take 8 KiB, and 1024 quantiles are finer
/// than any measured tail.
pub const DELAY_SAMPLES: usize = 1024;

/// The minimum time for which a host that leaves remains, so that its goodbye is sent and received.
pub const FAREWELL: Duration = Duration::from_millis(500);
/// The interval at which a host that leaves checks, after [`FAREWELL`], whether it still holds a session.
pub const FAREWELL_LOOK: Duration = Duration::from_millis(20);

/// The maximum number of requests of an open workload or a trace in one plan. Each takes about fifty bytes in the plan
/// of every host.
pub const ARRIVALS: usize = 1 << 20;
