//! Tests that the faults of a plan are applied to real processes, which are killed, restarted, stopped or partitioned,
//! and that the run then ends normally.
#[path = "support/doubled.rs"]
mod doubled;
#[path = "support/nano.rs"]
mod nano;

use actors::id::{HostId, NodeId, RequestId};
use actors::message::Forwarding;
use actors::policy::{Detection, Recovery};
use actors::record::{Ended, Event, Served};
use actors::time::{Duration, Timestamp};
use live::{Options, run};
use scenarios::plan::{Fault, Plan, What, When, Workload};
use std::sync::atomic::AtomicBool;
use topology::outcome::{Outcome, Run};

/// A workload of about one second.
const WORK: Workload = Workload { micro_batches: 60, batch: 1, prompt: 4, generate: 20 };

const PEER: HostId = HostId(1);

fn plan(test: &str, faults: Vec<Fault>) -> Plan {
    let mut plan = nano::plan(2, 1, Forwarding::Relay, WORK);
    plan.hosts.iter_mut().for_each(|host| host.name = format!("{test}-{}", host.name));
    // The plan has no spare that could replace a lost peer, so recovery is off.
    plan.policies.recovery = Recovery::Off;
    plan.faults = faults;
    plan
}

fn at(ms: u64, what: What) -> Fault {
    Fault { at: When::Release(Duration::from_millis(ms)), what }
}

fn live(plan: &Plan) -> Run {
    run(plan, &Options::new(env!("CARGO_BIN_EXE_swarmbench")), &AtomicBool::new(false)).expect("the run begins")
}

fn nobody_is_left(test: &str) {
    let title = format!("swarmbench:{test}-");
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!line.starts_with(title.as_bytes()), "{:?} is left", entry.path());
    }
}

fn released(run: &Run) -> Timestamp {
    let released = |event: &Event| if let Event::Released { at } = event { Some(*at) } else { None };
    run.events.iter().find_map(released).expect("the barrier was released")
}

/// Returns the steps that a peer served after the barrier's release, in order.
fn served(run: &Run, peer: NodeId) -> Vec<Served> {
    let release = released(run);
    let by = |event: &Event| match event {
        Event::Served(hop) if hop.peer == peer && hop.received >= release => Some(*hop),
        _ => None,
    };
    let mut served: Vec<Served> = run.events.iter().filter_map(by).collect();
    served.sort_by_key(|hop| hop.received);
    served
}

fn ended(run: &Run) -> Vec<&Ended> {
    run.events.iter().filter_map(|event| if let Event::Ended(it) = event { Some(&**it) } else { None }).collect()
}

fn peer(plan: &Plan) -> NodeId {
    plan.peers().find(|(_, node)| node.host == PEER).expect("it holds a peer").0
}

/// Returns a plan with two peers for each half of the blocks; the first of each pair is used while it is available.
fn doubled(test: &str, work: Workload, faults: Vec<Fault>) -> Plan {
    let mut plan = doubled::doubled(nano::plan(4, 1, Forwarding::Relay, work));
    plan.hosts.iter_mut().for_each(|host| host.name = format!("{test}-{}", host.name));
    plan.faults = faults;
    plan
}

/// Returns the tokens of each request, in order of request.
fn texts(run: &Run) -> Vec<(RequestId, Vec<u32>)> {
    let mut texts: Vec<_> = ended(run).iter().map(|ended| (ended.request, ended.output.clone())).collect();
    texts.sort();
    texts
}

