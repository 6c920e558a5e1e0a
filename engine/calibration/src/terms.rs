//! The terms of the host model. Each term can be removed from a profile to show its effect.
use crate::DriftTimeline;
use scenarios::profile::{ColdCache, CpuSteal, Jitter, Profile};
use scenarios::units::Time;
use std::fmt;
use std::str::FromStr;

/// One term of the host model: a cost beside computing and the declared network, or a drift of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// The time from a node's request for a job until its device starts it, and from the job's end until the node knows.
    DeviceHandOver,
    /// The time to copy activations to and from a device.
    Copying,
    /// The time from the end of one job until the next one has the core lease.
    LeaseHandOver,
    /// The time that each message takes at its sender and at its receiver (the `o` of the LogP model).
    MessageOverhead,
    /// The random variation of the time that a message takes at its sender and at its receiver.
    MessageSpread,
    /// The longer time of everything that starts after idling.
    WakeUp,
    /// The time that a peer takes to open a session.
    SessionOpening,
    /// The delay of messages that a shaped live run has held back.
    ShaperDelay,
    /// The queue of messages for the cores that no job computes on.
    SharedCores,
    /// The longer time of messages among those of other clients.
    CacheInterference,
    /// The time for which the hypervisor runs other machines on a core (as in /proc/stat).
    CpuSteal,
    /// The longer time of blocks whose weights have left the CPU caches.
    ColdCache,
    /// The random variation of the times of jobs.
    ComputeSpread,
    /// The speed of the machine around each live cell, relative to the profile.
    Drift,
    /// The error of the profile at each prompt size, as the probes show it.
    SizeFactors,
}

/// Each term with its name on the command line.
pub const TERMS: [(&str, Term); 15] = [
    ("device-hand-over", Term::DeviceHandOver),
    ("copying", Term::Copying),
    ("lease-hand-over", Term::LeaseHandOver),
    ("message-overhead", Term::MessageOverhead),
    ("message-spread", Term::MessageSpread),
    ("wake-up", Term::WakeUp),
    ("session-opening", Term::SessionOpening),
    ("shaper-delay", Term::ShaperDelay),
    ("shared-cores", Term::SharedCores),
    ("cache-interference", Term::CacheInterference),
    ("cpu-steal", Term::CpuSteal),
    ("cold-cache", Term::ColdCache),
    ("compute-spread", Term::ComputeSpread),
    ("drift", Term::Drift),
    ("size-factors", Term::SizeFactors),
];

impl Term {
    /// Removes the term from the profile, or from the timeline of the machine's speed.
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
            Term::Copying => over.per_kilobyte_copied = Time(0),
            Term::LeaseHandOver => over.hand_over = Time(0),
            Term::MessageOverhead => (over.frame, over.per_kilobyte) = (Time(0), Time(0)),
            Term::MessageSpread => over.sigma = 0.0,
            Term::WakeUp => over.idle = Time(0),
            Term::SessionOpening => over.opening = Time(0),
            Term::ShaperDelay => over.held = Time(0),
            Term::SharedCores => over.serving = 0,
            Term::CacheInterference => over.cache_interference = 0.0,
            Term::CpuSteal => over.cpu_steal = CpuSteal::default(),
            Term::ColdCache => profile.models.iter_mut().for_each(|model| model.cold_cache = ColdCache::default()),
            Term::ComputeSpread => profile.jitter = Jitter::Off,
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
        found.ok_or_else(|| format!("`{text}` is no term of the host model; the terms are {}", names()))
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
    }
}
