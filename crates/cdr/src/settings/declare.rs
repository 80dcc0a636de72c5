//! How settings are declared, and read into what they set.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::choice::Choice;
use super::error::ConfigError;
use super::resolved::{Resolved, ResolvedValue};
use super::setting::{DefaultValue, Kind, Setting};
use crate::secret::Secret;

/// A value that settings make.
pub trait Section: Sized {
    /// Adds its settings to a list, in the order in which people read them.
    fn declare(list: &mut Vec<Setting>);

    /// Reads it.
    ///
    /// # Errors
    /// The first value that is not allowed.
    fn read(values: &Resolved) -> Result<Self, ConfigError>;
}

/// A field of a section.
pub trait Field<T> {
    /// Adds its settings to a list; `help` is the field's documentation.
    fn declare(&self, section: &str, help: &[&'static str], list: &mut Vec<Setting>);

    /// Reads it.
    ///
    /// # Errors
    /// A value that is not allowed.
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
    env: Cow<'static, str>,
    key: Option<&'static str>,
    flag: Option<&'static str>,
    value_name: &'static str,
    kind: Kind,
    default: DefaultValue,
    secret: bool,
    read: Read<T>,
}

impl<T: 'static> Declared<T> {
    fn new(
        env: impl Into<Cow<'static, str>>,
        value_name: &'static str,
        kind: Kind,
        read: impl Fn(&ResolvedValue, &Resolved) -> Result<T, ConfigError> + 'static,
    ) -> Declared<T> {
        Declared {
            env: env.into(),
            key: None,
            flag: None,
            value_name,
            kind,
            default: DefaultValue::Unset(""),
            secret: false,
            read: Box::new(read),
        }
    }

    /// The value where nobody gives one.
    pub fn default(self, text: &'static str) -> Self {
        Declared { default: DefaultValue::Always(text), ..self }
    }

    /// The same by environment.
    pub fn dev_prod(self, dev: &'static str, prod: &'static str) -> Self {
        Declared { default: DefaultValue::ByEnvironment { dev, prod }, ..self }
    }

    /// The same, with or without a home folder.
    pub fn in_home(self, with: &'static str, without: &'static str) -> Self {
        Declared { default: DefaultValue::InHome { with, without }, ..self }
    }

    /// What happens where nobody gives a value.
    pub fn unset(self, meaning: &'static str) -> Self {
        Declared { default: DefaultValue::Unset(meaning), ..self }
    }

    /// What stands for the value in help.
    pub fn value(self, value_name: &'static str) -> Self {
        Declared { value_name, ..self }
    }

    /// The key, where it does not follow from the variable.
    pub fn key(self, key: &'static str) -> Self {
        Declared { key: Some(key), ..self }
    }

    /// The flag, where it does not follow from the variable.
    pub fn flag(self, flag: &'static str) -> Self {
        Declared { flag: Some(flag), ..self }
    }

    /// Makes something else of the value.
    pub fn map<U: 'static>(self, make: impl Fn(T) -> U + 'static) -> Declared<U> {
        let Declared { env, key, flag, value_name, kind, default, secret, read } = self;
        let read: Read<U> = Box::new(move |value, values| read(value, values).map(&make));
        Declared { env, key, flag, value_name, kind, default, secret, read }
    }

    /// There may be no value.
    pub fn optional(self) -> Declared<Option<T>> {
        let Declared { env, key, flag, value_name, kind, default, secret, read } = self;
        let read: Read<Option<T>> = Box::new(move |value, values| match value.text {
            Some(_) => read(value, values).map(Some),
            None => Ok(None),
        });
        Declared { env, key, flag, value_name, kind, default, secret, read }
    }

    /// `sftp.host` of `SFTP_HOST` in the section `sftp`; `data.line_count` of `LINE_COUNT` in `data`.
    fn full_key(&self, section: &str) -> String {
        if let Some(key) = self.key {
            return key.to_owned();
        }
        let name = self.env.to_ascii_lowercase();
        let of_section = name.strip_prefix(section).and_then(|rest| rest.strip_prefix('_'));
        format!("{section}.{}", of_section.unwrap_or(&name))
    }
}

impl<T: 'static> Field<T> for Declared<T> {
    fn declare(&self, section: &str, help: &[&'static str], list: &mut Vec<Setting>) {
        let flag = || &*self.env.to_ascii_lowercase().replace('_', "-").leak();
        list.push(Setting {
            // A registry is made once, so its texts may stay for ever.
            key: self.full_key(section).leak(),
            env: self.env.clone().into_owned().leak(),
            flag: (!self.secret).then(|| self.flag.unwrap_or_else(flag)),
            value_name: self.value_name,
            kind: self.kind.clone(),
            default: self.default,
            help: help.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").leak(),
            secret: self.secret,
        });
    }

    fn read(&self, section: &str, values: &Resolved) -> Result<T, ConfigError> {
        (self.read)(values.value(&self.full_key(section))?, values)
    }
}

/// A field that is made of another section.
pub struct Nested<S, T> {
    make: fn(S, &Resolved) -> Result<T, ConfigError>,
    section: PhantomData<S>,
}

