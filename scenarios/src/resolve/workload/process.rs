//! Open-loop arrivals: a renewal process of rate 1. Its time is then scaled by the arrival rate.
//!
//! Intervals with mean 1 are drawn (constant, exponential, or gamma with shape 1/cv^2). The k-th request arrives when
//! the integral of the rate reaches the sum of the first k intervals (time rescaling; Brown et al. 2002). The random
//! intervals therefore stay the same if the rate or the ramp changes.
use super::{Wanted, few_enough, length_of};
use crate::files::Files;
use crate::files::trace::Place;
use crate::resolve::fault::Fault;
use crate::schema::{Process, Workload};
use crate::units::{Frequency, Time};
use actors::limits;
use actors::seed::{Seed, Stream};
use actors::time::Duration;
use rand_distr::{Distribution, Exp1, Gamma};

/// Returns the requests of an open-loop workload with random arrivals, and the time during which they arrive.
pub(super) fn arrivals(workload: &Workload, seed: Seed, files: &Files) -> Result<(Vec<Wanted>, Duration), Fault> {
    let Workload::Open { clients, rate, process, ramp, duration, requests, prompt, generate, .. } = workload else {
        return Ok((Vec::new(), Duration::ZERO));
    };
    let rate = Rate::new(*rate, ramp)?;
    let distance = Distance::new(*process)?;
    let (duration, requests) = match (duration, requests) {
        (None, None) => {
            let fault = Fault::new("workload", "the workload has no end");
            return Err(fault.help("give the workload a `duration` or a number of `requests`"));
        }
        (duration, requests) => {
            (duration.map_or(f64::INFINITY, |time| time.duration().as_secs_f64()), requests.unwrap_or(u32::MAX))
        }
    };
    let (prompt, generate) =
        (length_of("workload.prompt", prompt, files)?, length_of("workload.generate", generate, files)?);
    let mut distances = seed.stream("arrivals", 0, 0);
    let (mut prompts, mut answers) = (seed.stream("arrivals' prompts", 0, 0), seed.stream("arrivals' answers", 0, 0));
    let (mut wanted, mut passed) = (Vec::new(), 0.0);
    while (wanted.len() as u32) < requests {
        passed += distance.draw(&mut distances);
        let Some(at) = rate.reaches(passed).filter(|at| *at <= duration) else { break };
        wanted.push(Wanted {
            at: Duration::from_secs_f64(at),
            prompt: prompt.draw(&mut prompts),
            generate: generate.draw(&mut answers),
            client: wanted.len() as u32 % clients,
            route: Vec::new(),
            place: Place::default(),
        });
        few_enough("workload", wanted.len())?;
    }
    let last = wanted.last().map_or(Duration::ZERO, |wanted: &Wanted| wanted.at);
    let whole = duration.is_finite() && (wanted.len() as u32) < requests;
    Ok((wanted, if whole { Duration::from_secs_f64(duration) } else { last }))
}

/// A distribution of the intervals between arrivals, with mean 1.
enum Distance {
    Constant,
    Exponential,
    Gamma(Gamma<f64>),
}

impl Distance {
    fn new(process: Process) -> Result<Distance, Fault> {
        match process {
            Process::Constant => Ok(Distance::Constant),
            Process::Poisson => Ok(Distance::Exponential),
            Process::Gamma { cv } => {
                let gamma = (0.01..=100.0).contains(&cv).then(|| Gamma::new(1.0 / (cv * cv), cv * cv).ok()).flatten();
                let message = format!("cv is {cv}, but must be a coefficient of variation from 0.01 to 100");
                gamma.map(Distance::Gamma).ok_or_else(|| Fault::new("workload.process.cv", message))
            }
        }
    }

    fn draw(&self, stream: &mut Stream) -> f64 {
        match self {
            Distance::Constant => 1.0,
            Distance::Exponential => Exp1.sample(stream),
            Distance::Gamma(gamma) => gamma.sample(stream),
        }
    }
}

/// A rate over time: linear between points, and constant after the last point.
struct Rate {
    /// The points as (seconds, requests per second).
    points: Vec<(f64, f64)>,
}

impl Rate {
    fn new(first: Frequency, ramp: &[(Time, Frequency)]) -> Result<Rate, Fault> {
        let mut points = vec![(0.0, first.per_second())];
        for (index, (at, rate)) in ramp.iter().enumerate() {
            let at = at.duration().as_secs_f64();
            if points.last().is_some_and(|(before, _)| at <= *before) {
                return Err(Fault::new(
                    &format!("workload.ramp.{index}"),
                    "the time of this point of the ramp is not later than that of the point before",
                ));
            }
            points.push((at, rate.per_second()));
        }
        if points.iter().all(|(_, rate)| *rate == 0.0) {
            return Err(Fault::new("workload.rate", "the rate is always 0, so no request arrives"));
        }
        let most = limits::ARRIVALS as f64;
        if let Some((_, rate)) = points.iter().find(|(_, rate)| *rate > most) {
            return Err(Fault::new(
                "workload.rate",
                format!("the rate is {rate} requests a second, but must be at most {most}"),
            ));
        }
        Ok(Rate { points })
    }

    /// The time in seconds at which the integral of the rate reaches `count`, or `None` if the rate falls to 0 before
    /// that.
    fn reaches(&self, count: f64) -> Option<f64> {
        let mut left = count;
        for pair in self.points.windows(2) {
            let ((from, low), (to, high)) = (pair[0], pair[1]);
            let area = (to - from) * (low + high) / 2.0;
            if left <= area {
                let slope = (high - low) / (to - from);
                // The root of slope/2 t^2 + low t = left, in a form that is also valid for a slope of 0.
                return Some(from + 2.0 * left / (low + (low * low + 2.0 * slope * left).max(0.0).sqrt()));
            }
            left -= area;
        }
        let &(from, rate) = self.points.last()?;
        (rate > 0.0).then(|| from + left / rate)
    }
}

#[cfg(test)]
mod tests;
