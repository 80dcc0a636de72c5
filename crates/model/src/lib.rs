//! Deterministic generation of synthetic call detail records (CDRs).
//!
//! One promise holds the crate together: *same scenario, same bytes*. Everything here is a pure
//! function of a [`Scenario`]; there is no clock, no file, no network and no hidden state, so any
//! part of a run can be generated alone, in constant time, by any thread or host.
//!
//! ```
//! use cdr_model::{FileFormat, Generator, Plan, PartIndex, Scenario, Shard, Stream};
//!
//! let scenario = Scenario::default();
//! let plan = Plan::new(&scenario, Shard::WHOLE)?;
//! let generator = Generator::new(&scenario)?;
//! let part = plan.part(PartIndex(1_000_000));
//! let mut csv = Vec::new();
//! FileFormat::default().file(&generator, Stream::Data, &part, &mut csv);
//! assert!(csv.starts_with(b"msisdn,tower_id,"));
//! # Ok::<(), cdr_model::ScenarioError>(())
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "test-additions")]
mod additions;
mod fact;
mod field;
mod format;
mod generate;
mod habits;
mod numbering;
mod part;
mod plan;
mod population;
mod profile;
pub mod progress;
mod random;
mod record;
pub mod resume;
mod scenario;
mod service;
pub mod stats;
mod stream;
mod text;
mod time;
mod timeline;
pub mod usage;

pub use fact::Fact;
pub use field::{Field, FieldKind, Fields, Record, Records};
pub use format::{FileFormat, LineEnd, Message, MessageFormat, SchemaFormat};
pub use generate::Generator;
pub use habits::{DayKind, Habits, Holiday, RhythmKind, UtcOffset};
pub use numbering::{NumberingPlan, NumberingPlanError};
pub use part::{Part, PartIndex};
pub use plan::{Plan, Shard, ShardError};
pub use population::{Called, Msisdn, Population};
pub use profile::Bases;
pub use record::{DataRecord, VoiceRecord};
pub use scenario::{Profile, Scenario, ScenarioError};
pub use service::{CallType, DataType};
pub use stream::{PerStream, Stream, Streams};
pub use text::FixedText;
pub use time::Micros;
