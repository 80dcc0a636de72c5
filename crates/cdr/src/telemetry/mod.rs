//! What a run tells while it works: log lines and progress on standard error.

mod display;
mod gauge;
pub mod log;
pub mod progress;
pub mod ratelimit;
mod summary;
pub mod terminal;
pub mod units;

pub use display::{Display, Mode, Sinks};
pub use gauge::{Count, Gauge};
pub use log::init;
pub use progress::{Counters, Snapshot};
pub use ratelimit::{RateLimit, and_more};
pub use summary::{log_completion, log_effort};
pub use terminal::Terminal;
