//! The live runtime: each host is a process, hosts talk over real TCP connections, and the crate `models` executes the
//! blocks.
//!
//! [`run`] controls one cell from this process. This process is host 0, which has the orchestrator and the bootstrap
//! node. It starts a child process for every other host that has a node. Each process spawns the actors of its host's
//! nodes. The code of the actors is the same as in a simulation. Every child has ended when `run` returns, even after
//! an error.
//!
//! Hosts do not discover other machines, and other machines cannot connect: all sockets are bound to loopback.
#![forbid(unsafe_code)]
mod answers;
mod arrival;
mod awake;
pub mod calibrate;
pub mod clock;
mod control;
pub mod core_lease;
mod cores;
mod device;
mod door;
mod fault_schedule;
#[doc(hidden)]
pub mod fuzz;
mod host_supervisor;
mod join;
mod links;
mod local;
mod news;
mod run_controller;
mod run_monitor;
mod shaper;
mod texts;
mod warnings;
pub mod wire;

pub use join::host_main;
pub use texts::texts;

use models::{PromptError, prompt_ids};
use scenarios::plan::{Executor, Plan, Role};
use scenarios::tokens::Prompts;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use topology::outcome::Run;

/// The options of a live run that are not part of its plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program that child processes run. It must call [`host_main`].
    pub exe: PathBuf,
    /// The command-line arguments of `exe`.
    pub args: Vec<String>,
    /// The longest time from the start of a child process until it has joined the run.
    pub join_within: Duration,
    /// The time limit of each step after the run: until the next part of any host's record arrives, until the message
    /// counts balance, and until the processes have exited. Processes that have not exited by then are killed.
    pub dismiss_within: Duration,
}

impl Options {
    /// Creates options whose child processes run `exe host`.
    pub fn new(exe: impl Into<PathBuf>) -> Options {
        Options {
            exe: exe.into(),
            args: vec!["host".to_owned()],
            join_within: Duration::from_secs(30),
            dismiss_within: Duration::from_secs(10),
        }
    }
}

/// The reason why a live run could not be started or carried out. A run that was carried out has a
/// [`topology::outcome::Outcome`] instead, which may be a failure.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error(
        "host `{host}` cannot be started: its device `{device}` is not on this machine; \
         simulate the scenario, or give the host a device with a `cpu` or `cuda` executor"
    )]
    Elsewhere { host: String, device: String },
    #[error("the process of host `{host}` cannot be started from {}: {why}", exe.display())]
    Spawn { host: String, exe: PathBuf, why: io::Error },
    #[error("host `{host}` did not join the run: {why}")]
    NotJoined { host: String, why: String },
    #[error("host `{host}` cannot load its part of the model: {what}")]
    Load { host: String, what: String },
    #[error("{what} failed: {why}")]
    Io { what: &'static str, why: io::Error },
    #[error("the prompts cannot be read: {0}")]
    Prompts(PromptError),
    #[error(transparent)]
    Wire(#[from] wire::WireError),
    #[error(
        "the command `host` is only for the processes that a live run starts, and stdin has no valid invitation to a \
         run: {why}"
    )]
    Invitation { why: String },
    #[error("the orchestrator closed the connection")]
    Dismissed,
}

impl LiveError {
    fn io(what: &'static str) -> impl FnOnce(io::Error) -> LiveError {
        move |why| LiveError::Io { what, why }
    }
}

/// Runs one cell of a sweep live, in processes on this machine, until the run is over or `interrupt` is set.
///
/// # Errors
/// If a device of the plan is not on this machine, the prompts cannot be loaded, a process cannot be started or does
/// not join the run, or a node cannot load its part of the model.
///
/// # Panics
/// If the orchestrator's thread panics.
pub fn run(plan: &Plan, options: &Options, interrupt: &AtomicBool) -> Result<Run, LiveError> {
    for host in host_supervisor::staffed(plan).map(|id| plan.host(id)) {
        if let Some(device) = host.devices().find(|device| device.executor == Executor::Elsewhere) {
            return Err(LiveError::Elsewhere { host: host.name.clone(), device: device.name.clone() });
        }
    }
    let mut plan = plan.clone();
    if let Some(rows) = prompt_ids(&plan).map_err(LiveError::Prompts)? {
        plan.tokens.prompts = Prompts::Ids(rows);
    }
    let plan = Arc::new(plan);
    let _awake = awake::keep();
    // The run gets a new thread: the actix arbiter and its actors are bound to that thread, and end with it.
    std::thread::scope(|scope| {
        let control = || actix::System::new().block_on(run_controller::control_run(plan.clone(), options, interrupt));
        let thread = std::thread::Builder::new().name("orchestrator".to_owned()).spawn_scoped(scope, control);
        match thread.map_err(LiveError::io("starting the orchestrator's thread"))?.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Returns the reasons why this build cannot run the plan's devices on this machine: the build may lack the feature
/// `cuda`, and the machine may lack a GPU.
pub fn device_obstacles(plan: &Plan) -> Vec<String> {
    let obstacle = |(host, device): (&scenarios::plan::Host, &scenarios::plan::Device)| match device.executor {
        Executor::Cuda { .. } if !cfg!(feature = "cuda") => Some(format!(
            "host {}: this build of swarmbench has no CUDA support; build with `cargo build --release --features \
             cuda`, or give the host a CPU: device: Cpu(threads: 1)",
            host.name
        )),
        Executor::Cuda { ordinal } => candle_core::Device::new_cuda(ordinal as usize).err().map(|why| {
            format!(
                "host {}: CUDA device {ordinal} cannot be opened ({why}); `nvidia-smi -L` lists the GPUs of this \
                 machine, counted from 0",
                host.name
            )
        }),
        _ => None,
    };
    let devices = plan.hosts.iter().flat_map(|host| host.devices().map(move |device| (host, device)));
    devices.filter_map(obstacle).collect()
}

/// Whether a node with this role submits jobs to the device of its host.
fn computes(role: &Role) -> bool {
    matches!(role, Role::Peer { .. } | Role::Client)
}
