//! The text in force for each setting, where it came from, and why it may be refused.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use cdr_model::ScenarioError;
use thiserror::Error;

use super::setting::{Environment, Setting};
use crate::secret::{MASK, Secret};

/// Why there is no valid configuration: the message names the setting, the place and the remedy.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct ConfigError {
    message: String,
    source: Option<io::Error>,
}

impl ConfigError {
    pub fn new(message: String) -> Self {
        Self { message, source: None }
    }

    /// A file cannot be read.
    pub fn reading(message: String, source: io::Error) -> Self {
        Self { message, source: Some(source) }
    }
}

impl From<ScenarioError> for ConfigError {
    fn from(error: ScenarioError) -> Self {
        Self::new(error.to_string())
    }
}

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

impl Origin {
    /// Which layer it belongs to; a higher one wins.
    pub fn layer(&self) -> u8 {
        match self {
            Self::Default(_) | Self::Detected { .. } | Self::ReplacedBy(_) => 0,
            Self::File { .. } => 1,
            Self::Variable(_) => 2,
            Self::Flag(_) => 3,
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

/// Reads a small text file.
pub type ReadFile = fn(&Path) -> io::Result<String>;

/// The text in force for each setting, and where it came from.
#[derive(Debug)]
pub struct Resolved {
    pub environment: Environment,
    /// In the registry's order.
    pub values: Vec<ResolvedValue>,
    /// Of librdkafka, by name.
    pub properties: BTreeMap<String, Property>,
    /// Whether the configuration file holds a secret.
    pub file_holds_secret: bool,
    /// The home folder, for paths that begin with `~/`.
    pub home: Option<String>,
    /// For files that hold secrets.
    pub read_file: ReadFile,
}

/// One librdkafka property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    pub value: Secret,
    pub origin: Origin,
    /// Whether its name marks the value as a secret.
    pub secret: bool,
}

impl Property {
    /// The value, masked when it is a secret.
    pub fn shown(&self) -> &str {
        if self.secret { MASK } else { self.value.expose() }
    }
}

impl Resolved {
    /// The value of the setting with this key.
    ///
    /// # Errors
    /// That there is no such setting.
    pub fn value(&self, key: &str) -> Result<&ResolvedValue, ConfigError> {
        let found = self.values.iter().find(|value| value.setting.key == key);
        found.ok_or_else(|| ConfigError::new(format!("no setting has the key \"{key}\"")))
    }

    /// Whether the value of this setting is the one that it has by default in this environment, whoever
    /// gave it.
    pub fn is_default(&self, key: &str) -> bool {
        self.value(key).is_ok_and(|value| {
            let default = value.setting.default_text(self.environment, self.home.is_some());
            value.text.as_deref() == default
        })
    }
}

/// The text in force for one setting.
pub struct ResolvedValue {
    pub setting: &'static Setting,
    /// None when there is no value; never empty.
    pub text: Option<String>,
    pub origin: Origin,
}

impl ResolvedValue {
    /// Whether nobody gave it.
    pub fn is_unset(&self) -> bool {
        matches!(self.origin, Origin::Default(_))
    }

    /// The value as people may see it: secrets masked, `-` when there is none.
    pub fn shown(&self) -> &str {
        match &self.text {
            None => "-",
            Some(_) if self.setting.secret => MASK,
            Some(text) => text,
        }
    }

    /// That the value is not what is allowed.
    pub fn refused(&self) -> ConfigError {
        self.error(format_args!("is not {}", self.setting.allowed))
    }

    /// What is wrong with the value. It is named as in the file when it is from there.
    pub fn error(&self, what: fmt::Arguments<'_>) -> ConfigError {
        let name = match self.origin {
            Origin::File { .. } => self.setting.key,
            _ => self.setting.env,
        };
        ConfigError::new(format!("{name}: {} from {} {what}", self.given(), self.origin))
    }

    /// The value for a message, in quotes.
    pub fn given(&self) -> String {
        match &self.text {
            Some(_) if self.setting.secret => MASK.to_owned(),
            text => format!("{:?}", text.as_deref().unwrap_or_default()),
        }
    }
}

impl fmt::Debug for ResolvedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.setting.key, self.shown(), self.origin)
    }
}
