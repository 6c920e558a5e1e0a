//! Statistical functions that the measures and the calibration share.

/// Returns the `p`-quantile of `sorted`, which is in ascending order, by linear interpolation between order statistics
/// (type 7 of Hyndman and Fan 1996). Returns `None` for an empty sample. `p` is clamped to 0..=1.
pub fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = p.clamp(0.0, 1.0) * last as f64;
    let below = (at.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let (low, high) = (sorted[below], sorted[above]);
    // The clamp keeps rounding errors from moving the result out of [low, high].
    Some((low + (high - low) * (at - below as f64)).clamp(low, high))
}

/// Returns the median of |a - b| / mean(a, b) over all pairs of values: a measure of how much repeated measurements of
/// one quantity differ. Returns 0 if there is no pair.
pub fn pairwise_gap(values: &[f64]) -> f64 {
    let mut gaps = Vec::new();
    for (at, a) in values.iter().enumerate() {
        gaps.extend(values[at + 1..].iter().map(|b| 2.0 * (a - b).abs() / (a + b)).filter(|gap| gap.is_finite()));
    }
    median(gaps).unwrap_or(0.0)
}

/// Returns the median of `values`, or `None` for an empty sample.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// Returns the mean of `values` after reducing values above the 99th percentile to that percentile, or `None` for an
/// empty sample.
pub fn steady_mean(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let top = quantile(&values, 0.99)?;
    Some(values.iter().map(|value| value.min(top)).sum::<f64>() / values.len() as f64)
}
