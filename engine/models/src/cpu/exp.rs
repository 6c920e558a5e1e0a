//! The exponential function, written so that it vectorises.
use super::dot::multiply_add;

/// Returns `e^x` with a relative error below 3e-7, for x from -87 to 88. Returns 0 for x below -87, where f32
/// underflows, and `e^88` for x above 88.
///
/// The algorithm is `expf` of Cephes (Moshier): x = n ln 2 + r, and a polynomial for `e^r`.
#[inline(always)]
pub fn exp<const FUSED: bool>(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and then subtracting 1.5 * 2^23 rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 88.0);
    let n = multiply_add::<FUSED>(clamped, std::f32::consts::LOG2_E, ROUND) - ROUND;
    let r = multiply_add::<FUSED>(n, -LN2_LOW, multiply_add::<FUSED>(n, -LN2_HIGH, clamped));
    let mut p = 1.987_569_1e-4;
    p = multiply_add::<FUSED>(p, r, 1.398_2e-3);
    p = multiply_add::<FUSED>(p, r, 8.333_452e-3);
    p = multiply_add::<FUSED>(p, r, 4.166_579_6e-2);
    p = multiply_add::<FUSED>(p, r, 1.666_666_5e-1);
    p = multiply_add::<FUSED>(p, r, 5.0e-1);
    let fraction = multiply_add::<FUSED>(p, r * r, r + 1.0);
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
    if x < -87.0 { 0.0 } else { fraction * power }
}

/// Returns `tanh x`, computed from the exponential.
#[inline(always)]
pub fn tanh<const FUSED: bool>(x: f32) -> f32 {
    // For x above 9, tanh x rounds to 1 in f32.
    let e = exp::<FUSED>(2.0 * x.clamp(-9.0, 9.0));
    (e - 1.0) / (e + 1.0)
}

#[cfg(test)]
mod tests {
    use super::{exp, tanh};

    #[test]
    fn it_is_the_exponential() {
        for step in -8_690..=8_790 {
            let x = step as f32 / 100.0;
            for ours in [exp::<true>(x), exp::<false>(x)] {
                let exact = f64::from(x).exp();
                assert!((f64::from(ours) / exact - 1.0).abs() < 3e-7, "e^{x} = {exact}, not {ours}");
            }
        }
        assert_eq!([exp::<true>(0.0), exp::<true>(-88.0), exp::<true>(f32::NEG_INFINITY)], [1.0, 0.0, 0.0]);
    }

    #[test]
    fn it_is_the_hyperbolic_tangent() {
        for step in -2_000..=2_000 {
            let x = step as f32 / 100.0;
            assert!((f64::from(tanh::<true>(x)) - f64::from(x).tanh()).abs() < 3e-7, "tanh {x}");
        }
    }
}
