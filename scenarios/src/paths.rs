//! Positions in the text of a scenario, addressed by path: `workload.prompt`, `hosts.0.egress.delay`.
//!
//! `ron::Value` drops the names of structs and variants, so an override edits the text instead. The byte range of a
//! path is found one level at a time with ron's own parser, the new value is inserted there, and the whole text is
//! parsed again with its types.
use crate::raw::options;
use crate::renamed;
use crate::suggest;
use ron::value::RawValue;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::ops::Range;

/// The path from the root to a value. Each part is a field, the index of an item, or the key of a map (which may
/// contain dots).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<String>);

impl Path {
    /// Splits a path at its dots into fields and indices.
    pub fn dotted(text: &str) -> Path {
        Path(renamed::path(text).split('.').map(str::to_owned).collect())
    }

    /// The path of the whole scenario.
    pub fn root() -> Path {
        Path(Vec::new())
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn then(mut self, name: impl fmt::Display) -> Path {
        self.0.push(name.to_string());
        self
    }

    /// Whether this path contains `other`, `other` contains this path, or both are equal.
    pub fn touches(&self, other: &Path) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }

    /// Returns the parts of this path after `ancestor`, which must contain this path.
    pub fn below(&self, ancestor: &Path) -> Path {
        Path(self.0.iter().skip(ancestor.0.len()).cloned().collect())
    }

    /// Whether `other` is this path or a path below it.
    pub fn contains(&self, other: &Path) -> bool {
        self.0.len() <= other.0.len() && self.touches(other)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// The error for a path that does not exist in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchPath {
    pub message: String,
    pub help: Option<String>,
    /// The byte range of the value at the longest existing prefix of the path.
    pub reached: Range<usize>,
}

/// The fields or items of a value, as slices of its text.
#[derive(Debug, PartialEq)]
pub(crate) enum Parts<'a> {
    /// The (name, value) pairs of a struct or of a map.
    Fields(Vec<(&'a str, &'a str)>),
    /// The items of a list or tuple.
    Items(Vec<&'a str>),
    Leaf,
}

/// Returns the byte range of a path's value in the text of a scenario, without surrounding whitespace.
///
/// # Errors
/// If the path does not exist.
pub fn locate(text: &str, path: &Path) -> Result<Range<usize>, NoSuchPath> {
    descend(text, text, &root(text), path)
}

/// Returns the values of several paths in the text of a scenario. The text is parsed once. The value of a path that
/// does not exist is empty.
pub(crate) fn values<'a>(text: &'a str, paths: &[Path]) -> Vec<&'a str> {
    let root = root(text);
    paths.iter().map(|path| descend(text, text, &root, path).map_or("", |range| &text[range])).collect()
}

/// Returns the byte range in `value` of the value at `path`, which is relative to `value`.
pub(crate) fn locate_in(value: &str, path: &Path) -> Result<Range<usize>, NoSuchPath> {
    descend(value, trim(value), &open(trim(value)), path)
}

fn descend<'a>(text: &'a str, mut at: &'a str, parts: &Parts<'a>, path: &Path) -> Result<Range<usize>, NoSuchPath> {
    let mut seen = Path(Vec::new());
    let mut below: Option<Parts<'a>> = None;
    for name in &path.0 {
        let here = below.as_ref().unwrap_or(parts);
        match here.child(name) {
            Some(child) => at = trim(child),
            None => return Err(no_such(text, at, here, &seen, name)),
        }
        below = Some(open(at));
        seen = seen.then(name);
    }
    Ok(range_in(text, at))
}

/// Returns `text` with the bytes at `range` replaced by `value`.
pub(crate) fn splice(text: &str, range: Range<usize>, value: &str) -> String {
    [&text[..range.start], value, &text[range.end..]].concat()
}

