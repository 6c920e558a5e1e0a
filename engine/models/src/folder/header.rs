//! The header of a safetensors file, which lists the tensors and their byte ranges. The header is parsed here, and not
//! by the safetensors crate, so that errors name the tensor, and so that a tensor of an unsupported type is an error
//! only if it is requested.
//!
//! The file begins with the length of the header (8 bytes, little-endian). The header follows: a JSON object that maps
//! a tensor's name to its type, its shape, and its first byte and end, counted from the end of the header. The values
//! of the tensors follow.
use super::super::config::{Json, Keys, unexpected};
use super::super::error::ModelError;
use super::super::file::check_no_pointer;
use scenarios::input::{self, SAFETENSORS_HEADER_BYTES, excerpt};
use std::io::Read;
use std::path::Path;

/// The description of a tensor in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// The type as written in the file: `F32`, `BF16` and others.
    pub dtype: String,
    pub dims: Vec<usize>,
    /// The first byte of the tensor in the file.
    pub start: u64,
    /// The position in the file after the tensor's last byte.
    pub end: u64,
}

/// Reads the header of the file at `path`. Returns its tensors, ordered by byte range, and the length of the file. A
/// tensor may end after the file's end; that is checked when the tensor is read.
///
/// # Errors
/// If the file cannot be read, is a Git LFS pointer, or its header is too large or invalid.
pub fn read(path: &Path) -> Result<(Vec<Entry>, u64), ModelError> {
    let wrong = |why: String| ModelError::Header { path: path.to_owned(), why };
    let (mut file, length) = input::open(path)?;
    check_no_pointer(path, length)?;
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(|_| wrong("the file has fewer than 8 bytes".to_owned()))?;
    let size = u64::from_le_bytes(size);
    if size > length.saturating_sub(8) {
        return Err(wrong(format!("the header claims {size} bytes, but the file has {length}")));
    }
    if size > SAFETENSORS_HEADER_BYTES {
        return Err(wrong(format!("the header has {size} bytes, and at most {SAFETENSORS_HEADER_BYTES} are read")));
    }
    let mut text = vec![0; size as usize];
    file.read_exact(&mut text).map_err(ModelError::io(path))?;
    entries(&text, 8 + size).map(|entries| (entries, length)).map_err(wrong)
}

/// Parses a header. `base` is the position in the file at which the tensors' values begin.
///
/// # Errors
/// If the text is not a header, a tensor's byte range, shape and type are inconsistent, two tensors overlap, or a name
/// occurs twice.
pub fn entries(text: &[u8], base: u64) -> Result<Vec<Entry>, String> {
    // The key `__metadata__` holds free text about the file, not a tensor.
    let listed = Keys::parse_bytes(text)?.into_entries().into_iter().filter(|(name, _)| name != "__metadata__");
    let mut entries = Vec::new();
    for (name, value) in listed {
        let wrong = |why| format!("the tensor `{}`: {why}", excerpt(&name));
        let described = Described::read(value).map_err(wrong)?;
        entries.push(entry(name, described, base)?);
    }
    entries.sort_by(|a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
    let pairs = entries.iter().zip(entries.iter().skip(1));
    if let Some((a, b)) = pairs.into_iter().find(|(a, b)| b.start < a.end) {
        return Err(format!("the tensors `{}` and `{}` overlap in the file", excerpt(&a.name), excerpt(&b.name)));
    }
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("the tensor `{}` is listed twice", excerpt(pair[0]))),
        None => Ok(entries),
    }
}

fn entry(name: String, described: Described, base: u64) -> Result<Entry, String> {
    let Described { dtype, shape, data_offsets: [start, end] } = described;
    let quoted = excerpt(&name);
    if end < start {
        return Err(format!("the tensor `{quoted}` ends at byte {end}, before its start at byte {start}"));
    }
    let bytes = width(&dtype).and_then(|width| shape.iter().try_fold(width, |bytes, side| bytes.checked_mul(*side)));
    if width(&dtype).is_some() && bytes != Some(end - start) {
        let (shape, taken) = (excerpt(&format!("{shape:?}")), end - start);
        return Err(format!(
            "the tensor `{quoted}` of shape {shape} in {dtype} takes {taken} bytes, which does not match its shape \
             and type"
        ));
    }
    let dims = shape.iter().map(|side| usize::try_from(*side)).collect::<Result<_, _>>();
    Ok(Entry {
        dims: dims.map_err(|_| {
            format!("the tensor `{quoted}` has the shape {shape:?}, which is too large for this machine")
        })?,
        start: start.saturating_add(base),
        end: end.saturating_add(base),
        name,
        dtype,
    })
}

