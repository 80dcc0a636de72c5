//! Standard output: the only place that writes to it.

use std::io::{self, BufWriter, Stdout, Write};

/// Takes what a command prints. A reader who leaves, as `head` does, ends the output and nothing else:
/// what is written after that goes nowhere, and the command keeps its exit code.
#[derive(Debug)]
pub struct Output<W: Write = Stdout> {
    out: BufWriter<W>,
    is_closed: bool,
}

impl Output {
    pub fn stdout() -> Output {
        Output::to(io::stdout())
    }
}

impl<W: Write> Output<W> {
    /// Writes to another destination.
    pub fn to(out: W) -> Output<W> {
        Output { out: BufWriter::new(out), is_closed: false }
    }

    /// Whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn unless_closed<T>(&mut self, result: io::Result<T>, closed: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(closed)
            }
            Err(error) => {
                Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}")))
            }
            Ok(done) => Ok(done),
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = if self.is_closed { Ok(bytes.len()) } else { self.out.write(bytes) };
        self.unless_closed(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = if self.is_closed { Ok(()) } else { self.out.flush() };
        self.unless_closed(flushed, ())
    }
}

/// Prints a text; fails when standard output cannot be written, unless its reader has left.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = Output::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails after so many bytes.
    struct Until(usize, io::ErrorKind);

    impl Write for Until {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::Error::from(self.1))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_leaves_ends_the_output_without_an_error() {
        let mut out = Output::to(Until(3, io::ErrorKind::BrokenPipe));
        out.write_all(b"abc").unwrap();
        out.flush().unwrap();
        assert!(!out.is_closed());
        out.write_all(b"d").unwrap();
        out.flush().unwrap();
        assert!(out.is_closed());
        out.write_all(&[b'x'; 100_000]).unwrap();
        out.flush().unwrap();
    }

    #[test]
    fn a_full_disk_is_an_error_that_names_what_could_not_be_written() {
        let mut out = Output::to(Until(3, io::ErrorKind::StorageFull));
        out.write_all(b"abcd").unwrap();
        let error = out.flush().unwrap_err();
        assert!(error.to_string().starts_with("cannot write to standard output: "), "{error}");
    }
}
