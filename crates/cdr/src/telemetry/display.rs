//! Shows a run's progress from a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::config::{LogConfig, LogFormat, LogLevel, ProgressMode};
use super::progress::{Counters, Lines, Snapshot, Window};
use super::terminal::Terminal;

/// How often the display looks at the counters; so there are at most ten lines a second.
const TICK: Duration = Duration::from_millis(100);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One bar for each sink.
    Bars,
    /// Log lines.
    Lines,
    /// Nothing.
    Nothing,
}

impl Mode {
    /// What `settings` mean on a standard error that is, or is not, a terminal.
    pub fn choose(settings: &LogConfig, is_terminal: bool) -> Self {
        match settings.progress {
            ProgressMode::Bar => Self::Bars,
            ProgressMode::Lines => Self::Lines,
            ProgressMode::None => Self::Nothing,
            ProgressMode::Auto if settings.level < LogLevel::Info => Self::Nothing,
            ProgressMode::Auto if is_terminal && settings.format == LogFormat::Text => Self::Bars,
            ProgressMode::Auto => Self::Lines,
        }
    }
}

/// A running display. It ends, having shown the last state, when it is stopped or dropped.
#[derive(Debug)]
pub struct Display {
    /// Dropped to wake the thread up and end it.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts showing `counters` on `terminal`, where the log goes as well. What they hold now counts
    /// as shown.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(mode: Mode, counters: Arc<Counters>, terminal: &Terminal) -> io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let start = counters.snapshot();
        let terminal = terminal.clone();
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let show = move || {
            tracing::dispatcher::with_default(&dispatch, || match mode {
                Mode::Bars => show_bars(start, &counters, &terminal, &stopped),
                Mode::Lines => show_lines(start, &counters, &stopped),
                Mode::Nothing => {}
            });
        };
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(show)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Shows the last state and ends. Lines logged afterwards come after it.
    pub fn stop(self) {}
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The display's own failure is no reason for the run to fail.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Whether to go on, after a tick or at once when the display is stopped.
fn wait(stopped: &Receiver<()>) -> bool {
    stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout)
}

fn show_lines(start: Snapshot, counters: &Counters, stopped: &Receiver<()>) {
    let mut lines = Lines::new(&start, Instant::now());
    let mut running = true;
    while running {
        running = wait(stopped);
        if let Some(line) = lines.tick(&counters.snapshot(), Instant::now()) {
            tracing::info!("{line}");
        }
    }
}

fn show_bars(start: Snapshot, counters: &Counters, terminal: &Terminal, stopped: &Receiver<()>) {
    let multi = terminal.raise_bars();
    let bars: Vec<_> = counters.sink_names().map(|name| multi.add(bar(name, &start))).collect();
    let mut window = Window::default();
    let mut running = true;
    while running {
        let progress = counters.snapshot();
        let parts: Vec<u64> = progress.sinks.iter().map(|sink| sink.parts).collect();
        window.push(Instant::now(), progress);
        for (number, (bar, parts)) in bars.iter().zip(parts).enumerate() {
            bar.set_position(parts);
            bar.set_message(window.rates(number));
        }
        running = wait(stopped);
    }
    bars.iter().for_each(ProgressBar::finish_and_clear);
    terminal.lower_bars();
}

fn bar(name: &str, start: &Snapshot) -> ProgressBar {
    let (bar, template) = match start.parts_total {
        0 => (
            ProgressBar::no_length(),
            "{prefix:9} {spinner} {human_pos} parts, {msg}, {elapsed_precise}",
        ),
        total => (
            ProgressBar::new(total),
            "{prefix:9} [{wide_bar}] {human_pos}/{human_len} parts, {msg}, {elapsed_precise}",
        ),
    };
    let style = ProgressStyle::with_template(template);
    // The templates are constants that a test draws; a bad one would fall back to a plain bar.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
    bar.with_style(style).with_prefix(name.to_owned()).with_message("starting")
}

#[cfg(test)]
#[path = "display_tests.rs"]
mod tests;
