//! What records say, apart from how they are written: for statistics.

use crate::service::DataType;
use crate::time::Micros;

/// What a record says, whoever wrote it. Numbers of people are those of their telephones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fact {
    Call { caller: u64, called: u64, tower: u32, time: Micros, seconds: u32 },
    Session { who: u64, tower: u32, time: Micros, data_type: DataType, up: u64, down: u64 },
}
