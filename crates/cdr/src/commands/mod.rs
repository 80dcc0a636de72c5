//! One file per subcommand.

pub mod config;
pub mod plan;
pub mod run;
pub mod sample;
pub mod signals;
pub mod verify;
