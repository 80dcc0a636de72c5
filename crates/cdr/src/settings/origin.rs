//! Where a value came from.

use std::fmt;

use super::environment::Environment;

/// Where a value came from. Prints as `default (dev)`, `cdr.toml:12`, `environment SFTP_HOST` or
/// `--sftp-host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it.
    Default(Environment),
    /// The environment `dev` or `prod` was chosen by whether `USER` is set.
    Detected { user_is_set: bool },
    /// Line `line`, from 1, of the configuration file.
    File { name: String, line: usize },
    /// This environment variable.
    Variable(&'static str),
    /// This flag, without dashes.
    Flag(&'static str),
    /// It was given, but a higher layer gave the setting with this key, which takes its place.
    ReplacedBy(&'static str),
}

/// Which origin wins: a later variant over an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    Default,
    File,
    Variables,
    Flags,
}

impl Origin {
    /// The layer this origin belongs to.
    pub fn layer(&self) -> Layer {
        match self {
            Self::Default(_) | Self::Detected { .. } | Self::ReplacedBy(_) => Layer::Default,
            Self::File { .. } => Layer::File,
            Self::Variable(_) => Layer::Variables,
            Self::Flag(_) => Layer::Flags,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(environment) => write!(f, "default ({environment})"),
            Self::Detected { user_is_set: true } => f.write_str("USER is set"),
            Self::Detected { user_is_set: false } => f.write_str("USER is not set"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "--{name}"),
            Self::ReplacedBy(key) => write!(f, "replaced by {key}"),
        }
    }
}
