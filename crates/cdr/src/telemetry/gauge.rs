//! Shows how far some counts have come, from a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::display::Mode;
use super::terminal::Terminal;
use super::units;

/// How often bars are brought up to date.
const TICK: Duration = Duration::from_millis(100);

/// How often there is a line.
const LINE_EVERY: Duration = Duration::from_secs(5);

const TEMPLATE: &str =
    "{prefix:7} [{wide_bar}] {human_pos}/{human_len}, {per_sec}, {elapsed_precise}, {eta_precise} left";

/// Something that is counted up to a total, which may become known later.
#[derive(Clone, Debug, Default)]
pub struct Count {
    pub name: &'static str,
    pub done: Arc<AtomicU64>,
    /// 0 as long as it is not known.
    pub total: Arc<AtomicU64>,
}

impl Count {
    pub fn new(name: &'static str) -> Self {
        Count { name, ..Count::default() }
    }

    fn text(&self) -> String {
        let count = |of: &AtomicU64| units::count(of.load(Ordering::Relaxed));
        format!("{} of {} {}", count(&self.done), count(&self.total), self.name)
    }
}

/// A running display; it ends when it is dropped.
#[derive(Debug)]
pub struct Gauge {
    /// Dropped to wake the thread up and end it.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Gauge {
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(mode: Mode, counts: Vec<Count>, terminal: &Terminal) -> io::Result<Gauge> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let terminal = terminal.clone();
        let show = move || match mode {
            Mode::Bars => show_bars(&counts, &terminal, &stopped),
            Mode::Lines => show_lines(&counts, &stopped),
            Mode::Nothing => {}
        };
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(show)?;
        Ok(Gauge { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The display's own failure is no reason for the work to fail.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn wait(stopped: &Receiver<()>) -> bool {
    stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout)
}

fn show_lines(counts: &[Count], stopped: &Receiver<()>) {
    let mut logged = Instant::now();
    while wait(stopped) {
        if logged.elapsed() >= LINE_EVERY {
            logged = Instant::now();
            let texts: Vec<String> = counts.iter().map(Count::text).collect();
            tracing::info!("Looked at {}", texts.join(", "));
        }
    }
}

fn show_bars(counts: &[Count], terminal: &Terminal, stopped: &Receiver<()>) {
    let multi = terminal.raise_bars();
    // The template is a constant; a bad one would fall back to a plain bar.
    let style = ProgressStyle::with_template(TEMPLATE);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
    let bar =
        |count: &Count| multi.add(ProgressBar::new(0)).with_style(style.clone()).with_prefix(count.name);
    let bars: Vec<ProgressBar> = counts.iter().map(bar).collect();
    while wait(stopped) {
        for (bar, count) in bars.iter().zip(counts) {
            bar.set_length(count.total.load(Ordering::Relaxed));
            bar.set_position(count.done.load(Ordering::Relaxed));
        }
    }
    bars.iter().for_each(ProgressBar::finish_and_clear);
    terminal.lower_bars();
}
