//! Tests that every message of a run is delivered, lost with a broken connection, or in flight. A run in which a
//! message vanished or arrived twice must name the two hosts. Every simulation checks its own counts.
#[path = "support/insider.rs"]
mod insider;
#[path = "support/nano.rs"]
mod nano;

use actors::id::HostId;
use actors::invariants::MessageAccount;
use actors::message::{Forwarding, Message, Ping};
use actors::policy::Recovery;
use actors::record::Event;
use actors::time::Duration;
use insider::Insider;
use live::wire::{self, AddressedMessage};
use live::{Options, run};
use scenarios::plan::{Distribution, Fault, Link, Plan, What, When, Workload};
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::thread;
use topology::outcome::{Outcome, Run};

const WORK: Workload = Workload { micro_batches: 4, batch: 1, prompt: 8, generate: 10 };

fn live(plan: &Plan) -> Run {
    run(plan, &Options::new(env!("CARGO_BIN_EXE_swarmbench")), &AtomicBool::new(false)).expect("the run begins")
}

fn accounted(run: &Run) -> MessageAccount {
    assert!(matches!(run.outcome, Outcome::Done(_)), "{}", run.outcome);
    run.account.expect("a drained run has counted its messages")
}

fn steps(run: &Run) -> u64 {
    run.events.iter().filter(|event| matches!(event, Event::Served(_))).count() as u64
}

#[test]
fn a_run_in_which_nothing_breaks_loses_nothing() {
    for forwarding in [Forwarding::Relay, Forwarding::Push] {
        let plan = nano::plan(2, 2, forwarding, WORK);
        let (live, sim) = (live(&plan), simulator::run(&plan, simulator::HORIZON));
        for (run, world) in [(&live, "live"), (&sim, "sim")] {
            let account = accounted(run);
            assert!(account.sent > steps(run) && steps(run) > 0, "{world} {account:?}");
            assert_eq!(account.lost, 0, "{world}");
        }
        assert_eq!(accounted(&live).sent, accounted(&live).delivered, "when all is over nothing is under way");
    }
}

#[test]
fn frames_that_are_held_for_their_instant_are_under_way() {
    let mut plan = nano::plan(2, 1, Forwarding::Push, WORK);
    plan.network.shape = true;
    plan.network.default = Link::new(Distribution::Constant(Duration::from_millis(10)), Some(1e7));
    assert!(accounted(&live(&plan)).sent > 0);
}

#[test]
fn what_was_sent_to_a_process_that_died_is_not_held_against_those_that_live() {
    let work = Workload { micro_batches: 60, ..WORK };
    let mut plan = nano::plan(2, 1, Forwarding::Relay, work);
    plan.policies.recovery = Recovery::Off;
    let peer = HostId(1);
    plan.faults = vec![
        Fault { at: When::Release(Duration::from_millis(20)), what: What::Crash { host: peer, back: None } },
        Fault { at: When::Release(Duration::from_millis(120)), what: What::Restart { host: peer } },
    ];
    assert!(accounted(&live(&plan)).sent > 0);
}

#[test]
fn a_message_that_nobody_sent_is_named_with_its_way() {
    let mut plan = nano::plan(2, 1, Forwarding::Relay, Workload { micro_batches: 1000, ..WORK });
    plan.hosts.iter_mut().for_each(|host| host.name = format!("forged-{}", host.name));
    let (peer, client) = (plan.peers().next().expect("a peer"), plan.clients().next().expect("a client"));
    let insider = Insider::new();
    let run = thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &insider.options(), &AtomicBool::new(false)));
        insider::await_work("swarmbench:forged-client0");
        // The client has dialled the peer, and the peer answers on that connection. The peer itself has not dialled the
        // client, so the client's host still accepts one connection in the peer's name.
        let mut call = insider.call("swarmbench:forged-client0", peer.1.host);
        let ping =
            AddressedMessage { from: peer.0, to: client.0, passage: None, message: Message::Ping(Ping { nonce: 1 }) };
        let frame = wire::message_frame(&ping).expect("a frame").first;
        frame.slices().iter().for_each(|part| call.write_all(part).expect("it is heard"));
        // The connection is kept open, because a broken connection would excuse missing messages, though not additional
        // ones.
        let run = running.join().expect("it ends");
        drop(call);
        run.expect("the run has begun")
    });
    let Outcome::Unbalanced { way: Some((from, to)), account, .. } = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!((from.as_str(), to.as_str()), ("forged-peer0", "forged-client0"));
    assert_eq!(account.delivered, account.sent + 1, "{}", run.outcome);
    assert_eq!(run.outcome.label(), "broken");
}
