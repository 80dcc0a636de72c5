//! What a file holds, made piece by piece, so that no file is ever held whole.

use std::borrow::Cow;
use std::sync::Arc;

use cdr_model::{Generator, LineEnd, Part, Stream};

/// Upper estimate of a CSV line, in bytes.
pub const LINE_BYTES: u64 = 128;

/// Pieces in the order of the file, of which none is empty.
pub type Pieces<'a> = Box<dyn Iterator<Item = Cow<'a, [u8]>> + Send + 'a>;

/// What a file is to hold. It can be asked for as often as an upload is tried.
pub trait Content: Sync {
    /// The content in pieces of about `bytes`, which is more than 0.
    fn pieces(&self, bytes: usize) -> Pieces<'_>;
}

impl Content for [u8] {
    fn pieces(&self, bytes: usize) -> Pieces<'_> {
        Box::new(self.chunks(bytes).map(Cow::Borrowed))
    }
}

impl Content for Vec<u8> {
    fn pieces(&self, bytes: usize) -> Pieces<'_> {
        self.as_slice().pieces(bytes)
    }
}

impl<const N: usize> Content for [u8; N] {
    fn pieces(&self, bytes: usize) -> Pieces<'_> {
        self.as_slice().pieces(bytes)
    }
}

/// A part's file, generated as it is asked for.
#[derive(Clone)]
pub struct CsvFile {
    pub generator: Arc<Generator>,
    pub stream: Stream,
    pub part: Part,
    pub line_end: LineEnd,
}

impl Content for CsvFile {
    fn pieces(&self, bytes: usize) -> Pieces<'_> {
        let lines = (bytes as u64 / LINE_BYTES).clamp(1, u32::MAX.into()) as u32;
        let starts = (0..self.part.line_count).step_by(lines as usize);
        Box::new(starts.map(move |start| {
            let end = self.part.line_count.min(start.saturating_add(lines));
            let mut piece = Vec::with_capacity((LINE_BYTES * u64::from(end - start + 1)) as usize);
            if start == 0 {
                Generator::csv_header(self.stream, self.line_end, &mut piece);
            }
            let (generator, part) = (&self.generator, &self.part);
            generator.csv_lines(self.stream, part, start..end, self.line_end, &mut piece);
            Cow::Owned(piece)
        }))
    }
}

#[cfg(test)]
mod tests {
    use cdr_model::{PartIndex, Plan, Scenario, Shard};

    use super::*;

    #[test]
    fn the_pieces_of_a_file_are_the_file_and_none_is_much_larger_than_asked_for() {
        for line_count in [1, 2, 8, 9, 1_000] {
            let total_seconds = u64::from(line_count) * 4;
            let scenario = Scenario { line_count, total_seconds, ..Scenario::default() };
            let generator = Arc::new(Generator::new(&scenario).unwrap());
            let part = Plan::new(&scenario, Shard::WHOLE).unwrap().part(PartIndex(1));
            for stream in Stream::ALL {
                let mut whole = Vec::new();
                generator.csv_file(stream, &part, LineEnd::CrLf, &mut whole);
                let generator = generator.clone();
                let file = CsvFile { generator, stream, part, line_end: LineEnd::CrLf };
                for bytes in [1, 1_024, 1 << 20] {
                    let pieces: Vec<_> = file.pieces(bytes).collect();
                    assert!(pieces.concat() == whole, "{line_count} lines in pieces of {bytes}");
                    let most = bytes + 2 * LINE_BYTES as usize;
                    assert!(pieces.iter().all(|piece| (1..=most).contains(&piece.len())));
                }
            }
        }
    }
}
