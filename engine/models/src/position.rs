//! How attention receives a token's position: not at all (OPT adds positions to its embedding), by a linear bias
//! (BLOOM), or by rotation (Llama).
use super::config::{Config, Form, RopeScaling};
use candle_core::{DType, Device, Result, Tensor};

/// The positions of one step's tokens.
pub enum Positions {
    Embedded,
    /// ALiBi (Press, Smith and Lewis 2022): each head adds `slope x key index` to its scores.
    Biased {
        slopes: Vec<f32>,
    },
    /// RoPE (Su et al. 2021), which rotates each value of a head's first half together with a value of the second half.
    /// `cos` and `sin` are [tokens, head_dim / 2].
    Rotated {
        cos: Tensor,
        sin: Tensor,
    },
}

impl Positions {
    /// Returns the positions of `tokens` tokens from `position` on.
    pub fn new(config: &Config, position: usize, tokens: usize, dtype: DType, device: &Device) -> Result<Positions> {
        match &config.form {
            Form::Opt(_) => Ok(Positions::Embedded),
            Form::Bloom(_) => Ok(Positions::Biased { slopes: alibi_slopes(config.heads()) }),
            Form::Llama(form) => {
                let frequencies = frequencies(config.head_dim(), form.rope_theta, &form.rope_scaling);
                let angle = |token: usize| frequencies.iter().map(move |f| (position + token) as f64 * f);
                let angles: Vec<f64> = (0..tokens).flat_map(angle).collect();
                let table = |of: fn(f64) -> f64| {
                    let values = angles.iter().map(|angle| of(*angle) as f32);
                    Tensor::from_iter(values, device)?.reshape((tokens, frequencies.len()))?.to_dtype(dtype)
                };
                Ok(Positions::Rotated { cos: table(f64::cos)?, sin: table(f64::sin)? })
            }
        }
    }

    /// Rotates `x`, queries or keys: [batch, heads, tokens, head_dim].
    pub fn rotate(&self, x: Tensor) -> Result<Tensor> {
        match self {
            Positions::Rotated { cos, sin } => candle_nn::rotary_emb::rope(&x, cos, sin),
            _ => Ok(x),
        }
    }

    /// Returns the ALiBi slopes, one for each head, or `None` for other kinds of positions.
    pub fn slopes(&self) -> Option<&[f32]> {
        match self {
            Positions::Biased { slopes } => Some(slopes),
            _ => None,
        }
    }
}

/// Returns one slope for each head. If the number of heads is not a power of two, BLOOM's rule applies: first the
/// slopes for the next lower power of two, then every other slope for the next higher power of two.
pub fn alibi_slopes(heads: usize) -> Vec<f32> {
    let low = 1 << heads.ilog2();
    let base = |heads: usize| 2f64.powf(-8.0 / heads as f64);
    let main = (1..=low).map(|power| base(low).powi(power as i32) as f32);
    let rest = (0..heads - low).map(|index| base(2 * low).powi(2 * index as i32 + 1) as f32);
    main.chain(rest).collect()
}

/// Returns the rotation of each pair of values in a head, in radians per position.
fn frequencies(head_dim: usize, theta: f64, scaling: &RopeScaling) -> Vec<f64> {
    let plain = (0..head_dim / 2).map(|pair| theta.powf(-2.0 * pair as f64 / head_dim as f64));
    let scaled = |frequency: f64| match *scaling {
        RopeScaling::Unscaled => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        // Llama 3.1 stretches long wavelengths, keeps short wavelengths, and interpolates between the two.
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_positions } => {
            let turns = original_positions * frequency / std::f64::consts::TAU;
            let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
            kept * frequency + (1.0 - kept) * frequency / factor
        }
    };
    plain.map(scaled).collect()
}

#[cfg(test)]
mod tests {
    use super::alibi_slopes;

    #[test]
    fn slopes_follow_the_paper_and_its_rule_for_other_counts() {
        assert_eq!(alibi_slopes(8), [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]);
        assert_eq!(alibi_slopes(6)[..4], alibi_slopes(4)[..]);
        assert_eq!(alibi_slopes(6)[4..], [alibi_slopes(8)[0], alibi_slopes(8)[2]]);
    }
}
