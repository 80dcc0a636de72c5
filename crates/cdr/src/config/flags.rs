//! The command-line flags of the settings, made from the registry.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::registry::{CONFIG_FILE, SETTINGS};
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

/// Which settings a subcommand offers as flags.
pub trait Scope {
    /// Whether it offers this one.
    fn offers(setting: &Setting) -> bool;
}

/// All of them.
#[derive(Clone)]
pub struct All;

impl Scope for All {
    fn offers(_: &Setting) -> bool {
        true
    }
}

/// Those of a run.
#[derive(Clone)]
pub struct RunOnly;

impl Scope for RunOnly {
    fn offers(setting: &Setting) -> bool {
        setting.heading() != "Processor"
    }
}

/// Those of the stream processor.
#[derive(Clone)]
pub struct ProcessOnly;

impl Scope for ProcessOnly {
    fn offers(setting: &Setting) -> bool {
        matches!(setting.heading(), "Kafka" | "Processor" | "Logs") || setting.key == "run.env"
    }
}

/// Those that decide what was used, and what it costs.
#[derive(Clone)]
pub struct UsageOnly;

impl Scope for UsageOnly {
    fn offers(setting: &Setting) -> bool {
        DataOnly::offers(setting)
            || ["store.", "tariff."].iter().any(|section| setting.key.starts_with(section))
    }
}

/// Those that decide what is simulated.
#[derive(Clone)]
pub struct DataOnly;

impl Scope for DataOnly {
    fn offers(setting: &Setting) -> bool {
        setting.heading() == "Data" || setting.key == "run.env"
    }
}

/// The flags of the settings in scope, for `#[command(flatten)]`.
#[derive(Clone)]
pub struct Flags<S: Scope> {
    pub values: FlagValues,
    scope: PhantomData<S>,
}

/// Flags of all settings.
pub type SettingFlags = Flags<All>;

/// Flags of a run's settings.
pub type RunFlags = Flags<RunOnly>;

/// Flags of the stream processor's settings.
pub type ProcessFlags = Flags<ProcessOnly>;

/// Flags of the settings that decide what was used, and what it costs.
pub type UsageFlags = Flags<UsageOnly>;

/// Flags of the settings that decide what is simulated.
pub type DataFlags = Flags<DataOnly>;

impl<S: Scope> Args for Flags<S> {
    fn augment_args(command: Command) -> Command {
        SETTINGS
            .iter()
            .filter(|setting| S::offers(setting))
            .filter_map(argument)
            .fold(command.args(config_argument()), Command::arg)
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
        for setting in SETTINGS.iter().filter(|s| s.flag.is_some() && S::offers(s)) {
            let mut given = matches.get_many::<String>(setting.key).into_iter().flatten().cloned();
            if matches!(setting.kind, Kind::Properties) {
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

fn config_argument() -> Option<Arg> {
    argument(&CONFIG_FILE).map(|argument| argument.value_parser(value_parser!(PathBuf)))
}

/// Values are taken as text: [`super::Config`] checks them the same way wherever they come from.
fn argument(setting: &'static Setting) -> Option<Arg> {
    let argument = Arg::new(setting.key)
        .long(setting.flag?)
        .value_name(setting.value_name)
        .help(setting.help)
        .long_help(long_help(setting))
        .help_heading(setting.heading())
        .allow_hyphen_values(matches!(setting.kind, Kind::Whole { .. }));
    Some(match setting.kind {
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Properties => argument.action(ArgAction::Append),
        _ => argument,
    })
}

fn long_help(setting: &Setting) -> String {
    let Setting { help, env, .. } = setting;
    let (allowed, default) = (setting.kind.allowed(), setting.default_shown());
    let repeatable = matches!(setting.kind, Kind::Properties);
    let or_variable = if repeatable { format!("{env}=\"a=b,c=d\"") } else { env.to_string() };
    format!("{help}: {allowed} [env: {or_variable}] [default: {default}]")
}
