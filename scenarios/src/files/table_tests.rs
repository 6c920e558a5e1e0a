use super::Table;
use crate::files::lines::Lines;
use actors::time::Duration;
use proptest::prelude::{prop_assert_eq, proptest};

fn table(text: &str) -> Result<Table, String> {
    Table::new(Lines::of_text("t.csv", text.to_owned())).map_err(|error| error.to_string())
}

/// Returns the line and the fields of every row, or the error.
fn rows(text: &str) -> Result<Vec<(u64, Vec<String>)>, String> {
    let mut table = table(text)?;
    let (mut rows, width) = (Vec::new(), table.header.len());
    while let Some(row) = table.read().map_err(|error| error.to_string())? {
        rows.push((row.line(), (0..width).map(|at| row.text(at).into_owned()).collect()));
    }
    Ok(rows)
}

/// Parses the only field of a column of times in ms.
fn time(field: &str) -> Result<Duration, String> {
    let mut table = table(&format!("x;rtt_ms\n1; {field}\n"))?;
    let row = table.read().map_err(|error| error.to_string())?.expect("a row");
    row.time(1, "ms").map_err(|error| error.to_string())
}

fn tokens(field: &str) -> Result<u32, String> {
    let mut table = table(&format!("prompt;x\n{field};1\n"))?;
    let row = table.read().map_err(|error| error.to_string())?.expect("a row");
    row.tokens(0).map_err(|error| error.to_string())
}

#[test]
fn rows_keep_their_lines_whatever_stands_between_them() {
    let expected = Ok(vec![(4, vec!["1".to_owned(), "2".to_owned()]), (7, vec!["3".to_owned(), "4".to_owned()])]);
    for end in ["\n", "\r\n"] {
        for separator in [",", ";", "\t"] {
            let lines = ["# times", "a,b", "", "1, 2", "# more", "  ", "3,4", ",", ""];
            let text = lines.map(|line| line.replace(',', separator)).join(end);
            assert_eq!(rows(&text), expected, "{text:?}");
        }
    }
    let quoted = rows("a,b\n\"1\n2\",x\n3,\"y\"\"\"\n").expect("quotes");
    assert_eq!(quoted[1], (4, vec!["3".to_owned(), "y\"".to_owned()]));
}

#[test]
fn rows_and_headings_that_do_not_fit_are_refused_where_they_are() {
    for (text, expected) in [
        ("", "t.csv: the file is empty; a table must begin with the names of its columns"),
        ("# none\n\n", "t.csv: the file is empty; a table must begin with the names of its columns"),
        ("a,b\n\n1\n", "t.csv:3:1: the row has 1 fields, but the heading has 2"),
        ("a,b\n1,2, 3\n", "t.csv:2:6: the row has 3 fields, but the heading has 2"),
        ("a,b\n1,\"2\n3,4\n", "t.csv:2:3: the quote that opens here is never closed"),
    ] {
        assert_eq!(rows(text), Err(expected.to_owned()));
    }
    let table = table("at_s, prompt ,prompt\n").expect("a heading");
    let said = |column: &str| table.column(column).expect_err("no such column");
    assert_eq!(
        said("prompt").to_string(),
        "t.csv:1:15: the heading names the column `prompt` twice, here and at column 7"
    );
    assert_eq!(said("promt").to_string(), "t.csv:1:1: the heading has no column `promt`");
    assert_eq!(said("promt").help.as_deref(), Some("did you mean `prompt`?"));
}

#[test]
fn fields_that_are_unambiguous_are_read_and_others_are_shown() {
    for (field, ns) in [
        ("10", 10_000_000),
        ("20.5", 20_500_000),
        ("1e1", 10_000_000),
        ("9e-05", 90),
        ("10 ms", 10_000_000),
        ("\"1\"", 1_000_000),
    ] {
        assert_eq!(time(field), Ok(Duration(ns)), "{field}");
    }
    for (field, expected) in [
        ("", "t.csv:2:3: the field is empty, but a time in ms is expected"),
        ("NaN", "t.csv:2:4: `NaN` is not a time in ms"),
        ("-", "t.csv:2:4: `-` is not a time in ms"),
        ("-3", "t.csv:2:4: `-3` is negative, but a time in ms must be 0 or more"),
        ("0,5", "t.csv:2:4: `0,5` is not a time in ms"),
        ("10 s", "t.csv:2:4: `10 s` does not have the unit of its column, whose times are in ms"),
        ("1e30", "t.csv:2:4: the time `1e30` is too long"),
        ("soon", "t.csv:2:4: `soon` is not a time in ms"),
    ] {
        assert_eq!(time(field), Err(expected.to_owned()));
    }
    for (field, count) in [("12", 12), ("1e1", 10), ("374.0", 374), ("+7", 7)] {
        assert_eq!(tokens(field), Ok(count));
    }
    for (field, expected) in [
        (" ", "t.csv:2:1: the field is empty, but a number of tokens is expected"),
        ("12.5", "t.csv:2:1: `12.5` is not a whole number, but a number of tokens must be one"),
        ("nan", "t.csv:2:1: `nan` is not a number of tokens"),
        ("-6", "t.csv:2:1: `-6` is not a number of tokens"),
        ("5e9", "t.csv:2:1: `5e9` is too large for a number of tokens"),
    ] {
        assert_eq!(tokens(field), Err(expected.to_owned()));
    }
}

proptest! {
    #[test]
    fn times_and_counts_that_are_printed_are_read(ns in 0..u64::MAX / 2, count: u32) {
        let ms = format!("{}.{:06}", ns / 1_000_000, ns % 1_000_000);
        prop_assert_eq!(time(&ms), Ok(Duration(ns)));
        prop_assert_eq!(time(&format!("{ms} ms")), Ok(Duration(ns)));
        prop_assert_eq!(tokens(&count.to_string()), Ok(count));
        prop_assert_eq!(tokens(&format!("{count}.0")), Ok(count));
    }

    #[test]
    fn no_text_panics(text in "[a-z0-9,;\"\\r\\n\\t#é.-]{0,60}") {
        if let Ok(mut table) = table(&text) {
            while let Ok(Some(row)) = table.read() {
                let _ = (row.time(0, "ms"), row.tokens(0), row.wrong(0, "x"));
            }
        }
    }
}