impl<S: Section, T> Field<T> for Nested<S, T> {
    fn declare(&self, _: &str, _: &[&'static str], list: &mut Vec<Setting>) {
        S::declare(list);
    }

    fn read(&self, _: &str, values: &Resolved) -> Result<T, ConfigError> {
        (self.make)(S::read(values)?, values)
    }
}

/// Makes a field of the values of another section.
pub fn nested<S: Section, T>(make: fn(S, &Resolved) -> Result<T, ConfigError>) -> Nested<S, T> {
    Nested { make, section: PhantomData }
}

/// A field that is no setting.
pub struct Computed<T>(fn(&Resolved) -> T);

impl<T> Field<T> for Computed<T> {
    fn declare(&self, _: &str, _: &[&'static str], _: &mut Vec<Setting>) {}

    fn read(&self, _: &str, values: &Resolved) -> Result<T, ConfigError> {
        Ok((self.0)(values))
    }
}

/// Makes a field of other settings' values.
pub fn computed<T>(make: fn(&Resolved) -> T) -> Computed<T> {
    Computed(make)
}

/// A value in a form of its own; `parse` gives None for what is not `allowed`.
pub fn parsed<T: 'static>(
    env: impl Into<Cow<'static, str>>,
    allowed: &'static str,
    parse: impl Fn(&str) -> Option<T> + 'static,
) -> Declared<T> {
    of_text(env, "TEXT", Kind::Text { allowed }, parse)
}

fn of_text<T: 'static>(
    env: impl Into<Cow<'static, str>>,
    value_name: &'static str,
    kind: Kind,
    parse: impl Fn(&str) -> Option<T> + 'static,
) -> Declared<T> {
    Declared::new(env, value_name, kind, move |value, _| {
        value.text.as_deref().and_then(&parse).ok_or_else(|| value.refused())
    })
}

/// Text that `accepts` does.
pub fn text(
    env: impl Into<Cow<'static, str>>,
    allowed: &'static str,
    accepts: fn(&str) -> bool,
) -> Declared<String> {
    parsed(env, allowed, move |text| accepts(text).then(|| text.to_owned()))
}

/// A whole number in a range.
pub fn whole<T: TryFrom<u64> + 'static>(env: &'static str, range: RangeInclusive<u64>) -> Declared<T> {
    let (min, max) = range.clone().into_inner();
    of_text(env, "NUMBER", Kind::Whole { min, max }, move |text| {
        let number = text.trim().parse().ok().filter(|number| range.contains(number))?;
        T::try_from(number).ok()
    })
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
    of_text(env, "BOOL", Kind::Switch, parse).default("false")
}

/// One of an enum's words.
pub fn word<T: Choice>(env: &'static str) -> Declared<T> {
    let words = T::ALL.iter().map(|variant| variant.word()).collect();
    of_text(env, "WORD", Kind::Word(words), |text| T::from_word(text.trim()))
}

/// One of these words.
pub fn one_of(env: &'static str, words: &'static [&'static str]) -> Declared<&'static str> {
    of_text(env, "WORD", Kind::Word(words.to_vec()), |text| {
        words.iter().copied().find(|word| *word == text.trim())
    })
}

/// A comma-separated list of at least one item, none twice.
pub fn list<T: PartialEq + 'static>(
    env: &'static str,
    allowed: &'static str,
    parse: impl Fn(&str) -> Option<T> + 'static,
) -> Declared<Vec<T>> {
    of_text(env, "LIST", Kind::List { allowed }, move |text| items(text, &parse))
}

fn items<T: PartialEq>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut items = Vec::new();
    for part in text.split(',') {
        let item = parse(part.trim()).filter(|item| !items.contains(item))?;
        items.push(item);
    }
    Some(items)
}

/// A comma-separated list of at least one word of an enum, none twice.
pub fn words<T: Choice + PartialEq>(env: &'static str) -> Declared<Vec<T>> {
    let names = T::ALL.iter().map(|choice| choice.word()).collect();
    of_text(env, "LIST", Kind::Words(names), |text| items(text, T::from_word))
}

/// A path, whose leading `~/` stands for the home folder.
pub fn path(env: &'static str) -> Declared<PathBuf> {
    Declared::new(env, "PATH", Kind::Path, |value, values| {
        let text = value.text.as_ref().ok_or_else(|| value.refused())?;
        let Some(in_home) = text.strip_prefix("~/") else { return Ok(PathBuf::from(text)) };
        let home = values.home.as_deref().ok_or_else(|| ConfigError::NoHome {
            name: value.name(),
            given: value.given(),
            origin: value.origin.clone(),
        })?;
        Ok(PathBuf::from(home).join(in_home))
    })
}

/// A secret, which has no flag and is never shown.
pub fn secret(env: &'static str) -> Declared<Secret> {
    let kind = Kind::Text { allowed: "any text" };
    let declared = of_text(env, "TEXT", kind, |text| Some(Secret::new(text)));
    Declared { secret: true, ..declared }
}

/// The further properties of librdkafka.
pub fn properties(env: &'static str) -> Declared<BTreeMap<String, Secret>> {
    let read = |values: &Resolved| {
        let properties = values.properties.iter();
        properties.map(|(name, property)| (name.clone(), property.value.clone())).collect()
    };
    Declared::new(env, "NAME=VALUE", Kind::Properties, move |_, values| Ok(read(values)))
}
