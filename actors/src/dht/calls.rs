//! The requests of a DHT node that are not answered yet.
use std::collections::VecDeque;

/// Unanswered requests, in the order in which they were sent. Each has a number, and the numbers follow one another.
///
/// A number wraps around after 2^32 requests, but an answer to an old request with the same number would have arrived
/// long ago.
pub struct Calls<T> {
    /// The number of the first request in `open`.
    first: u32,
    /// The requests since the oldest unanswered one; `None` if the request was answered.
    open: VecDeque<Option<T>>,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Calls { first: 0, open: VecDeque::new() }
    }
}

impl<T> Calls<T> {
    /// Adds a request, and returns its number.
    pub fn add(&mut self, call: T) -> u32 {
        let id = self.first.wrapping_add(self.open.len() as u32);
        self.open.push_back(Some(call));
        id
    }

    pub fn get(&self, id: u32) -> Option<&T> {
        self.open.get(self.place(id))?.as_ref()
    }

    /// Removes a request and returns it; `None` if it was removed before, or was never added.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let place = self.place(id);
        let call = self.open.get_mut(place)?.take()?;
        while self.open.front().is_some_and(Option::is_none) {
            self.open.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        Some(call)
    }

    /// Returns the requests with their numbers, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let ids = (0..self.open.len() as u32).map(|place| self.first.wrapping_add(place));
        ids.zip(&self.open).filter_map(|(id, call)| Some((id, call.as_ref()?)))
    }

    fn place(&self, id: u32) -> usize {
        id.wrapping_sub(self.first) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Calls;
    use proptest::prelude::{prop_assert_eq, proptest};
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map_of_successive_numbers(steps in proptest::collection::vec((0..3u8, 0..40u32), 0..200)) {
            let (mut calls, mut expected, mut next) = (Calls::default(), BTreeMap::new(), 0);
            for (adds, other) in steps {
                for _ in 0..adds {
                    prop_assert_eq!(calls.add(next * 7), next);
                    expected.insert(next, next * 7);
                    next += 1;
                }
                prop_assert_eq!(calls.get(other), expected.get(&other));
                prop_assert_eq!(calls.remove(other), expected.remove(&other));
                prop_assert_eq!(calls.iter().map(|(id, call)| (id, *call)).collect::<BTreeMap<_, _>>(), expected.clone());
            }
        }
    }
}
