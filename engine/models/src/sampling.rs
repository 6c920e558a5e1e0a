//! Chooses tokens from the scores (logits) of a model.
use super::error::ModelError;
use super::finite::{check_finite, first_not_finite, overflow};
use actors::message::NotFinite;
use actors::seed::Stream;
use candle_core::{D, Tensor};
use rand::RngExt;
use scenarios::tokens::Sampling;
use std::cmp::Ordering;

/// Chooses a token from the `logits` of one row, which must not be empty.
///
/// # Errors
/// If a score is not finite.
pub fn choose(sampling: &Sampling, logits: &[f32], stream: &mut Stream) -> Result<u32, ModelError> {
    if first_not_finite(logits).is_some() {
        return Err(NotFinite::Scores.into());
    }
    if sampling.temperature == 0.0 {
        return Ok(best(logits));
    }
    let candidates = candidates(sampling, logits);
    let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
    let mut left = stream.random_range(0.0..1.0) * total;
    for (token, weight) in &candidates {
        left -= weight;
        if left < 0.0 {
            return Ok(*token);
        }
    }
    // Rounding can leave a small remainder, which goes to the last candidate.
    Ok(candidates.last().map_or_else(|| best(logits), |(token, _)| *token))
}

/// Returns the tokens that top-k and top-p keep, the likeliest first, with weights proportional to their probabilities.
fn candidates(sampling: &Sampling, logits: &[f32]) -> Vec<(u32, f64)> {
    let scored = best_scores(logits, sampling.top_k.map_or(usize::MAX, |k| k as usize));
    let top = scored.first().map_or(0.0, |(_, score)| *score);
    let weight = |score: f32| match score == top {
        true => 1.0,
        false => ((f64::from(score) - f64::from(top)) / f64::from(sampling.temperature)).exp(),
    };
    let mut weighted: Vec<(u32, f64)> = scored.into_iter().map(|(token, score)| (token, weight(score))).collect();
    if let Some(p) = sampling.top_p {
        let bound = f64::from(p) * weighted.iter().map(|(_, weight)| weight).sum::<f64>();
        let mut sum = 0.0;
        let before = weighted.iter().take_while(|(_, weight)| {
            let needed = sum < bound;
            sum += weight;
            needed
        });
        let kept = before.count();
        weighted.truncate(kept.max(1));
    }
    weighted
}

/// Returns the `count` tokens that have the highest scores in one row of logits, and these scores, in descending order.
/// Tokens with equal scores are ordered by token id. Scores of -inf and NaN are left out.
pub fn best_scores(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let numbers = logits.iter().enumerate().filter(|(_, score)| **score > f32::NEG_INFINITY);
    let mut scored: Vec<(u32, f32)> = numbers.map(|(token, score)| (token as u32, *score)).collect();
    // -0 equals 0 here, so that ties are broken the same way everywhere.
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0));
    if count < scored.len() && count > 0 {
        scored.select_nth_unstable_by(count - 1, order);
    }
    scored.truncate(count);
    scored.sort_unstable_by(order);
    scored
}

/// Returns the token with the highest score in each row of `logits`, `[batch, vocab]`; among tokens with equal scores
/// the one with the lowest id.
///
/// # Errors
/// If a score is not finite.
pub fn greedy(logits: &Tensor) -> Result<Vec<u32>, ModelError> {
    check_finite(logits, String::new).map_err(overflow(NotFinite::Scores))?;
    Ok(logits.argmax(D::Minus1)?.to_vec1()?)
}

fn best(logits: &[f32]) -> u32 {
    let better = |best: (usize, f32), (token, score): (usize, &f32)| {
        if *score > best.1 { (token, *score) } else { best }
    };
    logits.iter().enumerate().fold((0, f32::NEG_INFINITY), better).0 as u32
}

#[cfg(test)]
mod tests {
    use super::{best_scores, candidates, choose, greedy};
    use actors::seed::Seed;
    use candle_core::{Device, Tensor};
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
    use scenarios::tokens::Sampling;

