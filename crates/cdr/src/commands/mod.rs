//! One file per subcommand.

pub mod config;
pub mod demo;
pub mod plan;
pub mod process;
pub mod run;
pub mod sample;
pub mod sandbox;
pub mod signals;
pub mod usage;
pub mod verify;
