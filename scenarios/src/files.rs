//! The files that a scenario names besides itself: tables of samples, of round trips, of arrivals.
//!
//! They are read when a cell is planned, so that a plan holds what was in them and needs no file. Each is read once for all
//! cells of a sweep. A path is taken from the scenario's folder on.
use crate::library::TABLES;
use crate::nearest;
use crate::units::Time;
use actors::time::Span;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a table, unpacked: some million arrivals.
const TABLE_BYTES: u64 = 256 << 20;

/// What has been read so far.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    read: Mutex<BTreeMap<String, Arc<Table>>>,
}

/// The cells of a CSV file, as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub header: Vec<String>,
    pub rows: Vec<csv::StringRecord>,
    /// Where each row stands.
    lines: Vec<u64>,
}

/// Why a text is no table.
struct Malformed {
    line: Option<u64>,
    why: String,
}

impl Files {
    pub fn of(folder: &Path) -> Files {
        Files { folder: folder.to_owned(), read: Mutex::default() }
    }

    /// Where the scenario lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The table in a `.csv` or `.csv.gz` file, or why there is none.
    pub fn table(&self, path: &str) -> Result<Arc<Table>, String> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = read.get(path) {
            return Ok(table.clone());
        }
        let (here, known) = (self.folder.join(path), TABLES.iter().find(|known| known.0 == path));
        let text = match known.filter(|_| !here.is_file()) {
            Some((_, text)) => (*text).to_owned(),
            None => text(&here)?,
        };
        let table = Table::parse(&text).map_err(|Malformed { line, why }| match line {
            Some(line) => format!("{path}:{line}: {why}"),
            None => format!("{path}: {why}"),
        })?;
        let table = Arc::new(table);
        read.insert(path.to_owned(), table.clone());
        Ok(table)
    }

    /// The numbers in a column.
    pub fn counts(&self, path: &str, column: &str) -> Result<Vec<u32>, String> {
        let table = self.table(path)?;
        let at = table.column(column).map_err(|why| format!("{path}: {why}"))?;
        let count = |row: usize| {
            let text = table.text(row, at);
            text.parse().map_err(|_| format!("{path}:{}: `{text}` is no number of tokens", table.line(row)))
        };
        let counts = (0..table.rows.len()).map(count).collect::<Result<Vec<u32>, String>>()?;
        if counts.is_empty() { Err(format!("{path} has no rows")) } else { Ok(counts) }
    }

    /// The lengths of time in a column whose name ends in their unit, each divided by `share`.
    pub fn times(&self, path: &str, column: &str, share: u64) -> Result<Vec<Span>, String> {
        let table = self.table(path)?;
        let at = table.column(column).map_err(|why| format!("{path}: {why}"))?;
        let unit = unit_of(column)
            .ok_or_else(|| format!("the column `{column}` must end in the unit of its values: _s, _ms, _us or _ns"))?;
        let time = |row: usize| {
            let text = table.text(row, at);
            let time = Time::from_str(&format!("{text} {unit}"));
            time.map(|time| Span(time.0 / share))
                .map_err(|_| format!("{path}:{}: `{text}` is no time", table.line(row)))
        };
        let times = (0..table.rows.len()).map(time).collect::<Result<Vec<Span>, String>>()?;
        if times.is_empty() { Err(format!("{path} has no rows")) } else { Ok(times) }
    }
}

impl Table {
    fn parse(text: &str) -> Result<Table, Malformed> {
        Table::read(text).map_err(|error| match (error.kind(), error.position()) {
            (csv::ErrorKind::UnequalLengths { expected_len, len, .. }, Some(at)) => Malformed {
                line: Some(written(text, at)),
                why: format!("{len} fields, and the heading has {expected_len}"),
            },
            (_, at) => Malformed { line: at.map(csv::Position::line), why: error.to_string() },
        })
    }

