//! Deterministic generation of synthetic call detail records (CDRs).
//!
//! One promise holds the crate together: *same scenario, same bytes*. Everything here is a pure
//! function of a [`Scenario`]; there is no clock, no file, no network and no hidden state, so any
//! part of a run can be generated alone, in constant time, by any thread or host.
//!
//! ```
//! use cdr_model::{Generator, LineEnd, Plan, PartIndex, Scenario, Shard, Stream};
//!
//! let scenario = Scenario::default();
//! let plan = Plan::new(&scenario, Shard::WHOLE)?;
//! let generator = Generator::new(&scenario)?;
//! let part = plan.part(PartIndex(1_000_000));
//! let mut csv = Vec::new();
//! generator.csv_file(Stream::Data, &part, LineEnd::Lf, &mut csv);
//! assert!(csv.starts_with(b"msisdn,tower_id,"));
//! # Ok::<(), cdr_model::ScenarioError>(())
//! ```

#![forbid(unsafe_code)]

mod format;
mod generate;
mod numbering;
mod plan;
mod population;
pub mod progress;
mod random;
mod record;
pub mod resume;
mod scenario;
mod time;
pub mod usage;

pub use format::{LineEnd, Message};
pub use generate::Generator;
pub use numbering::{NumberingPlan, NumberingPlanError};
pub use plan::{Part, PartIndex, Plan, Shard, ShardError};
pub use population::{Msisdn, Population};
pub use record::{CallType, DataRecord, DataType, Stream, VoiceRecord};
pub use scenario::{Profile, Scenario, ScenarioError};
pub use time::Micros;
