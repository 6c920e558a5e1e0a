//! The terms of the host model: the costs that live hosts add to a prediction. A term can be left out of a prediction
//! to show its effect.
use crate::DriftTimeline;
use scenarios::profile::{ColdCache, CpuSteal, Profile};
use scenarios::units::Time;
use std::fmt;
use std::str::FromStr;

/// One term of the host model: a cost that live hosts add to computing and to the network, or a correction of the
/// machine's speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// The time from a node's request for a job until its device starts the job, and the time from the job's end until
    /// the node is notified.
    DeviceHandOver,
    /// The time from the end of a job until the next job, which waits for the same core lease, gets the lease.
    LeaseHandOver,
    /// The time that each message takes at its sender and at its receiver (the `o` of the LogP model).
    MessageOverhead,
    /// The extra time to hand over a job, a result or a core lease, or to send or receive a frame, if the thread or the
    /// connection was idle before.
    WakeUp,
    /// The time for which the hypervisor gives a core to other virtual machines (`steal` in /proc/stat).
    CpuSteal,
    /// The extra time of blocks and LM heads whose weights have left the CPU caches.
    ColdCache,
    /// The speed of the machine at the time of each live cell, relative to the profile.
    Drift,
    /// The factors that correct the profile's times at each prompt size, measured by the probes.
    SizeFactors,
}

/// The terms, each with its name on the command line.
pub const TERMS: [(&str, Term); 8] = [
    ("device-hand-over", Term::DeviceHandOver),
    ("lease-hand-over", Term::LeaseHandOver),
    ("message-overhead", Term::MessageOverhead),
    ("wake-up", Term::WakeUp),
    ("cpu-steal", Term::CpuSteal),
    ("cold-cache", Term::ColdCache),
    ("drift", Term::Drift),
    ("size-factors", Term::SizeFactors),
];

impl Term {
    /// Removes the term from the profile or from the timeline of the machine's speed, whichever contains it.
    pub fn remove(self, profile: Option<&mut Profile>, drift: &mut DriftTimeline) {
        match self {
            Term::Drift => return drift.forget_drift(),
            Term::SizeFactors => return drift.forget_sizes(),
            _ => {}
        }
        let Some(profile) = profile else { return };
        let over = &mut profile.overhead;
        match self {
            Term::DeviceHandOver => (over.to_device, over.from_device) = (Time(0), Time(0)),
            Term::LeaseHandOver => over.hand_over = Time(0),
            Term::MessageOverhead => (over.frame, over.per_kilobyte) = (Time(0), Time(0)),
            Term::WakeUp => over.idle = Time(0),
            Term::CpuSteal => over.cpu_steal = CpuSteal::default(),
            Term::ColdCache => profile.models.iter_mut().for_each(|model| model.cold_cache = ColdCache::default()),
            Term::Drift | Term::SizeFactors => {}
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let name = TERMS.iter().find(|(_, term)| term == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}

impl FromStr for Term {
    type Err = String;

    fn from_str(text: &str) -> Result<Term, String> {
        let found = TERMS.iter().find(|(name, _)| *name == text).map(|(_, term)| *term);
        let names = || TERMS.map(|(name, _)| name).join(", ");
        found.ok_or_else(|| format!("`{text}` is not a term of the host model; the terms are {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::{TERMS, Term};

    #[test]
    fn each_term_is_read_by_its_name() {
        for (name, term) in TERMS {
            assert_eq!((name.parse(), term.to_string()), (Ok(term), name.to_owned()));
        }
        assert!("cpu_steal".parse::<Term>().is_err_and(|why| why.contains("cpu-steal")));
        let removed = "copying".parse::<Term>().expect_err("a removed term is none");
        assert!(TERMS.iter().all(|(name, _)| removed.contains(name)), "{removed}");
    }
}