#[test]
fn tokens_after_a_kill_in_mid_generation_are_those_of_the_undisturbed_run() {
    let work = Workload { micro_batches: 3, batch: 1, prompt: 8, generate: 40 };
    let undisturbed = live(&doubled("whole", work, vec![]));
    // The crash hits the last hop of the second request's route, in the middle of that request.
    let mid =
        Fault { at: When::Steps { host: HostId(3), count: 60 }, what: What::Crash { host: HostId(3), back: None } };
    let plan = doubled("killed", work, vec![mid]);
    let killed = live(&plan);
    assert!(undisturbed.outcome.is_ok() && killed.outcome.is_ok(), "{} {}", undisturbed.outcome, killed.outcome);
    let by = |run: &Run, host| served(run, plan.peers().find(|(_, node)| node.host == host).expect("a peer").0).len();
    assert_eq!(by(&undisturbed, HostId(4)), 0, "nobody is taken for lost that is not");
    // The killed peer loses its 60th step. The spare serves the replayed inputs as one step, and then all later steps.
    assert!(by(&killed, HostId(4)) >= 60, "the spare has taken over, {}", by(&killed, HostId(4)));
    assert_eq!(texts(&killed), texts(&undisturbed));
    nobody_is_left("killed");
}

#[test]
fn a_peer_that_leaves_finishes_what_it_holds() {
    let work = Workload { micro_batches: 1, batch: 1, prompt: 8, generate: 300 };
    let mut plan = doubled("leaving", work, vec![at(20, What::Leave { host: HostId(3) })]);
    // Without recovery, an interrupted session would make its request fail.
    plan.policies.recovery = Recovery::Off;
    let run = live(&plan);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    let leaver = plan.peers().find(|(_, node)| node.host == HostId(3)).expect("a peer").0;
    assert_eq!(served(&run, leaver).len(), 300, "every step of the request");
    nobody_is_left("leaving");
}

#[test]
fn a_restarted_peer_serves_again() {
    let work = Workload { micro_batches: 400, batch: 1, prompt: 4, generate: 10 };
    // The spare crashes after the first peer has restarted, so the new process must serve the remaining requests.
    let faults = vec![
        at(100, What::Crash { host: HostId(3), back: None }),
        at(200, What::Restart { host: HostId(3) }),
        at(600, What::Crash { host: HostId(4), back: None }),
    ];
    let plan = doubled("again", work, faults);
    let run = live(&plan);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    let peer = plan.peers().find(|(_, node)| node.host == HostId(3)).expect("a peer").0;
    let after = released(&run) + Duration::from_millis(600);
    assert!(served(&run, peer).iter().any(|hop| hop.received > after), "the new process serves");
    nobody_is_left("again");
}

#[test]
fn a_stall_longer_than_detection_moves_the_session_and_keeps_its_text() {
    let work = Workload { micro_batches: 3, batch: 1, prompt: 8, generate: 200 };
    let undisturbed = live(&doubled("steady", work, vec![]));
    let stall = at(50, What::Stall { host: HostId(3), lasts: Duration::from_secs(5) });
    let mut plan = doubled("stopped", work, vec![stall]);
    plan.policies.detection = Detection { heartbeat: Duration::from_millis(50), missed: 3, ..Detection::default() };
    let run = live(&plan);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    let spare = plan.peers().find(|(_, node)| node.host == HostId(4)).expect("a peer").0;
    assert!(!served(&run, spare).is_empty(), "the spare has taken over");
    assert_eq!(texts(&run), texts(&undisturbed));
    nobody_is_left("stopped");
}

#[test]
fn a_crash_that_was_asked_for_is_no_loss_of_the_run() {
    // The crash happens in about the eleventh of 60 requests.
    let crash = Fault { at: When::Steps { host: PEER, count: 210 }, what: What::Crash { host: PEER, back: None } };
    let plan = plan("crash", vec![crash]);
    let run = live(&plan);
    let Outcome::Done(drained) = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!(drained.requests, 60, "every request has an end");
    assert!((1..60).contains(&drained.failed), "{drained:?}");
    assert!(ended(&run).iter().any(|ended| ended.outcome.is_err()));
    let served = served(&run, peer(&plan)).len();
    assert!((150..210).contains(&served), "its record is kept up to the crash: {served}");
    nobody_is_left("crash");
}

