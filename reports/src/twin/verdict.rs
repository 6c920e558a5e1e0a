//! The verdict of a comparison, in a sentence that needs no knowledge of statistics.
use super::Gap;
use crate::load::CpuShares;
use serde::Serialize;

/// Whether a prediction's errors exceed chance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TwinVerdict {
    /// The number of errors that are larger than their noise, see [`Gap::noise`].
    pub beyond_noise: usize,
    /// The number of errors with known noise.
    pub judged: usize,
    pub text: String,
}

impl TwinVerdict {
    pub(super) fn of(errors: &[Gap], machine: Option<CpuShares>) -> TwinVerdict {
        let judged: Vec<(&Gap, f64)> = errors.iter().filter_map(|gap| Some((gap, gap.noise()?))).collect();
        let mut beyond: Vec<&(&Gap, f64)> = judged.iter().filter(|(gap, noise)| gap.error.abs() > *noise).collect();
        beyond.sort_by(|a, b| (b.0.error.abs() - b.1).total_cmp(&(a.0.error.abs() - a.1)));
        let busy = machine.and_then(|shares| shares.busy());
        let count = match errors.len() - judged.len() {
            0 => format!("{} measures", judged.len()),
            single => format!("{} measures ({single} more were not repeated)", judged.len()),
        };
        let mut text = match (beyond.first(), &busy) {
            _ if judged.is_empty() => {
                "each cell was run live only once, so prediction errors cannot be told from noise; use --repeat 3 to \
                 measure the noise"
                    .to_owned()
            }
            (None, Some(_)) => format!("the prediction errors are within the noise of the machine in all {count}"),
            (None, None) => format!("the prediction is within the measured noise in all {count}"),
            (Some((worst, noise)), _) => format!(
                "the prediction is off by more than the noise in {} of {count}, most in {} at {} ({:+.1} %, noise \
                 {:.1} %)",
                beyond.len(),
                worst.name(),
                worst.values,
                100.0 * worst.error,
                100.0 * noise
            ),
        };
        if let Some(busy) = busy {
            let again = if beyond.is_empty() { "" } else { "; run the twin again when the machine is idle" };
            text = format!("{busy}; {text}{again}");
        }
        TwinVerdict { beyond_noise: beyond.len(), judged: judged.len(), text }
    }
}

#[cfg(test)]
mod tests {
    use super::TwinVerdict;
    use crate::load::CpuShares;
    use crate::twin::Gap;

    fn gap(values: &str, error: f64, confidence: Option<f64>, noise_floor: Option<f64>) -> Gap {
        let (live, sim) = (100.0, 100.0 * (1.0 + error));
        let values = values.to_owned();
        Gap { cell: 0, values, measure: "ttft_mean_ms", live, sim, error, confidence, noise_floor, part: None }
    }

    fn machine(others: f64) -> Option<CpuShares> {
        Some(CpuShares { ours: 0.4, others, stolen: 0.0 })
    }

    fn text(errors: &[Gap], machine: Option<CpuShares>) -> String {
        TwinVerdict::of(errors, machine).text
    }

    #[test]
    fn errors_within_noise_are_said_to_be() {
        let errors = [gap("prompt=16", 0.12, Some(0.2), Some(0.1)), gap("prompt=64", -0.58, Some(0.3), Some(0.6))];
        let quiet = "the prediction is within the measured noise in all 2 measures";
        assert_eq!(text(&errors, machine(0.01)), quiet);
        assert_eq!(text(&errors, None), quiet, "nothing is known of the machine");
        let busy = "this machine was busy: 37 % of its CPU time went to other programs; the prediction errors are \
            within the noise of the machine in all 2 measures";
        assert_eq!(text(&errors, machine(0.37)), busy);
    }

    #[test]
    fn errors_beyond_noise_are_counted_and_that_furthest_beyond_is_named() {
        let errors = [
            gap("prompt=16", 0.12, Some(0.02), Some(0.03)),
            gap("prompt=64", 0.5, Some(0.45), Some(0.1)),
            gap("prompt=128", 0.01, Some(0.02), Some(0.03)),
        ];
        let off = "the prediction is off by more than the noise in 2 of 3 measures, most in ttft at prompt=16 (+12.0 %, noise 3.0 %)";
        assert_eq!(text(&errors, machine(0.0)), off);
        let busy = format!(
            "this machine was busy: 37 % of its CPU time went to other programs; {off}; run the twin again when the \
             machine is idle"
        );
        assert_eq!(text(&errors, machine(0.37)), busy);
        assert_eq!(TwinVerdict::of(&errors, None).beyond_noise, 2);
    }

    #[test]
    fn one_repetition_shows_no_noise() {
        let single = gap("prompt=16", 0.12, None, None);
        let text_of_one = text(std::slice::from_ref(&single), machine(0.0));
        assert!(text_of_one.contains("run live only once") && text_of_one.contains("--repeat 3"), "{text_of_one}");
        let some = text(&[single, gap("prompt=64", 0.01, Some(0.1), Some(0.1))], None);
        assert!(some.ends_with("in all 1 measures (1 more were not repeated)"), "{some}");
    }
}
