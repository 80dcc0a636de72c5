//! Layers the sources of settings: defaults, file, environment variables, flags. A pure function
//! of what it is given.

use std::collections::BTreeMap;
use std::fmt;

use super::choice::Choice;
use super::error::ConfigError;
use super::file::{FileText, FileValues};
use super::flags::FlagValues;
use super::origin::Origin;
use super::properties::{self, Properties};
use super::setting::{Kind, Setting};
use super::settings::{SETTINGS, by_key};
use super::values::Environment;
use crate::secret::MASK;

/// All that a configuration is made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub flags: &'a FlagValues,
    /// Environment variables by name. An empty one counts as not set.
    pub variables: &'a BTreeMap<String, String>,
    pub file: Option<FileText<'a>>,
}

/// The text in force for each setting, and where it came from.
#[derive(Debug)]
pub struct Resolved {
    pub environment: Environment,
    /// In the registry's order, without `kafka.properties`.
    pub values: Vec<ResolvedValue>,
    pub properties: Properties,
    /// Whether the configuration file holds a secret.
    pub file_holds_secret: bool,
    /// The home folder, for paths that begin with `~/`.
    pub home: Option<String>,
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
    pub fn refused(&self, allowed: String) -> ConfigError {
        ConfigError::Value {
            name: self.name(),
            given: self.given(),
            origin: self.origin.clone(),
            allowed,
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

/// Layers `inputs`. Fails on what no layer may hold; values are checked when they are used.
pub fn resolve(inputs: Inputs<'_>) -> Result<Resolved, ConfigError> {
    let mut file = match inputs.file {
        Some(text) => FileValues::parse(text)?,
        None => FileValues::default(),
    };
    let file_properties = std::mem::take(&mut file.properties);
    let file_holds_secret = file_properties.iter().any(|(name, ..)| properties::is_secret(name))
        || SETTINGS
            .iter()
            .filter(|setting| setting.secret)
            .filter_map(|setting| file.values.get(setting.key))
            .any(|(text, _)| !text.is_empty());
    let properties = properties::merge(
        file_properties,
        variable(inputs, "KAFKA_PROPERTIES"),
        &inputs.flags.properties,
    )?;

    let layers = Layers { inputs, file: file.values };
    let home = variable(inputs, "HOME").map(str::to_owned);
    let environment = layers.environment()?;
    let mut values: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| !matches!(setting.kind, Kind::Properties))
        .map(|setting| layers.value(setting, environment, home.is_some()))
        .collect();
    keep_one_password(&mut values)?;
    Ok(Resolved { environment, values, properties, file_holds_secret, home })
}

struct Layers<'a> {
    inputs: Inputs<'a>,
    file: BTreeMap<&'static str, (String, Origin)>,
}

impl Layers<'_> {
    /// What the highest layer that has `setting` gives.
    fn given(&self, setting: &'static Setting) -> Option<(String, Origin)> {
        let flag = setting.flag.zip(self.inputs.flags.values.get(setting.key));
        if let Some((flag, text)) = flag {
            return Some((text.clone(), Origin::Flag(flag)));
        }
        if let Some(text) = variable(self.inputs, setting.env) {
            return Some((text.to_owned(), Origin::Variable(setting.env)));
        }
        self.file.get(setting.key).cloned()
    }

    /// An empty text takes a lower layer's value away.
    fn value(
        &self,
        setting: &'static Setting,
        environment: Environment,
        has_home: bool,
    ) -> ResolvedValue {
        let (text, origin) = match self.given(setting) {
            Some((text, origin)) => (Some(text).filter(|text| !text.is_empty()), origin),
            None if setting.key == ENVIRONMENT_KEY => {
                (Some(environment.name().to_owned()), self.detected())
            }
            None => (
                setting.default_text(environment, has_home).map(str::to_owned),
                Origin::Default(environment),
            ),
        };
        ResolvedValue { setting, text, origin }
    }

    /// The environment decides the other settings' defaults, so it is settled before them.
    fn environment(&self) -> Result<Environment, ConfigError> {
        let detected = match variable(self.inputs, "USER") {
            Some(_) => Environment::Dev,
            None => Environment::Prod,
        };
        let Some(setting) = by_key(ENVIRONMENT_KEY) else {
            return Ok(detected);
        };
        let value = self.value(setting, detected, false);
        value
            .text
            .as_deref()
            .and_then(Environment::from_word)
            .ok_or_else(|| value.refused(setting.kind.allowed()))
    }

    fn detected(&self) -> Origin {
        Origin::Detected { user_is_set: variable(self.inputs, "USER").is_some() }
    }
}

const ENVIRONMENT_KEY: &str = "run.env";

fn variable<'a>(inputs: Inputs<'a>, name: &str) -> Option<&'a str> {
    inputs.variables.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// Of a password and a password file, the higher layer's takes the place of the other.
fn keep_one_password(values: &mut [ResolvedValue]) -> Result<(), ConfigError> {
    let index = |key: &str| values.iter().position(|value| value.setting.key == key);
    let (Some(password), Some(file)) = (index("sftp.password"), index("sftp.password_file")) else {
        return Ok(());
    };
    let layer = |index: usize| values[index].text.as_ref().map(|_| values[index].origin.layer());
    let (replaced, by) = match (layer(password), layer(file)) {
        (Some(of_password), Some(of_file)) if of_password == of_file => {
            return Err(ConfigError::TwoPasswords {
                password: values[password].origin.clone(),
                file: values[file].origin.clone(),
            });
        }
        (Some(of_password), Some(of_file)) if of_password > of_file => (file, password),
        (Some(_), Some(_)) => (password, file),
        _ => return Ok(()),
    };
    values[replaced].origin = Origin::ReplacedBy(values[by].setting.key);
    values[replaced].text = None;
    Ok(())
}

impl Resolved {
    /// The value of the setting with this key.
    pub fn value(&self, key: &'static str) -> Result<&ResolvedValue, ConfigError> {
        self.values
            .iter()
            .find(|value| value.setting.key == key)
            .ok_or(ConfigError::NoSuchSetting { key })
    }
}
