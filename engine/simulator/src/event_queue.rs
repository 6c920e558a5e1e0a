//! The queue of future events, ordered by time; events at the same time keep the order in which they were scheduled.
//!
//! The queue is a hierarchical timing wheel in the manner of Varghese and Lauck (1987) with exact order. An event lies
//! in the slot of the highest base-64 digit in which its time differs from the present time. The event moves down a
//! level when the clock reaches that slot. The events of a slot with few events move down no further: they are sorted
//! and taken one after another, and a new event that is due among them is inserted there. Events at one instant always
//! share a slot and stay in the order of scheduling, so they need no sequence number. The events themselves stay in a
//! slab; only a time and an index move. Nothing is allocated once the slots have grown to a run's size.
use actors::time::Timestamp;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 64usize.div_ceil(BITS as usize);

/// The largest number of events in a slot for which sorting costs less than moving the events to the next lower level.
const FEW: usize = 16;

/// If an insertion makes the list of sorted events longer than this, most of them are moved back to the wheel.
const MANY: usize = 64;

/// The event queue of a simulation. Time never runs backwards: no event may be scheduled for an earlier time than that
/// of the last event taken.
pub struct EventQueue<E> {
    now: u64,
    len: usize,
    slots: Vec<Vec<Entry>>,
    /// For each level, one bit per slot, set if the slot is not empty.
    occupied: [u64; LEVELS],
    /// The events due at `until` or earlier, in order. The first `taken` entries have been taken already.
    next: Vec<Entry>,
    taken: usize,
    until: u64,
    slab: Vec<Option<E>>,
    vacant: Vec<u32>,
    /// A buffer for the entries of a slot while they move to lower slots; kept to avoid allocations.
    moving: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    at: u64,
    index: u32,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        EventQueue {
            now: 0,
            len: 0,
            slots: (0..LEVELS * SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; LEVELS],
            next: Vec::new(),
            taken: 0,
            until: 0,
            slab: Vec::new(),
            vacant: Vec::new(),
            moving: Vec::new(),
        }
    }
}

