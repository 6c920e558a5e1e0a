//! The queue of steps that wait for a peer's device, and the policies that select the steps of the next job.
//!
//! This module is a pure data structure: steps are pushed as they arrive, and each call of [`Queue::take`] removes the
//! steps of one job. Under every policy, the steps of one session keep their order, and no step is lost.
use crate::canary::{Canary, planted};
use crate::id::{BlockRange, SessionId};
use crate::message::Step;
use crate::policy::Scheduling;
use crate::time::{Duration, Timestamp};
use std::collections::VecDeque;

/// A step that waits in the queue or is being computed.
pub struct Queued {
    pub step: Step,
    /// The block range of the step's session. All steps of a job must have the same range.
    pub blocks: BlockRange,
    /// The time when the step arrived at this peer.
    pub received: Timestamp,
    /// The first block that is not computed yet. This index moves only for a step that is computed block by block.
    pub next_block: u32,
    /// The device time of the parts computed so far. It stays zero for a step that is computed as a whole.
    pub worked: Duration,
    /// Whether older steps of the same session were waiting or being computed when this step arrived.
    pub behind: bool,
}

impl Queued {
    /// Returns the number of tokens of the step, summed over all rows.
    fn tokens(&self) -> u64 {
        u64::from(self.step.activation.tokens) * u64::from(self.step.activation.batch)
    }

    fn is_decode(&self) -> bool {
        self.step.activation.tokens == 1
    }

    /// Returns the blocks that the step's next job computes.
    pub fn part(&self, scheduling: Scheduling) -> BlockRange {
        match scheduling {
            Scheduling::Split { whole } if self.tokens() > u64::from(whole) => {
                BlockRange { start: self.next_block, end: self.next_block + 1 }
            }
            _ => BlockRange { start: self.next_block, end: self.blocks.end },
        }
    }
}

/// The waiting steps, in the order of arrival.
pub struct Queue {
    scheduling: Scheduling,
    waiting: VecDeque<Queued>,
    /// Whether the last job was a prefill, so that decode steps are next. Only [`Scheduling::PrefillThenDecode`] uses
    /// it.
    prefilled: bool,
}

impl Queue {
    pub fn new(scheduling: Scheduling) -> Queue {
        Queue { scheduling, waiting: VecDeque::new(), prefilled: false }
    }

    /// Returns the number of waiting steps.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    #[inline]
    pub fn push(&mut self, queued: Queued) {
        self.waiting.push_back(queued);
    }

    /// Puts a partly computed step back. It goes to the end of the queue, so that other steps run in between, but
    /// before any later steps of its own session.
    pub fn put_back(&mut self, queued: Queued) {
        let session = queued.step.session;
        let at = self.waiting.iter().position(|other| other.step.session == session);
        let at = at.filter(|_| !planted(Canary::PartsOvertaken));
        self.waiting.insert(at.unwrap_or(self.waiting.len()), queued);
    }

    /// Removes all waiting steps of a session.
    pub fn forget(&mut self, session: SessionId) {
        self.waiting.retain(|queued| queued.step.session != session);
    }

    /// Moves the steps of the next job into `job`, which must be empty. `job` stays empty only if no step waits.
    #[inline]
    pub fn take(&mut self, job: &mut Vec<Queued>) {
        match self.scheduling {
            Scheduling::Fifo | Scheduling::Split { .. } => job.extend(self.waiting.pop_front()),
            Scheduling::DecodeFirst => {
                let decode = (0..self.waiting.len()).find(|at| self.waiting[*at].is_decode() && self.is_first(*at));
                job.extend(self.waiting.remove(decode.unwrap_or(0)));
            }
            Scheduling::Continuous { tokens, steps } => self.fill(job, tokens, steps, |_| true),
            Scheduling::PrefillThenDecode { tokens } => {
                let prompts = !self.prefilled || !self.waiting.iter().any(Queued::is_decode);
                if prompts {
                    self.fill(job, tokens, u32::MAX, |queued| !queued.is_decode());
                }
                self.prefilled = !job.is_empty();
                if job.is_empty() {
                    self.fill(job, u32::MAX, u32::MAX, Queued::is_decode);
                }
                // No step was found, because each prefill or decode step that was tried is behind an older step of the
                // other kind in its own session. The oldest step is taken alone.
                if job.is_empty() {
                    job.extend(self.waiting.pop_front());
                }
            }
        }
    }

    /// Whether the step at index `at` is the oldest waiting step of its session.
    fn is_first(&self, at: usize) -> bool {
        let queued = &self.waiting[at];
        let session = queued.step.session;
        !queued.behind || self.waiting.iter().take(at).all(|older| older.step.session != session)
    }

