//! Record → bytes: what files hold, what messages hold, and schemas of both.
//!
//! A format is one variant of an enum, which is matched once for a run of records, and one
//! implementation of [`Fields`](crate::field::Fields) for what it makes of their values.

mod csv;
mod json;
mod line;
mod schema;

use std::ops::Range;

use chrono::NaiveDateTime;

pub use self::csv::LineEnd;
pub use self::schema::SchemaFormat;
use crate::generate::Generator;
use crate::part::{Part, PartIndex};
use crate::plan::Plan;
use crate::population::Msisdn;
use crate::stream::Stream;
use crate::time::Micros;

/// How files hold records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A header line, and a line for each record (RFC 4180).
    Csv(LineEnd),
    /// Known to tests alone: it shows what it takes to add an encoding.
    #[cfg(feature = "test-additions")]
    Pairs,
}

impl Default for FileFormat {
    fn default() -> Self {
        FileFormat::Csv(LineEnd::default())
    }
}

impl FileFormat {
    /// The names by which configuration selects a format.
    pub const NAMES: &'static [&'static str] = &[
        "csv",
        #[cfg(feature = "test-additions")]
        "pairs",
    ];

    /// The format of this name; `line_end` counts where it has lines.
    pub fn from_name(name: &str, line_end: LineEnd) -> Option<FileFormat> {
        match name {
            "csv" => Some(FileFormat::Csv(line_end)),
            #[cfg(feature = "test-additions")]
            "pairs" => Some(FileFormat::Pairs),
            _ => None,
        }
    }

    /// What the files' names end with, without the point.
    pub const fn extension(self) -> &'static str {
        match self {
            FileFormat::Csv(_) => "csv",
            #[cfg(feature = "test-additions")]
            FileFormat::Pairs => "pairs",
        }
    }

    /// What distinguishes its files from those of another format, as names and values for people. What was
    /// added later has names of its own, so that runs of older versions are continued.
    pub fn parameters(self) -> Vec<(&'static str, &'static str)> {
        match self {
            FileFormat::Csv(line_end) => vec![("LINE_END", line_end.name())],
            #[cfg(feature = "test-additions")]
            FileFormat::Pairs => vec![("FILE_FORMAT", "pairs")],
        }
    }

    /// Upper estimate of what one record takes, in bytes.
    pub const fn record_bytes(self) -> u64 {
        match self {
            FileFormat::Csv(_) => 128,
            #[cfg(feature = "test-additions")]
            FileFormat::Pairs => 256,
        }
    }

    /// Appends what stands before the records.
    pub fn header(self, stream: Stream, out: &mut Vec<u8>) {
        match self {
            FileFormat::Csv(line_end) => csv::header(stream, line_end, out),
            #[cfg(feature = "test-additions")]
            FileFormat::Pairs => crate::additions::header(stream, out),
        }
    }

    /// Appends the records of a part whose indices are in `range`. Any split of a part into ranges
    /// gives the same bytes.
    pub fn body(
        self,
        generator: &Generator,
        stream: Stream,
        part: &Part,
        range: Range<u32>,
        out: &mut Vec<u8>,
    ) {
        match self {
            FileFormat::Csv(line_end) => {
                let row = csv::Row::new(line_end);
                line::encode(row, generator, stream, part, range, |message| {
                    out.extend_from_slice(message.value);
                });
            }
            #[cfg(feature = "test-additions")]
            FileFormat::Pairs => crate::additions::body(generator, stream, part, range, out),
        }
    }

    /// Appends what stands behind the records.
    pub fn footer(self, stream: Stream, out: &mut Vec<u8>) {
        match self {
            FileFormat::Csv(_) => csv::footer(stream, out),
            #[cfg(feature = "test-additions")]
            FileFormat::Pairs => crate::additions::footer(stream, out),
        }
    }

    /// Appends the whole file of a part.
    pub fn file(self, generator: &Generator, stream: Stream, part: &Part, out: &mut Vec<u8>) {
        self.header(stream, out);
        self.body(generator, stream, part, 0..generator.count(stream, part.index), out);
        self.footer(stream, out);
    }
}

/// The time in a file's name.
const FILE_TIME: &str = "%Y%m%d_%H%M%S";

impl Part {
    /// Name of a stream's file: `cdr_data_20240101_001645.csv`.
    pub fn file_name(&self, stream: Stream, format: FileFormat) -> String {
        let time = self.start.to_civil().unwrap_or_default();
        format!("{stream}_{}.{}", time.format(FILE_TIME), format.extension())
    }
}

impl Plan {
    /// The stream and the part, of any shard, that have a file of this name.
    pub fn part_of_file(&self, name: &str, format: FileFormat) -> Option<(Stream, PartIndex)> {
        // A stream's name may begin like another's.
        self.streams().find_map(|stream| {
            let time = name.strip_prefix(stream.name())?.strip_prefix('_')?;
            let time = time.strip_suffix(format.extension())?.strip_suffix('.')?;
            let time = NaiveDateTime::parse_from_str(time, FILE_TIME).ok()?;
            let index = self.part_at(Micros::from_civil(time))?;
            (self.part(index).file_name(stream, format) == name).then_some((stream, index))
        })
    }
}

/// How messages hold records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageFormat {
    /// One compact object.
    #[default]
    Json,
    /// Known to tests alone: it shows what it takes to add an encoding.
    #[cfg(feature = "test-additions")]
    Pairs,
}

/// A record as a topic message: the key, the encoded value, the time of the event.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The subscriber's number, so that a subscriber stays in one partition.
    pub key: &'a Msisdn,
    pub value: &'a [u8],
    pub time: Micros,
}

impl MessageFormat {
    /// The names by which configuration selects a format.
    pub const NAMES: &'static [&'static str] = &[
        "json",
        #[cfg(feature = "test-additions")]
        "pairs",
    ];

    /// The format of this name.
    pub fn from_name(name: &str) -> Option<MessageFormat> {
        match name {
            "json" => Some(MessageFormat::Json),
            #[cfg(feature = "test-additions")]
            "pairs" => Some(MessageFormat::Pairs),
            _ => None,
        }
    }

    /// As [`FileFormat::parameters`].
    pub fn parameters(self) -> Vec<(&'static str, &'static str)> {
        match self {
            MessageFormat::Json => Vec::new(),
            #[cfg(feature = "test-additions")]
            MessageFormat::Pairs => vec![("MESSAGE_FORMAT", "pairs")],
        }
    }

    /// Hands over the messages of the records whose indices are in `range`, in time order.
    pub fn encode(
        self,
        generator: &Generator,
        stream: Stream,
        part: &Part,
        range: Range<u32>,
        each: impl FnMut(Message<'_>),
    ) {
        match self {
            MessageFormat::Json => line::encode(json::Object, generator, stream, part, range, each),
            #[cfg(feature = "test-additions")]
            MessageFormat::Pairs => crate::additions::encode(generator, stream, part, range, each),
        }
    }

    /// The time of the event in a message's value, by which the part that it belongs to is found;
    /// `None` if it is no message of this format.
    pub fn time_of(self, value: &[u8]) -> Option<Micros> {
        match self {
            MessageFormat::Json => json::time_of(value),
            #[cfg(feature = "test-additions")]
            MessageFormat::Pairs => crate::additions::time_of(value),
        }
    }
}