/// Returns the size of one value of the type in bytes, or `None` if the type is not supported.
fn width(dtype: &str) -> Option<u64> {
    match dtype {
        "F32" => Some(4),
        "F16" | "BF16" => Some(2),
        _ => None,
    }
}

/// The description of a tensor in the header, before the description is checked.
struct Described {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Described {
    fn read(value: Json) -> Result<Described, String> {
        let keys = Keys::of(value)?;
        let numbers = |name: &str| match keys.find(&[name])? {
            None => Err(format!("the key `{name}` is missing")),
            Some((_, Json::List(values))) if values.iter().all(|value| value.as_u64().is_some()) => {
                Ok(values.iter().filter_map(Json::as_u64).collect::<Vec<_>>())
            }
            Some(found) => Err(unexpected(found, "a list of whole numbers is expected")),
        };
        let data_offsets = <[u64; 2]>::try_from(numbers("data_offsets")?);
        Ok(Described {
            dtype: keys.text(&["dtype"])?.ok_or("the key `dtype` is missing")?,
            shape: numbers("shape")?,
            data_offsets: data_offsets.map_err(
                |_| "`data_offsets` must have two numbers, the first byte of the tensor and the byte after its last",
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::entries;
    use proptest::prelude::{any, prop, proptest};

    fn header(tensors: &str) -> Result<Vec<(String, u64, u64)>, String> {
        let all = entries(format!("{{\"__metadata__\": {{\"format\": \"pt\"}}, {tensors}}}").as_bytes(), 100)?;
        Ok(all.into_iter().map(|entry| (entry.name, entry.start, entry.end)).collect())
    }

    #[test]
    fn tensors_lie_where_it_says() {
        let two = r#""b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
                     "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}"#;
        assert_eq!(header(two), Ok(vec![("a".to_owned(), 100, 116), ("b".to_owned(), 116, 122)]));
        // A tensor of an unsupported type does not prevent reading the others.
        assert_eq!(
            header(r#""c": {"dtype": "F8_E4M3", "shape": [], "data_offsets": [0, 1]}"#).map(|all| all.len()),
            Ok(1)
        );
    }

    #[test]
    fn what_is_wrong_names_the_tensor() {
        let tensor =
            |text: &str| format!(r#""good": {{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, {text}"#);
        for (text, why) in [
            (r#""bad": {"dtype": "F32", "shape": [2], "data_offsets": [4, 8]}"#, "`bad` of shape [2] in F32"),
            (r#""bad": {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}"#, "`bad` ends at byte 4"),
            (r#""bad": {"dtype": "F32", "shape": [9223372036854775807, 9], "data_offsets": [4, 8]}"#, "`bad` of shape"),
            (r#""bad": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}"#, "`bad`: `data_offsets` is [-4,0]"),
            (r#""bad": {"dtype": "F32", "data_offsets": [4, 8]}"#, "`bad`: the key `shape` is missing"),
            (
                r#""bad": {"dtype": "F32", "shape": [1], "shape": [2], "data_offsets": [4, 8]}"#,
                "`bad`: the key `shape` occurs twice, with the values [1] and [2]",
            ),
            (r#""bad": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}"#, "`good` and `bad` overlap"),
            (r#""good": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}"#, "`good` is listed twice"),
        ] {
            let said = header(&tensor(text)).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), base: u64) {
            let _ = entries(&bytes, base);
        }

        #[test]
        fn no_figures_make_it_panic(shape in prop::collection::vec(any::<u64>(), 0..4), start: u64, end: u64, base: u64) {
            let text = format!("{{\"a\": {{\"dtype\": \"F16\", \"shape\": {shape:?}, \"data_offsets\": [{start}, {end}]}}}}");
            let _ = entries(text.as_bytes(), base);
        }
    }
}
