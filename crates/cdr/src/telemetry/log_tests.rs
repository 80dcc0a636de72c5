use std::io;
use std::sync::{Arc, Mutex};

use chrono::TimeZone;

use super::super::terminal::Output;
use super::*;
use crate::settings::ConfigError;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ten_o_clock() -> DateTime<FixedOffset> {
    let zone = FixedOffset::east_opt(2 * 3600).unwrap();
    zone.with_ymd_and_hms(2024, 12, 7, 10, 0, 0).unwrap()
}

/// What `log` writes at `level` in `format`.
fn written(level: LogLevel, format: LogFormat, colour: bool, log: impl FnOnce()) -> String {
    let buffer = Buffer::default();
    let format = LineFormat { format, colour, clock: ten_o_clock };
    let terminal = Terminal::new(Output::new(Box::new(buffer.clone())), false);
    tracing::subscriber::with_default(subscriber(level, format, terminal), log);
    let bytes = buffer.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn text(log: impl FnOnce()) -> String {
    written(LogLevel::Trace, LogFormat::Text, false, log)
}

fn json_line(log: impl FnOnce()) -> String {
    written(LogLevel::Trace, LogFormat::Json, false, log)
}

#[test]
fn a_text_line_is_the_contracts() {
    assert_eq!(
        text(|| tracing::info!("Generated {} cdr files...", 2)),
        "2024-12-07 10:00:00 - INFO - Generated 2 cdr files...\n"
    );
}

#[test]
fn levels_are_named_as_pythons() {
    let lines = text(|| {
        tracing::error!("a");
        tracing::warn!("b");
        tracing::debug!("c");
        tracing::trace!("d");
    });
    let levels: Vec<_> = lines.lines().filter_map(|line| line.split(" - ").nth(1)).collect();
    assert_eq!(levels, ["ERROR", "WARNING", "DEBUG", "DEBUG"]);
}

#[test]
fn fields_follow_the_message() {
    let path = std::path::Path::new("a b");
    assert_eq!(
        text(|| tracing::warn!(
            part = 3,
            host = "sftp",
            why = "not there",
            ?path,
            r#type = true,
            "slow"
        )),
        "2024-12-07 10:00:00 - WARNING - slow part=3 host=sftp why=\"not there\" path=\"\\\"a b\\\"\" type=true\n"
    );
}

#[test]
fn an_error_is_written_with_its_causes() {
    let cause = io::Error::other("disk full");
    let error = ConfigError::reading("cannot read the configuration file cdr.toml".to_owned(), cause);
    assert_eq!(
        text(|| tracing::error!(error = &error as &dyn Error, "stopped")),
        "2024-12-07 10:00:00 - ERROR - stopped \
         error=\"cannot read the configuration file cdr.toml: disk full\"\n"
    );
}

#[test]
fn a_message_stays_on_one_line() {
    let hostile = "two\nlines \x1b[2J";
    assert_eq!(
        text(|| tracing::info!("{hostile}")),
        "2024-12-07 10:00:00 - INFO - two\\nlines \\u{1b}[2J\n"
    );
}

#[test]
fn only_the_level_is_coloured() {
    assert_eq!(
        written(LogLevel::Info, LogFormat::Text, true, || tracing::error!("down")),
        "2024-12-07 10:00:00 - \x1b[31mERROR\x1b[0m - down\n"
    );
}

#[test]
fn a_json_line_is_one_object() {
    let line = json_line(|| tracing::info!(files = 864_u64, host = "sf\"tp", "two\nlines"));
    assert_eq!(
        line,
        "{\"time\":\"2024-12-07T10:00:00.000000+02:00\",\"level\":\"INFO\",\
         \"message\":\"two\\nlines\",\"files\":864,\"host\":\"sf\\\"tp\"}\n"
    );
    assert!(serde_json::from_str::<Value>(&line).is_ok());
}

#[test]
fn libraries_are_logged_from_warnings_up() {
    let log = || {
        tracing::info!(target: "russh", "library");
        tracing::warn!(target: "rdkafka::client", "library warns");
        tracing::info!(target: "cdr_model", "model");
        tracing::debug!("decision");
    };
    let messages = |level| {
        let lines = written(level, LogFormat::Text, false, log);
        let messages = lines.lines().filter_map(|line| line.split(" - ").nth(2));
        messages.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(messages(LogLevel::Error), [""; 0]);
    assert_eq!(messages(LogLevel::Warn), ["library warns"]);
    assert_eq!(messages(LogLevel::Info), ["library warns", "model"]);
    assert_eq!(messages(LogLevel::Debug), ["library warns", "model", "decision"]);
    assert_eq!(messages(LogLevel::Trace), ["library", "library warns", "model", "decision"]);
}
