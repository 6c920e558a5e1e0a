//! Limits on the sizes that a parquet file of a run directory may claim, checked before the parquet library decodes it.
//!
//! The library allocates as many rows and dictionary entries as a header claims. A damaged count of 2^31 would take
//! gigabytes and minutes. A file within these limits takes memory and time in proportion to its length.
use super::CHUNK;
use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::ChunkReader;
use scenarios::input::FOOTER_BYTES;

/// The maximum bytes in memory per byte of a file. The columns of a row take two hundred bytes in memory, and at least
/// two bytes in a file.
const MEMORY_PER_BYTE: u64 = 1 << 10;

/// The bytes in memory allowed for a file of any length, because short files of constant columns have a higher ratio.
const MEMORY_BASE: u64 = 16 << 20;

/// The maximum bytes in memory for any file. A program that takes more would be killed on a machine of usual size.
const MEMORY_MOST: u64 = 8 << 30;

/// The maximum uncompressed bytes of a text column in a row group: a kilobyte for each row of a full group.
const TEXT_BYTES: u64 = 64 << 20;

/// The maximum uncompressed bytes of a column of numbers or flags in a row group: 32 bytes for each row of a full
/// group. A value takes 8 of them, and the others are for its level and its dictionary index.
const FIXED_BYTES: u64 = 32 * CHUNK as u64;

/// The maximum size of a page's header, in bytes. The largest part of a header are the statistics of two texts.
const HEADER_BYTES: usize = 4 << 10;

/// The magic bytes at the end of a parquet file, after the four bytes of its footer's length.
const MAGIC: &[u8] = b"PAR1";

/// Returns the maximum bytes in memory of all columns of a file of `length` bytes.
pub(super) fn memory(length: u64) -> u64 {
    length.saturating_mul(MEMORY_PER_BYTE).saturating_add(MEMORY_BASE).min(MEMORY_MOST)
}

/// Checks that the footer lies within the file, and that it has at most `FOOTER_BYTES` bytes.
pub(super) fn footer(source: &impl ChunkReader) -> Result<(), String> {
    let length = source.len();
    if length < 12 {
        return Err(format!("the file has {length} bytes, but a Parquet file has at least 12"));
    }
    let tail = source.get_bytes(length - 8, 8).map_err(|why| why.to_string())?;
    if &tail[4..] != MAGIC {
        return Err("the file does not end like a Parquet file, so it is truncated or of another kind".to_owned());
    }
    let footer = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if footer > length - 12 || footer > FOOTER_BYTES {
        return Err(format!(
            "the footer claims {footer} bytes of a file of {length} bytes, and at most {FOOTER_BYTES} are read"
        ));
    }
    Ok(())
}

/// Returns the number of rows of a file. Checks that each group has no more rows than the writer puts in one.
pub(super) fn rows(metadata: &ParquetMetaData) -> Result<u64, String> {
    let mut sum = 0;
    for (at, group) in metadata.row_groups().iter().enumerate() {
        match u64::try_from(group.num_rows()) {
            Ok(rows @ 1..) if rows <= CHUNK as u64 => sum += rows,
            _ => {
                return Err(format!(
                    "row group {at} claims {} rows, but a row group has 1 to {CHUNK}",
                    group.num_rows()
                ));
            }
        }
    }
    let claimed = metadata.file_metadata().num_rows();
    if u64::try_from(claimed) == Ok(sum) {
        Ok(sum)
    } else {
        Err(format!("the footer claims {claimed} rows, but the row groups have {sum}"))
    }
}

/// Checks the pages of a column's chunk of `rows` rows.
pub(super) fn chunk(source: &impl ChunkReader, chunk: &ColumnChunkMetaData, rows: u64) -> Result<(), String> {
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let range = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
    let within = |(start, bytes): &(u64, u64)| start.checked_add(*bytes).is_some_and(|end| end <= source.len());
    let Some((start, bytes)) = range.filter(within) else {
        let claimed = chunk.compressed_size();
        return Err(format!(
            "the column claims {claimed} bytes from byte {start} on, but the file has {} bytes",
            source.len()
        ));
    };
    if !matches!(chunk.compression(), Compression::ZSTD(_) | Compression::UNCOMPRESSED) {
        return Err(format!("the column has the compression {}, but swarmbench writes ZSTD", chunk.compression()));
    }
    let most = if chunk.column_type() == Type::BYTE_ARRAY { TEXT_BYTES } else { FIXED_BYTES };
    if bytes > most {
        return Err(format!(
            "the column claims {bytes} compressed bytes, but a column of a row group has at most {most}"
        ));
    }
    let bytes = source.get_bytes(start, bytes as usize).map_err(|why| why.to_string())?;
    pages(&bytes, rows, most)
}

