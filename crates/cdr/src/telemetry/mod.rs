//! What a run reports while it works: log lines and progress on standard error.

mod config;
mod display;
mod gauge;
pub mod log;
pub mod progress;
pub mod ratelimit;
pub mod terminal;
pub mod units;

pub use config::{LogConfig, LogFormat, LogLevel, ProgressMode};
pub use display::Display;
pub use gauge::{Count, Gauge};
pub use log::init;
pub use progress::{Counters, RunProgress, completion, session};
pub use ratelimit::{RateLimit, and_more};
pub use terminal::Terminal;
