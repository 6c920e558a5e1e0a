//! The fields of a CSV row according to RFC 4180. Each field keeps its position in the row's text, so that errors can
//! point at it. The csv crate does not keep positions; tests compare this module with it.
use std::borrow::Cow;
use std::ops::Range;

/// Returns the separator of a table's heading: a comma if the heading contains one, or else a semicolon, or else a tab.
pub(super) fn separator(heading: &str) -> u8 {
    let mut fields = Vec::new();
    let separates = |separator: &&u8| {
        split(heading, **separator, &mut fields);
        fields.len() > 1
    };
    *b",;\t".iter().find(separates).unwrap_or(&b',')
}

/// Stores the byte ranges of a record's fields, including their quotes, and returns the start of the last field.
pub(super) fn split(record: &str, separator: u8, fields: &mut Vec<Range<usize>>) -> usize {
    fields.clear();
    let start = scan(record, separator, |field| fields.push(field)).0;
    fields.push(start..record.len());
    start
}

/// Whether the record's last field has an opening quote and no closing one.
pub(super) fn is_open(record: &str, separator: u8) -> bool {
    scan(record, separator, |_| {}).1
}

/// Calls `field` with the byte range of every field except the last. Returns the start of the last field, and whether
/// the quote of the last field is still open at the end.
fn scan(record: &str, separator: u8, mut field: impl FnMut(Range<usize>)) -> (usize, bool) {
    if !record.contains('"') {
        let mut start = 0;
        for (at, _) in record.match_indices(char::from(separator)) {
            field(start..at);
            start = at + 1;
        }
        return (start, false);
    }
    let (mut start, mut state) = (0, State::Begin);
    for (at, byte) in record.bytes().enumerate() {
        state = match (state, byte) {
            (State::Begin | State::Closed, b'"') => State::Quoted,
            (State::Quoted, b'"') => State::Closed,
            (State::Quoted, _) => State::Quoted,
            (_, byte) if byte == separator => {
                field(start..at);
                start = at + 1;
                State::Begin
            }
            (State::Begin, b' ') => State::Begin,
            _ => State::Plain,
        };
    }
    (start, state == State::Quoted)
}

/// The state of the scan of a CSV record within a field.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// The field is empty so far, or has only spaces.
    Begin,
    /// The scan is after an opening quote and before its closing quote.
    Quoted,
    /// The last character is a quote within a quoted field: the closing quote, or the first of two that mean one quote.
    Closed,
    /// The field has no opening quote. Quotes within it have no meaning.
    Plain,
}

/// Removes the quotes of a field and the whitespace around it.
pub(super) fn plain(field: &str) -> Cow<'_, str> {
    let field = field.trim();
    match field.strip_prefix('"').and_then(|field| field.strip_suffix('"')) {
        None => Cow::Borrowed(field),
        Some(inside) if inside.contains('"') => Cow::Owned(inside.replace("\"\"", "\"").trim().to_owned()),
        Some(inside) => Cow::Borrowed(inside.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_open, plain, separator, split};
    use proptest::prelude::{prop_assert_eq, proptest};

    fn fields(record: &str, separator: u8) -> Vec<String> {
        let mut fields = Vec::new();
        split(record, separator, &mut fields);
        fields.into_iter().map(|field| plain(&record[field]).into_owned()).collect()
    }

    #[test]
    fn quotes_count_where_a_field_begins() {
        assert_eq!(fields(r#" a , "b, c" ,"say ""hi""", 5" pipe"#, b','), ["a", "b, c", r#"say "hi""#, "5\" pipe"]);
        assert_eq!(fields("a,,", b','), ["a", "", ""]);
        assert!(is_open(r#"a,"b"#, b','));
        assert!(is_open(r#"a,"b"""#, b','));
        assert!(!is_open(r#"a,5" pipe"#, b','));
    }

    #[test]
    fn the_heading_says_what_separates() {
        assert_eq!(separator("a;b;c"), b';');
        assert_eq!(separator("a\tb"), b'\t');
        assert_eq!(separator("a;b,c"), b',');
        assert_eq!(separator("rtt_ms"), b',');
        assert_eq!(separator(r#""a,b";c"#), b';');
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_is_read(row in proptest::collection::vec("[a-z\",;\n\t #0-9]{0,8}", 2..6), semicolons: bool) {
            let separator = if semicolons { b';' } else { b',' };
            let mut writer = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
            writer.write_record(&row).expect("written");
            let written = String::from_utf8(writer.into_inner().expect("flushed")).expect("text");
            let record = written.strip_suffix('\n').expect("a line");
            let trimmed: Vec<&str> = row.iter().map(|field| field.trim()).collect();
            prop_assert_eq!(fields(record, separator), trimmed);
            prop_assert_eq!(is_open(record, separator), false);
        }

        #[test]
        fn no_record_panics(record in "[a-z\", é]{0,30}") {
            let _ = (fields(&record, b','), is_open(&record, b','));
        }
    }
}
