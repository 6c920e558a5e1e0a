//! Tests a host of the run that sends garbage after its valid greeting. Its connection must be closed. The hosts that
//! need it must continue with other hosts, or the run must report which host it lost and why.
#[path = "support/doubled.rs"]
mod doubled;
#[path = "support/insider.rs"]
mod insider;
#[path = "support/nano.rs"]
mod nano;

use actors::id::{HostId, RequestId};
use actors::message::Forwarding;
use actors::policy::Recovery;
use actors::record::Event;
use insider::Insider;
use live::wire::{self, Kind};
use live::{Options, run};
use scenarios::plan::{Plan, Workload};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;
use topology::outcome::{Outcome, Run};

/// The host of the first hop of every route while it is available.
const FIRST: HostId = HostId(1);

fn plan(test: &str) -> Plan {
    let work = Workload { micro_batches: 600, batch: 1, prompt: 4, generate: 10 };
    let mut plan = doubled::doubled(nano::plan(4, 1, Forwarding::Relay, work));
    plan.hosts.iter_mut().for_each(|host| host.name = format!("{test}-{}", host.name));
    plan
}

/// Runs the plan. In the middle of the run, sends garbage to the client's host on a connection that claims to be from
/// the first peer's host.
fn run_and_lie(test: &str, plan: &Plan) -> Run {
    let insider = Insider::new();
    let client = format!("swarmbench:{test}-client0");
    thread::scope(|scope| {
        let running = scope.spawn(|| run(plan, &insider.options(), &AtomicBool::new(false)));
        insider::await_work(&client);
        let mut call = insider.call(&client, FIRST);
        call.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is heard");
        let run = running.join().expect("it ends").expect("the run has begun");
        drop(call);
        run
    })
}

fn texts(run: &Run) -> Vec<(RequestId, Vec<u32>)> {
    let text = |event: &Event| match event {
        Event::Ended(ended) => Some((ended.request, ended.output.clone())),
        _ => None,
    };
    let mut texts: Vec<_> = run.events.iter().filter_map(text).collect();
    texts.sort();
    texts
}

#[test]
fn garbage_from_a_peer_costs_that_peer_and_no_token() {
    let plan = plan("garbage");
    let run = run_and_lie("garbage", &plan);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    let spare = plan.peers().nth(1).expect("a spare").0;
    let taken_over = run.events.iter().any(|event| matches!(event, Event::Served(hop) if hop.peer == spare));
    assert!(taken_over, "the liar was given up");
    assert!(run.account.is_some(), "its messages are accounted for all the same");
    let undisturbed = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
    let calm = live::run(&self::plan("calm"), &undisturbed, &AtomicBool::new(false)).expect("the run begins");
    assert_eq!(texts(&run), texts(&calm));
}

#[test]
fn where_nobody_can_take_over_the_outcome_names_the_host_and_what_it_said() {
    let mut plan = plan("nobody");
    plan.policies.recovery = Recovery::Off;
    // Here the spare holds the other half of the blocks, so that no peer can replace the first one.
    plan.nodes[3].role = plan.nodes[5].role.clone();
    let run = run_and_lie("nobody", &plan);
    let Outcome::HostLost { host, name, why } = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!((*host, name.as_str()), (FIRST, "nobody-peer0"));
    assert!(why.contains("the received bytes are not a frame of this protocol"), "{why}");
    assert!(run.events.iter().any(|event| matches!(event, Event::Drained(_))), "the run ended in order");
}

/// Whether the other side closes the connection without sending anything.
fn is_cut_off(mut call: TcpStream) -> bool {
    call.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut answer = Vec::new();
    let kept = call.read_to_end(&mut answer).is_err_and(|why| why.kind() == std::io::ErrorKind::WouldBlock);
    answer.is_empty() && !kept
}

/// Joins the run at the orchestrator as process `incarnation` of `host`, and returns the connection.
fn join(insider: &Insider, host: u32, incarnation: u32) -> TcpStream {
    let orchestrator = insider.invitation()["orchestrator"].as_str().expect("an address").to_owned();
    let mut stream = TcpStream::connect(orchestrator).expect("it listens");
    // The fields of a greeting are the token, the host, the incarnation, the purpose (0: to join) and the listening
    // port.
    let greeting = wire::plain(Kind::Greeting, &(insider.token(), host, incarnation, 0_u8, 1_u16)).expect("a frame");
    stream.write_all(&greeting).expect("it is heard");
    stream
}

#[test]
fn who_joins_or_calls_as_a_host_that_is_not_expected_is_cut_off_and_the_run_is_unharmed() {
    let plan = plan("claims");
    let insider = Insider::new();
    let run = thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &insider.options(), &AtomicBool::new(false)));
        insider::await_work("swarmbench:claims-client0");
        // The cases are unknown hosts, the orchestrator's host, hosts that have joined already, and processes that were
        // never started.
        for (host, incarnation) in [(9_999, 0), (u32::MAX, 0), (0, 0), (0, 1), (1, 0), (5, 0), (1, 1), (1, u32::MAX)] {
            assert!(is_cut_off(join(&insider, host, incarnation)), "host {host}, process {incarnation} is let in");
        }
        // All connections are opened before any is read: a connection of a process that the orchestrator might still
        // announce is kept waiting for some seconds.
        let mut calls = Vec::new();
        for (host, incarnation) in [(9_999, 0), (u32::MAX, 0), (0, 1), (5, 0), (1, u32::MAX)] {
            calls.push((host, incarnation, insider.claim("swarmbench:claims-client0", host, incarnation)));
        }
        for (host, incarnation, call) in calls {
            assert!(is_cut_off(call), "host {host}, process {incarnation} is let in by a client");
        }
        running.join().expect("it ends").expect("the run has begun")
    });
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    assert!(run.account.is_some(), "all messages are accounted for");
    let undisturbed = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
    let calm = live::run(&self::plan("still"), &undisturbed, &AtomicBool::new(false)).expect("the run begins");
    assert_eq!(texts(&run), texts(&calm));
}
