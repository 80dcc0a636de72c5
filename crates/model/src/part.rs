//! One interval of the simulated time, the unit of delivery and of progress.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Micros;

/// Number of a part within a run, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartIndex(pub u64);

impl fmt::Display for PartIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One interval of the run, with a file for each stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub index: PartIndex,
    /// File time, and the beginning of the window in which the records' times lie.
    pub start: Micros,
    /// Length of the window in seconds; its end is not part of it.
    pub interval_s: u64,
}

impl Part {
    /// The end of the window.
    pub fn end(&self) -> Micros {
        self.start.plus_seconds(self.interval_s)
    }
}
