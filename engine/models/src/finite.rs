//! Detection of values that are not finite, before a token is chosen by them.
use super::error::ModelError;
use candle_core::{DType, Storage, Tensor};

/// The number of values that are checked together; the compiler vectorises the check of a chunk.
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
/// If one is not finite; `what` names the tensor in the plural.
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
        // Only one number is copied from a GPU: a sum is not finite if one of its terms is not.
        _ => tensor.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?.is_finite(),
    };
    if finite { Ok(()) } else { Err(ModelError::NotFinite { what: what() }) }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, check_finite, first_not_finite};
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
}