#[test]
fn a_stalled_host_goes_on_with_what_it_holds() {
    let undisturbed = live(&plan("calm", vec![]));
    let plan = plan("stall", vec![at(100, What::Stall { host: PEER, lasts: Duration::from_millis(400) })]);
    let run = live(&plan);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    let stamps: Vec<Timestamp> = served(&run, peer(&plan)).iter().map(|hop| hop.received).collect();
    let gap = stamps.windows(2).map(|pair| pair[1].since(pair[0])).max().expect("steps");
    assert!(gap >= Duration::from_millis(350), "{gap}");
    let text = |run: &Run| ended(run).iter().map(|ended| (ended.request, ended.output.clone())).collect::<Vec<_>>();
    assert_eq!(text(&run), text(&undisturbed), "nothing is lost");
    nobody_is_left("stall");
}

#[test]
fn a_partition_holds_what_is_sent_until_it_is_over() {
    let (client, lasts) = (HostId(3), Duration::from_millis(300));
    let apart = What::Partition { groups: vec![vec![PEER], vec![client]], lasts };
    let plan = plan("apart", vec![at(100, apart)]);
    let run = live(&plan);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    let (from, till) = (released(&run) + Duration::from_millis(110), released(&run) + Duration::from_millis(395));
    let served = served(&run, peer(&plan));
    assert!(served.iter().all(|hop| hop.received <= from || hop.received >= till));
    assert!(served.iter().any(|hop| hop.received >= till), "it goes on afterwards");
    nobody_is_left("apart");
}

#[test]
fn a_host_crashes_as_the_very_step_reaches_it() {
    let crash = Fault { at: When::Steps { host: PEER, count: 7 }, what: What::Crash { host: PEER, back: None } };
    let plan = plan("step", vec![crash]);
    let run = live(&plan);
    assert!(matches!(run.outcome, Outcome::Done(_)), "{}", run.outcome);
    assert!(served(&run, peer(&plan)).len() <= 6, "the seventh is lost, and what was not handed over yet");
    let first = ended(&run).into_iter().find(|ended| ended.request.index == 1).expect("it has an end").clone();
    assert!(first.outcome.is_err() && first.generated == 6, "{first:?}");
    nobody_is_left("step");
}

#[test]
fn a_slow_device_is_slow_for_as_long_as_it_is_asked_to_be() {
    let slow = What::SlowDevice { host: PEER, by: 50.0, lasts: Duration::from_millis(300) };
    let plan = plan("slow", vec![at(100, slow)]);
    let run = live(&plan);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    let within = |hop: &&Served| {
        let since = hop.started.since(released(&run));
        hop.tokens == 1 && since > Duration::from_millis(110) && since < Duration::from_millis(390)
    };
    let served = served(&run, peer(&plan));
    let mean = |hops: Vec<&Served>| {
        hops.iter().map(|hop| hop.finished.since(hop.started).0).sum::<u64>() / hops.len().max(1) as u64
    };
    let slow = mean(served.iter().filter(within).collect());
    let fast = mean(
        served
            .iter()
            .filter(|hop| hop.tokens == 1 && hop.started.since(released(&run)) > Duration::from_millis(500))
            .collect(),
    );
    assert!(slow > 10 * fast.max(1), "{slow} ns against {fast}");
    nobody_is_left("slow");
}

#[test]
fn a_host_that_joins_later_is_found() {
    let work = Workload { micro_batches: 400, batch: 1, prompt: 4, generate: 10 };
    let faults = vec![at(100, What::Join { host: HostId(4) }), at(500, What::Crash { host: HostId(3), back: None })];
    let plan = doubled("late", work, faults);
    let run = live(&plan);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    let late = plan.peers().find(|(_, node)| node.host == HostId(4)).expect("a peer").0;
    let first = served(&run, late).first().expect("it serves").received;
    assert!(first > released(&run) + Duration::from_millis(100));
    nobody_is_left("late");
}

#[test]
fn a_peer_that_nobody_can_replace_is_waited_for() {
    // The DHT still names the peer after its clients have lost it. A client that retried immediately would have used up
    // all of its tries by the time that the peer is back.
    let mut plan =
        plan("alone", vec![at(50, What::Crash { host: PEER, back: None }), at(250, What::Restart { host: PEER })]);
    plan.policies.recovery = Recovery::Replay;
    let run = live(&plan);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    nobody_is_left("alone");
}
