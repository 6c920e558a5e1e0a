//! Mapping of values to positions on an axis, and the axis's ticks. Non-finite values are ignored, and positions and
//! ticks are finite.

/// An axis of a chart, which maps values to positions.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    Linear {
        low: f64,
        high: f64,
    },
    /// The logarithmic axis, for positive values that span more than a decade.
    Log {
        low: f64,
        high: f64,
    },
    /// The axis of names at equal distances. Value `i` is the middle of the space of the `i`-th name.
    Names {
        count: usize,
    },
}

/// A labelled position on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    pub value: f64,
    pub label: String,
}

impl Scale {
    /// Returns an axis for quantities: from zero, or logarithmic if they span more than a decade.
    pub fn of_quantities(values: impl Iterator<Item = f64>) -> Scale {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let high = values.iter().copied().fold(0.0, f64::max);
        let low = values.iter().copied().fold(high, f64::min);
        if low > 0.0 && high / low > 10.0 {
            return Scale::Log { low: low / 1.25, high: high * 1.25 };
        }
        let high = if high > 0.0 { high * 1.06 } else { 1.0 };
        Scale::Linear { low: low.min(0.0), high }
    }

    /// Returns an axis for the values of an input, with a small margin on both sides.
    pub fn of_places(values: impl Iterator<Item = f64>) -> Scale {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let high = values.iter().copied().fold(f64::MIN, f64::max);
        let low = values.iter().copied().fold(f64::MAX, f64::min);
        if values.is_empty() {
            return Scale::Linear { low: 0.0, high: 1.0 };
        }
        if low > 0.0 && high / low > 10.0 {
            let margin = (high / low).powf(0.06);
            return Scale::Log { low: low / margin, high: high * margin };
        }
        let margin = if high > low { 0.07 * (high - low) } else { 0.5 * high.abs().max(1.0) };
        Scale::Linear { low: low - margin, high: high + margin }
    }

    /// Returns the position of a value, from 0 at the axis's start to 1 at its end.
    pub fn place(&self, value: f64) -> f64 {
        match *self {
            Scale::Linear { low, high } => (value - low) / (high - low),
            Scale::Log { low, high } => (value.max(low).ln() - low.ln()) / (high.ln() - low.ln()),
            Scale::Names { count } => (value + 0.5) / count.max(1) as f64,
        }
    }

    /// Whether a value lies on the axis.
    pub fn shows(&self, value: f64) -> bool {
        match *self {
            Scale::Linear { low, high } | Scale::Log { low, high } => (low..=high).contains(&value),
            Scale::Names { .. } => true,
        }
    }

    /// Returns about `wanted` ticks at 1, 2 and 5 times powers of ten; none for names.
    pub fn ticks(&self, wanted: usize) -> Vec<Tick> {
        match *self {
            Scale::Linear { low, high } => linear_ticks(low, high, wanted),
            Scale::Log { low, high } => log_ticks(low, high, wanted),
            Scale::Names { .. } => Vec::new(),
        }
    }
}

fn linear_ticks(low: f64, high: f64, wanted: usize) -> Vec<Tick> {
    let rough = (high - low) / wanted.max(1) as f64;
    let power = 10f64.powi(rough.log10().floor() as i32);
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    let tick = |at: i64| {
        let value = at as f64 * step;
        Tick { value, label: format!("{value:.decimals$}") }
    };
    (first..=last).take(64).map(tick).collect()
}

fn log_ticks(low: f64, high: f64, wanted: usize) -> Vec<Tick> {
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let ticks = |multiples: &[f64]| {
        let values = decades.clone().flat_map(|power| multiples.iter().map(move |m| m * 10f64.powi(power)));
        values.filter(|value| (low..=high).contains(value)).collect::<Vec<f64>>()
    };
    let all = ticks(&[1.0, 2.0, 5.0]);
    let values = if all.len() > wanted + 2 { ticks(&[1.0]) } else { all };
    values.into_iter().map(|value| Tick { value, label: power_label(value) }).collect()
}

fn power_label(value: f64) -> String {
    if (1e-4..1e6).contains(&value) {
        let decimals = (-value.log10().floor()).max(0.0) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::Scale;
    use proptest::prelude::{prop_assert, proptest};

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks(6).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_ones_twos_and_fives() {
        let linear = Scale::of_quantities([3.0, 7.0].into_iter());
        assert_eq!(labels(&linear), ["0", "2", "4", "6"]);
        let log = Scale::of_quantities([0.3, 40.0].into_iter());
        assert_eq!(labels(&log), ["0.5", "1", "2", "5", "10", "20", "50"]);
        assert_eq!(labels(&Scale::of_quantities([1e-2, 1e4].into_iter())).len(), 7);
    }

    #[test]
    fn zeros_nothing_and_infinities_do_no_harm() {
        for values in [vec![], vec![0.0], vec![0.0, 100.0], vec![f64::NAN, f64::INFINITY, 5.0], vec![7.0, 7.0]] {
            for scale in [Scale::of_quantities(values.iter().copied()), Scale::of_places(values.iter().copied())] {
                assert!(matches!(scale, Scale::Linear { low, high } if low < high && (high - low).is_finite()));
            }
        }
    }

    proptest! {
        #[test]
        fn values_are_on_the_axis_and_ticks_are_few(values in proptest::collection::vec(0.0..1e9f64, 1..20)) {
            let scale = Scale::of_quantities(values.iter().copied());
            for value in &values {
                let place = scale.place(*value);
                prop_assert!((0.0..=1.0).contains(&place), "{} at {}", value, place);
            }
            let count = scale.ticks(6).len();
            prop_assert!((1..=14).contains(&count), "{} ticks on {:?}", count, scale);
        }
    }
}
