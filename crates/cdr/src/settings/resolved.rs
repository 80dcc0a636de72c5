//! The text in force for each setting, and where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use super::environment::Environment;
use super::error::ConfigError;
use super::origin::Origin;
use super::setting::Setting;
use crate::secret::{MASK, Secret};

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
        found.ok_or_else(|| ConfigError::NoSuchSetting { key: key.to_owned() })
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
    /// None when there is no value.
    pub text: Option<String>,
    pub origin: Origin,
}

impl ResolvedValue {
    /// The value as people may see it: secrets masked, `-` when there is none.
    pub fn shown(&self) -> &str {
        match &self.text {
            None => "-",
            Some(_) if self.setting.secret => MASK,
            Some(text) => text,
        }
    }

    /// What the reader of a message calls the setting: as the file does when it is from there.
    pub fn name(&self) -> &'static str {
        match self.origin {
            Origin::File { .. } => self.setting.key,
            _ => self.setting.env,
        }
    }

    /// That the value is not what is allowed.
    pub fn refused(&self) -> ConfigError {
        ConfigError::Value {
            name: self.name(),
            given: self.given(),
            origin: self.origin.clone(),
            allowed: self.setting.kind.allowed(),
        }
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
