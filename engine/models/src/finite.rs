//! Detects values that are not finite, before a token is chosen with them.
use super::error::ModelError;
use actors::message::NotFinite;
use candle_core::{DType, Storage, Tensor};

/// The number of values in a chunk. The compiler vectorises the check of a chunk.
const CHUNK: usize = 4096;

/// Returns the index of the first value that is infinite or not a number.
pub fn first_not_finite(values: &[f32]) -> Option<usize> {
    let sound = |chunk: &[f32]| chunk.iter().fold(true, |sound, value| sound & value.is_finite());
    let (at, chunk) = values.chunks(CHUNK).enumerate().find(|(_, chunk)| !sound(chunk))?;
    Some(at * CHUNK + chunk.iter().position(|value| !value.is_finite())?)
}

/// Checks all values of a tensor, on any device.
///
/// # Errors
/// If a value is infinite or not a number; `what` describes the tensor's values, in the plural.
pub fn check_finite(tensor: &Tensor, what: impl FnOnce() -> String) -> Result<(), ModelError> {
    let finite = match (tensor.device().is_cpu(), tensor.dtype()) {
        (true, DType::F32) => {
            let tensor = tensor.contiguous()?;
            let (storage, layout) = tensor.storage_and_layout();
            match (&*storage, layout.contiguous_offsets()) {
                (Storage::Cpu(cpu), Some((start, end))) => {
                    first_not_finite(&cpu.as_slice::<f32>()?[start..end]).is_none()
                }
                _ => true,
            }
        }
        // A sum is infinite or NaN if one of its terms is, so only one number is copied from a GPU.
        _ => tensor.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?.is_finite(),
    };
    if finite { Ok(()) } else { Err(ModelError::NotFinite { what: what() }) }
}

/// Checks that the squares of each row of `x` (its last dimension) have a finite sum, because a norm with an infinite
/// denominator turns finite values into zeros. Checks on a CPU only; on a GPU the check would have to wait for the
/// values.
///
/// # Errors
/// If the sum of a row is not finite.
pub fn check_squares(x: &Tensor) -> Result<(), ModelError> {
    if !x.device().is_cpu() || x.dtype() != DType::F32 {
        return Ok(());
    }
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let (Storage::Cpu(cpu), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else { return Ok(()) };
    let width = x.dims().last().copied().unwrap_or(1).max(1);
    if cpu.as_slice::<f32>()?[start..end].chunks(width).all(|row| sum_of_squares(row).is_finite()) {
        return Ok(());
    }
    Err(ModelError::NotFinite { what: "the sums of squared hidden states in a norm".to_owned() })
}

/// Returns a function that turns [`ModelError::NotFinite`] into an overflow of `what`.
pub fn overflow(what: NotFinite) -> impl FnOnce(ModelError) -> ModelError {
    move |why| match why {
        ModelError::NotFinite { .. } => ModelError::Overflow(what),
        other => other,
    }
}

/// The accepted error of a quantised value, as a fraction of the largest magnitude in the tensor. The error of four-bit
/// formats is at most an eighth of it.
const NEAR: f32 = 0.25;

/// Whether the quantised values `held` are close to the original values `stored`; both are in f32 on the CPU.
pub fn is_near(held: &Tensor, stored: &Tensor) -> Result<bool, ModelError> {
    let (held, stored) = (held.contiguous()?, stored.contiguous()?);
    let ((held, held_layout), (stored, layout)) = (held.storage_and_layout(), stored.storage_and_layout());
    let (Storage::Cpu(held), Storage::Cpu(stored)) = (&*held, &*stored) else { return Ok(true) };
    let (held, stored) = (held.as_slice::<f32>()?, stored.as_slice::<f32>()?);
    let (Some((start, end)), Some((first, last))) = (held_layout.contiguous_offsets(), layout.contiguous_offsets())
    else {
        return Ok(true);
    };
    let (held, stored) = (&held[start..end], &stored[first..last]);
    let largest = stored.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    // `<=` is false for NaN, so a value that is not a number is not near.
    Ok(held.iter().zip(stored).all(|(held, stored)| (held - stored).abs() <= NEAR * largest))
}

fn sum_of_squares(row: &[f32]) -> f32 {
    let (lanes, rest) = row.as_chunks::<16>();
    let mut sums = [0f32; 16];
    for lane in lanes {
        for (sum, value) in sums.iter_mut().zip(lane) {
            *sum += value * value;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, check_finite, check_squares, first_not_finite};
    use candle_core::{Device, Tensor};

    #[test]
    fn the_first_value_that_is_not_finite_is_found_in_any_chunk() {
        for at in [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 7] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = vec![f32::MAX; 2 * CHUNK + 8];
                assert_eq!(first_not_finite(&values), None);
                values[at] = bad;
                assert_eq!(first_not_finite(&values), Some(at));
            }
        }
    }

    #[test]
    fn a_view_of_a_tensor_is_checked_for_its_own_values() {
        let whole = Tensor::new(&[[1f32, f32::NAN], [2.0, 3.0]], &Device::Cpu).expect("a tensor");
        let what = || "values".to_owned();
        assert!(check_finite(&whole.t().expect("a view"), what).is_err());
        assert!(check_finite(&whole.narrow(0, 1, 1).expect("a view"), what).is_ok());
        assert!(check_finite(&whole.narrow(1, 0, 1).expect("a view"), what).is_ok());
    }

    #[test]
    fn squares_of_a_row_that_overflow_are_found_in_any_place() {
        for width in [1, 15, 16, 17, 40] {
            for at in 0..2 * width {
                let mut values = vec![1e18f32; 2 * width];
                let tensor =
                    |values: &[f32]| Tensor::from_slice(values, (1, 2, width), &Device::Cpu).expect("a tensor");
                assert!(check_squares(&tensor(&values)).is_ok());
                values[at] = 2e19;
                assert!(check_squares(&tensor(&values)).is_err(), "{at} of {width}");
            }
        }
    }
}
