//! Layers the sources of settings: defaults, file, environment variables, flags. A pure function
//! of what it is given.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::file::{FileText, FileValues};
use super::flags::FlagValues;
use super::{ENVIRONMENT_KEY, SETTINGS, by_key, properties};
use crate::settings::{
    ConfigError, Environment, Kind, Origin, ReadFile, Resolved, ResolvedValue, Setting,
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
    let file = FileValues::parse(inputs.file.unwrap_or_default())?;
    let is_given = |key| file.values.get(key).is_some_and(|(text, _)| !text.is_empty());
    let file_holds_secret = file.properties.iter().any(|(name, ..)| properties::is_secret(name))
        || SETTINGS.iter().any(|setting| setting.secret && is_given(setting.key));
    let in_variable = inputs.variable("KAFKA_PROPERTIES");
    let properties = properties::merge(file.properties, in_variable, &inputs.flags.properties)?;
    let home = inputs.variable("HOME").map(str::to_owned);
    let user_is_set = inputs.variable("USER").is_some();
    let detected = if user_is_set { Environment::Dev } else { Environment::Prod };

    // An empty text takes a lower layer's value away. A table has no text of its own.
    let value = |setting: &'static Setting, environment: Environment| {
        let given = inputs.given(setting).or_else(|| file.values.get(setting.key).cloned());
        let default = || setting.default_text(environment, home.is_some()).map(str::to_owned);
        let (text, origin) = match given {
            _ if setting.kind == Kind::Properties => (None, Origin::Default(environment)),
            Some((text, origin)) => (Some(text).filter(|text| !text.is_empty()), origin),
            None if setting.key == ENVIRONMENT_KEY => {
                (Some(environment.to_string()), Origin::Detected { user_is_set })
            }
            None => (default(), Origin::Default(environment)),
        };
        ResolvedValue { setting, text, origin }
    };
    // The environment decides the other settings' defaults, so it is settled before them.
    let environment = match by_key(ENVIRONMENT_KEY).map(|setting| value(setting, detected)) {
        Some(value) => {
            let environment = value.text.as_deref().and_then(Environment::from_name);
            environment.ok_or_else(|| value.refused())?
        }
        None => detected,
    };
    let mut values: Vec<_> = SETTINGS.iter().map(|setting| value(setting, environment)).collect();
    keep_one_password(&mut values)?;
    let read_file = inputs.read_file;
    Ok(Resolved { environment, values, properties, file_holds_secret, home, read_file })
}

impl Inputs<'_> {
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// What flag or variable give.
    fn given(&self, setting: &'static Setting) -> Option<(String, Origin)> {
        let of_flag = || {
            let (flag, text) = setting.flag.zip(self.flags.values.get(setting.key))?;
            Some((text.clone(), Origin::Flag(flag)))
        };
        let of_variable =
            || Some((self.variable(setting.env)?.to_owned(), Origin::Variable(setting.env)));
        of_flag().or_else(of_variable)
    }
}

/// Of a password and a password file, the higher layer's takes the place of the other.
fn keep_one_password(values: &mut [ResolvedValue]) -> Result<(), ConfigError> {
    let given =
        |key: &str| values.iter().position(|value| value.setting.key == key && value.text.is_some());
    let (Some(password), Some(file)) = (given("sftp.password"), given("sftp.password_file")) else {
        return Ok(());
    };
    let (of_password, of_file) = (&values[password].origin, &values[file].origin);
    let (replaced, by) = match of_password.layer().cmp(&of_file.layer()) {
        Ordering::Greater => (file, password),
        Ordering::Less => (password, file),
        Ordering::Equal => {
            return Err(ConfigError::new(format!(
                "sftp.password ({of_password}) and sftp.password_file ({of_file}) are both given; \
                 give only one of them"
            )));
        }
    };
    values[replaced].origin = Origin::ReplacedBy(values[by].setting.key);
    values[replaced].text = None;
    Ok(())
}
