//! Standard error, shared by log lines and progress bars.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};

/// A change of one bar is two draws, and both change ten times a second. At indicatif's own
/// limit of 20 the second bar would be drawn a step behind.
const DRAWS_PER_SECOND: u8 = 60;

/// Standard error. While bars are up, what is written appears above them. Clones share the bars.
#[derive(Clone, Debug)]
pub struct Terminal {
    bars: MultiProgress,
    bars_are_up: Arc<AtomicBool>,
    output: Output,
    /// Whether a person looks at it.
    pub is_terminal: bool,
}

impl Terminal {
    /// The process's standard error. Make one and clone it.
    pub fn stderr() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self::new(Output::new(Box::new(io::stderr())), is_terminal)
    }

    pub(super) fn new(output: Output, is_terminal: bool) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Self { bars, bars_are_up: Arc::default(), output, is_terminal }
    }

    /// Writes whole lines, `text` ending with the last one's end.
    ///
    /// # Errors
    /// Those of standard error. With bars up, the lines go through `println`, which returns them;
    /// `suspend` would panic.
    pub fn write(&self, text: &str) -> io::Result<()> {
        if self.bars_are_up.load(Ordering::Acquire) {
            return self.bars.println(text.strip_suffix('\n').unwrap_or(text));
        }
        self.output.lock().write_all(text.as_bytes())
    }

    /// Gives the bars to draw with. Where standard error is no terminal, they are drawn 100
    /// characters wide all the same.
    pub(super) fn raise_bars(&self) -> &MultiProgress {
        let target = match self.is_terminal {
            true => ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
            false => {
                let output = Box::new(self.output.clone());
                ProgressDrawTarget::term_like_with_hz(output, DRAWS_PER_SECOND)
            }
        };
        self.bars.set_draw_target(target);
        self.bars_are_up.store(true, Ordering::Release);
        &self.bars
    }

    /// Takes the bars away; from here on lines are written directly.
    pub(super) fn lower_bars(&self) {
        // A terminal that is gone has no bars to clear.
        let _ = self.bars.clear();
        self.bars_are_up.store(false, Ordering::Release);
    }
}

/// One log line is one call of `write`.
impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Terminal::write(self, &String::from_utf8_lossy(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where bytes go: standard error, or a test's buffer.
#[derive(Clone)]
pub(super) struct Output(Arc<Mutex<Box<dyn Write + Send>>>);

impl Output {
    pub(super) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moving by 0 would move by 1: terminals read 0 as "not given".
    fn move_cursor(&self, n: usize, direction: char) -> io::Result<()> {
        if n == 0 { Ok(()) } else { write!(self.lock(), "\x1b[{n}{direction}") }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

impl TermLike for Output {
    fn width(&self) -> u16 {
        100
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        writeln!(self.lock(), "{text}")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        write!(self.lock(), "{text}")
    }

    fn clear_line(&self) -> io::Result<()> {
        write!(self.lock(), "\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        self.lock().flush()
    }
}
