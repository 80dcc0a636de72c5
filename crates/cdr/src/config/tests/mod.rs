//! Nothing here reads or changes the process's environment: it is given as a map.

mod files;
mod layers;
mod properties;
mod registry;
mod values;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::file::FileText;
use super::resolve::{Inputs, resolve};
use super::*;
use crate::settings::{ConfigError, Resolved};

/// A configuration's sources, put together step by step.
#[derive(Default)]
struct Given {
    flags: FlagValues,
    variables: BTreeMap<String, String>,
    file: Option<String>,
}

/// Nothing but a home folder; so the environment is prod.
fn nothing() -> Given {
    Given::default().variable("HOME", "/home/ann")
}

/// The environment is dev.
fn dev() -> Given {
    nothing().variable("USER", "ann")
}

impl Given {
    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// As if given by the flag of the setting with this key.
    fn flag(mut self, key: &'static str, value: &str) -> Self {
        self.flags.values.insert(key, value.to_owned());
        self
    }

    fn property(mut self, pair: &str) -> Self {
        self.flags.properties.push(pair.to_owned());
        self
    }

    fn file(mut self, text: &str) -> Self {
        self.file = Some(text.to_owned());
        self
    }

    fn resolve(&self) -> Result<Resolved, ConfigError> {
        let file = self.file.as_deref().map(|text| FileText { name: "cdr.toml", text });
        let (flags, variables) = (&self.flags, &self.variables);
        resolve(Inputs { flags, variables, file, read_file })
    }

    fn build(&self) -> Result<Config, ConfigError> {
        Config::build(&self.resolve()?)
    }

    /// The configuration, which must be valid.
    fn config(&self) -> Config {
        self.build().unwrap()
    }

    /// The error.
    fn error(&self) -> String {
        self.build().unwrap_err().to_string()
    }

    /// Value and origin in force for a setting, as `cdr config` shows them.
    fn shown(&self, key: &'static str) -> String {
        let resolved = self.resolve().unwrap();
        let value = resolved.value(key).unwrap();
        format!("{} from {}", value.shown(), value.origin)
    }
}

/// Stands for the file system.
fn read_file(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/run/secrets/sftp") => Ok("hunter2\r\n".to_owned()),
        Some("/home/ann/secret") => Ok("of ann\n\n".to_owned()),
        Some("/dev/null") => Ok("\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}
