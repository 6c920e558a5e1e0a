//! Tests that a failed live run reports its cause and keeps its measurements, and that no process is left behind.
#[path = "support/nano.rs"]
mod nano;

use actors::message::{Failure, Forwarding};
use actors::policy::{Detection, Recovery};
use actors::record::Event;
use actors::time;
use live::{LiveError, Options, run};
use scenarios::plan::{Executor, Plan, Weights, Workload};
use scenarios::tokens::Prompts;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use topology::outcome::{Outcome, Run};

/// A workload that is longer than any test waits.
const LONG: Workload = Workload { micro_batches: 1_000, batch: 1, prompt: 4, generate: 100 };

/// An empty list of processes.
const NONE: [u32; 0] = [];

fn options() -> Options {
    Options::new(env!("CARGO_BIN_EXE_swarmbench"))
}

fn live(plan: &Plan) -> Result<Run, LiveError> {
    run(plan, &options(), &AtomicBool::new(false))
}

/// Returns a plan whose host names start with the test's name, so that its processes can be found.
fn plan(test: &str, work: Workload) -> Plan {
    let mut plan = nano::plan(2, 2, Forwarding::Relay, work);
    plan.policies.recovery = Recovery::Off;
    plan.hosts.iter_mut().for_each(|host| host.name = format!("{test}-{}", host.name));
    plan
}

/// Returns the processes of all hosts whose names begin with `host`.
fn processes(host: &str) -> Vec<u32> {
    let title = format!("swarmbench:{host}");
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        let line = std::fs::read(PathBuf::from(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
        line.starts_with(title.as_bytes())
    };
    pids.filter(is_it).collect()
}

/// Waits until a host is in the middle of the timed run, and returns its process. The thread that runs its actors has
/// then woken more often than start and warm-up require, and less often than all its requests will require.
fn await_work(host: &str) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let busy = |pid: &u32| wakes(*pid).is_some_and(|wakes| wakes > 300);
        if let Some(pid) = processes(host).into_iter().find(busy) {
            return pid;
        }
        assert!(Instant::now() < deadline, "{host} does not come to work");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the number of voluntary context switches of a process's first thread.
fn wakes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").arg(name).arg(pid.to_string()).status().unwrap().success());
}

/// Runs the plan, and sends the signal to a host's process in the middle of the timed run.
fn run_and_signal(plan: &Plan, name: &str, host: &str) -> Run {
    thread::scope(|scope| {
        let running = scope.spawn(|| live(plan));
        signal(name, await_work(host));
        running.join().unwrap().expect("the run has begun")
    })
}

#[test]
fn a_killed_peer_fails_requests_and_names_its_host() {
    let plan = plan("killed-peer", LONG);
    let run = run_and_signal(&plan, "-KILL", "killed-peer-peer1");
    let Outcome::HostLost { name, why, .. } = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!(name, "killed-peer-peer1");
    assert!(why.contains("signal: 9"), "{why}");
    let requests = |wanted: fn(&Result<(), Failure>) -> bool| {
        run.events.iter().filter(move |event| matches!(event, Event::Ended(it) if wanted(&it.outcome))).count()
    };
    assert!(requests(Result::is_ok) > 0, "what came before the loss is kept");
    assert!(requests(|it| matches!(it, Err(Failure::PeerLost(_)))) > 0, "requests on their way through it have failed");
    assert!(run.events.iter().any(|event| matches!(event, Event::Drained(_))), "the run ended in order");
    assert_eq!(processes("killed-peer"), NONE);
}

#[test]
fn a_killed_peer_that_nobody_can_replace_ends_the_run_where_requests_would_wait_for_it() {
    let mut plan = plan("irreplaceable", LONG);
    plan.policies.recovery = Recovery::Replay;
    let run = run_and_signal(&plan, "-KILL", "irreplaceable-peer1");
    // The outcome names the killed host. Its reason has the signal, and the blocks that nobody serves any more.
    let Outcome::HostLost { name, why, .. } = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!(name, "irreplaceable-peer1");
    assert!(why.contains("signal: 9") && why.contains("no peer serves Blocks(2, 4) any more"), "{why}");
    let finished = run.events.iter().filter(|event| matches!(event, Event::Ended(it) if it.outcome.is_ok())).count();
    assert!(finished > 0, "what came before the loss is kept");
    assert_eq!(processes("irreplaceable"), NONE);
}

#[test]
fn a_killed_client_does_not_hold_up_the_others() {
    let mut plan = plan("killed-client", Workload { micro_batches: 30, ..LONG });
    plan.workload.generate = 20;
    let run = run_and_signal(&plan, "-KILL", "killed-client-client0");
    let Outcome::HostLost { name, .. } = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!(name, "killed-client-client0");
    let other = plan.clients().nth(1).unwrap().0;
    let served = run
        .events
        .iter()
        .filter(|event| matches!(event, Event::Ended(ended) if ended.request.client == other && ended.outcome.is_ok()));
    assert_eq!(served.count(), 30 + 1);
    assert_eq!(processes("killed-client"), NONE);
}