/// Splits a list without brackets, as a shell passes it, at its commas. Commas in brackets and strings are skipped.
pub(crate) fn split(list: &str) -> Vec<&str> {
    let (mut values, mut start, mut depth) = (Vec::new(), 0, 0i32);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in list.char_indices() {
        match c {
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                values.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    values.push(&list[start..]);
    values
}

/// Returns the name before a struct's parenthesis, or the name of a unit variant. Empty for a value without a name.
pub(crate) fn name(value: &str) -> &str {
    let end = value.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(value.len());
    if value.starts_with(|c: char| c.is_alphabetic()) { &value[..end] } else { "" }
}

/// Returns the fields or items of a value, without splitting these further.
pub(crate) fn open(value: &str) -> Parts<'_> {
    let body = value[name(value).len()..].trim_start();
    let Ok(mut deserializer) = ron::Deserializer::from_str_with_options(body, &options()) else { return Parts::Leaf };
    match body.as_bytes().first() {
        Some(b'[') => deserializer.deserialize_seq(Items).map_or(Parts::Leaf, Parts::Items),
        Some(b'{') => deserializer.deserialize_map(Fields).map_or(Parts::Leaf, Parts::Fields),
        Some(b'(') => match deserializer.deserialize_struct("", &[], Fields) {
            Ok(fields) => Parts::Fields(fields),
            Err(_) => tuple(body),
        },
        _ => Parts::Leaf,
    }
}

/// Returns the fields of a scenario from its whole text, which may begin with attributes and comments.
fn root(text: &str) -> Parts<'_> {
    let Ok(mut deserializer) = ron::Deserializer::from_str_with_options(text, &options()) else { return Parts::Leaf };
    deserializer.deserialize_struct("Scenario", &[], Fields).map_or(Parts::Leaf, Parts::Fields)
}

fn tuple(body: &str) -> Parts<'_> {
    let Ok(mut deserializer) = ron::Deserializer::from_str_with_options(body, &options()) else { return Parts::Leaf };
    deserializer.deserialize_tuple(0, Items).map_or(Parts::Leaf, Parts::Items)
}

/// Formats a value for people: on one line, and a string without its quotes.
pub(crate) fn plain(value: &str) -> String {
    if let Ok(text) = options().from_str::<String>(value) {
        return text;
    }
    let mut line = String::with_capacity(value.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in value.chars() {
        if !quoted && c.is_whitespace() {
            if !line.ends_with([' ', '(', '[', '{']) {
                line.push(' ');
            }
            continue;
        }
        if !quoted && matches!(c, ')' | ']' | '}') {
            line.truncate(line.trim_end_matches([' ', ',']).len());
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        line.push(c);
    }
    line
}

impl<'a> Parts<'a> {
    fn child(&self, name: &str) -> Option<&'a str> {
        match self {
            Parts::Fields(fields) => fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value),
            Parts::Items(items) => items.get(name.parse::<usize>().ok()?).copied(),
            Parts::Leaf => None,
        }
    }
}

fn no_such(text: &str, at: &str, parts: &Parts<'_>, seen: &Path, name: &str) -> NoSuchPath {
    let inside = if seen.0.is_empty() { "the scenario".to_owned() } else { format!("`{seen}`") };
    let (message, help) = match parts {
        Parts::Fields(fields) => {
            let names: Vec<&str> = fields.iter().map(|(field, _)| *field).collect();
            let meant = suggest::nearest(name, names.iter().copied()).map(|name| format!("did you mean `{name}`? "));
            let help = format!("{}the fields are {}", meant.unwrap_or_default(), names.join(", "));
            (format!("{inside} has no field `{name}`"), Some(help))
        }
        Parts::Items(items) => (
            format!("{inside} has no item `{name}`"),
            Some(match items.len() {
                0 => "the list is empty".to_owned(),
                count => format!("the items are numbered 0 to {}", count - 1),
            }),
        ),
        Parts::Leaf => (format!("{inside} is a single value without fields, so it has no `{name}`"), None),
    };
    NoSuchPath { message, help, reached: range_in(text, at) }
}

