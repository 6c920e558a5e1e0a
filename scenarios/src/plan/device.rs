//! A device of a plan: the executor of live runs, and the cost model of the simulation.
use actors::time::Duration;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub name: String,
    /// The executor that runs the device's jobs in a live run.
    pub executor: Executor,
    /// The cost model of the device in the simulation.
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
    /// A device that is not part of the machine that runs the scenario. It can only be simulated.
    Elsewhere,
}

/// The cost model of a device's jobs. The time of a job is the sum of its computing time and its cold-cache penalty
/// (`cold`), multiplied by `slow` and by a random factor (`jitter`). The first job after the device's start takes the
/// extra time `first_job`, because kernels are compiled and caches are filled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub roofline: Roofline,
    /// Measured times of blocks. If present, they replace the roofline for blocks.
    pub table: Option<Table>,
    /// Measured times of the embedding and the LM head. If present, they replace the roofline for both.
    pub ends: Option<Ends>,
    pub first_job: Duration,
    pub cold: ColdCache,
    pub jitter: Jitter,
    /// The factor by which this device is slower than other devices of the same model. Stragglers have a factor above
    /// 1.
    pub slow: f64,
    pub overhead: Overhead,
}

impl Cost {
    /// Returns a cost model with only this roofline: no measured times, random factors or overheads.
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

/// The roofline model: max(FLOPs / FLOP rate, bytes / bandwidth) plus fixed times for each block and job (Williams,
/// Waterman and Patterson 2009). Rates are achieved rates, not peaks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// FLOP/s achieved on large matmuls.
    pub flops: f64,
    /// Bytes/s achieved when weights are streamed from memory.
    pub bandwidth: f64,
    pub per_block: Duration,
    pub per_job: Duration,
}

/// Measured times of blocks: seconds per block, and a fixed time per job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Times of steps of more than one token. Sizes are new tokens, summed over all rows of the job; contexts are
    /// tokens before them.
    pub prefill: Grid,
    /// Times of one-token steps. Sizes are numbers of rows; contexts are tokens before the new one.
    pub decode: Grid,
    pub per_job: Duration,
}

/// A table of measured times by size and context. [`crate::cost`] documents the interpolation. An empty grid means that
/// nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// The sizes in ascending order, the first above 0.
    pub sizes: Vec<f64>,
    /// The contexts in ascending order.
    pub contexts: Vec<f64>,
    /// The times in seconds: all sizes of the first context, then those of the next. Times never decrease with size or
    /// context.
    pub seconds: Vec<f64>,
}

/// Measured times by size, as (size, seconds) in ascending order of size.
pub type Curve = Vec<(f64, f64)>;

/// Measured times of a client's embedding and LM head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// The time of the embedding, by the number of new tokens of all rows.
    pub embed: Curve,
    /// The time of final norm, LM head and sampling together, by the number of rows.
    pub head: Curve,
}

/// The cold-cache penalty: the time that a job loses because its weights have left the processor's caches.
///
/// A job reads its cold weights from memory. After the job the share `left` of them is still cold, because caches do
/// not keep everything that was read once. At a time `g` after the job began, the share `g / (g + half_after)` of the
/// weights that were not cold has become cold again. `g` counts from the start of one job to the start of the next,
/// because a long job reads its weights one after another: even the weights of a peer that serves all blocks and is
/// never idle become cold between two reads.
///
/// The model was fitted to live runs of `twin-suite` on two cores of a server shared with other tenants: the one-token
/// steps of eight blocks of 3 MB took 2.3 ms after a prefill of 13 ms, 2.0 ms two steps later, and 1.65 ms after ten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColdCache {
    /// The time that is added for each block of a job if all weights of the block are cold. The added time is
    /// proportional to the cold share.
    pub per_block: Duration,
    /// The time that is added for an LM head if all its weights are cold, in proportion to the cold share.
    pub head: Duration,
    pub half_after: Duration,
    pub left: f64,
}

impl ColdCache {
    pub const OFF: ColdCache =
        ColdCache { per_block: Duration::ZERO, head: Duration::ZERO, half_after: Duration::ZERO, left: 0.0 };

    /// The share of warm weights that has become cold when a time of `since` has passed.
    pub fn share(half_after: Duration, since: Duration) -> f64 {
        since.0 as f64 / (since.0 as f64 + half_after.0 as f64).max(1.0)
    }

