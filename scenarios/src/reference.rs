//! The reference of scenario files, generated from their schema.
use crate::schema::Scenario;
use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Returns the JSON schema of a scenario. RON values correspond to JSON values: a struct is an object, and an enum
/// variant with fields is an object with one key.
pub fn schema() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Scenario>()
}

/// Returns the reference as Markdown: a section for each type, in the order in which types are first mentioned.
///
/// # Panics
/// If a type, field or variant has no documentation.
pub fn markdown() -> String {
    let root = schema().to_value();
    let mut pages = Pages { definitions: root["$defs"].as_object().expect("definitions").clone(), ..Pages::default() };
    pages.text = "# Scenario reference\n\nEvery type and field of a scenario file. `swarmbench schema --markdown` writes this page from the program, and a\ntest holds it against the program. [Writing scenarios](scenarios.md) explains the parts.\n\nA field without a default must be given. Optional fields are written without `Some`.\n".to_owned();
    pages.section("Scenario", &root);
    while let Some(name) = pages.waiting.pop_first_added() {
        let definition = pages.definitions[&name].clone();
        pages.section(&name, &definition);
    }
    pages.text
}

#[derive(Default)]
struct Pages {
    definitions: Map<String, Value>,
    waiting: Queue,
    text: String,
}

/// The types that the reference has mentioned and that have no section yet.
#[derive(Default)]
struct Queue {
    seen: BTreeSet<String>,
    names: std::collections::VecDeque<String>,
}

impl Queue {
    fn add(&mut self, name: &str) {
        if self.seen.insert(name.to_owned()) {
            self.names.push_back(name.to_owned());
        }
    }

    fn pop_first_added(&mut self) -> Option<String> {
        self.names.pop_front()
    }
}

impl Pages {
    fn section(&mut self, name: &str, schema: &Value) {
        let about = described(name, schema);
        write!(self.text, "\n## {name}\n\n{about}\n\n").expect("a string takes everything");
        if let Some(Value::String(title)) = schema.get("title").filter(|title| *title != name) {
            write!(self.text, "Written as: {title}.\n\n").expect("a string takes everything");
        }
        match variants(schema) {
            Some(variants) => self.variants(name, variants),
            None => self.fields(name, schema),
        }
    }

    fn variants(&mut self, name: &str, variants: &[Value]) {
        self.text.push_str("| variant | meaning |\n|---|---|\n");
        let mut with_fields = Vec::new();
        for variant in variants {
            if let Some(plain) = variant.get("const").and_then(Value::as_str) {
                let about = described(&format!("{name}::{plain}"), variant);
                writeln!(self.text, "| `{plain}` | {about} |").expect("a string takes everything");
                continue;
            }
            let (title, held) = held(variant).expect("a variant has one key");
            let about = described(&format!("{name}::{title}"), variant);
            if held.get("properties").is_some() {
                writeln!(self.text, "| `{title}(..)` | {about} |").expect("a string takes everything");
                with_fields.push((title, held));
            } else {
                let kind = self.kind(held);
                writeln!(self.text, "| `{title}`({kind}) | {about} |").expect("a string takes everything");
            }
        }
        for (title, held) in with_fields {
            write!(self.text, "\nFields of `{title}`:\n\n").expect("a string takes everything");
            self.fields(&format!("{name}::{title}"), held);
        }
    }

    fn fields(&mut self, name: &str, schema: &Value) {
        let fields = schema["properties"].as_object().unwrap_or_else(|| panic!("{name} has fields"));
        let required = |field: &str| {
            schema["required"].as_array().is_some_and(|required| required.iter().any(|needed| needed == field))
        };
        self.text.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
        for (field, schema) in fields {
            let about = described(&format!("{name}.{field}"), schema);
            let kind = self.kind(schema);
            let default = if required(field) { String::new() } else { default(schema.get("default")) };
            writeln!(self.text, "| `{field}` | {kind} | {default} | {about} |").expect("a string takes everything");
        }
    }

    /// Describes the type of a value in words, with links to the sections of types.
    fn kind(&mut self, schema: &Value) -> String {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let name = target.trim_start_matches("#/$defs/");
            self.waiting.add(name);
            return format!("[{name}](#{})", name.to_lowercase());
        }
        for several in ["anyOf", "allOf"] {
            if let Some(parts) = schema.get(several).and_then(Value::as_array) {
                let parts = parts.iter().filter(|part| part.get("type").is_none_or(|kind| kind != "null"));
                return parts.map(|part| self.kind(part)).collect::<Vec<_>>().join(" or ");
            }
        }
        if let Some(title) = schema.get("title").and_then(Value::as_str) {
            return title.to_owned();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            kind => kind.as_str(),
        };
        match kind {
            Some("array") => match schema.get("prefixItems").and_then(Value::as_array) {
                Some(items) => {
                    let items: Vec<String> = items.iter().map(|item| self.kind(item)).collect();
                    format!("({})", items.join(", "))
                }
                None => format!("list of {}", self.kind(&schema["items"])),
            },
            Some("object") => format!("map to {}", self.kind(&schema["additionalProperties"])),
            Some("string") => "text".to_owned(),
            Some(kind) => kind.to_owned(),
            None => "value".to_owned(),
        }
    }
}

fn described(name: &str, schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    assert!(!text.is_empty(), "{name} has no documentation");
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("<br>").replace('|', "\\|")
}

fn variants(schema: &Value) -> Option<&[Value]> {
    ["oneOf", "anyOf"].iter().find_map(|several| schema.get(*several)?.as_array()).map(Vec::as_slice)
}

/// Returns the name and the content of a variant with fields, or `None` for another variant.
fn held(variant: &Value) -> Option<(&String, &Value)> {
    variant["properties"].as_object()?.iter().next()
}

/// Formats a field's default value as a scenario writes it. The default of an optional field is `none`.
fn default(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(value) => {
            let written = written(value);
            if written.len() > 40 { "as its type".to_owned() } else { format!("`{written}`") }
        }
    }
}

fn written(value: &Value) -> String {
    let fields = |fields: &Map<String, Value>| {
        let fields = fields.iter().map(|(name, value)| format!("{name}: {}", written(value)));
        fields.collect::<Vec<_>>().join(", ")
    };
    match value {
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => match map.iter().next() {
            Some((name, Value::Object(of))) if map.len() == 1 && starts_upper(name) => {
                format!("{name}({})", fields(of))
            }
            Some((name, of)) if map.len() == 1 && starts_upper(name) => format!("{name}({})", written(of)),
            _ => format!("({})", fields(map)),
        },
        Value::String(name) if starts_upper(name) => name.clone(),
        other => other.to_string(),
    }
}

fn starts_upper(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
}
