//! Layers the sources of settings: defaults, file, environment variables, flags. A pure function
//! of what it is given.

use std::collections::BTreeMap;

use super::file::{FileText, FileValues};
use super::flags::FlagValues;
use super::properties;
use super::registry::{SETTINGS, by_key};
use crate::settings::{
    Choice, ConfigError, Environment, Kind, Origin, ReadFile, Resolved, ResolvedValue, Setting,
};

/// All that a configuration is made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub flags: &'a FlagValues,
    /// Environment variables by name. An empty one counts as not set.
    pub variables: &'a BTreeMap<String, String>,
    pub file: Option<FileText<'a>>,
    /// For files that hold secrets.
    pub read_file: ReadFile,
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
    let mut values: Vec<_> =
        SETTINGS.iter().map(|setting| layers.value(setting, environment, home.is_some())).collect();
    keep_one_password(&mut values)?;
    let read_file = inputs.read_file;
    Ok(Resolved { environment, values, properties, file_holds_secret, home, read_file })
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

    /// An empty text takes a lower layer's value away. A table has no text of its own.
    fn value(
        &self,
        setting: &'static Setting,
        environment: Environment,
        has_home: bool,
    ) -> ResolvedValue {
        let (text, origin) = match self.given(setting) {
            _ if matches!(setting.kind, Kind::Properties) => (None, Origin::Default(environment)),
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
        value.text.as_deref().and_then(Environment::from_word).ok_or_else(|| value.refused())
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
