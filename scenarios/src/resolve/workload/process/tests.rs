//! Tests of the rates, the variation and the ramps of random arrivals.
use super::*;
use proptest::prelude::{prop_assert, proptest};

fn rate(first: f64, ramp: &[(f64, f64)]) -> Rate {
    Rate { points: std::iter::once((0.0, first)).chain(ramp.iter().copied()).collect() }
}

#[test]
fn distances_have_mean_one_and_their_own_spread() {
    for (process, cv) in [
        (Process::Constant, 0.0),
        (Process::Poisson, 1.0),
        (Process::Gamma { cv: 0.5 }, 0.5),
        (Process::Gamma { cv: 3.0 }, 3.0),
    ] {
        const DRAWS: usize = 200_000;
        let distance = Distance::new(process).expect("a process");
        let mut stream = Seed(1).stream("test", 0, 0);
        let drawn: Vec<f64> = (0..DRAWS).map(|_| distance.draw(&mut stream)).collect();
        let mean = drawn.iter().sum::<f64>() / DRAWS as f64;
        let std = (drawn.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / DRAWS as f64).sqrt();
        assert!((mean - 1.0).abs() < 0.02, "{process:?}: {mean}");
        assert!((std - cv).abs() < 0.03 * cv.max(0.1), "{process:?}: {std}");
    }
}

#[test]
fn a_ramp_is_its_integral() {
    let ramp = rate(0.0, &[(10.0, 2.0), (20.0, 2.0), (30.0, 0.0)]);
    // The integral of the ramp consists of a triangle of 10 requests, a rectangle of 20, and a triangle of 10.
    assert_eq!(ramp.reaches(10.0), Some(10.0));
    assert!((ramp.reaches(2.5).expect("it comes") - 5.0).abs() < 1e-12);
    assert_eq!(ramp.reaches(20.0), Some(15.0));
    assert!((ramp.reaches(37.5).expect("it comes") - 25.0).abs() < 1e-9);
    assert_eq!(ramp.reaches(40.001), None);
    assert_eq!(rate(4.0, &[]).reaches(10.0), Some(2.5));
}

proptest! {
    #[test]
    fn later_requests_come_later_and_the_integral_is_what_was_asked(
        first in 0.0..10.0f64, ramp in proptest::collection::vec((0.1..20.0f64, 0.0..10.0f64), 0..5), count in 0.01..200.0f64,
    ) {
        let mut at = 0.0;
        let points: Vec<_> = ramp.into_iter().map(|(gap, rate)| { at += gap; (at, rate) }).collect();
        let rate = rate(first, &points);
        if let Some(reached) = rate.reaches(count) {
            let value = |t: f64| {
                let next = rate.points.iter().position(|(from, _)| *from > t).unwrap_or(rate.points.len());
                let (from, low) = rate.points[next - 1];
                rate.points.get(next).map_or(low, |(to, high)| low + (high - low) * (t - from) / (to - from))
            };
            const STEPS: usize = 20_000;
            let step = reached / STEPS as f64;
            let sum: f64 = (0..STEPS).map(|index| value((index as f64 + 0.5) * step) * step).sum();
            prop_assert!((sum - count).abs() < 1e-3 * count.max(1.0) + 10.0 * step, "{sum}, not {count}");
            prop_assert!(rate.reaches(count * 1.1).is_none_or(|later| later >= reached));
        }
    }
}
