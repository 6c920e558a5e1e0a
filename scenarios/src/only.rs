//! A filter of a sweep's cells by their values: `workload.prompt=512 && swarm.forwarding=Push`.
use crate::units::magnitude;

/// A filter of cells: the conditions as (path, value), all of which a cell must meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only(Vec<(String, String)>);

impl Only {
    /// Parses the text of a filter.
    ///
    /// # Errors
    /// The reason why the text is not a filter.
    pub fn parse(text: &str) -> Result<Only, String> {
        let clause = |clause: &str| {
            let (path, value) = clause
                .split_once('=')
                .ok_or_else(|| format!("`{}` does not have the form path=value", clause.trim()))?;
            Ok((path.trim().to_owned(), value.trim_start_matches('=').trim().to_owned()))
        };
        text.split("&&").map(clause).collect::<Result<_, String>>().map(Only)
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(path, _)| path.as_str())
    }

    /// The conditions of the filter as (path, value), in the order of its text.
    pub fn values(&self) -> &[(String, String)] {
        &self.0
    }

    /// Whether a cell with these values meets all conditions of the filter. Quantities are compared as numbers, so
    /// `1 s` equals `1000 ms`.
    pub fn takes(&self, values: &[(String, String)]) -> bool {
        let same = |found: &str, wanted: &str| {
            found == wanted || (magnitude(found).is_some() && magnitude(found) == magnitude(wanted))
        };
        self.0.iter().all(|(path, wanted)| values.iter().any(|(name, found)| name == path && same(found, wanted)))
    }
}

#[cfg(test)]
mod tests {
    use super::Only;

    #[test]
    fn a_cell_must_have_every_value() {
        let cell = [("a.delay", "10 ms"), ("b", "Push")].map(|(path, value)| (path.to_owned(), value.to_owned()));
        let takes = |text: &str| Only::parse(text).expect("clauses").takes(&cell);
        assert!(takes("b=Push") && takes("a.delay == 0.01 s && b = Push"));
        assert!(!takes("b=Relay") && !takes("a.delay=20 ms && b=Push") && !takes("c=1"));
        assert_eq!(Only::parse("b=Push && c").expect_err("no value"), "`c` does not have the form path=value");
    }
}
