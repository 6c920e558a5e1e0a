//! What is to happen next: a queue of happenings in the order of (time, sequence of scheduling).
//!
//! A hierarchical timing wheel in the manner of Varghese and Lauck (1987) with exact order: a happening lies in the slot
//! of its highest base-64 digit that differs from the present time's, and moves down a level when the clock comes to that
//! slot. Happenings at one instant always share a slot and stay in the order they were scheduled in, so no sequence
//! number needs to be kept. The happenings themselves lie in a slab: what moves is a time and an index. Nothing is
//! allocated once the slots have grown to a run's size.
use actors::time::Moment;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 64usize.div_ceil(BITS as usize);

/// The queue of a simulation. Time never runs backwards: nothing may be scheduled before what was taken last.
pub struct Agenda<E> {
    now: u64,
    len: usize,
    slots: Vec<Vec<Entry>>,
    /// For each level a bit for each slot that holds anything.
    occupied: [u64; LEVELS],
    /// How many entries of the level-0 slot of `now` are taken already.
    taken: usize,
    slab: Vec<Option<E>>,
    vacant: Vec<u32>,
    /// Reused when a slot is emptied into lower ones.
    moving: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    at: u64,
    index: u32,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Agenda {
            now: 0,
            len: 0,
            slots: (0..LEVELS * SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; LEVELS],
            taken: 0,
            slab: Vec::new(),
            vacant: Vec::new(),
            moving: Vec::new(),
        }
    }
}

impl<E> Agenda<E> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All that is to happen, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.slab.iter().flatten()
    }

    /// Schedules `event`; ties are taken in the order of these calls.
    #[inline]
    pub fn schedule(&mut self, at: Moment, event: E) {
        assert!(at.0 >= self.now, "time runs forward");
        let index = match self.vacant.pop() {
            Some(index) => {
                self.slab[index as usize] = Some(event);
                index
            }
            None => {
                self.slab.push(Some(event));
                u32::try_from(self.slab.len() - 1).expect("limits::NODES bounds what can be under way")
            }
        };
        self.len += 1;
        self.place(Entry { at: at.0, index });
    }

    #[inline]
    fn place(&mut self, entry: Entry) {
        let differ = entry.at ^ self.now;
        // The highest differing digit; the lowest where none differs.
        let level = (63 - (differ | 1).leading_zeros()) / BITS;
        let slot = (entry.at >> (level * BITS)) as usize & (SLOTS - 1);
        self.occupied[level as usize] |= 1 << slot;
        self.slots[level as usize * SLOTS + slot].push(entry);
    }

    /// Takes the next happening and moves the clock to it.
    #[inline]
    pub fn take_next(&mut self) -> Option<(Moment, E)> {
        if self.len == 0 {
            return None;
        }
        let lone = if self.occupied[0] == 0 { self.descend() } else { None };
        let Entry { at, index } = lone.unwrap_or_else(|| self.take_lowest());
        self.now = at;
        self.len -= 1;
        self.vacant.push(index);
        let event = self.slab[index as usize].take().expect("an entry's event is there until it is taken");
        Some((Moment(at), event))
    }

    /// The next entry of level 0. The clock's own slot is the lowest there: whatever is earlier has been taken.
    #[inline]
    fn take_lowest(&mut self) -> Entry {
        let slot = self.occupied[0].trailing_zeros() as usize;
        let entries = &mut self.slots[slot];
        let entry = entries[self.taken];
        self.taken += 1;
        if self.taken == entries.len() {
            entries.clear();
            self.taken = 0;
            self.occupied[0] &= !(1 << slot);
        }
        entry
    }

    /// Empties the earliest slot above level 0 into the slots below it; a lone entry there is the next, and is taken.
    fn descend(&mut self) -> Option<Entry> {
        let level = (1..LEVELS).find(|&level| self.occupied[level] != 0).expect("an event is somewhere");
        let slot = self.occupied[level].trailing_zeros() as usize;
        self.occupied[level] &= !(1 << slot);
        if let [lone] = self.slots[level * SLOTS + slot][..] {
            self.slots[level * SLOTS + slot].clear();
            return Some(lone);
        }
        std::mem::swap(&mut self.moving, &mut self.slots[level * SLOTS + slot]);
        // With the earliest as the new present, every other one differs from it in a lower digit than before.
        self.now = self.moving.iter().map(|entry| entry.at).min().expect("an occupied slot holds an entry");
        for position in 0..self.moving.len() {
            self.place(self.moving[position]);
        }
        self.moving.clear();
        std::mem::swap(&mut self.moving, &mut self.slots[level * SLOTS + slot]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Agenda;
    use actors::time::Moment;
    use proptest::prelude::{prop_assert_eq, proptest};
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    proptest! {
        /// Against a heap of (time, sequence), with pushes between the pops and many ties.
        #[test]
        fn it_is_a_heap_of_time_and_sequence(steps in proptest::collection::vec((0..4u8, 0..70u32, 0..5u32), 1..400)) {
            let mut agenda = Agenda::default();
            let mut heap = BinaryHeap::new();
            let (mut now, mut sequence) = (0u64, 0u64);
            for (pops, shift, low) in steps {
                let delay = if shift >= 48 { u64::from(low) } else { (1u64 << shift) + u64::from(low) };
                agenda.schedule(Moment(now + delay), sequence);
                heap.push(Reverse((now + delay, sequence)));
                sequence += 1;
                for _ in 0..pops / 2 {
                    let expected = heap.pop().map(|Reverse((at, event))| (Moment(at), event));
                    let found = agenda.take_next();
                    prop_assert_eq!(found, expected);
                    now = found.map_or(now, |(at, _)| at.0);
                }
                prop_assert_eq!(agenda.len(), heap.len());
            }
            while let Some(Reverse((at, event))) = heap.pop() {
                prop_assert_eq!(agenda.take_next(), Some((Moment(at), event)));
            }
            prop_assert_eq!(agenda.take_next(), None);
        }
    }
}
