//! Where the tokens of prompts come from, in a world that computes values.
use crate::id::RequestId;
use crate::seed::Seed;
use rand::RngExt;
use std::sync::Arc;

/// The tokens of prompts.
#[derive(Clone, Debug)]
pub enum Prompts {
    /// Uniform random ids below `vocab`.
    Random { vocab: u32 },
    /// Row after row takes every `stride`th of these, from `first` on and round again; none is empty.
    Given { rows: Arc<Vec<Vec<u32>>>, first: usize, stride: usize },
}

impl Prompts {
    /// The ids of a request's prompt, `[batch, length]`; a given row is cut to `length`, or said again where it is shorter.
    pub fn draw(&self, seed: Seed, request: RequestId, batch: usize, length: usize) -> Vec<u32> {
        match self {
            &Prompts::Random { vocab } => {
                let mut stream = seed.stream("prompt", u64::from(request.client.0), u64::from(request.index));
                (0..batch * length).map(|_| stream.random_range(0..vocab)).collect()
            }
            Prompts::Given { rows, first, stride } => {
                // The warm-up takes what the first request takes.
                let before = request.index.saturating_sub(1) as usize * batch;
                let row = |row: usize| &rows[(first + (before + row) * stride) % rows.len()];
                (0..batch).flat_map(|at| row(at).iter().cycle().take(length)).copied().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Prompts;
    use crate::id::{NodeId, RequestId};
    use crate::seed::Seed;
    use std::sync::Arc;

    #[test]
    fn clients_take_given_prompts_in_turn_and_cut_them() {
        let rows = Arc::new(vec![vec![1, 1, 1], vec![2, 2, 2], vec![3, 3, 3], vec![4]]);
        let draw = |first, index, batch| {
            let prompts = Prompts::Given { rows: rows.clone(), first, stride: 2 };
            prompts.draw(Seed(1), RequestId { client: NodeId(5), index }, batch, 2)
        };
        assert_eq!(draw(0, 0, 1), draw(0, 1, 1));
        assert_eq!((draw(0, 1, 1), draw(1, 1, 1)), (vec![1, 1], vec![2, 2]));
        assert_eq!((draw(0, 2, 1), draw(1, 2, 1)), (vec![3, 3], vec![4, 4]));
        assert_eq!(draw(0, 2, 2), [1, 1, 3, 3], "two rows a request, and round again");
    }

    #[test]
    fn random_prompts_are_of_the_vocabulary_and_of_their_request() {
        let draw = |index| Prompts::Random { vocab: 9 }.draw(Seed(1), RequestId { client: NodeId(5), index }, 3, 50);
        assert!(draw(1).len() == 150 && draw(1).iter().all(|id| *id < 9));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
