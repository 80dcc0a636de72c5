//! What records say, apart from how they are written: for statistics.

use crate::service::DataType;
use crate::time::Micros;

/// What a record says, whoever wrote it. People are known by numbers, as those of their telephones. What
/// other generators leave out is not there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fact {
    Call {
        caller: u64,
        called: Option<u64>,
        tower: Option<u32>,
        time: Micros,
        seconds: u32,
    },
    Session {
        who: u64,
        tower: Option<u32>,
        time: Micros,
        data_type: Option<DataType>,
        up: u64,
        down: u64,
    },
}

impl Fact {
    /// When it began.
    pub fn time(&self) -> Micros {
        match self {
            Fact::Call { time, .. } | Fact::Session { time, .. } => *time,
        }
    }
}
