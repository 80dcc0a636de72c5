//! Reads `cdr.toml`: which settings it gives, and on which line.

use std::collections::BTreeMap;
use std::ops::Range;

use strsim::damerau_levenshtein;
use toml::de::{DeTable, DeValue};

use super::{SETTINGS, by_key};
use crate::secret::Secret;
use crate::settings::{ConfigError, Kind, Origin, Setting};

/// A configuration file's name, as messages show it, and its content.
#[derive(Clone, Copy, Default)]
pub struct FileText<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

/// What a configuration file gives.
pub struct FileValues<'a> {
    file: FileText<'a>,
    /// Text and origin by the setting's key.
    pub values: BTreeMap<&'static str, (String, Origin)>,
    /// Name, value and origin of each of `[kafka.properties]`.
    pub properties: Vec<(String, Secret, Origin)>,
}

impl<'a> FileValues<'a> {
    /// Parses `file`. Refuses what no setting is called.
    pub fn parse(file: FileText<'a>) -> Result<Self, ConfigError> {
        let table = DeTable::parse(file.text).map_err(|error| {
            let message = format_args!("not valid TOML: {}", error.message());
            file.error(error.span().unwrap_or_default(), message)
        })?;
        let mut values = Self { file, values: BTreeMap::new(), properties: Vec::new() };
        values.settings("", table.get_ref())?;
        Ok(values)
    }

    fn settings(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        let file = self.file;
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            match (by_key(&key), value.get_ref()) {
                (Some(Setting { kind: Kind::Properties, .. }), DeValue::Table(properties)) => {
                    self.properties("", properties)?;
                }
                (Some(setting), found) => {
                    let text = setting_text(setting, found)
                        .ok_or_else(|| file.shape(name.span(), &key, found, &setting.allowed))?;
                    self.values.insert(setting.key, (text, file.origin(name.span())));
                }
                (None, DeValue::Table(section)) if sections().any(|section| section == key) => {
                    self.settings(&format!("{key}."), section)?;
                }
                (None, found) => {
                    let (what, nearest) = match found {
                        DeValue::Table(_) => ("section", nearest(&key, sections())),
                        _ => ("setting", nearest(&key, SETTINGS.iter().map(|setting| setting.key))),
                    };
                    let what = format_args!("\"{key}\" is not a {what}; did you mean \"{nearest}\"?");
                    return Err(file.error(name.span(), what));
                }
            }
        }
        Ok(())
    }

    /// TOML reads the unquoted `security.protocol = "ssl"` as a table in a table, so names are put
    /// together again here.
    fn properties(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        let file = self.file;
        for (name, value) in table {
            let property = format!("{prefix}{}", name.get_ref());
            if let DeValue::Table(inner) = value.get_ref() {
                self.properties(&format!("{property}."), inner)?;
                continue;
            }
            let text = scalar_text(value.get_ref()).ok_or_else(|| {
                let key = format!("kafka.properties.{property}");
                file.shape(name.span(), &key, value.get_ref(), "a string, number or boolean")
            })?;
            self.properties.push((property, Secret::new(text), file.origin(name.span())));
        }
        Ok(())
    }
}

impl FileText<'_> {
    /// The line, counted from 1, on which `span` begins.
    fn origin(&self, span: Range<usize>) -> Origin {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Origin::File { name: self.name.to_owned(), line }
    }

    fn error(&self, span: Range<usize>, what: std::fmt::Arguments<'_>) -> ConfigError {
        ConfigError::new(format!("{}: {what}", self.origin(span)))
    }

    fn shape(&self, span: Range<usize>, key: &str, found: &DeValue<'_>, allowed: &str) -> ConfigError {
        let found = match found {
            DeValue::Table(_) => "a table",
            DeValue::Array(_) => "an array",
            _ => "a single value",
        };
        self.error(span, format_args!("{key} is {found}, not {allowed}"))
    }
}

fn setting_text(setting: &Setting, value: &DeValue<'_>) -> Option<String> {
    match (setting.kind, value) {
        (Kind::Properties, _) => None,
        (Kind::List, DeValue::Array(items)) => {
            let texts: Option<Vec<_>> = items.iter().map(|i| scalar_text(i.get_ref())).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => scalar_text(value),
    }
}

/// A scalar as the text that a variable or flag would hold.
fn scalar_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(
            u64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |number| number.to_string()),
        ),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| match setting.kind {
        Kind::Properties => setting.key,
        _ => setting.section(),
    })
}

/// The candidate that takes the fewest typing errors to arrive at. One that differs in its section
/// only counts as one error: forgetting `[data]` above `line_count` is the commonest mistake.
pub fn nearest(key: &str, candidates: impl Iterator<Item = &'static str>) -> &'static str {
    let last_part = |key: &str| key.rsplit('.').next().map(str::to_owned).unwrap_or_default();
    let distance = |candidate: &str| {
        let whole = damerau_levenshtein(key, candidate);
        whole.min(1 + damerau_levenshtein(&last_part(key), &last_part(candidate)))
    };
    candidates.min_by_key(|candidate| distance(candidate)).unwrap_or_default()
}
