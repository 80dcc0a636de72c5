use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::super::progress::{Counters, RunProgress};
use super::super::terminal::Output;
use super::*;

/// What was written; whoever waits for some of it is woken by each write.
#[derive(Clone, Default)]
struct Buffer(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().clone()).unwrap()
    }

    fn wait_for(&self, text: &str) {
        let (written, changed) = &*self.0;
        let is_missing = |written: &mut Vec<u8>| !String::from_utf8_lossy(written).contains(text);
        let written = written.lock().unwrap();
        let waited = changed.wait_timeout_while(written, Duration::from_secs(20), is_missing);
        let (written, limit) = waited.unwrap_or_else(PoisonError::into_inner);
        let found = String::from_utf8_lossy(&written).into_owned();
        drop(written);
        assert!(!limit.timed_out(), "no {text:?} in {found:?}");
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.lock().unwrap().extend_from_slice(bytes);
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn counters(parts: u64, sinks: &[&str]) -> Arc<Counters> {
    let targets = sinks.iter().map(|sink| ((*sink).to_owned(), String::new())).collect();
    Arc::new(Counters::new(parts, 2, &targets))
}

fn terminal() -> (Buffer, Terminal) {
    let buffer = Buffer::default();
    (buffer.clone(), Terminal::new(Output::new(Box::new(buffer)), false))
}

fn settings(progress: ProgressMode, level: LogLevel, format: LogFormat) -> LogConfig {
    LogConfig { level, format, progress }
}

fn show(progress: ProgressMode, counters: &Arc<Counters>, terminal: &Terminal) -> Display {
    let settings = settings(progress, LogLevel::Info, LogFormat::Text);
    let shown = RunProgress::new(counters.clone(), Instant::now());
    Display::start(&settings, shown, terminal).unwrap()
}

#[test]
fn auto_means_bars_where_a_person_reads_text() {
    let auto = settings(ProgressMode::Auto, LogLevel::Info, LogFormat::Text);
    assert_eq!(mode(&auto, true), ProgressMode::Bar);
    assert_eq!(mode(&auto, false), ProgressMode::Lines);
    let json = settings(ProgressMode::Auto, LogLevel::Info, LogFormat::Json);
    assert_eq!(mode(&json, true), ProgressMode::Lines);
    let quiet = settings(ProgressMode::Auto, LogLevel::Warn, LogFormat::Text);
    assert_eq!(mode(&quiet, true), ProgressMode::None);
    let forced = settings(ProgressMode::Bar, LogLevel::Warn, LogFormat::Json);
    assert_eq!(mode(&forced, false), ProgressMode::Bar);
}

#[test]
fn bars_show_each_sink_and_log_lines_appear_above_them() {
    let (buffer, terminal) = terminal();
    let counters = counters(864, &["kafka", "sftp"]);
    counters.set_parts("kafka", 432);
    let display = show(ProgressMode::Bar, &counters, &terminal);
    buffer.wait_for(" ] 432/864 parts, 0 records/s, 0 B/s, 00:00:0");
    buffer.wait_for(" ] 0/864 parts, 0 files/s, 0 B/s, 00:00:0");

    terminal.write("2024-12-07 10:00:00 - INFO - hello\n").unwrap();
    buffer.wait_for("INFO - hello");
    let after = buffer.text().split("INFO - hello").last().unwrap().to_owned();
    assert!(after.contains("kafka     ["), "the bars are drawn again below: {after:?}");

    counters.set_parts("sftp", 7);
    buffer.wait_for("7/864 parts");
    drop(display);
    let length = buffer.text().len();
    terminal.write("last\n").unwrap();
    assert_eq!(&buffer.text()[length..], "last\n", "without bars, lines are written as they are");
}

#[test]
fn a_run_without_end_has_bars_too() {
    let (buffer, terminal) = terminal();
    let counters = counters(0, &["sftp"]);
    counters.set_parts("sftp", 1_234);
    let display = show(ProgressMode::Bar, &counters, &terminal);
    buffer.wait_for("1,234 parts, 0 files/s");
    drop(display);
    assert!(!buffer.text().contains("kafka"));
}

#[test]
fn lines_report_what_was_completed_up_to_the_stop() {
    let (buffer, terminal) = terminal();
    let log = terminal.clone();
    let writer = move || log.clone();
    let lines = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(writer).finish();
    tracing::subscriber::with_default(lines, || {
        let counters = counters(10, &["kafka", "sftp"]);
        let display = show(ProgressMode::Lines, &counters, &terminal);
        counters.set_complete(1);
        buffer.wait_for("INFO cdr::telemetry::display: Generated 2 cdr files...\n");
        counters.set_complete(4);
        drop(display);
    });
    let last = buffer.text().lines().last().map(str::to_owned);
    assert!(last.unwrap().ends_with("Generated 6 cdr files..."));
}

#[test]
fn stopping_does_not_wait_for_a_tick() {
    let (buffer, terminal) = terminal();
    let counters = counters(10, &["kafka", "sftp"]);
    let begun = Instant::now();
    for mode in [ProgressMode::None, ProgressMode::Lines].repeat(20) {
        drop(show(mode, &counters, &terminal));
    }
    assert!(begun.elapsed() < 20 * TICK, "{:?}", begun.elapsed());
    assert_eq!(buffer.text(), "");
}
