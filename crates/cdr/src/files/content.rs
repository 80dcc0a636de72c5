//! What a file holds, made piece by piece, so that no file is ever held whole.

use std::borrow::Cow;
use std::sync::Arc;

use cdr_model::{FileFormat, Generator, Part, Stream};

/// Pieces in the order of the file, of which none is empty.
pub type Pieces<'a> = Box<dyn Iterator<Item = Cow<'a, [u8]>> + Send + 'a>;

/// What a file is to hold. It can be had as often as an upload is tried.
pub trait Content: Send + Sync {
    /// The content in pieces of about `bytes`, which is more than 0.
    fn pieces(&self, bytes: usize) -> Pieces<'_>;
}

impl Content for Vec<u8> {
    fn pieces(&self, bytes: usize) -> Pieces<'_> {
        Box::new(self.chunks(bytes).map(Cow::Borrowed))
    }
}

/// A part's file, generated as it is read.
#[derive(Clone)]
pub struct PartFile {
    pub generator: Arc<Generator>,
    pub stream: Stream,
    pub part: Part,
    pub format: FileFormat,
}

impl Content for PartFile {
    fn pieces(&self, bytes: usize) -> Pieces<'_> {
        let Self { generator, stream, part, format } = self;
        let (stream, count) = (*stream, generator.count(*stream, part.index));
        let records = (bytes as u64 / format.record_bytes()).clamp(1, u32::MAX.into()) as u32;
        // A part without records has a file, too, with what stands before and behind them.
        let starts = (0..count.max(1)).step_by(records as usize);
        let pieces = starts.map(move |start| {
            let end = count.min(start.saturating_add(records));
            let mut piece =
                Vec::with_capacity((format.record_bytes() * u64::from(end - start + 1)) as usize);
            if start == 0 {
                format.header(stream, &mut piece);
            }
            format.body(generator, stream, part, start..end, &mut piece);
            if end == count {
                format.footer(stream, &mut piece);
            }
            Cow::<[u8]>::Owned(piece)
        });
        Box::new(pieces.filter(|piece| !piece.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use cdr_model::{LineEnd, PartIndex, Plan, Scenario, Shard};

    use super::*;

    #[test]
    fn the_pieces_of_a_file_are_the_file_and_none_is_much_larger_than_requested() {
        for line_count in [1, 2, 8, 9, 1_000] {
            let total_seconds = u64::from(line_count) * 4;
            let scenario = Scenario { line_count, total_seconds, ..Scenario::default() };
            let generator = Arc::new(Generator::new(&scenario).unwrap());
            let part = Plan::new(&scenario, Shard::WHOLE).unwrap().part(PartIndex(1));
            let format = FileFormat::Csv(LineEnd::CrLf);
            for stream in [Stream::Data, Stream::Voice] {
                let mut whole = Vec::new();
                format.file(&generator, stream, &part, &mut whole);
                let file = PartFile { generator: generator.clone(), stream, part, format };
                for bytes in [1, 1_024, 1 << 20] {
                    let pieces: Vec<_> = file.pieces(bytes).collect();
                    assert!(pieces.concat() == whole, "{line_count} lines in pieces of {bytes}");
                    let most = bytes + 2 * format.record_bytes() as usize;
                    assert!(pieces.iter().all(|piece| (1..=most).contains(&piece.len())));
                }
            }
        }
    }
}