    /// Moves steps for which `wanted` is true into `job`, the oldest first. The job gets at most `steps` steps, with
    /// the same block range, from different sessions, and with at most `tokens` tokens together. The first step is
    /// taken even if it alone has more tokens.
    fn fill(&mut self, job: &mut Vec<Queued>, tokens: u32, steps: u32, wanted: impl Fn(&Queued) -> bool) {
        let mut left = u64::from(tokens);
        let mut at = 0;
        // Once a prefill step did not fit, no later prefill step may overtake it.
        let mut prompts = true;
        while at < self.waiting.len() && job.len() < steps as usize {
            let queued = &self.waiting[at];
            let first = job.is_empty();
            let fits = first || queued.tokens() <= left && (prompts || queued.is_decode());
            let goes_with = job.first().is_none_or(|with| with.blocks == queued.blocks)
                && (!queued.behind || job.iter().all(|other| other.step.session != queued.step.session));
            if wanted(queued) && goes_with && fits && self.is_first(at) {
                left = left.saturating_sub(queued.tokens());
                job.extend(self.waiting.remove(at));
            } else {
                prompts &= fits || !wanted(queued) || queued.is_decode();
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Queue, Queued};
    use crate::id::{BlockRange, NodeId, RequestId, SessionId};
    use crate::message::{Activation, Step, WireType};
    use crate::policy::Scheduling;
    use crate::time::{Duration, Timestamp};
    use proptest::collection;
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use std::collections::BTreeMap;

    fn session(number: u32) -> SessionId {
        SessionId::new(RequestId { client: NodeId(7), index: number }, 0)
    }

    fn queued(number: u32, position: u32, tokens: u32, blocks: u32) -> Queued {
        let activation = Activation { tokens, batch: 1, hidden: 8, dtype: WireType::F32, data: None };
        Queued {
            step: Step { session: session(number), position, activation },
            blocks: BlockRange { start: 0, end: blocks },
            received: Timestamp::default(),
            next_block: 0,
            worked: Duration::ZERO,
            behind: position > 0,
        }
    }

    /// Takes jobs until no step waits, and returns the session numbers of each job.
    fn jobs(scheduling: Scheduling, steps: &[(u32, u32)]) -> Vec<Vec<u32>> {
        let mut queue = Queue::new(scheduling);
        steps.iter().for_each(|&(number, tokens)| queue.push(queued(number, 0, tokens, 4)));
        let mut jobs = Vec::new();
        while queue.len() > 0 {
            let mut job = Vec::new();
            queue.take(&mut job);
            jobs.push(job.iter().map(|queued| queued.step.session.request().index).collect());
        }
        jobs
    }

    #[test]
    fn each_policy_has_its_order() {
        let steps = [(1, 50), (2, 1), (3, 90), (4, 1), (5, 1)];
        assert_eq!(jobs(Scheduling::Fifo, &steps), [[1], [2], [3], [4], [5]]);
        assert_eq!(jobs(Scheduling::DecodeFirst, &steps), [[2], [4], [5], [1], [3]]);
        let continuous = |tokens, steps| Scheduling::Continuous { tokens, steps };
        assert_eq!(jobs(continuous(100, 8), &steps), [vec![1, 2, 4, 5], vec![3]]);
        assert_eq!(jobs(continuous(100, 2), &steps), [vec![1, 2], vec![3, 4], vec![5]]);
        assert_eq!(jobs(continuous(10, 8), &steps), [vec![1], vec![2, 4, 5], vec![3]]);
        assert_eq!(jobs(Scheduling::PrefillThenDecode { tokens: 4096 }, &steps), [vec![1, 3], vec![2, 4, 5]]);
        assert_eq!(jobs(Scheduling::PrefillThenDecode { tokens: 60 }, &steps), [vec![1], vec![2, 4, 5], vec![3]]);
    }

    #[test]
    fn a_long_step_goes_block_by_block() {
        let split = Scheduling::Split { whole: 128 };
        let (short, long) = (queued(1, 0, 128, 4), queued(2, 0, 129, 4));
        assert_eq!(short.part(split), BlockRange { start: 0, end: 4 });
        assert_eq!(long.part(split), BlockRange { start: 0, end: 1 });
        assert_eq!(long.part(Scheduling::Fifo), BlockRange { start: 0, end: 4 });
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_overtaken_within_a_session(
            scheduling in prop_oneof![
                Just(Scheduling::Fifo),
                Just(Scheduling::DecodeFirst),
                Just(Scheduling::Split { whole: 8 }),
                (1..40u32, 1..5u32).prop_map(|(tokens, steps)| Scheduling::Continuous { tokens, steps }),
                (1..40u32).prop_map(|tokens| Scheduling::PrefillThenDecode { tokens }),
            ],
            steps in collection::vec((0..5u32, prop_oneof![Just(1u32), 2..30u32], 1..3u32), 0..40),
            taken in collection::vec(0..4usize, 0..20),
        ) {
            let mut queue = Queue::new(scheduling);
            let mut lengths: BTreeMap<u32, u32> = BTreeMap::new();
            let mut seen: BTreeMap<SessionId, u32> = BTreeMap::new();
            let mut pauses = taken.into_iter();
            let mut job = Vec::new();
            let mut check = |job: &mut Vec<Queued>| {
                let blocks = job.first().map(|queued| queued.blocks);
                for queued in job.drain(..) {
                    assert_eq!(Some(queued.blocks), blocks, "one job computes the same blocks for all");
                    let next = seen.entry(queued.step.session).or_default();
                    assert_eq!(queued.step.position, *next, "steps of a session keep their order");
                    *next += queued.step.activation.tokens;
                }
            };
            for (number, tokens, blocks) in steps {
                let at = lengths.entry(number).or_default();
                queue.push(queued(number, *at, tokens, blocks));
                *at += tokens;
                if pauses.next() == Some(0) {
                    queue.take(&mut job);
                    prop_assert!(!job.is_empty());
                    check(&mut job);
                }
            }
            while queue.len() > 0 {
                queue.take(&mut job);
                prop_assert!(!job.is_empty(), "every call takes something");
                if let Scheduling::Continuous { steps, .. } = scheduling {
                    prop_assert!(job.len() <= steps as usize);
                }
                check(&mut job);
            }
            for (number, length) in lengths {
                prop_assert_eq!(seen.get(&session(number)).copied().unwrap_or(0), length);
            }
        }
    }
}
