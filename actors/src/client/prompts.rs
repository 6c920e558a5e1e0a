//! The source of the prompts' token ids, in a run that computes values.
use crate::id::RequestId;
use crate::seed::Seed;
use rand::RngExt;
use std::sync::Arc;

/// The source of the token ids of a client's prompts.
#[derive(Clone, Debug)]
pub enum Prompts {
    /// Random token ids, with equal probability for each id in `0..vocab`.
    Random { vocab: u32 },
    /// Given prompts, as token ids. No prompt is empty. Each row of each request takes the client's next prompt: the
    /// first is `rows[first]`, each later one is `stride` further on, and the index wraps around at the end of `rows`.
    Given { rows: Arc<Vec<Vec<u32>>>, first: usize, stride: usize },
}

impl Prompts {
    /// Returns the token ids of a request's prompt, `[batch, length]` in row-major order. A given prompt is truncated
    /// to `length`, or repeated until it has that length.
    ///
    /// # Panics
    ///
    /// Panics if `vocab` is 0 and `batch` and `length` are not, or if `rows` is empty and `batch` is not 0.
    pub fn draw(&self, seed: Seed, request: RequestId, batch: usize, length: usize) -> Vec<u32> {
        match self {
            &Prompts::Random { vocab } => {
                let mut stream = seed.stream("prompt", u64::from(request.client.0), u64::from(request.index));
                (0..batch * length).map(|_| stream.random_range(0..vocab)).collect()
            }
            Prompts::Given { rows, first, stride } => {
                // The warm-up has index 0 and takes the same prompts as the first timed request.
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