/// Checks the sizes of a chunk's pages, and that they have as many values as the group has rows.
fn pages(mut bytes: &[u8], rows: u64, most: u64) -> Result<(), String> {
    let (mut values, mut uncompressed, mut first) = (0u64, 0u64, true);
    while !bytes.is_empty() {
        let mut header = Header { bytes: &bytes[..bytes.len().min(HEADER_BYTES)], page: Page::default() };
        header.read()?;
        let Page { kind, plain, packed, data, dictionary } = header.page;
        let left = bytes.len().min(HEADER_BYTES) - header.bytes.len();
        let (plain, packed) = (size(plain, "uncompressed bytes")?, size(packed, "bytes")?);
        uncompressed += plain;
        let rest = &bytes[left..];
        if packed > rest.len() as u64 {
            return Err(format!("a page claims {packed} bytes, but only {} are left", rest.len()));
        }
        if uncompressed > most {
            return Err(format!("the pages claim {uncompressed} uncompressed bytes, but a column has at most {most}"));
        }
        match (kind, data, dictionary) {
            (Some(DATA), Some(count), None) => values += size(Some(count), "values")?.max(1),
            (Some(DICTIONARY), None, Some(count)) if first => {
                let count = size(Some(count), "values")?;
                if count > rows {
                    return Err(format!("a dictionary claims {count} values, but the row group has {rows} rows"));
                }
            }
            _ => return Err("the column has a page of a kind that swarmbench does not write".to_owned()),
        }
        if values > rows {
            return Err(format!("the pages claim {values} values or more, but the row group has {rows} rows"));
        }
        first = false;
        bytes = &rest[packed as usize..];
    }
    if values == rows {
        Ok(())
    } else {
        Err(format!("the pages have {values} values, but the row group has {rows} rows"))
    }
}

fn size(claimed: Option<i64>, of: &str) -> Result<u64, String> {
    let claimed = claimed.ok_or_else(|| format!("the header of a page lacks the number of {of}"))?;
    match i32::try_from(claimed).ok().and_then(|claimed| u64::try_from(claimed).ok()) {
        Some(size) => Ok(size),
        None => Err(format!("a page claims {claimed} {of}")),
    }
}

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;

/// The claims of a page's header (`PageHeader` of parquet.thrift).
#[derive(Default)]
struct Page {
    kind: Option<i64>,
    plain: Option<i64>,
    packed: Option<i64>,
    /// The number of values of a data page.
    data: Option<i64>,
    /// The number of values of a dictionary page.
    dictionary: Option<i64>,
}

/// A reader of page headers in Thrift's compact protocol. It refuses types and fields that such headers do not have.
struct Header<'a> {
    bytes: &'a [u8],
    page: Page,
}

// These are the types of the compact protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const STRUCT: u8 = 12;

