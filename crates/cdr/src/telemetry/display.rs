//! Shows how far something has come, from a thread of its own.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::config::{LogConfig, LogFormat, LogLevel, ProgressMode};
use super::terminal::Terminal;

/// How often the display looks; so there are at most ten lines a second.
const TICK: Duration = Duration::from_millis(100);

/// What a display shows.
pub trait Shown: Send + 'static {
    /// A bar for each thing that is counted.
    fn bars(&self) -> Vec<ProgressBar>;

    /// Brings the bars up to date.
    fn update(&mut self, bars: &[ProgressBar], now: Instant);

    /// The log line that is due, if one is.
    fn line(&mut self, now: Instant) -> Option<String>;
}

/// A bar with a name; `total` is 0 when it is not known.
pub(super) fn bar(name: &str, total: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    // The templates are constants that a test draws; a bad one would fall back to a plain bar.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
    ProgressBar::new(total).with_style(style).with_prefix(name.to_owned())
}

/// What `settings` mean on a standard error that is, or is not, a terminal; never `Auto`.
fn mode(settings: &LogConfig, is_terminal: bool) -> ProgressMode {
    match settings.progress {
        ProgressMode::Auto if settings.level < LogLevel::Info => ProgressMode::None,
        ProgressMode::Auto if is_terminal && settings.format == LogFormat::Text => ProgressMode::Bar,
        ProgressMode::Auto => ProgressMode::Lines,
        given => given,
    }
}

/// A running display. It ends, having shown the last state, when it is dropped; lines logged afterwards
/// come after it.
#[derive(Debug)]
pub struct Display {
    /// Dropped to wake the thread up and end it.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Shows progress on `terminal`, where the log goes as well.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(settings: &LogConfig, shown: impl Shown, terminal: &Terminal) -> io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let (mode, terminal) = (mode(settings, terminal.is_terminal), terminal.clone());
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let show = move || {
            tracing::dispatcher::with_default(&dispatch, || match mode {
                ProgressMode::Bar => show_bars(shown, &terminal, &stopped),
                ProgressMode::Lines => show_lines(shown, &stopped),
                ProgressMode::None | ProgressMode::Auto => {}
            });
        };
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(show)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The display's own failure is no reason for the work to fail.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Whether to go on, after a tick or at once when the display is stopped.
fn wait(stopped: &Receiver<()>) -> bool {
    stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout)
}

fn show_lines(mut shown: impl Shown, stopped: &Receiver<()>) {
    let mut running = true;
    while running {
        running = wait(stopped);
        if let Some(line) = shown.line(Instant::now()) {
            tracing::info!("{line}");
        }
    }
}

fn show_bars(mut shown: impl Shown, terminal: &Terminal, stopped: &Receiver<()>) {
    let multi = terminal.raise_bars();
    let bars: Vec<_> = shown.bars().into_iter().map(|bar| multi.add(bar)).collect();
    let mut running = true;
    while running {
        shown.update(&bars, Instant::now());
        running = wait(stopped);
    }
    bars.iter().for_each(ProgressBar::finish_and_clear);
    terminal.lower_bars();
}

#[cfg(test)]
#[path = "display_tests.rs"]
mod tests;
