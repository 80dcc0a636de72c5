//! Records that were written, by this generator or by others, as what they say: for statistics.
//!
//! A record is read by the names of its columns, so that those of other generators take a mapping and no
//! code. Records are handed over in the order of time, as far as a buffer of a fixed size can tell.

mod columns;
mod files;
mod order;
mod topics;
mod value;

pub use columns::{Columns, Layout};
pub use files::Files;
pub use topics::Topics;

use cdr_model::{Fact, Micros};

/// Problems that are described; all are counted.
const DESCRIBED_MAX: usize = 5;

/// The times of the first and the last record.
pub type Window = [Micros; 2];

/// The window of records, with one more.
fn widened(window: Option<Window>, time: Micros) -> Window {
    let [first, last] = window.unwrap_or([time; 2]);
    [first.min(time), last.max(time)]
}

/// Records that were not handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// They could not be read.
    pub unreadable: u64,
    /// They came so much later than they should that the buffer could not put them in order.
    pub late: u64,
    /// What is wrong with the first ones, and where.
    pub described: Vec<String>,
}

impl LeftOut {
    fn describe(&mut self, problem: impl FnOnce() -> String) {
        self.unreadable += 1;
        if self.described.len() < DESCRIBED_MAX {
            self.described.push(problem());
        }
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.unreadable + self.late == 0
    }
}

/// Takes what records say, one by one.
type Each<'a> = dyn FnMut(&Fact) + 'a;
