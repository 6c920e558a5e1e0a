//! Scenario fields that had another name in version 0.1. The old names are accepted until version 0.3 and give a note.

/// Each renamed field: its old name, and its current path.
const RENAMED: [(&str, &str); 3] =
    [("muster", "measure.ready_within"), ("gather", "swarm.batch_wait"), ("ends", "model.client_dtype")];

/// Replaces the old names in a path with the current ones.
pub fn path(text: &str) -> String {
    let old = |(old, new): &(&str, &str)| {
        let (parent, _) = new.split_once('.')?;
        (text == format!("{parent}.{old}")).then(|| (*new).to_owned())
    };
    RENAMED.iter().find_map(old).unwrap_or_else(|| text.to_owned())
}

/// Returns a note for each old field name in the text of a scenario.
pub fn notes(text: &str) -> Vec<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let is_field = |name: &str| {
        code.match_indices(name).any(|(at, _)| {
            let before = code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '"');
            before && code[at + name.len()..].trim_start().starts_with(':')
        })
    };
    let note = |(old, new): &(&str, &str)| {
        is_field(old).then(|| format!("the field `{old}` is now called `{new}`; the old name will go in version 0.3"))
    };
    RENAMED.iter().filter_map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::{notes, path};

    #[test]
    fn old_names_are_read_and_noted() {
        assert_eq!(path("measure.muster"), "measure.ready_within");
        assert_eq!(path("workload.muster"), "workload.muster");
        assert_eq!(notes("Measure(timeout: \"1 s\", muster : \"2 s\") // gather: 3").len(), 1);
        assert!(notes("bends: 3, \"ends\": 4").is_empty());
    }

    #[test]
    fn a_scenario_with_old_names_is_the_same_scenario() {
        let text = crate::load("nano").expect("it is there").text().to_owned();
        assert!(text.contains("ready_within"));
        let old = text.replace("ready_within", "muster");
        let read = |text: &str| crate::schema::Scenario::from_ron(text).expect("the scenario");
        assert_eq!(read(&old), read(&text));
    }
}