impl<E> EventQueue<E> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all scheduled events in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.slab.iter().flatten()
    }

    /// Schedules `event`. Events with equal times are taken in the order of these calls.
    ///
    /// # Panics
    /// If `at` is before the time of the event that was taken last.
    #[inline]
    pub fn schedule(&mut self, at: Timestamp, event: E) {
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
        let entry = Entry { at: at.0, index };
        if at.0 > self.until { self.place(entry) } else { self.put_among_next(entry) }
    }

    /// Inserts an entry into the sorted events, after all entries with the same or an earlier time.
    fn put_among_next(&mut self, entry: Entry) {
        if self.taken > MANY {
            self.next.drain(..self.taken);
            self.taken = 0;
        }
        if self.next[self.taken..].last().is_none_or(|last| last.at <= entry.at) {
            return self.next.push(entry);
        }
        let before = self.next[self.taken..].partition_point(|other| other.at <= entry.at);
        self.next.insert(self.taken + before, entry);
        if self.next.len() - self.taken > MANY {
            self.shorten();
        }
    }

    /// Moves all but the first few sorted events back into the wheel. The kept events reach to the end of a slot that
    /// contains the present time. Until then, every later event differs from the clock in the digit by which it was
    /// placed.
    fn shorten(&mut self) {
        let (mut until, mut kept) = (self.until, self.next.len());
        for level in (0..LEVELS as u32).rev() {
            let end = self.now | ((1 << (level * BITS)) - 1);
            if end < until && kept - self.taken > FEW {
                until = end;
                kept = self.taken + self.next[self.taken..kept].partition_point(|entry| entry.at <= end);
            }
        }
        for position in kept..self.next.len() {
            self.place(self.next[position]);
        }
        self.next.truncate(kept);
        self.until = until;
    }

    #[inline]
    fn place(&mut self, entry: Entry) {
        let differ = entry.at ^ self.now;
        // The level is the highest differing digit, or the lowest digit if none differs.
        let level = (63 - (differ | 1).leading_zeros()) / BITS;
        let slot = (entry.at >> (level * BITS)) as usize & (SLOTS - 1);
        self.occupied[level as usize] |= 1 << slot;
        self.slots[level as usize * SLOTS + slot].push(entry);
    }

    /// Takes the next event and moves the clock to its time.
    #[inline]
    pub fn take_next(&mut self) -> Option<(Timestamp, E)> {
        if self.len == 0 {
            return None;
        }
        if self.taken == self.next.len() {
            self.descend();
        }
        let Entry { at, index } = self.next[self.taken];
        self.taken += 1;
        self.now = at;
        self.len -= 1;
        self.vacant.push(index);
        let event = self.slab[index as usize].take().expect("an entry's event is there until it is taken");
        Some((Timestamp(at), event))
    }

    /// Sorts the events of the earliest slot. If they are many, moves them to lower slots first.
    fn descend(&mut self) {
        self.next.clear();
        self.taken = 0;
        loop {
            let level = (0..LEVELS).find(|&level| self.occupied[level] != 0).expect("an event is somewhere");
            let slot = self.occupied[level].trailing_zeros() as usize;
            self.occupied[level] &= !(1 << slot);
            let entries = &mut self.slots[level * SLOTS + slot];
            if level == 0 || entries.len() <= FEW {
                self.next.append(entries);
                // The entries of a slot at level 0 share one instant.
                if level > 0 {
                    self.next.sort_by_key(|entry| entry.at);
                }
                self.until = self.next[0].at | ((1 << (level as u32 * BITS)) - 1);
                return;
            }
            std::mem::swap(&mut self.moving, entries);
            // The earliest time in the slot becomes the present time, so every other entry now differs from it in a
            // lower digit.
            self.now = self.moving.iter().map(|entry| entry.at).min().expect("an occupied slot holds an entry");
            for position in 0..self.moving.len() {
                self.place(self.moving[position]);
            }
            self.moving.clear();
            std::mem::swap(&mut self.moving, &mut self.slots[level * SLOTS + slot]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EventQueue;
    use actors::time::Timestamp;
    use proptest::prelude::{prop_assert_eq, proptest};
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    proptest! {
        /// Compares the queue with a heap ordered by (time, sequence). Insertions alternate with removals, and many
        /// events have equal times.
        #[test]
        fn it_is_a_heap_of_time_and_sequence(steps in proptest::collection::vec((0..4u8, 0..70u32, 0..5u32), 1..400)) {
            let mut queue = EventQueue::default();
            let mut heap = BinaryHeap::new();
            let (mut now, mut sequence) = (0u64, 0u64);
            for (pops, shift, low) in steps {
                let delay = if shift >= 48 { u64::from(low) } else { (1u64 << shift) + u64::from(low) };
                queue.schedule(Timestamp(now + delay), sequence);
                heap.push(Reverse((now + delay, sequence)));
                sequence += 1;
                for _ in 0..pops / 2 {
                    let expected = heap.pop().map(|Reverse((at, event))| (Timestamp(at), event));
                    let found = queue.take_next();
                    prop_assert_eq!(found, expected);
                    now = found.map_or(now, |(at, _)| at.0);
                }
                prop_assert_eq!(queue.len(), heap.len());
            }
            while let Some(Reverse((at, event))) = heap.pop() {
                prop_assert_eq!(queue.take_next(), Some((Timestamp(at), event)));
            }
            prop_assert_eq!(queue.take_next(), None);
        }

        /// Compares the queue with a heap when hundreds of events lie within one slot, far in the future, many of them
        /// at one instant.
        #[test]
        fn crowded_slots_keep_the_order(
            width in 1..100_000u64, delays in proptest::collection::vec((0..u64::MAX, 0..5u32), 300..900),
        ) {
            let mut queue = EventQueue::default();
            let mut heap = BinaryHeap::new();
            let (mut now, mut sequence) = (0u64, 0u64);
            for (at, delay) in delays.into_iter().enumerate() {
                let at = now + if at == 0 { 1 << 40 } else { delay.0 % width / u64::from(delay.1.max(1)) };
                queue.schedule(Timestamp(at), sequence);
                heap.push(Reverse((at, sequence)));
                sequence += 1;
                if delay.1 == 0 {
                    let expected = heap.pop().map(|Reverse((at, event))| (Timestamp(at), event));
                    prop_assert_eq!(queue.take_next(), expected);
                    now = expected.map_or(now, |(at, _)| at.0);
                }
            }
            while let Some(Reverse((at, event))) = heap.pop() {
                prop_assert_eq!(queue.take_next(), Some((Timestamp(at), event)));
            }
            prop_assert_eq!(queue.len(), 0);
        }
    }
}
