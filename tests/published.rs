//! Tests that each prediction of a published system has the error that the library states, and no larger error.
use actors::seed::Seed;
use reports::published::{RUNS, compare};
use rows::RunRows;
use scenarios::published::systems;
use scenarios::{Overrides, load};
use simulator::{HORIZON, run};

#[test]
fn no_prediction_is_worse_than_the_library_says() {
    for system in systems().expect("the list is read") {
        let overrides = Overrides { only: system.only.clone(), ..Overrides::default() };
        let cells = load(&system.scenario).and_then(|loaded| loaded.cells(&overrides)).expect("a sweep");
        assert_eq!(cells.len(), 1, "{}: one cell is meant", system.scenario);
        let simulated = (0..RUNS).map(|repeat| {
            let plan = cells[0].plan(Seed(1), repeat).expect("a plan");
            let done = run(&plan, HORIZON);
            assert!(done.outcome.is_ok(), "{}: {}", system.scenario, done.outcome);
            (plan, RunRows::of(&done.events))
        });
        let measured = system.measured().expect("its queries");
        let compared = compare(&system, &measured, &simulated.collect::<Vec<_>>());
        assert_eq!(compared.len(), system.figures.len(), "{}: a figure is not measured", system.scenario);
        for one in compared {
            // A prediction with a smaller error than stated passes the test.
            let most = one.missed.as_ref().map_or(one.within, |miss| miss.by);
            assert!(one.error.abs() <= most, "the prediction got worse: {one:?}");
        }
    }
}
