//! Text tables with aligned columns: each column is as wide as its widest cell and aligned left or right.

/// The gap between two columns of a table on a terminal.
const GAP: &str = "  ";

#[derive(Clone, Debug)]
pub struct Columns {
    /// The width of each column in characters, and whether the column is aligned right.
    columns: Vec<(usize, bool)>,
}

impl Columns {
    /// Measures the columns of `rows`. Each row has as many cells as `right` has entries, and `right` selects the
    /// columns that are aligned right.
    pub fn of<R: AsRef<[String]>>(rows: &[R], right: &[bool]) -> Columns {
        let width =
            |at: usize| rows.iter().filter_map(|row| row.as_ref().get(at)).map(|cell| cell.chars().count()).max();
        Columns { columns: right.iter().enumerate().map(|(at, right)| (width(at).unwrap_or(0), *right)).collect() }
    }

    /// The width of a line in characters.
    pub fn width(&self) -> usize {
        let gaps = GAP.len() * self.columns.len().saturating_sub(1);
        self.columns.iter().map(|(width, _)| width).sum::<usize>() + gaps
    }

    /// Formats a row as a line without trailing whitespace.
    pub fn line<R: AsRef<[String]>>(&self, row: R) -> String {
        self.padded(row.as_ref()).join(GAP).trim_end().to_owned()
    }

    /// The line of dashes under a table's heading on a terminal.
    pub fn rule(&self) -> String {
        self.columns.iter().map(|(width, _)| "─".repeat(*width)).collect::<Vec<_>>().join(GAP)
    }

    /// Formats a row of a Markdown table. The row is also aligned on a terminal.
    pub fn markdown<R: AsRef<[String]>>(&self, row: R) -> String {
        format!("| {} |", self.padded(row.as_ref()).join(" | "))
    }

    /// The line under the heading of a Markdown table. Each column of the line is at least three characters wide.
    pub fn markdown_rule(&self) -> String {
        let rule = |&(width, right): &(usize, bool)| match right {
            true => format!("{}:", "-".repeat(width.saturating_sub(1))),
            false => "-".repeat(width.max(3)),
        };
        format!("| {} |", self.columns.iter().map(rule).collect::<Vec<_>>().join(" | "))
    }

    fn padded(&self, row: &[String]) -> Vec<String> {
        let cell = |(cell, &(width, right)): (&String, &(usize, bool))| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        };
        row.iter().zip(&self.columns).map(cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Columns;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["cell", "ms", ""], ["größer", "7", ""], ["a", "1234", "no"]].map(|row| row.map(str::to_owned));
        let columns = Columns::of(&rows, &[false, true, false]);
        let lines: Vec<String> = rows.iter().map(|row| columns.line(row)).collect();
        assert_eq!(lines, ["cell      ms", "größer     7", "a       1234  no"]);
        assert_eq!((columns.rule().as_str(), columns.width()), ("──────  ────  ──", 16));
        assert_eq!(columns.markdown(&rows[1]), "| größer |    7 |    |");
        assert_eq!(columns.markdown_rule(), "| ------ | ---: | --- |");
    }
}