#[test]
fn an_interrupt_ends_the_run_and_every_process() {
    let plan = plan("interrupted", LONG);
    let interrupt = AtomicBool::new(false);
    let run = thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &options(), &interrupt));
        await_work("interrupted-client1");
        interrupt.store(true, Ordering::Relaxed);
        let since = Instant::now();
        let run = running.join().unwrap().expect("the run has begun");
        assert!(since.elapsed() < Duration::from_secs(5));
        run
    });
    assert_eq!(run.outcome, Outcome::Interrupted);
    assert!(run.events.iter().any(|event| matches!(event, Event::Ended(_))), "what was measured is kept");
    assert_eq!(processes("interrupted"), NONE);
}

#[test]
fn weights_that_cannot_be_loaded_are_named() {
    let mut plan = plan("no-weights", LONG);
    plan.model.weights = Weights::Dir("/nowhere/opt-nano".to_owned());
    let why = live(&plan).expect_err("there is nothing to load");
    assert!(matches!(why, LiveError::Load { .. }), "{why}");
    assert!(why.to_string().contains("/nowhere/opt-nano"), "{why}");
    assert_eq!(processes("no-weights"), NONE);
}

#[test]
fn a_host_that_is_elsewhere_is_not_started() {
    let mut plan = plan("elsewhere", LONG);
    plan.hosts[1].device.executor = Executor::Elsewhere;
    let why = live(&plan).expect_err("the device is elsewhere");
    assert!(why.to_string().contains("`elsewhere-peer0`"), "{why}");
}

#[test]
fn a_program_that_is_no_host_is_named_with_how_it_ended() {
    let plan = plan("no-host", LONG);
    let why = run(&plan, &Options::new("/bin/false"), &AtomicBool::new(false)).expect_err("it exits at once");
    assert!(matches!(&why, LiveError::NotJoined { why, .. } if why.contains("exit status: 1")), "{why}");
    let why = run(&plan, &Options::new("/nowhere/swarmbench"), &AtomicBool::new(false)).expect_err("there is none");
    assert!(matches!(&why, LiveError::Spawn { .. }), "{why}");
    // The program `cat` runs and waits for its stdin, but never joins.
    let silent = Options { args: Vec::new(), join_within: Duration::from_millis(300), ..Options::new("/bin/cat") };
    let why = run(&plan, &silent, &AtomicBool::new(false)).expect_err("it never joins");
    assert!(matches!(&why, LiveError::NotJoined { .. }), "{why}");
    assert_eq!(processes("no-host"), NONE);
}

#[test]
fn a_host_started_by_hand_says_what_it_is() {
    let child = Command::new(env!("CARGO_BIN_EXE_swarmbench")).arg("host").stdin(std::process::Stdio::null()).output();
    let output = child.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("only for the processes that a live run starts"));
}

#[test]
fn a_host_that_stands_still_is_noticed_and_named() {
    for (host, recovery) in [("client1", Recovery::Off), ("peer0", Recovery::Replay)] {
        let mut plan = plan(&format!("frozen-{host}"), Workload { micro_batches: 100, ..LONG });
        plan.timeout = time::Duration::from_secs(11);
        plan.policies.recovery = recovery;
        // With this detector, clients do not notice the loss by themselves.
        plan.policies.detection = Detection {
            step_timeout: plan.timeout,
            open_timeout: plan.timeout,
            missed: 100_000,
            ..plan.policies.detection
        };
        let run = run_and_signal(&plan, "-STOP", &format!("frozen-{host}-{host}"));
        let Outcome::HostLost { name, why, .. } = &run.outcome else { panic!("{}", run.outcome) };
        assert_eq!(*name, format!("frozen-{host}-{host}"));
        assert!(why.contains("the process has stopped responding"), "{why}");
        assert!(
            run.events.iter().any(|event| matches!(event, Event::Ended(it) if it.outcome.is_ok())),
            "what was done is kept"
        );
        assert_eq!(processes("frozen"), NONE);
    }
}

#[test]
fn a_process_that_hangs_does_not_hold_up_the_end() {
    let plan = plan("stopped", LONG);
    let (options, interrupt) = (options(), AtomicBool::new(false));
    let run = thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &options, &interrupt));
        signal("-STOP", await_work("stopped-peer0"));
        interrupt.store(true, Ordering::Relaxed);
        let since = Instant::now();
        let run = running.join().unwrap().expect("the run has begun");
        assert!(since.elapsed() < options.dismiss_within, "the user waits for less than a run that ends by itself");
        run
    });
    assert_eq!(run.outcome, Outcome::Interrupted);
    assert_eq!(processes("stopped"), NONE);
}

#[test]
fn a_panic_in_a_process_of_the_run_names_its_node_and_ends_the_run() {
    let mut plan = plan("panics", LONG);
    // No scenario can have an empty list of prompts, so the client does not check for one.
    plan.tokens.prompts = Prompts::Ids(Vec::new());
    let run = live(&plan).expect("the run has begun");
    let Outcome::Panicked { node, what } = &run.outcome else { panic!("{}", run.outcome) };
    assert!(plan.clients().any(|(client, _)| client == *node), "{node}");
    assert!(what.contains("divisor of zero"), "{what}");
    assert_eq!(run.outcome.label(), "panicked");
    assert_eq!(processes("panics"), NONE);
}
