//! Tests that rows of a simulation are made while it runs, and are the same as rows that are made from all of its
//! events.
use actors::record::Event;
use actors::seed::Seed;
use reports::measures::{MeasureRecorder, Measures};
use rows::{RowFold, RunRows};
use scenarios::Overrides;
use scenarios::plan::Plan;
use simulator::{HORIZON, run, run_into};

fn plans(scenario: &str, set: &[(&str, &str)]) -> Vec<Plan> {
    let set = set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    let overrides = Overrides { set, ..Overrides::default() };
    let cells = scenarios::load(scenario).and_then(|loaded| loaded.cells(&overrides)).expect("its cells");
    cells.iter().map(|cell| cell.plan(Seed(3), 0).expect("a plan")).collect()
}

/// Converts events that come in the order of time into rows, and sorts the rows by their keys.
fn in_order(events: &[Event]) -> RunRows {
    let (mut fold, mut rows) = (RowFold::in_order(), RunRows::default());
    events.iter().for_each(|event| fold.take(event, &mut rows));
    rows.rare = fold.finish(&mut rows);
    rows.requests.sort_by_key(|row| row.request);
    rows.tokens.sort_by_key(|row| (row.request, row.session, row.position));
    rows
}

#[test]
fn rows_that_are_made_as_events_come_are_those_made_at_the_end() {
    for scenario in ["quickstart", "churn", "open-loop"] {
        for plan in plans(scenario, &[]) {
            let events = run(&plan, HORIZON).events;
            let (early, late) = (in_order(&events), RunRows::of(&events));
            assert_eq!(early.requests, late.requests, "{scenario}, cell {}", plan.cell);
            assert_eq!(early.tokens, late.tokens, "{scenario}, cell {}", plan.cell);
            assert_eq!(
                (early.hops.len(), &early.rare),
                (late.hops.len(), &late.rare),
                "{scenario}, cell {}",
                plan.cell
            );
            let mut recorder = MeasureRecorder::new(&plan);
            run_into(&plan, HORIZON, &mut recorder);
            assert_eq!(recorder.measures(), Measures::of(&late, &plan), "{scenario}, cell {}", plan.cell);
        }
    }
}

/// Returns three numbers of a run with `requests` requests: the most requests without a row at one time, the most
/// steps, hops and transfers without a row at one time, and the number of token rows.
fn most_open(requests: u32) -> (usize, usize, usize) {
    let count = requests.to_string();
    let plan = plans("nano", &[("workload.micro_batches", &count)]).remove(0);
    let events = run(&plan, HORIZON).events;
    let (mut fold, mut rows) = (RowFold::in_order(), RunRows::default());
    let (mut open, mut waiting) = (0, 0);
    for event in &events {
        fold.take(event, &mut rows);
        (open, waiting) = (open.max(fold.open_requests()), waiting.max(fold.waiting()));
    }
    assert_eq!(rows.requests.len() as u64, plan.requests() + plan.clients().count() as u64, "no row waits for the end");
    (open, waiting, rows.tokens.len())
}

#[test]
fn a_run_of_more_requests_holds_no_more_of_them() {
    let (short, long) = (most_open(3), most_open(60));
    assert!(long.2 > 15 * short.2, "it is longer: {long:?}, {short:?}");
    assert_eq!((long.0, long.1), (short.0, short.1), "as many requests and steps wait at a time");
}
