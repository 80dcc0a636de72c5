//! What is known of one setting.

use indicatif::HumanCount;

use super::environment::Environment;

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
    pub default: DefaultValue,
    /// One line: meaning and unit.
    pub help: &'static str,
    /// Whether the value is masked wherever people read.
    pub secret: bool,
}

/// What values a setting takes.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A whole number in an inclusive range.
    Whole { min: u64, max: u64 },
    /// Yes or no.
    Switch,
    /// One of these words.
    Word(Vec<&'static str>),
    /// Any text that fits this description.
    Text { allowed: &'static str },
    /// Some of these words, comma-separated in flags and variables, an array in `cdr.toml`.
    Words(Vec<&'static str>),
    /// Comma-separated in flags and variables, an array (or the same text) in `cdr.toml`.
    List { allowed: &'static str },
    /// A file or folder. A leading `~/` stands for the home folder.
    Path,
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
    /// The heading under which help lists it.
    pub fn heading(&self) -> &'static str {
        match self.key.split('.').next() {
            Some("data" | "files") => "Data",
            Some("sftp") => "SFTP",
            Some("kafka") => "Kafka",
            Some("process" | "store" | "tariff" | "api" | "metrics") => "Processor",
            Some("log") => "Logs",
            Some("run") | None => "Run",
            Some(section) => section,
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
            DefaultValue::Unset(meaning) => meaning.to_owned(),
            DefaultValue::Always(text) | DefaultValue::InHome { with: text, .. } => text.to_owned(),
            DefaultValue::ByEnvironment { dev, prod } => format!("{dev} (dev), {prod} (prod)"),
        }
    }
}

impl Kind {
    /// What may be given, as the end of a sentence: "a whole number from 1 to 100".
    pub fn allowed(&self) -> String {
        match self {
            Self::Whole { min, max } => {
                format!("a whole number from {} to {}", HumanCount(*min), HumanCount(*max))
            }
            Self::Switch => "true or false (or 1, 0, yes, no)".to_owned(),
            Self::Word(names) => match &names[..] {
                [only] => (*only).to_owned(),
                names => format!("one of {}", names.join(", ")),
            },
            Self::Words(names) => format!("a comma list of {}, none twice", names.join(", ")),
            Self::Text { allowed } | Self::List { allowed } => (*allowed).to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Properties => "NAME=VALUE".to_owned(),
        }
    }
}
