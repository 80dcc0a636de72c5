//! Reads resolved texts as typed values, with errors that say what was expected.

use std::path::PathBuf;
use std::time::Duration;

use super::choice::Choice;
use super::error::ConfigError;
use super::resolve::Resolved;
use super::setting::Kind;
use crate::secret::Secret;

type Key = &'static str;

impl Resolved {
    /// The value as `parse` reads it, or None when there is no value. `parse` gives None for what
    /// is not allowed.
    pub fn optional<T>(
        &self,
        key: Key,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let value = self.value(key)?;
        let Some(text) = &value.text else {
            return Ok(None);
        };
        let parsed = parse(text).ok_or_else(|| value.refused(value.setting.kind.allowed()))?;
        Ok(Some(parsed))
    }

    /// As [`Self::optional`], for a setting that must have a value.
    pub fn required<T>(
        &self,
        key: Key,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let value = self.value(key)?;
        self.optional(key, parse)?.ok_or_else(|| value.refused(value.setting.kind.allowed()))
    }

    /// A whole number in the setting's range.
    pub fn whole<T: TryFrom<u64>>(&self, key: Key) -> Result<T, ConfigError> {
        let kind = self.value(key)?.setting.kind;
        self.required(key, |text| whole_in(kind, text))
    }

    /// A whole number in the setting's range, or None.
    pub fn optional_whole<T: TryFrom<u64>>(&self, key: Key) -> Result<Option<T>, ConfigError> {
        let kind = self.value(key)?.setting.kind;
        self.optional(key, |text| whole_in(kind, text))
    }

    /// A whole number of seconds.
    pub fn seconds(&self, key: Key) -> Result<Duration, ConfigError> {
        self.whole(key).map(Duration::from_secs)
    }

    /// A whole number of milliseconds.
    pub fn milliseconds(&self, key: Key) -> Result<Duration, ConfigError> {
        self.whole(key).map(Duration::from_millis)
    }

    /// Yes or no.
    pub fn switch(&self, key: Key) -> Result<bool, ConfigError> {
        self.required(key, |text| match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        })
    }

    /// One of an enum's words.
    pub fn word<T: Choice>(&self, key: Key) -> Result<T, ConfigError> {
        self.required(key, |text| T::from_word(text.trim()))
    }

    /// A comma-separated list of at least one item, none twice.
    pub fn list<T: PartialEq>(
        &self,
        key: Key,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        self.required(key, |text| list_of(text, parse))
    }

    /// As [`Self::list`], or None.
    pub fn optional_list<T: PartialEq>(
        &self,
        key: Key,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        self.optional(key, |text| list_of(text, parse))
    }

    /// Text that `accepts` does.
    pub fn text(&self, key: Key, accepts: fn(&str) -> bool) -> Result<String, ConfigError> {
        self.required(key, |text| accepts(text).then(|| text.to_owned()))
    }

    /// A path, its leading `~/` replaced by the home folder.
    pub fn path(&self, key: Key) -> Result<PathBuf, ConfigError> {
        let path = self.optional_path(key)?;
        let value = self.value(key)?;
        path.ok_or_else(|| value.refused(value.setting.kind.allowed()))
    }

    /// As [`Self::path`], or None.
    pub fn optional_path(&self, key: Key) -> Result<Option<PathBuf>, ConfigError> {
        let value = self.value(key)?;
        let Some(text) = &value.text else {
            return Ok(None);
        };
        let Some(in_home) = text.strip_prefix("~/") else {
            return Ok(Some(PathBuf::from(text)));
        };
        let home = self.home.as_deref().ok_or_else(|| ConfigError::NoHome {
            name: value.name(),
            given: value.given(),
            origin: value.origin.clone(),
        })?;
        Ok(Some(PathBuf::from(home).join(in_home)))
    }

    /// A secret, or None.
    pub fn secret(&self, key: Key) -> Result<Option<Secret>, ConfigError> {
        Ok(self.value(key)?.text.as_ref().map(Secret::new))
    }
}

fn whole_in<T: TryFrom<u64>>(kind: Kind, text: &str) -> Option<T> {
    let Kind::Whole { min, max } = kind else {
        return None;
    };
    let number = text.trim().parse().ok().filter(|number| (min..=max).contains(number))?;
    T::try_from(number).ok()
}

fn list_of<T: PartialEq>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut items = Vec::new();
    for part in text.split(',') {
        let item = parse(part.trim())?;
        if items.contains(&item) {
            return None;
        }
        items.push(item);
    }
    Some(items)
}
