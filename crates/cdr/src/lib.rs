//! `cdr`: generates synthetic call detail records and delivers them, exactly once.
//!
//! A library only so that the project's own tests and benchmarks reach the parts; its interface is
//! the command line, and nothing here is stable.

pub mod cli;
pub mod commands;
pub mod config;
pub mod delivery;
pub mod exit;
pub mod facts;
pub mod files;
pub mod http;
pub mod kafka;
pub mod output;
pub mod pause;
pub mod processing;
pub mod secret;
pub mod settings;
pub mod setup;
pub mod telemetry;
pub mod verify;
