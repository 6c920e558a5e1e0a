//! Line-by-line reading of text files, with or without gzip. A file of any length needs only the memory of its longest
//! line.
use super::error::TableError;
use crate::input::{self, BLANK_BYTES, LINE_BYTES, UTF16, UTF16_HELP};
use flate2::bufread::MultiGzDecoder;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

/// The magic number at the start of a gzip file (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The help text for a file that is too long.
const CUT: &str = "cut the file to its first rows, for example with: head -n 100000 FILE > SHORT";

pub(crate) struct Lines {
    /// The name of the file in errors.
    pub file: String,
    reader: Box<dyn BufRead>,
    buffer: Vec<u8>,
    line: u64,
    bytes: u64,
    /// The largest number of bytes that may be read, after unpacking.
    limit: u64,
    /// The number of bytes in the empty lines and comments that have been read so far.
    blank: u64,
}

impl Lines {
    /// Opens the regular file at `path`, of which at most `limit` unpacked bytes may be read. Errors call the file
    /// `file`.
    pub fn open(file: &str, path: &Path, limit: u64) -> Result<Lines, TableError> {
        let (opened, _) = input::open(path).map_err(|error| TableError::input(&error))?;
        let mut plain = BufReader::with_capacity(1 << 16, opened);
        let begin = plain.fill_buf().map_err(|error| TableError::file(file, error.to_string()))?;
        let reader: Box<dyn BufRead> = match begin.starts_with(&GZIP) {
            true => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(plain))),
            false => Box::new(plain),
        };
        Ok(Lines::from(file, reader, limit))
    }

    /// Reads lines from a text in memory.
    pub fn of_text(file: &str, text: impl AsRef<[u8]> + Send + 'static) -> Lines {
        Lines::from(file, Box::new(Cursor::new(text)), u64::MAX)
    }

    fn from(file: &str, reader: Box<dyn BufRead>, limit: u64) -> Lines {
        Lines { file: file.to_owned(), reader, buffer: Vec::new(), line: 0, bytes: 0, limit, blank: 0 }
    }

    /// Counts the line that was read last as empty or a comment. A file with too many bytes of such lines is refused.
    pub fn pass_over(&mut self) -> Result<(), TableError> {
        self.blank += self.buffer.len() as u64;
        if self.blank <= BLANK_BYTES {
            return Ok(());
        }
        let message = format!(
            "the file has more than {BLANK_BYTES} bytes of empty lines and comments up to here, which is the limit"
        );
        Err(TableError::at(&self.file, self.line, 1, message))
    }

    /// The number of the last line that was read, counted from 1.
    pub fn number(&self) -> u64 {
        self.line
    }

    /// Reads the next line, without its line end. Returns `None` after the last line.
    pub fn read(&mut self) -> Result<Option<&str>, TableError> {
        self.buffer.clear();
        self.line += 1;
        let (file, line) = (&self.file, self.line);
        let wrong = |column: u32, message: String| TableError::at(file, line, column, message);
        let limit = LINE_BYTES + 1;
        let read = self.reader.as_mut().take(limit).read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|error| wrong(1, format!("reading the file failed at this line: {error}")))? as u64;
        self.bytes += read;
        if read == 0 {
            self.line -= 1;
            return Ok(None);
        }
        if read == limit {
            let message =
                format!("the line has more than {LINE_BYTES} bytes, so the file is probably not a table of text");
            return Err(wrong(1, message));
        }
        if self.bytes > self.limit {
            let message = format!("the file has more than {} bytes up to here, which is the limit", self.limit);
            return Err(wrong(1, message).help(CUT.to_owned()));
        }
        let first = line == 1;
        if first && input::is_utf16(&self.buffer) {
            return Err(wrong(1, UTF16.to_owned()).help(UTF16_HELP.to_owned()));
        }
        let text = std::str::from_utf8(&self.buffer).map_err(|error| {
            let column = String::from_utf8_lossy(&self.buffer[..error.valid_up_to()]).chars().count() as u32 + 1;
            let byte = self.buffer[error.valid_up_to()];
            wrong(column, format!("the byte {byte:#04x} is not valid UTF-8"))
        })?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let text = if first { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        if let Some(at) = text.find('\r') {
            let column = text[..at].chars().count() as u32 + 1;
            return Err(wrong(column, "the line contains a carriage return".to_owned())
                .help("end each line with LF or CR LF, for example with: tr '\\r' '\\n' < FILE > OTHER".to_owned()));
        }
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use crate::files::Table;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    use std::path::Path;

    /// Returns every line with its number, and at the end the error if reading fails.
    fn lines(path: &Path) -> Vec<String> {
        let mut lines = match Lines::open("f", path, 64 << 20) {
            Ok(lines) => lines,
            Err(error) => return vec![error.to_string()],
        };
        let mut all = Vec::new();
        loop {
            match lines.read() {
                Ok(Some(line)) => all.push(line.to_owned()),
                Ok(None) => return all,
                Err(error) => {
                    all.push(error.to_string());
                    return all;
                }
            }
        }
    }

    fn of(bytes: &[u8]) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("t.csv");
        std::fs::write(&path, bytes).expect("written");
        lines(&path)
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Compression::best());
        gz.write_all(bytes).expect("packed");
        gz.finish().expect("packed")
    }

    #[test]
    fn ends_of_lines_and_a_byte_order_mark_are_left_out() {
        assert_eq!(of(b"\xef\xbb\xbfa,b\r\n\r\n1,2\n3,4"), ["a,b", "", "1,2", "3,4"]);
        assert_eq!(of(&packed(b"\xef\xbb\xbfa\r\n1")), ["a", "1"]);
        assert_eq!(of(b""), [""; 0]);
    }

    #[test]
    fn bytes_that_are_no_lines_of_text_are_refused_where_they_are() {
        assert_eq!(of("a\nä,\u{7f}x".as_bytes()), ["a", "ä,\u{7f}x"]);
        assert_eq!(of(b"a\n\xc3\xa4,\xff\n"), ["a", "f:2:3: the byte 0xff is not valid UTF-8"]);
        assert_eq!(of(b"\xff\xfea\0"), ["f:1:1: the file is UTF-16 text, but UTF-8 is expected"]);
        assert_eq!(of(b"a,b\r1,2\r"), ["f:1:4: the line contains a carriage return"]);
    }

    #[test]
    fn a_packed_file_that_unpacks_without_end_is_refused_by_its_length() {
        let bomb = packed(&vec![b'x'; 40 << 20]);
        assert!(bomb.len() < 50_000);
        assert_eq!(
            of(&bomb),
            ["f:1:1: the line has more than 1048576 bytes, so the file is probably not a table of text"]
        );
        let mut cut = packed(b"a\n1\n2\n");
        cut.truncate(cut.len() - 6);
        assert!(of(&cut).last().is_some_and(|last| last.contains(": reading the file failed at this line")));
    }

    #[test]
    fn a_packed_file_without_a_row_is_not_read_to_its_end() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("t.csv.gz");
        for line in ["\n", "# a comment\n", ",\n"] {
            let text = format!("a,b\n{}", line.repeat((20 << 20) / line.len()));
            std::fs::write(&path, packed(text.as_bytes())).expect("written");
            let mut table = Table::new(Lines::open("f", &path, 1 << 30).expect("opened")).expect("a heading");
            let why = table.read().map(|_| ()).expect_err("no rows").to_string();
            assert!(why.contains("bytes of empty lines and comments up to here"), "{why}");
        }
        // A file that consists of rows is refused once its unpacked bytes exceed the limit.
        std::fs::write(&path, packed("1,2\n".repeat(1000).as_bytes())).expect("written");
        let mut table = Table::new(Lines::open("f", &path, 999).expect("opened")).expect("a heading");
        let why = loop {
            match table.read() {
                Ok(row) => assert!(row.is_some(), "it ends before its limit"),
                Err(why) => break why.to_string(),
            }
        };
        assert_eq!(why, "f:250:1: the file has more than 999 bytes up to here, which is the limit");
    }

    #[test]
    fn a_pipe_is_refused_without_waiting() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let pipe = dir.path().join("pipe.csv");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        assert_eq!(
            lines(&pipe),
            [format!("{}: the path is a pipe, a socket or a device, but only regular files are read", pipe.display())]
        );
        assert_eq!(
            lines(dir.path()),
            [format!("{}: the path is a directory, but only regular files are read", dir.path().display())]
        );
    }
}
