//! The registry: every setting there is, as the sections of the configuration declare them. Flags,
//! environment variables, the keys of `cdr.toml`, `cdr config` and the documentation's table are all
//! made from it.

use std::path::PathBuf;
use std::sync::LazyLock;

use super::Config;
use crate::settings::{Field, Section, Setting, path};

/// All settings, in the order in which help and tables show them.
pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut list = Vec::new();
    Config::declare(&mut list);
    list
});

/// Where `cdr.toml` is. Not in [`SETTINGS`], because the file cannot hold its own path.
pub static CONFIG_FILE: LazyLock<Setting> = LazyLock::new(|| {
    let setting = path("CDR_CONFIG").key("config").flag("config").value("FILE");
    let setting = setting.unset("cdr.toml, when it exists");
    let mut list = Vec::new();
    Field::<PathBuf>::declare(&setting, "", &["configuration file, TOML"], &mut list);
    list.remove(0)
});

/// The setting with this key.
pub(super) fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
