//! The names of files.

use chrono::NaiveDateTime;

use crate::format::FileFormat;
use crate::part::{Part, PartIndex};
use crate::plan::Plan;
use crate::stream::Stream;
use crate::time::Micros;

impl Part {
    /// Name of a stream's file: `cdr_data_20240101_001645.csv`.
    pub fn file_name(&self, stream: Stream, format: FileFormat) -> String {
        let name: String =
            self.start.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        let (date, time) = name.split_at(8);
        format!("{stream}_{date}_{time}.{}", format.extension())
    }
}

impl Plan {
    /// The stream and the part, of any shard, that have a file of this name.
    pub fn part_of_file(&self, name: &str, format: FileFormat) -> Option<(Stream, PartIndex)> {
        let stream = self.streams().find(|stream| name.starts_with(stream.name()))?;
        let time = name.strip_prefix(stream.name())?.strip_prefix('_')?;
        let time = time.strip_suffix(format.extension())?.strip_suffix('.')?;
        let time = NaiveDateTime::parse_from_str(time, "%Y%m%d_%H%M%S").ok()?;
        let index = self.part_at(Micros::from_civil(time))?;
        (self.part(index).file_name(stream, format) == name).then_some((stream, index))
    }
}