    const LOGITS: [f32; 5] = [1.0, 3.0, -7.5, 2.0, 3.0];

    fn chosen(sampling: Sampling, logits: &[f32], draws: usize) -> Vec<u32> {
        let mut stream = Seed(7).stream("sampling", 0, 0);
        (0..draws).map(|_| choose(&sampling, logits, &mut stream).expect("finite scores")).collect()
    }

    fn tokens(sampling: Sampling) -> Vec<u32> {
        candidates(&sampling, &LOGITS).into_iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        assert_eq!(chosen(Sampling::GREEDY, &LOGITS, 1), [1]);
    }

    #[test]
    fn scores_that_are_not_finite_choose_no_token() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let logits = [1.0, bad, 2.0];
            for temperature in [0.0, 1.0] {
                let sampling = Sampling { temperature, ..Sampling::GREEDY };
                let error = choose(&sampling, &logits, &mut Seed(7).stream("sampling", 0, 0)).expect_err("not finite");
                assert_eq!(error.to_string(), "the scores of the next token are not finite");
            }
            let error = greedy(&Tensor::new(&[[1f32, 2.0, 3.0], logits], &Device::Cpu).expect("a tensor"));
            assert_eq!(
                error.expect_err("the second row is not finite").to_string(),
                "the scores of the next token are not finite"
            );
        }
    }

    #[test]
    fn filters_keep_the_best() {
        let base = Sampling { temperature: 1.0, ..Sampling::GREEDY };
        assert_eq!(tokens(base), [1, 4, 3, 0, 2]);
        assert_eq!(tokens(Sampling { top_k: Some(3), ..base }), [1, 4, 3]);
        // The probabilities are 0.3995 twice, 0.1470 and 0.0541.
        assert_eq!(tokens(Sampling { top_p: Some(0.39), ..base }), [1]);
        assert_eq!(tokens(Sampling { top_p: Some(0.41), ..base }), [1, 4]);
        assert_eq!(tokens(Sampling { top_p: Some(0.95), ..base }), [1, 4, 3, 0]);
        assert_eq!(tokens(Sampling { top_k: Some(2), top_p: Some(0.95), ..base }), [1, 4]);
        assert_eq!(tokens(Sampling { top_p: Some(1.0), ..base }), [1, 4, 3, 0, 2]);
    }

    #[test]
    fn draws_follow_the_softmax_and_the_seed() {
        let (sampling, logits) = (Sampling { temperature: 2.0, ..Sampling::GREEDY }, [0.0, 2.0 * 3f32.ln()]);
        let draws = chosen(sampling, &logits, 20_000);
        assert_eq!(draws, chosen(sampling, &logits, 20_000));
        let ones = draws.iter().filter(|token| **token == 1).count() as f64 / 20_000.0;
        assert!((ones - 0.75).abs() < 0.015, "{ones}");
    }

    #[test]
    fn the_best_scores_come_first_and_ties_by_their_place() {
        assert_eq!(best_scores(&LOGITS, 3), [(1, 3.0), (4, 3.0), (3, 2.0)]);
        assert_eq!(best_scores(&LOGITS, 9).len(), 5);
        assert_eq!(best_scores(&LOGITS, 0), []);
    }

    proptest! {
        #[test]
        fn a_token_is_always_one_of_the_vocabulary_and_tiny_temperatures_are_greedy(
            logits in prop::collection::vec(any::<f32>().prop_filter("finite", |score| score.is_finite()), 1..40),
            temperature in 0f32..4.0,
            top_k in prop::option::of(1u32..50),
            top_p in prop::option::of(0.01f32..1.0),
        ) {
            let sampling = Sampling { temperature, top_k, top_p };
            let token = chosen(sampling, &logits, 1)[0];
            prop_assert!((token as usize) < logits.len());
            let one = Sampling { top_k: Some(1), temperature: 1.0, top_p: None };
            prop_assert_eq!(chosen(one, &logits, 1), chosen(Sampling::GREEDY, &logits, 1));
        }
    }
}