    /// The share of the weights that is cold now. The last job began `since` ago, when the share `before` was cold.
    pub fn again(&self, before: f64, since: Duration) -> f64 {
        1.0 - (1.0 - before * self.left) * (1.0 - ColdCache::share(self.half_after, since))
    }
}

/// The random factor of a job's time, with mean 1. Each device has a random stream for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "ReadJitter")]
pub enum Jitter {
    #[default]
    Off,
    /// A log-normal distribution with mean 1: `exp(N(-sigma^2 / 2, sigma))`.
    LogNormal { sigma: f64 },
}

/// The jitter as it is read from a file. Files of version 0.1 may have measured quantiles, which are read as no jitter.
#[derive(Deserialize)]
#[serde(rename = "Jitter", deny_unknown_fields)]
enum ReadJitter {
    Off,
    LogNormal { sigma: f64 },
    Quantiles(#[expect(dead_code, reason = "it is read to be ignored")] Vec<f64>),
}

impl From<ReadJitter> for Jitter {
    fn from(read: ReadJitter) -> Jitter {
        match read {
            ReadJitter::Off | ReadJitter::Quantiles(_) => Jitter::Off,
            ReadJitter::LogNormal { sigma } => Jitter::LogNormal { sigma },
        }
    }
}

/// The times that a host adds to its jobs and messages, beyond the device's computing time and the delays of the
/// scenario's network. `calibrate` measures them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// The time from a node's request for a job until an idle device begins it: the handover to the device's thread and
    /// the wait for a free core lease.
    pub to_device: Duration,
    /// The time from the end of a job until its node is notified.
    pub from_device: Duration,
    /// The time from the end of a job until the next job that waits for the same core lease gets this lease.
    pub hand_over: Duration,
    /// The fixed time that a frame takes at the sender, and again at the receiver.
    pub frame: Duration,
    /// Seconds for each byte of a frame at the sender, and again at the receiver.
    pub per_byte: f64,
    /// The extra time that is added to each of `to_device`, `from_device`, `hand_over` and `frame` after a long idle
    /// time. After an idle time `g`, the share `g / (g + half_after)` of the extra time is added. For `to_device`, `g`
    /// is the time since the device's last job; for `from_device`, the time of the job; for `hand_over`, the time of
    /// the wait for the core lease; for `frame`, the time since the node's last frame.
    pub idle: Duration,
    pub half_after: Duration,
    pub cpu_steal: CpuSteal,
}

/// CPU steal: for some period, a hypervisor takes the cores of a virtual machine away although they have work (Linux
/// counts this as `steal` in /proc/stat). The lengths of these periods and the intervals between them are exponentially
/// distributed. The fields are the means of the two distributions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuSteal {
    /// The mean interval between two periods of CPU steal on one core. 0 means that no time is stolen.
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
        hand_over: Duration::ZERO,
        frame: Duration::ZERO,
        per_byte: 0.0,
        idle: Duration::ZERO,
        half_after: Duration::ZERO,
        cpu_steal: CpuSteal::NONE,
    };

    /// The time from a node's request for a job until a device that was idle for `idle` begins the job.
    pub fn way_there(&self, idle: Duration) -> Duration {
        self.to_device + self.woken(idle)
    }

    /// The time from the end of a job that took `took` until its node is notified.
    pub fn way_back(&self, took: Duration) -> Duration {
        self.from_device + self.woken(took)
    }

    /// The time from the end of one job until the next job begins. The next job has waited for the same core lease for
    /// the time `waited`.
    pub fn handed_over(&self, waited: Duration) -> Duration {
        self.hand_over + self.woken(waited)
    }

    /// The time that a frame of `bytes` bytes takes at one node, its sender or its receiver. The node's last frame was
    /// `idle` ago.
    pub fn of_frame(&self, bytes: u64, idle: Duration) -> Duration {
        self.frame + Duration::from_secs_f64(bytes as f64 * self.per_byte) + self.woken(idle)
    }

    fn woken(&self, still: Duration) -> Duration {
        match self.idle {
            Duration::ZERO => Duration::ZERO,
            whole => Duration((whole.0 as f64 * ColdCache::share(self.half_after, still)) as u64),
        }
    }
}
