//! What a run reports while it works: log lines and progress on standard error.

mod config;
mod display;
mod gauge;
pub mod log;
pub mod progress;
pub mod ratelimit;
mod summary;
pub mod terminal;
pub mod units;

pub use config::{LogConfig, LogFormat, LogLevel, ProgressMode};
pub use display::{Display, Mode};
pub use gauge::{Count, Gauge};
pub use log::init;
pub use progress::{Counters, Snapshot};
pub use ratelimit::{RateLimit, and_more};
pub use summary::{Delivered, log_completion, log_session};
pub use terminal::Terminal;