fn trim(value: &str) -> &str {
    RawValue::from_ron(value).map_or(value.trim(), |raw| raw.trim().get_ron())
}

/// The byte range of `part`, a slice of `text`, in `text`.
fn range_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// Deserializes a struct or a map into pairs: the name of each field and the text of its value.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(&'de str, &'de str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<&str>()? {
            fields.push((name, map.next_value::<&RawValue>()?.get_ron()));
        }
        Ok(fields)
    }
}

/// Deserializes a list or a tuple into the texts of its items.
struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<&RawValue>()? {
            items.push(item.get_ron());
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::{Path, locate, plain, splice, split};

    const TEXT: &str = r#"#![enable(implicit_some)]
// Scenario( in a comment
Scenario(
    name: "x", // a comment with ( paren
    hosts: [ Host(name: "t4", count: 4), Host(name: "client", delay: /* é */ Normal(mean: "1 ms", std: "2 ms")) ],
    peers: [ Peers(span: Blocks(0, 12)) ],
    model: Model(shape: Opt("30b"), run_as: None),
    sweep: Sweep(axes: { "workload.prompt": [16, 64] }),
)
"#;

    #[test]
    fn a_path_finds_its_value() {
        for (path, value) in [
            ("name", "\"x\""),
            ("hosts.0.count", "4"),
            ("hosts.1.delay.std", "\"2 ms\""),
            ("hosts.1.delay", "Normal(mean: \"1 ms\", std: \"2 ms\")"),
            ("peers.0.span.1", "12"),
            ("model.shape.0", "\"30b\""),
            ("model.run_as", "None"),
        ] {
            let range = locate(TEXT, &Path::dotted(path)).expect(path);
            assert_eq!(&TEXT[range], value, "{path}");
        }
        let key = Path::dotted("sweep.axes").then("workload.prompt").then(1);
        assert_eq!(&TEXT[locate(TEXT, &key).expect("a key with a dot")], "64");
    }

    #[test]
    fn a_path_that_leads_nowhere_says_where_it_could_have_gone() {
        let wrong = |path: &str| {
            let wrong = locate(TEXT, &Path::dotted(path)).expect_err(path);
            (wrong.message, wrong.help.unwrap_or_default())
        };
        assert_eq!(
            wrong("hosts.0.cont"),
            ("`hosts.0` has no field `cont`".to_owned(), "did you mean `count`? the fields are name, count".to_owned())
        );
        assert_eq!(
            wrong("hosts.7"),
            ("`hosts` has no item `7`".to_owned(), "the items are numbered 0 to 1".to_owned())
        );
        assert_eq!(wrong("name.x").0, "`name` is a single value without fields, so it has no `x`");
        assert!(wrong("hots").1.starts_with("did you mean `hosts`? the fields are name, hosts, peers"));
    }

    #[test]
    fn a_value_goes_where_a_path_leads() {
        let range = locate(TEXT, &Path::dotted("hosts.1.delay")).expect("it is there");
        let text = splice(TEXT, range, "\"3 ms\"");
        assert_eq!(&text[locate(&text, &Path::dotted("hosts.1.delay")).expect("it still is")], "\"3 ms\"");
    }

    #[test]
    fn a_list_is_split_between_its_values() {
        assert_eq!(split("1 ms,Uniform(low: 1, high: 2),\"a,\\\"b\",[1,2]").len(), 4);
        assert_eq!(split("8"), ["8"]);
        assert_eq!(split("8,"), ["8", ""]);
    }

    #[test]
    fn a_value_is_called_by_its_plain_text() {
        assert_eq!(plain("\"10 ms\""), "10 ms");
        assert_eq!(
            plain("Normal(\n    mean: \"1  ms\",\n    std: \"2 ms\",\n)"),
            "Normal(mean: \"1  ms\", std: \"2 ms\")"
        );
        assert_eq!(plain("[\n    1,\n    2,\n]"), "[1, 2]");
    }
}
