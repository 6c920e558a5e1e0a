//! JSON schemas of the types that a scenario writes in a notation of their own, such as "80 ms".
use crate::raw::Raw;
use crate::schema::{Cache, Delay, Lengths, Limit, Spread, When, cache, delay, events, lengths};
use crate::units::{Frequency, Rate, Size, Time, Work};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// Implements [`JsonSchema`] for a type that a scenario writes as a string or as a number.
macro_rules! written_as {
    ($type:ty, $name:literal, $kind:literal, $title:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": $kind, "title": $title })
            }
        }
    };
}

written_as!(Time, "Time", "string", "time, as \"80 ms\"");
written_as!(Rate, "Rate", "string", "data rate, as \"100 Mbit/s\"");
written_as!(Size, "Size", "string", "size, as \"4 GiB\"");
written_as!(Work, "Work", "string", "arithmetic rate, as \"26 TFLOP/s\"");
written_as!(Frequency, "Frequency", "string", "frequency, as \"4 /s\"");

impl JsonSchema for Raw {
    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "value" })
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "integer or `Off`" })
    }
}

impl JsonSchema for Spread {
    fn schema_name() -> Cow<'static, str> {
        "Spread".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "list of text, or `All`" })
    }
}

/// Implements [`JsonSchema`] for a type that a scenario writes as a plain value or as a variant of the enum `$written`.
macro_rules! plain_or {
    ($type:ty, $name:literal, $title:literal, $written:ty) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let mut schema = <$written>::json_schema(generator);
                schema.insert("title".to_owned(), $title.into());
                schema
            }
        }
    };
}

plain_or!(Delay, "Delay", "time, as \"10 ms\", or a distribution", delay::Written);
plain_or!(Lengths, "Lengths", "integer, or a distribution", lengths::Written);
plain_or!(Cache, "Cache", "size, as \"4 GiB\", or tokens", cache::Written);
plain_or!(When, "When", "time after the barrier's release, as \"5 s\", or another instant", events::Written);
