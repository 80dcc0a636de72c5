//! How settings are declared, and read into what they set.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::HumanCount;

use super::resolved::{ConfigError, Resolved, ResolvedValue};
use super::setting::{DefaultValue, Kind, Setting};
use crate::secret::Secret;

/// A value that settings make.
pub trait Section: Sized {
    /// Adds its settings to a list, in the order in which people read them.
    fn declare(list: &mut Vec<Setting>);

    /// Reads it, up to the first value that is not allowed.
    fn read(values: &Resolved) -> Result<Self, ConfigError>;
}

/// No settings, for a field that is made of those of others.
impl Section for () {
    fn declare(_: &mut Vec<Setting>) {}

    fn read(_: &Resolved) -> Result<Self, ConfigError> {
        Ok(())
    }
}

/// A field of a section.
pub trait Field<T> {
    /// Adds its settings to a list; `help` is the field's documentation.
    fn declare(&self, section: &str, help: &[&'static str], list: &mut Vec<Setting>);

    /// Reads it, if its values are allowed.
    fn read(&self, section: &str, values: &Resolved) -> Result<T, ConfigError>;
}

/// Defines a struct whose fields are settings, or lists which settings are fields of a struct.
macro_rules! settings {
    ($(#[$meta:meta])* $vis:vis struct $name:ident in $section:literal {
        $($(#[doc = $doc:literal])* pub $field:ident: $type:ty = $declared:expr,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $($(#[doc = $doc])* pub $field: $type,)*
        }

        $crate::settings::settings! {
            impl $name in $section { $($(#[doc = $doc])* $field: $type = $declared,)* }
        }
    };
    (impl $name:ident in $section:literal {
        $($(#[doc = $doc:literal])* $field:ident: $type:ty = $declared:expr,)*
    }) => {
        impl $crate::settings::Section for $name {
            fn declare(list: &mut Vec<$crate::settings::Setting>) {
                $($crate::settings::Field::<$type>::declare(&$declared, $section, &[$($doc),*], list);)*
            }

            fn read(
                values: &$crate::settings::Resolved,
            ) -> Result<Self, $crate::settings::ConfigError> {
                Ok($name {
                    $($field: $crate::settings::Field::<$type>::read(&$declared, $section, values)?,)*
                })
            }
        }
    };
}
pub(crate) use settings;

type Read<T> = Box<dyn Fn(&ResolvedValue, &Resolved) -> Result<T, ConfigError>>;

/// The declaration of one setting.
pub struct Declared<T> {
    /// Section and documentation still have to give it a key, a flag and a meaning.
    setting: Setting,
    read: Read<T>,
}

impl<T: 'static> Declared<T> {
    fn new(
        env: &'static str,
        allowed: impl Into<Cow<'static, str>>,
        read: impl Fn(&ResolvedValue, &Resolved) -> Result<T, ConfigError> + 'static,
    ) -> Self {
        let setting = Setting {
            key: "",
            env,
            flag: None,
            value_name: "TEXT",
            kind: Kind::Text,
            allowed: allowed.into(),
            default: DefaultValue::Unset(""),
            help: "",
            secret: false,
        };
        Declared { setting, read: Box::new(read) }
    }

    fn kind(mut self, kind: Kind) -> Self {
        self.setting.kind = kind;
        self
    }

    fn with_default(mut self, default: DefaultValue) -> Self {
        self.setting.default = default;
        self
    }

    /// The value where nobody gives one.
    pub fn default(self, text: &'static str) -> Self {
        self.with_default(DefaultValue::Always(text))
    }

    /// The same by environment.
    pub fn dev_prod(self, dev: &'static str, prod: &'static str) -> Self {
        self.with_default(DefaultValue::ByEnvironment { dev, prod })
    }

    /// The same, with or without a home folder.
    pub fn in_home(self, with: &'static str, without: &'static str) -> Self {
        self.with_default(DefaultValue::InHome { with, without })
    }

    /// What happens where nobody gives a value.
    pub fn unset(self, meaning: &'static str) -> Self {
        self.with_default(DefaultValue::Unset(meaning))
    }

    /// What stands for the value in help.
    pub fn value(mut self, value_name: &'static str) -> Self {
        self.setting.value_name = value_name;
        self
    }

    /// The key, where it does not follow from the variable.
    pub fn key(mut self, key: &'static str) -> Self {
        self.setting.key = key;
        self
    }

    /// The flag, where it does not follow from the variable.
    pub fn flag(mut self, flag: &'static str) -> Self {
        self.setting.flag = Some(flag);
        self
    }

    /// Makes something else of the value.
    pub fn map<U: 'static>(self, make: impl Fn(T) -> U + 'static) -> Declared<U> {
        let Declared { setting, read } = self;
        Declared { setting, read: Box::new(move |value, values| read(value, values).map(&make)) }
    }

    /// There may be no value.
    pub fn optional(self) -> Declared<Option<T>> {
        let Declared { setting, read } = self;
        let read: Read<Option<T>> = Box::new(move |value, values| match value.text {
            Some(_) => read(value, values).map(Some),
            None => Ok(None),
        });
        Declared { setting, read }
    }

    /// `sftp.host` of `SFTP_HOST` in the section `sftp`; `data.line_count` of `LINE_COUNT` in `data`.
    fn full_key(&self, section: &str) -> String {
        if !self.setting.key.is_empty() {
            return self.setting.key.to_owned();
        }
        let name = self.setting.env.to_ascii_lowercase();
        let of_section = name.strip_prefix(section).and_then(|rest| rest.strip_prefix('_'));
        format!("{section}.{}", of_section.unwrap_or(&name))
    }

    /// The setting as a section lists it.
    pub fn setting(&self, section: &str, help: &[&'static str]) -> Setting {
        let setting = self.setting.clone();
        let flag = || &*setting.env.to_ascii_lowercase().replace('_', "-").leak();
        Setting {
            // A registry is made once, so its texts may stay for ever.
            key: self.full_key(section).leak(),
            flag: (!setting.secret).then(|| setting.flag.unwrap_or_else(flag)),
            help: help.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").leak(),
            ..setting
        }
    }
}

impl<T: 'static> Field<T> for Declared<T> {
    fn declare(&self, section: &str, help: &[&'static str], list: &mut Vec<Setting>) {
        list.push(self.setting(section, help));
    }

    fn read(&self, section: &str, values: &Resolved) -> Result<T, ConfigError> {
        (self.read)(values.value(&self.full_key(section))?, values)
    }
}

/// A field that is made of another section.
pub struct Nested<S, T>(fn(S, &Resolved) -> Result<T, ConfigError>);

impl<S: Section, T> Field<T> for Nested<S, T> {
    fn declare(&self, _: &str, _: &[&'static str], list: &mut Vec<Setting>) {
        S::declare(list);
    }

    fn read(&self, _: &str, values: &Resolved) -> Result<T, ConfigError> {
        (self.0)(S::read(values)?, values)
    }
}

/// Makes a field of the values of another section.
pub fn nested<S: Section, T>(make: fn(S, &Resolved) -> Result<T, ConfigError>) -> Nested<S, T> {
    Nested(make)
}

/// A value in a form of its own; `parse` gives None for what is not `allowed`.
pub fn parsed<T: 'static>(
    env: &'static str,
    allowed: impl Into<Cow<'static, str>>,
    parse: impl Fn(&str) -> Option<T> + 'static,
) -> Declared<T> {
    Declared::new(env, allowed, move |value, _| {
        value.text.as_deref().and_then(&parse).ok_or_else(|| value.refused())
    })
}

/// Text that `accepts` does.
pub fn text(env: &'static str, allowed: &'static str, accepts: fn(&str) -> bool) -> Declared<String> {
    parsed(env, allowed, move |text| accepts(text).then(|| text.to_owned()))
}

/// A whole number in a range.
pub fn whole<T: TryFrom<u64> + 'static>(env: &'static str, range: RangeInclusive<u64>) -> Declared<T> {
    let (min, max) = (HumanCount(*range.start()), HumanCount(*range.end()));
    let allowed = format!("a whole number from {min} to {max}");
    let parse = move |text: &str| {
        let number = text.trim().parse().ok().filter(|number| range.contains(number))?;
        T::try_from(number).ok()
    };
    parsed(env, allowed, parse).kind(Kind::Whole).value("NUMBER")
}

/// A whole number of seconds.
pub fn seconds(env: &'static str, range: RangeInclusive<u64>) -> Declared<Duration> {
    whole(env, range).value("SECONDS").map(Duration::from_secs)
}

/// A whole number of milliseconds.
pub fn milliseconds(env: &'static str, range: RangeInclusive<u64>) -> Declared<Duration> {
    whole(env, range).value("MS").map(Duration::from_millis)
}

/// Yes or no; no by default.
pub fn switch(env: &'static str) -> Declared<bool> {
    let parse = |text: &str| match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    };
    let declared = parsed(env, "true or false (or 1, 0, yes, no)", parse);
    declared.kind(Kind::Switch).value("BOOL").default("false")
}

/// One of these words, which `from_name` takes.
pub fn word<T: 'static>(
    env: &'static str,
    names: &[&'static str],
    from_name: impl Fn(&str) -> Option<T> + 'static,
) -> Declared<T> {
    let allowed = match names {
        [only] => (*only).to_owned(),
        names => format!("one of {}", names.join(", ")),
    };
    parsed(env, allowed, move |text| from_name(text.trim())).value("WORD")
}

/// A comma-separated list of at least one of these words, none twice.
pub fn words<T: PartialEq + 'static>(
    env: &'static str,
    names: &[&'static str],
    from_name: impl Fn(&str) -> Option<T> + 'static,
) -> Declared<Vec<T>> {
    list(env, format!("a comma list of {}, none twice", names.join(", ")), from_name)
}

/// A comma-separated list of at least one item, none twice.
pub fn list<T: PartialEq + 'static>(
    env: &'static str,
    allowed: impl Into<Cow<'static, str>>,
    parse: impl Fn(&str) -> Option<T> + 'static,
) -> Declared<Vec<T>> {
    let parse = move |text: &str| {
        let mut items = Vec::new();
        for part in text.split(',') {
            let item = parse(part.trim()).filter(|item| !items.contains(item))?;
            items.push(item);
        }
        Some(items)
    };
    parsed(env, allowed, parse).kind(Kind::List).value("LIST")
}

/// A path, whose leading `~/` stands for the home folder.
pub fn path(env: &'static str) -> Declared<PathBuf> {
    let read = |value: &ResolvedValue, values: &Resolved| {
        let text = value.text.as_ref().ok_or_else(|| value.refused())?;
        let Some(in_home) = text.strip_prefix("~/") else { return Ok(PathBuf::from(text)) };
        let homeless = format_args!("cannot be found, because HOME is not set");
        let home = values.home.as_deref().ok_or_else(|| value.error(homeless))?;
        Ok(PathBuf::from(home).join(in_home))
    };
    Declared::new(env, "a path", read).value("PATH")
}

/// A secret, which has no flag and is never shown.
pub fn secret(env: &'static str) -> Declared<Secret> {
    let mut declared = parsed(env, "any text", |text| Some(Secret::new(text)));
    declared.setting.secret = true;
    declared
}

/// The further properties of librdkafka.
pub fn properties(env: &'static str) -> Declared<BTreeMap<String, Secret>> {
    let read = |_: &ResolvedValue, values: &Resolved| {
        let properties = values.properties.iter();
        Ok(properties.map(|(name, property)| (name.clone(), property.value.clone())).collect())
    };
    Declared::new(env, "NAME=VALUE", read).kind(Kind::Properties).value("NAME=VALUE")
}

/// The name of a topic.
pub fn topic(env: &'static str) -> Declared<String> {
    let allowed = "a topic name of 1 to 249 characters A-Z a-z 0-9 . _ -";
    text(env, allowed, is_topic).value("TOPIC")
}

/// The name of a topic, by Kafka's rules.
pub fn is_topic(text: &str) -> bool {
    is_name(text, 249) && text != "." && text != ".."
}

/// A host name or address, not looked up.
pub fn is_host(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Up to so many of `A-Z a-z 0-9 . _ -`.
pub fn is_name(text: &str, length_max: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=length_max).contains(&text.len()) && text.bytes().all(allowed)
}
