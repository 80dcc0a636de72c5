//! Log lines on standard error, as text or as JSON objects.

use std::error::Error;
use std::fmt::{self, Debug};

use chrono::{DateTime, FixedOffset, Local, SecondsFormat};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::config::{LogConfig, LogFormat, LogLevel};
use super::terminal::Terminal;

/// Sends this process's log lines to `terminal`, those of libraries that use `log` included.
///
/// # Errors
/// When it was called before.
pub fn init(settings: &LogConfig, terminal: &Terminal) -> Result<(), TryInitError> {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let format = LineFormat {
        format: settings.format,
        colour: terminal.is_terminal && !no_color,
        clock: || Local::now().fixed_offset(),
    };
    subscriber(settings.level, format, terminal.clone()).try_init()
}

fn subscriber(level: LogLevel, format: LineFormat, terminal: Terminal) -> impl Subscriber + Send + Sync {
    // A report of a line that could not be written would panic where standard error is closed, and
    // a log that nobody reads is no reason for a run to stop.
    let lines = tracing_subscriber::fmt::layer()
        .event_format(format)
        .with_writer(move || terminal.clone())
        .log_internal_errors(false);
    tracing_subscriber::registry().with(filter(level)).with(lines)
}

/// Libraries are logged from warnings up; with `trace` from debug up. A target counts as ours by its
/// beginning: `cdr`, `cdr_model`. PostgreSQL's client would log every value that it sends.
fn filter(level: LogLevel) -> Targets {
    let (ours, libraries) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    let postgres = libraries.min(LevelFilter::WARN);
    let targets = Targets::new().with_default(libraries).with_target("cdr", ours);
    targets.with_target("tokio_postgres", postgres)
}

/// Formats an event as one line.
struct LineFormat {
    format: LogFormat,
    colour: bool,
    clock: fn() -> DateTime<FixedOffset>,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // As Python's logging names them, which has no TRACE; red, yellow, green, blue.
        let (level, colour) = match *event.metadata().level() {
            Level::ERROR => ("ERROR", 31),
            Level::WARN => ("WARNING", 33),
            Level::INFO => ("INFO", 32),
            _ => ("DEBUG", 34),
        };
        let mut line = Line { time: (self.clock)(), level, message: String::new(), fields: Vec::new() };
        event.record(&mut line);
        match self.format {
            LogFormat::Text => line.text(&mut writer, self.colour.then_some(colour)),
            LogFormat::Json => line.json(&mut writer),
        }
    }
}

/// An event: its message and other fields, in order.
struct Line {
    time: DateTime<FixedOffset>,
    level: &'static str,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    /// `2024-12-07 10:00:00 - INFO - message key=value`; `colour` is the parameter of the terminal's
    /// sequence.
    fn text(&self, writer: &mut Writer<'_>, colour: Option<u8>) -> fmt::Result {
        write!(writer, "{} - ", self.time.format("%Y-%m-%d %H:%M:%S"))?;
        match colour {
            Some(colour) => write!(writer, "\x1b[{colour}m{}\x1b[0m - ", self.level)?,
            None => write!(writer, "{} - ", self.level)?,
        }
        // A line of the log is one line, and a server's text cannot operate the terminal.
        for letter in self.message.chars() {
            match letter.is_control() {
                true => write!(writer, "{}", letter.escape_default())?,
                false => writer.write_char(letter)?,
            }
        }
        let special = |c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=';
        let is_plain = |text: &str| !text.is_empty() && !text.contains(special);
        for (key, value) in &self.fields {
            match value {
                Value::String(text) if is_plain(text) => write!(writer, " {key}={text}")?,
                Value::String(text) => write!(writer, " {key}={text:?}")?,
                other => write!(writer, " {key}={other}")?,
            }
        }
        writer.write_char('\n')
    }

    /// `{"time":"2024-12-07T10:00:00.000000+00:00","level":"INFO","message":"…","key":value}`.
    fn json(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let time = self.time.to_rfc3339_opts(SecondsFormat::Micros, false);
        let (level, message) = (self.level, Value::from(self.message.as_str()));
        write!(writer, r#"{{"time":"{time}","level":"{level}","message":{message}"#)?;
        for (key, value) in &self.fields {
            write!(writer, ",{}:{value}", Value::from(*key))?;
        }
        writer.write_str("}\n")
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", other) => self.message = other.to_string(),
            // What the bridge from `log` adds: target, module, file, line.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => self.fields.push((name.strip_prefix("r#").unwrap_or(name), value)),
        }
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }

    /// An error with its causes.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let causes = std::iter::successors(Some(value), |&error| error.source());
        let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        self.add(field, Value::from(text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, Value::from(format!("{value:?}")));
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