    fn read(text: &str) -> Result<Table, csv::Error> {
        let mut csv = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
        let header = csv.headers()?.iter().map(str::to_owned).collect();
        let rows = csv.records().collect::<Result<Vec<_>, _>>()?;
        let lines = rows.iter().map(|row| row.position().map_or(0, |at| written(text, at))).collect();
        Ok(Table { header, rows, lines })
    }

    /// Where a column stands.
    pub fn column(&self, name: &str) -> Result<usize, String> {
        self.find(name).ok_or_else(|| {
            let hint = nearest::hint(name, self.header.iter().map(String::as_str));
            let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
            format!("it has no column `{name}`{hint}")
        })
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| column == name)
    }

    /// Where a row stands in the file, counted from 1.
    pub fn line(&self, row: usize) -> u64 {
        self.lines.get(row).copied().unwrap_or(0)
    }

    pub fn text(&self, row: usize, column: usize) -> &str {
        self.rows[row].get(column).unwrap_or_default()
    }
}

/// The line of a record that the reader came to at `at`: what it passes over before it, empty lines and comments, counts.
fn written(text: &str, at: &csv::Position) -> u64 {
    let rest = text.get(at.byte() as usize..).unwrap_or_default();
    let passed = rest.lines().take_while(|line| line.trim().is_empty() || line.starts_with('#')).count();
    at.line() + passed as u64
}

fn unit_of(column: &str) -> Option<&str> {
    let (_, unit) = column.rsplit_once('_')?;
    ["s", "ms", "us", "ns"].contains(&unit).then_some(unit)
}

fn text(path: &Path) -> Result<String, String> {
    let unreadable = |why: std::io::Error| format!("{} cannot be read: {why}", path.display());
    let file = File::open(path).map_err(unreadable)?;
    let (mut text, most) = (String::new(), TABLE_BYTES + 1);
    let read = if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(file).take(most).read_to_string(&mut text)
    } else {
        file.take(most).read_to_string(&mut text)
    };
    if read.map_err(unreadable)? as u64 > TABLE_BYTES {
        return Err(format!("{} has more than {TABLE_BYTES} bytes", path.display()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::Files;
    use actors::time::Span;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    #[test]
    fn plain_or_packed_a_table_is_the_same() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let text = "# round trips\nwhen,rtt_ms\n1, 10\n2,20.5\n";
        let (plain, packed) = (dir.path().join("a.csv"), dir.path().join("a.csv.gz"));
        std::fs::write(&plain, text).expect("it is written");
        let mut gz = GzEncoder::new(std::fs::File::create(&packed).expect("a file"), Compression::default());
        gz.write_all(text.as_bytes()).and_then(|()| gz.finish().map(drop)).expect("it is written");
        let files = Files::of(dir.path());
        let path = |path: &std::path::Path| path.to_str().expect("a plain path").to_owned();
        assert_eq!(files.table(&path(&plain)), files.table(&path(&packed)));
        let halves = files.times(&path(&packed), "rtt_ms", 2).expect("times");
        assert_eq!(halves, [Span::from_micros(5_000), Span::from_micros(10_250)]);
        let why = files.times(&path(&plain), "rtt_mss", 1).expect_err("a typo");
        assert!(why.ends_with("it has no column `rtt_mss`: did you mean `rtt_ms`?"), "{why}");
        std::fs::write(&plain, "# two\nrtt_ms,x\n1,2\n3\n").expect("it is written");
        let files = Files::of(dir.path());
        let why = files.table("a.csv").expect_err("a field is missing");
        assert_eq!(why, "a.csv:4: 1 fields, and the heading has 2");
        std::fs::write(dir.path().join("b.csv"), "rtt_ms\n1\n\nsoon\n").expect("it is written");
        assert_eq!(files.times("b.csv", "rtt_ms", 1).expect_err("no time"), "b.csv:4: `soon` is no time");
        std::fs::write(&plain, text).expect("it is written");
        let files = Files::of(dir.path());
        assert!(files.times(&path(&plain), "when", 1).expect_err("no unit").contains("unit"));
        assert!(files.table("nowhere.csv").expect_err("no file").ends_with("(os error 2)"));
    }
}