impl Header<'_> {
    fn read(&mut self) -> Result<(), String> {
        self.fields(|header, id, kind| match (id, kind) {
            (1..=4, I32) => {
                let value = header.integer()?;
                match id {
                    1 => header.page.kind = Some(value),
                    2 => header.page.plain = Some(value),
                    3 => header.page.packed = Some(value),
                    _ => {}
                }
                Ok(())
            }
            (5, STRUCT) => header.fields(|header, id, kind| match (id, kind) {
                (1, I32) => header.integer().map(|count| header.page.data = Some(count)),
                (2..=4, I32) => header.integer().map(drop),
                (5, STRUCT) => header.fields(|header, _, kind| header.statistic(kind)),
                _ => Err(UNKNOWN.to_owned()),
            }),
            (7, STRUCT) => header.fields(|header, id, kind| match (id, kind) {
                (1, I32) => header.integer().map(|count| header.page.dictionary = Some(count)),
                (2, I32) => header.integer().map(drop),
                (3, TRUE | FALSE) => Ok(()),
                _ => Err(UNKNOWN.to_owned()),
            }),
            _ => Err(UNKNOWN.to_owned()),
        })
    }

    /// Calls `field` with each field of a struct in the order of their numbers, until the struct's end.
    fn fields(&mut self, mut field: impl FnMut(&mut Self, u8, u8) -> Result<(), String>) -> Result<(), String> {
        let mut id = 0u8;
        loop {
            let head = self.byte()?;
            let (step, kind) = (head >> 4, head & 0x0f);
            if head == 0 {
                return Ok(());
            }
            // A step of 0 means that a full field number follows. Page headers never need one, because they have few
            // fields.
            id = id.checked_add(step).filter(|_| step > 0).ok_or(UNKNOWN)?;
            field(self, id, kind)?;
        }
    }

    fn statistic(&mut self, kind: u8) -> Result<(), String> {
        match kind {
            TRUE | FALSE => Ok(()),
            I32 | I64 => self.integer().map(drop),
            BINARY => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                self.bytes = self.bytes.get(length..).ok_or(CUT)?;
                Ok(())
            }
            _ => Err(UNKNOWN.to_owned()),
        }
    }

    fn integer(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("the header of a page has a number of more than 64 bits".to_owned())
    }

    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.bytes.split_first().ok_or(CUT)?;
        self.bytes = rest;
        Ok(*first)
    }
}

const CUT: &str = "the header of a page is truncated";
const UNKNOWN: &str = "the header of a page has a field that swarmbench does not write";

#[cfg(test)]
mod tests {
    use super::{TEXT_BYTES, pages};

    /// Thrift's encodings of 2^31 - 1 and of -1.
    const HUGE: [u8; 5] = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    const MINUS_ONE: [u8; 1] = [0x01];

    /// Returns a page of `payload` whose header claims these sizes and numbers of values.
    fn page(kind: u8, plain: &[u8], packed: &[u8], values: &[u8], payload: &[u8]) -> Vec<u8> {
        let own = if kind == 0 { 0x2c } else { 0x4c };
        let ends: &[u8] = if kind == 0 { &[0x15, 0, 0x15, 6, 0x15, 6, 0, 0] } else { &[0x15, 0, 0, 0] };
        [&[0x15, 2 * kind, 0x15], plain, &[0x15], packed, &[own, 0x15], values, ends, payload].concat()
    }

    #[test]
    fn pages_within_bounds_are_let_through() {
        let dictionary = page(2, &[16], &[16], &[2], &[0; 8]);
        let data = page(0, &[8], &[8], &[4], &[0; 4]);
        assert_eq!(pages(&[dictionary, data.clone(), data].concat(), 4, TEXT_BYTES), Ok(()));
    }

    #[test]
    fn claims_beyond_the_rows_or_the_bytes_are_refused() {
        let payload = [0; 4];
        for (bytes, said) in [
            (page(0, &[8], &[8], &HUGE, &payload), "2147483647 values"),
            (page(2, &[8], &[8], &HUGE, &payload), "a dictionary claims 2147483647 values"),
            (page(0, &HUGE, &[8], &[4], &payload), "2147483647 uncompressed bytes"),
            (page(0, &[8], &HUGE, &[4], &payload), "2147483647 bytes, but only 4 are left"),
            (page(0, &MINUS_ONE, &[8], &[4], &payload), "a page claims -1 uncompressed bytes"),
            (page(0, &[8], &[8], &MINUS_ONE, &payload), "a page claims -1 values"),
            (page(0, &[8], &[8], &[2], &payload), "1 values, but the row group has 2 rows"),
            (page(3, &[8], &[8], &[4], &payload), "a kind that swarmbench does not write"),
            // The first of these headers is cut off within a number. The second has a field of type list.
            (vec![0x15, 0x80], "truncated"),
            (vec![0x19, 0x00], "a field that swarmbench does not write"),
        ] {
            let why = pages(&bytes, 2, TEXT_BYTES).expect_err(said);
            assert!(why.contains(said), "{why}");
        }
    }
}
