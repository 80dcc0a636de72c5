//! Configuration: defaults by environment, then `cdr.toml`, then environment variables, then flags.
//!
//! [`settings::SETTINGS`] is the only list of what can be set. [`resolve::resolve`] layers the sources into
//! texts that know where they came from; [`Config::build`] checks them into typed values; [`load()`]
//! does both for this process.

mod build;
pub mod choice;
mod error;
mod file;
mod flags;
mod load;
mod origin;
mod parse;
mod properties;
mod resolve;
mod setting;
pub mod settings;
mod typed;
mod values;

#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use file::FileText;
pub use flags::{DataFlags, FlagValues, ProcessFlags, RunFlags, SettingFlags, UsageFlags};
pub use load::{Loaded, load};
pub use origin::Origin;
pub use resolve::{Inputs, Resolved, resolve};
pub use setting::{DefaultValue, Kind, Setting};
pub use values::*;
