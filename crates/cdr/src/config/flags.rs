//! The command-line flags of the settings, made from the registry.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::{CONFIG_FILE, ENVIRONMENT_KEY, SETTINGS};
use crate::settings::{Kind, Setting};

/// What was given on the command line, unparsed.
#[derive(Clone, Default)]
pub struct FlagValues {
    /// By the setting's key.
    pub values: BTreeMap<&'static str, String>,
    /// Each `--kafka-property`, in order.
    pub properties: Vec<String>,
    /// `--config`.
    pub config_file: Option<PathBuf>,
}

/// Which settings a subcommand offers as flags, besides the environment.
pub trait Scope {
    const OFFERS: fn(&Setting) -> bool;
}

/// Those that decide what is simulated.
pub struct DataOnly;

impl Scope for DataOnly {
    const OFFERS: fn(&Setting) -> bool = |setting| matches!(setting.section(), "data" | "files");
}

/// Those that decide what is simulated, and where its records are.
pub struct StatsOnly;

impl Scope for StatsOnly {
    const OFFERS: fn(&Setting) -> bool = |setting| {
        matches!(setting.section(), "data" | "files") || matches!(setting.heading(), "Kafka" | "Logs")
    };
}

/// Those that decide what was used, and what it costs.
pub struct UsageOnly;

impl Scope for UsageOnly {
    const OFFERS: fn(&Setting) -> bool =
        |setting| matches!(setting.section(), "data" | "files" | "store" | "tariff");
}

/// Those of the stream processor.
pub struct ProcessOnly;

impl Scope for ProcessOnly {
    const OFFERS: fn(&Setting) -> bool =
        |setting| matches!(setting.heading(), "Kafka" | "Processor" | "Logs");
}

/// Those of a run.
pub struct RunOnly;

impl Scope for RunOnly {
    const OFFERS: fn(&Setting) -> bool = |setting| setting.heading() != "Processor";
}

/// All of them.
pub struct All;

impl Scope for All {
    const OFFERS: fn(&Setting) -> bool = |_| true;
}

/// The flags of the settings in scope, for `#[command(flatten)]`.
pub struct Flags<S> {
    pub values: FlagValues,
    scope: PhantomData<S>,
}

impl<S: Scope> Flags<S> {
    fn settings() -> impl Iterator<Item = &'static Setting> {
        let offers = |setting: &&Setting| (S::OFFERS)(setting) || setting.key == ENVIRONMENT_KEY;
        SETTINGS.iter().filter(offers)
    }
}

impl<S: Scope> Args for Flags<S> {
    fn augment_args(command: Command) -> Command {
        let config_file = argument(&CONFIG_FILE).map(|file| file.value_parser(value_parser!(PathBuf)));
        command.args(config_file).args(Self::settings().filter_map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S: Scope> FromArgMatches for Flags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut values = FlagValues {
            config_file: matches.get_one::<PathBuf>(CONFIG_FILE.key).cloned(),
            ..FlagValues::default()
        };
        for setting in Self::settings().filter(|setting| setting.flag.is_some()) {
            let mut given = matches.get_many::<String>(setting.key).into_iter().flatten().cloned();
            if setting.kind == Kind::Properties {
                values.properties.extend(given);
            } else if let Some(value) = given.next() {
                values.values.insert(setting.key, value);
            }
        }
        Ok(Self { values, scope: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Values are taken as text: [`super::Config`] checks them the same way wherever they come from.
fn argument(setting: &'static Setting) -> Option<Arg> {
    let Setting { help, env, allowed, kind, .. } = setting;
    let example = if *kind == Kind::Properties { "=\"a=b,c=d\"" } else { "" };
    let default = setting.default_shown();
    let argument = Arg::new(setting.key)
        .long(setting.flag?)
        .value_name(setting.value_name)
        .help(help)
        .long_help(format!("{help}: {allowed} [env: {env}{example}] [default: {default}]"))
        .help_heading(setting.heading())
        .allow_hyphen_values(*kind == Kind::Whole)
        .allow_negative_numbers(*kind == Kind::Text);
    Some(match kind {
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Properties => argument.action(ArgAction::Append),
        _ => argument,
    })
}
