//! The fields of a stream's records as schemas that other programs read.

use std::fmt::{self, Write};

use serde_json::{Value, json};

use crate::field::{Field, FieldKind};
use crate::population::MSISDN_DIGITS;
use crate::stream::Stream;

/// How a schema is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaFormat {
    /// JSON Schema, draft 2020-12, of a message's value.
    JsonSchema,
    /// A table for people.
    Markdown,
    /// `CREATE TABLE` for PostgreSQL, DuckDB and SQLite.
    Sql,
    /// A Table Schema of Frictionless Data, for readers of the CSV files.
    Frictionless,
}

impl SchemaFormat {
    /// All of them, in the order in which people read them.
    pub const ALL: [SchemaFormat; 4] = [
        SchemaFormat::JsonSchema,
        SchemaFormat::Sql,
        SchemaFormat::Frictionless,
        SchemaFormat::Markdown,
    ];

    /// The name by which people select it.
    pub const fn name(self) -> &'static str {
        match self {
            SchemaFormat::JsonSchema => "json-schema",
            SchemaFormat::Sql => "sql",
            SchemaFormat::Frictionless => "frictionless",
            SchemaFormat::Markdown => "markdown",
        }
    }

    /// Whether the schemas of several streams make one text.
    pub const fn takes_several(self) -> bool {
        matches!(self, SchemaFormat::Sql | SchemaFormat::Markdown)
    }

    /// The schema of a stream's records, with a line end behind it.
    pub fn describe(self, stream: Stream) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = match self {
            SchemaFormat::JsonSchema => writeln!(text, "{:#}", json_schema(stream)),
            SchemaFormat::Markdown => markdown(stream, &mut text),
            SchemaFormat::Sql => sql(stream, &mut text),
            SchemaFormat::Frictionless => writeln!(text, "{:#}", frictionless(stream)),
        };
        text
    }
}

/// Of E.164 digits, which never begin with 0.
fn msisdn_pattern() -> String {
    let [least, most] = MSISDN_DIGITS;
    format!("^[1-9][0-9]{{{},{}}}$", least - 1, most - 1)
}

const URL_PATTERN: &str = "^https?://[a-z0-9.-]+/$";

fn described(field: &Field) -> String {
    match field.unit {
        "" => field.meaning.to_owned(),
        unit => format!("{} In {unit}.", field.meaning),
    }
}

fn json_schema(stream: Stream) -> Value {
    let property = |field: &Field| {
        let mut schema = match field.kind {
            FieldKind::Msisdn => json!({ "type": "string", "pattern": msisdn_pattern() }),
            FieldKind::Integer { min, max } => {
                json!({ "type": "integer", "minimum": min, "maximum": max })
            }
            FieldKind::Word(words) => json!({ "type": "string", "enum": words }),
            FieldKind::Url => json!({ "type": "string", "format": "uri", "pattern": URL_PATTERN }),
            FieldKind::Ipv4 => json!({ "type": "string", "format": "ipv4" }),
            FieldKind::Time => json!({
                "type": "string",
                "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}$",
            }),
        };
        schema["description"] = described(field).into();
        (field.name.to_owned(), schema)
    };
    let fields = stream.fields();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": stream.name(),
        "description": stream.meaning(),
        "type": "object",
        "properties": fields.iter().map(property).collect::<serde_json::Map<_, _>>(),
        "required": fields.iter().map(|field| field.name).collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

fn frictionless(stream: Stream) -> Value {
    let field = |field: &Field| {
        let (kind, format, limits) = match field.kind {
            FieldKind::Msisdn => ("string", "default", json!({ "pattern": msisdn_pattern() })),
            FieldKind::Integer { min, max } => {
                ("integer", "default", json!({ "minimum": min, "maximum": max }))
            }
            FieldKind::Word(words) => ("string", "default", json!({ "enum": words })),
            FieldKind::Url => ("string", "uri", json!({ "pattern": URL_PATTERN })),
            FieldKind::Ipv4 => ("string", "default", json!({})),
            FieldKind::Time => ("datetime", "%Y-%m-%d %H:%M:%S.%f", json!({})),
        };
        let mut constraints = limits;
        constraints["required"] = true.into();
        json!({
            "name": field.name,
            "type": kind,
            "format": format,
            "description": described(field),
            "constraints": constraints,
        })
    };
    json!({
        "$schema": "https://datapackage.org/profiles/2.0/tableschema.json",
        "fields": stream.fields().iter().map(field).collect::<Vec<_>>(),
    })
}

fn markdown(stream: Stream, text: &mut String) -> fmt::Result {
    let [least, most] = MSISDN_DIGITS;
    writeln!(text, "### `{stream}`\n\n{}\n", stream.meaning())?;
    writeln!(text, "| field | type | unit | values | meaning |\n|---|---|---|---|---|")?;
    for field in stream.fields() {
        let (kind, values) = match field.kind {
            FieldKind::Msisdn => ("text", format!("E.164 digits without `+`, {least} to {most}")),
            FieldKind::Integer { min, max } => ("integer", format!("{min} to {max}")),
            FieldKind::Word(words) => ("text", words.join(", ")),
            FieldKind::Url => ("text", "`http(s)://…/`".to_owned()),
            FieldKind::Ipv4 => ("text", "a public IPv4 address".to_owned()),
            FieldKind::Time => ("time", "microseconds, no zone, UTC".to_owned()),
        };
        let Field { name, unit, meaning, .. } = field;
        writeln!(text, "| `{name}` | {kind} | {unit} | {values} | {meaning} |")?;
    }
    Ok(())
}

/// Types that mean the same in PostgreSQL, DuckDB and SQLite. Numbers of telephones are text, since
/// readers that guess take them for integers.
fn sql(stream: Stream, text: &mut String) -> fmt::Result {
    writeln!(text, "-- {}\nCREATE TABLE {stream} (", stream.meaning())?;
    for (nth, field) in stream.fields().iter().enumerate() {
        let kind = match field.kind {
            FieldKind::Integer { max, .. } if max <= i32::MAX as u32 => "INTEGER",
            FieldKind::Integer { .. } => "BIGINT",
            FieldKind::Time => "TIMESTAMP",
            FieldKind::Msisdn | FieldKind::Word(_) | FieldKind::Url | FieldKind::Ipv4 => "TEXT",
        };
        let comma = if nth + 1 < stream.fields().len() { "," } else { "" };
        let column = format!("{} {kind} NOT NULL{comma}", field.name);
        writeln!(text, "    {column:<36} -- {}", described(field))?;
    }
    writeln!(text, ");")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_numbers_of_telephones_for_text() {
        let text = SchemaFormat::Sql.describe(Stream::Voice);
        assert!(text.starts_with("-- A voice or video call"), "{text}");
        for column in
            ["msisdn TEXT NOT NULL,", "dest_nr TEXT NOT NULL,", "start_time TIMESTAMP NOT NULL "]
        {
            assert!(text.contains(column), "{text}");
        }
    }

    #[test]
    fn every_field_is_in_every_schema_with_its_meaning() {
        for stream in Stream::ALL {
            for format in SchemaFormat::ALL {
                let text = format.describe(stream);
                for field in stream.fields() {
                    assert!(text.contains(field.name) && text.contains(field.meaning), "{text}");
                }
            }
        }
    }
}
