//! Settings: each is declared once, where the value that it sets is used.
//!
//! A declaration gives the setting's environment variable, which values it takes, its default and what
//! people read of it, and is a field of the struct that the code works with:
//!
//! ```text
//! settings! {
//!     /// How to reach the server.
//!     pub struct SftpConfig in "sftp" {
//!         /// Port of the SFTP server
//!         pub port: u16 = whole("SFTP_PORT", 1..=65_535).dev_prod("10022", "22"),
//!     }
//! }
//! ```
//!
//! Key (`sftp.port`) and flag (`--sftp-port`) follow from the variable. `config` puts the sections
//! together, and finds the texts that are in force for them.

mod choice;
mod declare;
mod resolved;
mod setting;

pub(crate) use choice::choice;
pub(crate) use declare::settings;
pub use declare::{
    Declared, Field, Section, is_host, is_name, is_topic, list, milliseconds, nested, parsed, path,
    properties, seconds, secret, switch, text, topic, whole, word, words,
};
pub use resolved::{ConfigError, Origin, Property, ReadFile, Resolved, ResolvedValue};
pub use setting::{DefaultValue, Environment, Kind, Setting};
