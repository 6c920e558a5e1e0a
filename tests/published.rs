//! Predictions of systems that others have measured are as far off as the library says, and no further.
use actors::seed::Seed;
use reports::published::{RUNS, compare};
use rows::RunRows;
use scenarios::published::systems;
use scenarios::{Overrides, load};
use simulator::{HORIZON, run};

#[test]
fn each_figure_is_kept_or_its_miss_is_owned_up_to() {
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
            assert_eq!(one.kept(), one.missed.is_none(), "{one:?}");
            assert!(one.error.abs() < 2.0, "missed, but not by that much: {one:?}");
        }
    }
}
