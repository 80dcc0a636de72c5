//! Reads the process's environment and the configuration file. The only part of the configuration
//! that is not a pure function.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::file::FileText;
use super::flags::FlagValues;
use super::resolve::{Inputs, resolve};
use super::{CONFIG_FILE, Config, SETTINGS};
use crate::settings::{ConfigError, Resolved};

/// Looked for in the working folder when no other file is named.
const DEFAULT_FILE: &str = "cdr.toml";

/// The configuration, and how it came about.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub resolved: Resolved,
    /// What the caller should log once logging is set up.
    pub warning: Option<String>,
}

/// Loads the configuration of this process: its environment, `cdr.toml`, and `flags`.
pub fn load(flags: &FlagValues) -> Result<Loaded, ConfigError> {
    let variables = variables()?;
    let in_variable = || variables.get(CONFIG_FILE.env).map(PathBuf::from);
    let file = read_config_file(flags.config_file.clone().or_else(in_variable))?;
    let text = file.as_ref().map(|file| FileText { name: &file.name, text: &file.text });
    let read_file = |path: &Path| fs::read_to_string(path);
    let resolved = resolve(Inputs { flags, variables: &variables, file: text, read_file })?;
    let config = Config::build(&resolved)?;
    let warning = file
        .filter(|_| resolved.file_holds_secret)
        .and_then(|file| permission_warning(&file.name, file.mode));
    Ok(Loaded { config, resolved, warning })
}

/// Only the variables that mean something here, and are not empty.
fn variables() -> Result<BTreeMap<String, String>, ConfigError> {
    let settings = SETTINGS.iter().map(|setting| setting.env);
    let mut variables = BTreeMap::new();
    for name in settings.chain([CONFIG_FILE.env, "USER", "HOME"]) {
        let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else { continue };
        let value = value.into_string().map_err(|_| {
            ConfigError::new(format!("{name}: the environment variable is not valid Unicode"))
        })?;
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

struct ConfigFile {
    name: String,
    text: String,
    mode: u32,
}

/// A file that was named must exist; the default one need not.
fn read_config_file(named: Option<PathBuf>) -> Result<Option<ConfigFile>, ConfigError> {
    let optional = named.is_none();
    let path = named.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    match read_with_mode(&path) {
        Ok((text, mode)) => Ok(Some(ConfigFile { name: path.display().to_string(), text, mode })),
        Err(error) if optional && error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("cannot read the configuration file {}", path.display());
            Err(ConfigError::reading(message, error))
        }
    }
}

fn read_with_mode(path: &Path) -> io::Result<(String, u32)> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok((text, mode))
}

/// For a file that holds a secret and that group or others may read or write.
fn permission_warning(name: &str, mode: u32) -> Option<String> {
    (mode & 0o077 != 0).then(|| {
        format!(
            "{name} holds a secret, and other users may read it (mode {:03o}); chmod 600 {name}",
            mode & 0o777
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_secret_that_others_may_read_is_warned_of() {
        let warning = permission_warning("cdr.toml", 0o100_644).unwrap();
        assert_eq!(
            warning,
            "cdr.toml holds a secret, and other users may read it (mode 644); chmod 600 cdr.toml"
        );
        assert_eq!(permission_warning("cdr.toml", 0o100_600), None);
    }

    #[test]
    fn a_named_file_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent.toml");
        let error = read_config_file(Some(path.clone())).err().unwrap();
        assert_eq!(error.to_string(), format!("cannot read the configuration file {}", path.display()));
        assert!(read_with_mode(&path).is_err());
    }

    #[test]
    fn a_named_file_is_read_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        fs::write(&path, "[data]\n").unwrap();
        let file = read_config_file(Some(path.clone())).unwrap().unwrap();
        assert_eq!((file.name, file.text.as_str()), (path.display().to_string(), "[data]\n"));
        assert_ne!(file.mode, 0);
    }
}
