//! A device of a plan: how the live world executes it, and how long the simulation takes it to work.
use actors::time::Duration;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub name: String,
    /// How the live world executes it.
    pub executor: Executor,
    /// How long the simulation takes it to work.
    pub cost: Cost,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Executor {
    Cpu {
        threads: u32,
    },
    Cuda {
        ordinal: u32,
    },
    /// A device that is not on the machine that runs the scenario; the simulation alone knows it.
    Elsewhere,
}

/// The time of a job: what it executes and reads again (`cold`), times `slow` and a draw of `jitter`, plus `first_job` once
/// after start (kernels compile, caches fill).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub roofline: Roofline,
    /// Where there are measured times of blocks, they take the roofline's place for them.
    pub table: Option<Table>,
    /// Where there are measured times of the client's ends, they take the roofline's place for them.
    pub ends: Option<Ends>,
    pub first_job: Duration,
    pub cold: ColdCache,
    pub jitter: Jitter,
    /// How many times slower than its kind this device is: a straggler has more than 1.
    pub slow: f64,
    pub overhead: Overhead,
}

impl Cost {
    /// A device of this roofline, and nothing beside it.
    pub const fn of(roofline: Roofline) -> Cost {
        Cost {
            roofline,
            table: None,
            ends: None,
            first_job: Duration::ZERO,
            cold: ColdCache::OFF,
            jitter: Jitter::Off,
            slow: 1.0,
            overhead: Overhead::NONE,
        }
    }
}

/// max(FLOPs / rate, bytes / bandwidth) plus overheads (Williams, Waterman and Patterson 2009), at achieved rates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// FLOP/s achieved on large matmuls.
    pub flops: f64,
    /// Bytes/s achieved on streamed weights.
    pub bandwidth: f64,
    pub per_block: Duration,
    pub per_job: Duration,
}

/// Measured seconds of one block, and of a job beside its blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// New tokens over all rows of the job x tokens before them, for steps of more than one token.
    pub prefill: Grid,
    /// Rows x tokens before the new one, for one-token steps.
    pub decode: Grid,
    pub per_job: Duration,
}

/// Seconds over sizes and contexts; [`crate::cost`] says how they are interpolated. Empty: nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Rising, the first above 0.
    pub sizes: Vec<f64>,
    /// Rising.
    pub contexts: Vec<f64>,
    /// Never falling along either: all sizes of the first context, then of the next.
    pub seconds: Vec<f64>,
}

/// Measured seconds over a size, rising: (size, seconds).
pub type Curve = Vec<(f64, f64)>;

/// Measured seconds of a client's ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// Over new tokens of all rows.
    pub embed: Curve,
    /// Final norm, head and sampling, over rows.
    pub head: Curve,
}

/// What it costs that weights leave a processor's caches, and come back but by and by.
///
/// A job reads a share of its weights from memory, for they are cold; of these the share `left` is cold still when it is
/// done, for caches do not keep all that was read once. And a time `g` after a job began, the share `g / (g + half_after)`
/// of what was not cold is cold again. From start to start, for a long job reads its weights one after another: that a
/// peer of all blocks is never idle makes none of them warmer.
///
/// Fitted: on two cores of a server that neighbours share, the one-token steps of eight blocks of 3 MB took 2.3 ms after a
/// prefill of 13 ms, 2.0 ms two steps later, and 1.65 ms after ten, in live runs of `twin-suite`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColdCache {
    /// For each block of a job all of whose weights are cold.
    pub per_block: Duration,
    /// Likewise for a head.
    pub head: Duration,
    pub half_after: Duration,
    pub left: f64,
}

impl ColdCache {
    pub const OFF: ColdCache =
        ColdCache { per_block: Duration::ZERO, head: Duration::ZERO, half_after: Duration::ZERO, left: 0.0 };

    /// The share of warm things that is cold after a time.
    pub fn share(half_after: Duration, since: Duration) -> f64 {
        since.0 as f64 / (since.0 as f64 + half_after.0 as f64).max(1.0)
    }

    /// The share that is cold of weights of which the last job, which began so long ago, found `before` cold.
    pub fn again(&self, before: f64, since: Duration) -> f64 {
        1.0 - (1.0 - before * self.left) * (1.0 - ColdCache::share(self.half_after, since))
    }
}

/// By what the time of a job is multiplied: draws from the device's own stream, of mean 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Jitter {
    Off,
    /// `exp(N(-sigma^2 / 2, sigma))`.
    LogNormal {
        sigma: f64,
    },
    /// Measured factors in ascending order, a quantile each, linear between them.
    Quantiles(Vec<f64>),
}

