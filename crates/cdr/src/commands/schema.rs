//! `cdr schema`: what records hold, for other programs and for people.

use cdr_model::{SchemaFormat, Stream};
use clap::Args;

use crate::commands::named;
use crate::exit::{Exit, UsageError};
use crate::output::print;

pub const EXAMPLES: &str = "\
Examples:
  cdr schema data                              JSON Schema of the messages of cdr_data
  cdr schema voice --format frictionless       Table Schema of the CSV files, in which a msisdn is text
  cdr schema --format sql | sqlite3 cdrs.db    tables for the records of all streams
  cdr schema --format markdown                 the data dictionary";

/// `cdr schema`.
#[derive(Args)]
pub struct SchemaArgs {
    /// Which records; without it, those of all streams (sql and markdown)
    #[arg(value_parser = named(Stream::ALL, Stream::short_name))]
    pub stream: Option<Stream>,

    /// json-schema (of a message), sql (CREATE TABLE for PostgreSQL, DuckDB and SQLite), frictionless
    /// (Table Schema for readers of the CSV files), markdown
    #[arg(long, default_value = "json-schema", value_name = "FORMAT",
        value_parser = named(SchemaFormat::ALL, SchemaFormat::name))]
    pub format: SchemaFormat,
}

/// Prints the schema of a stream's records, or those of all streams.
///
/// # Errors
/// A format in which a text describes one stream only, where none is named.
pub fn execute(args: &SchemaArgs) -> anyhow::Result<Exit> {
    let SchemaArgs { stream, format } = *args;
    print(&match stream {
        Some(stream) => format.describe(stream),
        None if format.takes_several() => Stream::ALL.map(|stream| format.describe(stream)).join("\n"),
        None => {
            return Err(UsageError(format!(
                "a schema in the format {} is that of one stream; name it, as in: cdr schema {}",
                format.name(),
                Stream::Data.short_name()
            ))
            .into());
        }
    })?;
    Ok(Exit::Complete)
}
