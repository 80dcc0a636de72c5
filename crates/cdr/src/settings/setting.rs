//! What is known of one setting.

use std::borrow::Cow;

use super::choice;

choice! {
    /// Which set of defaults applies.
    Environment {
        /// A developer's machine: `USER` is set and not empty.
        Dev = "dev",
        /// A container or service.
        Prod = "prod",
    }
}

/// One setting: where it can be given, what is allowed, what it means.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Dotted key in `cdr.toml`, for example `sftp.host`.
    pub key: &'static str,
    /// Environment variable, for example `SFTP_HOST`.
    pub env: &'static str,
    /// Long flag without dashes. None for secrets, which other users could read in the process list.
    pub flag: Option<&'static str>,
    /// What stands for the value in help.
    pub value_name: &'static str,
    pub kind: Kind,
    /// What may be given, as the end of a sentence: "a whole number from 1 to 100".
    pub allowed: Cow<'static, str>,
    pub default: DefaultValue,
    /// One line: meaning and unit.
    pub help: &'static str,
    /// Whether the value is masked wherever people read.
    pub secret: bool,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Whole,
    Switch,
    /// Comma-separated in flags and variables, an array (or the same text) in `cdr.toml`.
    List,
    /// The table of librdkafka properties.
    Properties,
}

/// The value of a setting that nobody gave.
#[derive(Debug, Clone, Copy)]
pub enum DefaultValue {
    /// None. The text names what happens then, and may be empty.
    Unset(&'static str),
    Always(&'static str),
    ByEnvironment {
        dev: &'static str,
        prod: &'static str,
    },
    /// `with` where a home folder is known, otherwise `without`.
    InHome {
        with: &'static str,
        without: &'static str,
    },
}

impl Setting {
    /// The first part of its key.
    pub fn section(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(section, _)| section)
    }

    /// The heading under which help lists it.
    pub fn heading(&self) -> &'static str {
        match self.section() {
            "data" | "files" => "Data",
            "sftp" => "SFTP",
            "kafka" => "Kafka",
            "process" | "store" | "tariff" | "api" | "metrics" => "Processor",
            "log" => "Logs",
            "run" => "Run",
            section => section,
        }
    }

    /// The default that applies in `environment`, with or without a home folder.
    pub fn default_text(&self, environment: Environment, has_home: bool) -> Option<&'static str> {
        match (self.default, environment) {
            (DefaultValue::Unset(_), _) => None,
            (DefaultValue::Always(text), _) => Some(text),
            (DefaultValue::ByEnvironment { dev, .. }, Environment::Dev) => Some(dev),
            (DefaultValue::ByEnvironment { prod, .. }, Environment::Prod) => Some(prod),
            (DefaultValue::InHome { with, .. }, _) if has_home => Some(with),
            (DefaultValue::InHome { without, .. }, _) => Some(without),
        }
    }

    /// The default as documentation shows it.
    pub fn default_shown(&self) -> String {
        match self.default {
            DefaultValue::Unset("") => "-".to_owned(),
            DefaultValue::Unset(text)
            | DefaultValue::Always(text)
            | DefaultValue::InHome { with: text, .. } => text.to_owned(),
            DefaultValue::ByEnvironment { dev, prod } => format!("{dev} (dev), {prod} (prod)"),
        }
    }
}
