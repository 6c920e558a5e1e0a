//! Every bound of the swarm in one place, each with its reason. A bound that is reached is a typed error, never a hang.
use crate::time::Duration;

/// Sessions a peer holds at once. Each is a map entry and a cache slot; a thousand is 16 clients on 64 machines.
pub const SESSIONS_PER_PEER: usize = 1024;

/// Sessions that wait for room in a peer's cache, where they may: as many as it could hold.
pub const WAITING_SESSIONS_PER_PEER: usize = SESSIONS_PER_PEER;

/// Steps that wait for a peer's device. A session has at most one step in flight, so this many sessions can wait; beyond
/// it a step is refused as Busy, for actix's mailboxes are unbounded when sent to by `do_send`.
pub const QUEUED_STEPS_PER_PEER: usize = SESSIONS_PER_PEER;

/// Records that a node of the DHT keeps, one for each block and peer: with 5 replicas that is a swarm of a thousand peers
/// of 80 blocks on a hundred nodes, in some megabytes.
pub const DHT_RECORDS: usize = 16_384;

/// Keys of one question or one STORE: a few hundred blocks are the largest models.
pub const DHT_KEYS_PER_CALL: usize = 256;

/// Contacts of one answer: `k` for each of many keys would be a flood.
pub const DHT_CONTACTS_PER_ANSWER: usize = 256;

/// Peers of one answer, each with its record: hundreds serve a block of a large public swarm.
pub const DHT_RECORDS_PER_ANSWER: usize = 4096;

/// Round trips that a peer announces: Petals' servers measure ten at a time, and each takes twelve bytes in many answers.
pub const ROUND_TRIPS_PER_RECORD: usize = 64;

/// How long a record may live, whatever its announcer asks for.
pub const DHT_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Rounds in which a peer that thinks of moving lets everybody move in its mind: it settles within a few.
pub const PLACEMENT_ROUNDS: usize = 100;

/// How long a simulation may see nothing but upkeep (announcements, lookups, pings) before it is a deadlock: longer than
/// any job, and a run's own timeouts may make it longer still.
pub const STILLNESS: Duration = Duration::from_secs(3600);

/// Hops of one route: every hop serves at least one block, and no known model has more blocks.
pub const HOPS_PER_ROUTE: usize = 1024;

/// Batch rows of one request: the wire carries 16 bits.
pub const BATCH: u32 = 4096;

/// Tokens of one request, prompt and generation together: positions beyond any context window of today.
pub const TOKENS_PER_REQUEST: u32 = 1 << 20;

/// Width of a hidden state: the wire carries 16 bits.
pub const HIDDEN: u32 = 65_535;

/// Width within a feed-forward layer: four times the hidden size is usual, and no known model has more than eight.
pub const FFN: u32 = 16 * HIDDEN;

/// Tokens of a vocabulary: beyond any tokeniser of today.
pub const VOCABULARY: u32 = 1 << 22;

/// Threads of one device, and simulations at a time: more than any machine has cores.
pub const THREADS: u32 = 4096;

/// Devices of one host beside its first: more than any server has slots.
pub const DEVICES: u32 = 64;

/// Hosts, and nodes, of one plan: making it takes some five kilobytes of memory for each.
pub const NODES: usize = 1 << 18;

/// Requests of one client in one run: a session's id has 24 bits for which of them it belongs to.
pub const REQUESTS_PER_CLIENT: u32 = 1 << 24;

/// Sessions of one request over all its routes: a session's id has 16 bits for which it is.
pub const LEGS_PER_REQUEST: u32 = 1 << 16;

/// Faults of one plan: each takes some hundred bytes of it, and a host that joins a live run gets all of them.
pub const FAULTS: usize = 1 << 18;

/// Bytes of hidden states that a node keeps to send again after a failure, over all its sessions: a hundred sessions of a
/// large model over two thousand tokens. Beyond it a session is not kept, and a failure then restarts its request.
pub const KEPT_BYTES: u64 = 8 << 30;

/// The slowest link, bytes a second, on which a peer may be silent because a step's hidden states are still on their way.
pub const SLOWEST_LINK: u64 = 1 << 20;

/// A client becomes more patient with a peer that was silent for too long and then spoke, up to this: longer than links and
/// devices are slow, shorter than people wait. From a heartbeat of a millisecond that is sixteen false alarms at most.
pub const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of the control part of a frame: the largest is a plan of thousands of nodes.
pub const FRAME_CONTROL_BYTES: usize = 64 << 20;

/// Bytes of the tensor part of a frame that no plan may exceed: batch x tokens x hidden x 4 of the largest sweep.
pub const FRAME_TENSOR_BYTES: usize = 1 << 30;

/// Bytes that wait for one connection: two of the largest frames. A session has at most one step in flight, so more means
/// that the other side has stopped reading.
pub const LINK_QUEUE_BYTES: usize = 2 * FRAME_TENSOR_BYTES;

/// Bytes of a tensor that go in one piece: a decode step waits for at most one such piece of a large prefill.
pub const FRAME_CHUNK_BYTES: usize = 256 << 10;

/// Bytes of the frame by which a connection introduces itself, before which nothing else is read.
pub const GREETING_BYTES: usize = 256;

/// Connections that have not introduced themselves yet; more are dropped at once.
pub const STRANGERS: usize = 1024;

/// Warnings of one kind that a process logs, where strangers or other hosts can cause them: the rest are counted.
pub const REPEATED_WARNINGS: u64 = 4;

/// How long a host may call before the orchestrator's word that it is there arrives: both come over the loopback.
pub const CALLS_AHEAD: Duration = Duration::from_secs(5);

/// How long a run goes on after the last peer of some blocks is gone for good: what has passed those blocks arrives.
pub const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Jobs that wait for a device: every session of a few peers releasing its cache at once.
pub const QUEUED_JOBS: usize = 4 * SESSIONS_PER_PEER;

/// Samples of an empirical delay in a plan: 8 KiB, and the quantiles of a thousand shares are finer than any measured tail.
pub const DELAY_SAMPLES: usize = 1024;

/// How long a host that leaves stays at least, so that its goodbye has been sent and heard, and how often it then looks
/// whether it holds a session yet.
pub const FAREWELL: Duration = Duration::from_millis(500);
pub const FAREWELL_LOOK: Duration = Duration::from_millis(20);

/// Requests of an open workload or a trace in one plan: each takes some fifty bytes, in every host's plan.
pub const ARRIVALS: usize = 1 << 20;
