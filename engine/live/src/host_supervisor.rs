//! The child processes of a live run: their start, supervision and termination.
use super::control::{Invitation, Token};
use super::{LiveError, Options};
use actors::id::HostId;
use rustix::process::{Pid, Signal, kill_process};
use scenarios::plan::{Executor, Host, Plan};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

/// Returns the hosts that run in child processes: all hosts that have a node, except the orchestrator's host.
pub fn staffed(plan: &Plan) -> impl Iterator<Item = HostId> {
    let hosts: BTreeSet<HostId> = plan.nodes.iter().map(|node| node.host).collect();
    hosts.into_iter().filter(|host| *host != HostId(0) && (host.0 as usize) < plan.hosts.len())
}

/// The supervisor of the child processes of one run.
pub struct HostSupervisor {
    members: Vec<Member>,
    /// The processes that were started and have not joined the run yet. Other processes may not join.
    pub expected: Expected,
}

/// The hosts whose processes are expected to join the run, each with its incarnation.
pub type Expected = Rc<RefCell<BTreeMap<HostId, u32>>>;

struct Member {
    host: HostId,
    pid: Option<Pid>,
    /// The pipe to the child's stdin. It is kept open, because the child process ends when it closes.
    stdin: ChildStdin,
    kill: Rc<Notify>,
    /// The task that waits for the end of the process.
    watch: JoinHandle<()>,
}

/// How a child process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// The process exited with this code.
    Exited(i32),
    /// The signal with this number killed the process.
    Killed { signal: i32, core_dumped: bool },
    /// The exit status could not be read, for this reason.
    Unknown(String),
}

impl ProcessEnd {
    /// Converts the result of waiting for a process.
    fn of(waited: io::Result<ExitStatus>) -> ProcessEnd {
        match waited {
            Err(why) => ProcessEnd::Unknown(why.to_string()),
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => ProcessEnd::Exited(code),
                (None, Some(signal)) => ProcessEnd::Killed { signal, core_dumped: status.core_dumped() },
                (None, None) => ProcessEnd::Unknown(status.to_string()),
            },
        }
    }

    /// Whether SIGKILL ended the process. A crash that the plan contains ends a process with this signal.
    pub fn is_sigkill(&self) -> bool {
        matches!(self, ProcessEnd::Killed { signal, .. } if *signal == Signal::KILL.as_raw())
    }
}

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessEnd::Exited(code) => write!(f, "the process ended with exit status: {code}"),
            ProcessEnd::Killed { signal, core_dumped } => {
                // The standard library knows the names of signals. Bit 7 of a raw exit status means that a core was
                // dumped.
                let status = ExitStatus::from_raw(signal | if *core_dumped { 0x80 } else { 0 });
                write!(f, "the process ended with {status}")
            }
            ProcessEnd::Unknown(why) => write!(f, "waiting for the process failed: {why}"),
        }
    }
}

/// The data that a child process needs to join the run.
pub struct Meeting<'a> {
    pub orchestrator: SocketAddr,
    pub token: Token,
    pub leases: &'a Path,
}

impl HostSupervisor {
    /// Creates a supervisor without processes.
    pub fn new() -> HostSupervisor {
        HostSupervisor { members: Vec::new(), expected: Rc::default() }
    }

    /// Starts the process of a host. `exited` is called when the process ends.
    ///
    /// # Errors
    /// If the process cannot be spawned or its invitation cannot be written.
    pub async fn start(
        &mut self,
        plan: &Plan,
        (host, incarnation): (HostId, u32),
        options: &Options,
        meeting: &Meeting<'_>,
        exited: impl FnOnce(HostId, ProcessEnd) + 'static,
    ) -> Result<(), LiveError> {
        let name = &plan.host(host).name;
        let failed = |why| LiveError::Spawn { host: name.clone(), exe: options.exe.clone(), why };
        let mut child = command(options, plan.host(host)).spawn().map_err(failed)?;
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
        let Some(mut stdin) = child.stdin.take() else {
            return Err(failed(ErrorKind::BrokenPipe.into()));
        };
        let Meeting { orchestrator, token, leases } = *meeting;
        let invitation = Invitation { orchestrator, token, host, incarnation, leases: leases.to_owned() };
        let mut line = serde_json::to_string(&invitation).map_err(|why| failed(why.into()))?;
        line.push('\n');
        let invited = stdin.write_all(line.as_bytes()).await;
        let kill = Rc::new(Notify::new());
        self.expected.borrow_mut().insert(host, incarnation);
        let expected = self.expected.clone();
        let watch = spawn_local(watch(child, kill.clone(), move |end| {
            expected.borrow_mut().retain(|of, which| (*of, *which) != (host, incarnation));
            exited(host, end);
        }));
        self.members.push(Member { host, pid, stdin, kill, watch });
        match invited {
            // The child has ended before it read its invitation; the task that waits for it reports how it ended.
            Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
            invited => invited.map_err(failed),
        }
    }

