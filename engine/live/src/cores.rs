//! Divides a machine's cores between computing and networking, if the machine has more cores than its leases use.
//!
//! By default the kernel sometimes wakes a node's thread on a core where another host's job has just begun, and lets
//! that job run on for up to a millisecond. The 99th percentile of the time from the end of a job until the host's
//! arbiter had the result was 900 us; with a single client, so that no other host computed meanwhile, it was 40 us.
//! Hosts on separate machines do not disturb each other in this way. The cores are therefore divided: jobs run on as
//! many cores as the leases can use, and all other threads on the remaining cores. Without leases, without spare cores,
//! and on systems other than Linux, all threads run on all cores.
use scenarios::plan::Plan;

/// The division of this machine's cores, as the kernel's core numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    compute: Vec<usize>,
    serve: Vec<usize>,
}

impl Cores {
    /// Returns the division for the hosts of `machine`, among the cores that this process may use. Returns `None` if
    /// the machine has no leases or no spare cores.
    pub fn of(plan: &Plan, machine: u32) -> Option<Cores> {
        Cores::divided(&kernel::allowed(), plan.computing_cores(machine)?)
    }

    fn divided(allowed: &[usize], computing: u32) -> Option<Cores> {
        let (compute, serve) = allowed.split_at_checked(computing as usize)?;
        let both = !compute.is_empty() && !serve.is_empty();
        both.then(|| Cores { compute: compute.to_vec(), serve: serve.to_vec() })
    }

    /// Confines the calling thread, and all threads that it starts from now on, to the computing cores.
    pub fn compute(&self) {
        kernel::confine(&self.compute);
    }

    /// Confines the calling thread, and all threads that it starts from now on, to the networking cores.
    pub fn serve(&self) {
        kernel::confine(&self.serve);
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// Returns the cores that the calling thread may use; an empty list if the kernel does not report them.
    pub fn allowed() -> Vec<usize> {
        let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
        (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
    }

    /// Confines the calling thread to `cores`. A failure is logged and otherwise ignored.
    pub fn confine(cores: &[usize]) {
        let mut set = CpuSet::new();
        cores.iter().for_each(|core| set.set(*core));
        if let Err(why) = sched_setaffinity(None, &set) {
            tracing::warn!("the thread cannot be pinned, so jobs and network threads share cores: {why}");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    /// Returns an empty list: the cores that a thread may use are known only on Linux.
    pub fn allowed() -> Vec<usize> {
        Vec::new()
    }

    /// Does nothing: threads are confined to cores only on Linux.
    pub fn confine(_: &[usize]) {}
}

#[cfg(test)]
mod tests {
    use super::Cores;

    #[test]
    fn jobs_get_what_the_leases_use_and_the_network_the_rest() {
        let divided = |computing| Cores::divided(&[1, 4, 6], computing);
        assert_eq!(divided(1), Some(Cores { compute: vec![1], serve: vec![4, 6] }));
        assert_eq!(divided(2), Some(Cores { compute: vec![1, 4], serve: vec![6] }));
        assert_eq!((divided(0), divided(3), divided(4)), (None, None, None), "nothing is left for one of them");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_is_confined_confines_those_it_starts() {
        let all = super::kernel::allowed();
        let Some(cores) = Cores::divided(&all, 1) else { return };
        let seen = std::thread::spawn(move || {
            cores.compute();
            let of_child = std::thread::spawn(super::kernel::allowed).join().expect("it does not panic");
            cores.serve();
            (of_child, super::kernel::allowed())
        });
        assert_eq!(seen.join().expect("it does not panic"), (all[..1].to_vec(), all[1..].to_vec()));
        assert_eq!(super::kernel::allowed(), all, "and nobody else");
    }
}
