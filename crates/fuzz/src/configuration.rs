//! A configuration file, environment variables and flags, whatever they hold: a valid configuration
//! that a run can be planned by, or an error that names what is wrong and keeps secrets to itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use cdr::config::{All, Config, FileText, FlagValues, Flags, Inputs, SETTINGS, StartTime, resolve};
use cdr::delivery::pace::SimulatedClock;
use cdr::settings::Setting;
use cdr::setup;
use cdr_model::{Micros, Plan};
use chrono::NaiveDateTime;
use clap::{Args, Command, FromArgMatches};

/// What makes a text recognisable as a secret.
const MARK: &str = "hunter2";

/// What all secrets are, that are in no input: the content of password files.
const IN_FILE: &str = "hunter2 of a file";

/// What separates the configuration file from the variables and flags behind it.
const END_OF_FILE: &str = "\n---\n";

/// Takes the bytes as a configuration file, then a line `---`, then lines: flags where they begin
/// with a dash, otherwise variables, `NAME=VALUE`.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, rest) = match text.split_once(END_OF_FILE) {
        Some((file, rest)) => (file, rest),
        None => (text, ""),
    };
    let (flags, variables): (Vec<&str>, Vec<&str>) =
        rest.lines().partition(|line| line.starts_with('-'));
    let Some(flags) = parsed(&flags) else { return };
    let variables: BTreeMap<String, String> = variables
        .into_iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let secret = match text.matches(MARK).count() {
        // Where it is a secret and something else as well, people may see the something else.
        1 if is_secret(file, &variables, &flags) => MARK,
        _ => IN_FILE,
    };
    let shown = outcome(file, &variables, &flags).unwrap_or_else(|error| {
        let names = NAMES.iter().any(|name| error.contains(name.as_str()));
        assert!(names, "the error names nothing: {error}");
        error
    });
    assert!(!shown.contains(secret), "a secret is shown: {shown}");
}

/// What an error has to name one of: a setting, or the file.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let of_setting = |setting: &Setting| {
        let flag = setting.flag.map(|flag| format!("--{flag}"));
        [Some(setting.key.to_owned()), Some(setting.env.to_owned()), flag].into_iter().flatten()
    };
    SETTINGS.iter().flat_map(of_setting).chain(["cdr.toml:".to_owned()]).collect()
});

thread_local! {
    /// Making the command takes longer than parsing with it.
    static COMMAND: RefCell<Command> =
        RefCell::new(Flags::<All>::augment_args(Command::new("cdr").no_binary_name(true)));
}

/// The flags as the command line gives them; `None` where they are none.
fn parsed(arguments: &[&str]) -> Option<FlagValues> {
    if arguments.is_empty() {
        return Some(FlagValues::default());
    }
    COMMAND.with_borrow_mut(|command| {
        let matches = command.try_get_matches_from_mut(arguments).ok()?;
        Some(Flags::<All>::from_arg_matches(&matches).expect("what was matched").values)
    })
}

/// All that people may see of the configuration, or the error and its causes.
fn outcome(
    file: &str,
    variables: &BTreeMap<String, String>,
    flags: &FlagValues,
) -> Result<String, String> {
    let file = Some(FileText { name: "cdr.toml", text: file });
    let inputs = Inputs { flags, variables, file, read_file };
    let resolved = resolve(inputs).map_err(|error| chain(&error))?;
    let config = Config::build(&resolved).map_err(|error| chain(&error))?;
    let planned = plan(&config).map_err(|error| format!("{error:#}"))?;
    let values = resolved.values.iter().map(|value| format!("{} {}", value.shown(), value.given()));
    let properties = resolved.properties.values().map(|property| property.shown().to_owned());
    let values: Vec<String> = values.chain(properties).collect();
    Ok(format!("{config:?} {resolved:?} {values:?} {planned}"))
}

/// Stands for the file system.
fn read_file(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("secret") => Ok(format!("{IN_FILE}\n")),
        Some("empty") => Ok("\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Goes as far with a valid configuration as a run can without any network.
fn plan(config: &Config) -> Result<String, Box<dyn std::error::Error>> {
    let start = match config.data.start {
        StartTime::At(start) => start,
        StartTime::Now => NaiveDateTime::default(),
    };
    let scenario = setup::scenario(config, start);
    let run = setup::run_id(config);
    let plan = Plan::new(&scenario, run.shard)?;
    let plan = if config.run.follow { plan.without_end() } else { plan };
    let (first, last) = (plan.part(plan.first()), plan.history_end());
    let _ = (SimulatedClock::new(config.run.pace, &plan, Micros(0)), plan.parts(), plan.end());
    let parameters = setup::parameters(config, &scenario);
    assert!(parameters.differences(&parameters).is_empty());
    let names: Vec<_> =
        plan.streams().map(|stream| first.file_name(stream, config.file_format)).collect();
    Ok(format!("{names:?} {last}"))
}

/// Whether the mark is in a value that is a secret.
fn is_secret(file: &str, variables: &BTreeMap<String, String>, flags: &FlagValues) -> bool {
    let variable = |name| variables.get(name).is_some_and(|value| value.contains(MARK));
    let properties = variables.get("KAFKA_PROPERTIES").into_iter().flat_map(|text| text.split(','));
    let mut properties = properties.chain(flags.properties.iter().map(String::as_str));
    variable("SFTP_PASSWORD")
        || variable("SFTP_KEY_PASSPHRASE")
        || properties.any(|pair| pair.split_once('=').is_some_and(is_secret_property))
        || toml::from_str(file).is_ok_and(|table| is_secret_in_file(&table))
}

fn is_secret_property((name, value): (&str, &str)) -> bool {
    let name = name.trim();
    let secrets = ["sasl.password", "ssl.key.password", "sasl.oauthbearer.client.secret"];
    secrets.contains(&name) && value.contains(MARK)
}

fn is_secret_in_file(table: &toml::Table) -> bool {
    let text = |value: &toml::Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let section = |name| table.get(name).and_then(toml::Value::as_table);
    let sftp = section("sftp")
        .into_iter()
        .flat_map(|sftp| ["password", "key_passphrase"].into_iter().filter_map(|name| sftp.get(name)));
    let properties = section("kafka").and_then(|kafka| kafka.get("properties")?.as_table());
    let mut properties = properties.into_iter().flatten();
    sftp.map(text).any(|text| text.contains(MARK))
        || properties.any(|(name, value)| is_secret_property((name, &text(value))))
}