/// What a host adds to computing and to the declared network, measured by `calibrate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// From a node's asking for a job until an idle device has begun it: the way to its thread, and a free core lease.
    pub to_device: Duration,
    /// From the end of a job until its node knows.
    pub from_device: Duration,
    /// Of each byte of activations that a job is given, and of each that it gives, in seconds: a copy each.
    pub per_copied: f64,
    /// From the end of one job until the next has a core lease that it waited for.
    pub hand_over: Duration,
    /// Of a frame at each of its two ends.
    pub frame: Duration,
    /// Of each byte of a frame at each of its two ends, in seconds.
    pub per_byte: f64,
    /// What each of these takes longer where a thread, or a connection, has been still for long; after a time `g`, the
    /// share `g / (g + half_after)` of it. Of the way to a device that is since its last job, of the way back the job
    /// itself, of a core lease the waiting for it, of an end of a frame since its node's last frame.
    pub idle: Duration,
    pub half_after: Duration,
    /// What a peer does between hearing that a session is to open and saying that it is open.
    pub opening: Duration,
    /// By how much a frame that `shape: true` has held comes after its instant.
    pub held: Duration,
    /// On so many cores of its machine the frames of all hosts there are sent and received, which take turns at them; 0:
    /// nobody waits for another.
    pub serving: u32,
    /// What frames cost varies by this: it is multiplied by exp(N(-sigma^2 / 2, sigma)) at each end. 0: it does not.
    pub sigma: f64,
    /// By this share of itself an end of a frame takes longer whose machine was last at frames of other clients alone, for
    /// they have had its caches; by less as some of them were of the same client.
    pub cache_interference: f64,
    pub cpu_steal: CpuSteal,
}

/// When a machine's cores stand still though there is work for them: those of a virtual one are taken for others now and
/// then (what Linux counts as cpu_steal). From one time to the next, and how long one lasts, are exponential; these are the means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuSteal {
    /// Of each core. 0: never.
    pub every: Duration,
    pub last: Duration,
}

impl CpuSteal {
    pub const NONE: CpuSteal = CpuSteal { every: Duration::ZERO, last: Duration::ZERO };
}

impl Overhead {
    pub const NONE: Overhead = Overhead {
        to_device: Duration::ZERO,
        from_device: Duration::ZERO,
        per_copied: 0.0,
        hand_over: Duration::ZERO,
        frame: Duration::ZERO,
        per_byte: 0.0,
        idle: Duration::ZERO,
        half_after: Duration::ZERO,
        opening: Duration::ZERO,
        held: Duration::ZERO,
        serving: 0,
        sigma: 0.0,
        cache_interference: 0.0,
        cpu_steal: CpuSteal::NONE,
    };

    /// From a node's asking for a job of so many bytes until a device has begun it that has been idle for so long.
    pub fn way_there(&self, bytes: u64, idle: Duration) -> Duration {
        self.to_device + self.woken(idle) + Duration::from_secs_f64(bytes as f64 * self.per_copied)
    }

    /// From the end of a job that gives so many bytes, and took so long, until its node knows.
    pub fn way_back(&self, bytes: u64, took: Duration) -> Duration {
        match *self {
            // As it is for all that no profile speaks of, without a float's work.
            Overhead { from_device: Duration::ZERO, idle: Duration::ZERO, per_copied: 0.0, .. } => Duration::ZERO,
            _ => self.from_device + self.woken(took) + Duration::from_secs_f64(bytes as f64 * self.per_copied),
        }
    }

    /// From the end of one job until another begins that has waited so long for the core lease.
    pub fn handed_over(&self, waited: Duration) -> Duration {
        self.hand_over + self.woken(waited)
    }

    /// An end of a frame at a node that has had no other for so long, without what its bytes take.
    pub fn end_of_frame(&self, idle: Duration) -> Duration {
        self.frame + self.woken(idle)
    }

    /// What takes so long by itself, at a machine whose last frames were of other clients to this share.
    pub fn among_others(&self, takes: Duration, share: f64) -> Duration {
        Duration((takes.0 as f64 * (1.0 + self.cache_interference * share)) as u64)
    }

    fn woken(&self, still: Duration) -> Duration {
        match self.idle {
            Duration::ZERO => Duration::ZERO,
            whole => Duration((whole.0 as f64 * ColdCache::share(self.half_after, still)) as u64),
        }
    }
}