    /// Sends a signal to the process of a host, if the process is running.
    pub fn signal(&self, host: HostId, signal: Signal) {
        let member = self.members.iter().find(|member| member.host == host && !member.watch.is_finished());
        // The process has not been waited for, so its id cannot have been reused.
        if let Some(pid) = member.and_then(|member| member.pid)
            && let Err(why) = kill_process(pid, signal)
        {
            tracing::warn!("sending a signal to process {} failed: {why}", pid.as_raw_nonzero());
        }
    }

    /// Closes every child's stdin, which makes the children end. Kills children that have not ended after `within`.
    pub async fn dismiss(self, within: Duration) {
        let mut watches = Vec::new();
        for Member { stdin, kill, watch, .. } in self.members {
            drop(stdin);
            watches.push((kill, watch));
        }
        let deadline = tokio::time::Instant::now() + within;
        for (kill, mut watch) in watches {
            if tokio::time::timeout_at(deadline, &mut watch).await.is_err() {
                kill.notify_one();
                let _ = watch.await;
            }
        }
    }
}

fn command(options: &Options, host: &Host) -> Command {
    let mut command = Command::new(&options.exe);
    // The first argument names the host, so that a list of processes tells them apart.
    command.arg0(format!("swarmbench:{}", host.name));
    command.args(&options.args).stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
    // Each child has its own process group: Ctrl-C at the terminal reaches only the controlling process, which ends the
    // children.
    command.process_group(0);
    // Devices with more than one thread never share a process: see `scenarios::live_obstacles`.
    let threads = host.devices().filter_map(|device| match device.executor {
        Executor::Cpu { threads } => Some(threads),
        _ => None,
    });
    if let Some(threads) = threads.max() {
        // candle has two thread pools, and each reads its size once.
        command.env("RAYON_NUM_THREADS", threads.to_string()).env("CANDLE_NUM_THREADS", threads.to_string());
    }
    command
}

/// Waits for the end of a process and calls `exited`. A notification through `kill` kills the process.
async fn watch(mut child: Child, kill: Rc<Notify>, exited: impl FnOnce(ProcessEnd)) {
    let ended = tokio::select! {
        ended = child.wait() => ended,
        () = kill.notified() => match child.kill().await {
            Ok(()) => child.wait().await,
            Err(why) => Err(why),
        },
    };
    exited(ProcessEnd::of(ended));
}

#[cfg(test)]
mod tests {
    use super::ProcessEnd;
    use std::io;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn only_a_sigkill_is_taken_for_a_crash_and_people_read_the_status() {
        let end = |raw| ProcessEnd::of(Ok(ExitStatus::from_raw(raw)));
        assert_eq!(end(9), ProcessEnd::Killed { signal: 9, core_dumped: false });
        assert_eq!(
            (end(9).is_sigkill(), end(9).to_string()),
            (true, "the process ended with signal: 9 (SIGKILL)".into())
        );
        assert_eq!(end(0x86), ProcessEnd::Killed { signal: 6, core_dumped: true });
        assert_eq!(end(0x86).to_string(), "the process ended with signal: 6 (SIGABRT) (core dumped)");
        // An exit with code 9 must not count as signal 9.
        assert_eq!((end(9 << 8), end(9 << 8).is_sigkill()), (ProcessEnd::Exited(9), false));
        assert_eq!(end(1 << 8).to_string(), "the process ended with exit status: 1");
        let unknown = ProcessEnd::of(Err(io::Error::other("signal: 9")));
        assert_eq!(
            (unknown.is_sigkill(), unknown.to_string().as_str()),
            (false, "waiting for the process failed: signal: 9")
        );
    }
}
