//! What should be delivered, against what is there.
//!
//! What should be there is generated again, not stored. The progress has how far the run has come;
//! everything before that must be in its place, once, to the byte.

mod expected;
mod files;
mod filter;
mod first_pass;
mod part_set;
mod records;
mod report;
mod second_pass;
#[cfg(test)]
mod tests;

pub use self::expected::Expected;
pub use self::files::{FileComparison, WrongFile, difference};
pub use self::records::{EachRecord, RecordComparison};
pub use self::report::{FilesReport, RecordsReport, Report};

/// Findings that are described; the others are only counted.
const DESCRIBED_MAX: usize = 10_000;
