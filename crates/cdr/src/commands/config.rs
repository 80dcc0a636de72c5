//! `cdr config`: the configuration in force, or the table of all settings.

use std::fmt::Write;

use clap::Args;

use crate::commands::context::Context;
use crate::config::{All, CONFIG_FILE, Flags, SETTINGS};
use crate::exit::Exit;
use crate::output::print;
use crate::settings::{ConfigError, DefaultValue, Kind, Origin, Resolved, Setting};

pub const EXAMPLES: &str = "\
Examples:
  cdr config                                   each setting, its value and its origin
  cdr config --env prod                        as it would be in production
  cdr config --markdown                        the table of settings in the documentation";

/// `cdr config`.
#[derive(Args)]
pub struct ConfigArgs {
    /// Print the table of all settings for the documentation instead
    #[arg(long)]
    pub markdown: bool,

    #[command(flatten)]
    pub settings: Flags<All>,
}

/// Prints the configuration in force, or the table of all settings.
///
/// # Errors
/// A configuration that cannot be.
pub fn execute(args: &ConfigArgs, context: &Context) -> anyhow::Result<Exit> {
    if args.markdown {
        print(&markdown())?;
        return Ok(Exit::Complete);
    }
    let loaded = context.without_log(&args.settings.values)?;
    print(&effective(&loaded.resolved)?)?;
    Ok(Exit::Complete)
}

/// The environment and why it was chosen, then one line per setting: key, value, origin. Secrets
/// are masked; what has no value shows `-`.
///
/// # Errors
/// Only if the registry lacks `run.env`.
pub(crate) fn effective(resolved: &Resolved) -> Result<String, ConfigError> {
    // A table is shown by what is in it.
    let values = resolved.values.iter().filter(|value| value.setting.kind != Kind::Properties);
    let settings = values.map(|value| {
        [value.setting.key.to_owned(), value.shown().to_owned(), origin(value.setting, &value.origin)]
    });
    let properties = resolved.properties.iter().map(|(name, property)| {
        let key = format!("kafka.properties.{name}");
        [key, property.shown().to_owned(), property.origin.to_string()]
    });
    let header = ["SETTING", "VALUE", "ORIGIN"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(header).chain(settings).chain(properties).collect();

    let because = match &resolved.value("run.env")?.origin {
        detected @ Origin::Detected { .. } => format!("because {detected}"),
        given => format!("because of {given}"),
    };
    Ok(format!("Environment: {}, {because}\n\n{}", resolved.environment, aligned(&rows)))
}

/// The origin, with what it means that there is no value.
fn origin(setting: &Setting, origin: &Origin) -> String {
    match (origin, setting.default) {
        (Origin::Default(_), DefaultValue::Unset(meaning)) if !meaning.is_empty() => {
            format!("{origin}: {meaning}")
        }
        _ => origin.to_string(),
    }
}

fn aligned(rows: &[[String; 3]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let (first, second) = (width(0).unwrap_or_default(), width(1).unwrap_or_default());
    rows.iter().fold(String::new(), |mut text, [key, value, origin]| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key:first$}  {value:second$}  {origin}");
        text
    })
}

/// The table of all settings in Markdown, as it stands in the documentation.
pub(crate) fn markdown() -> String {
    let mut table = String::from(
        "| `cdr.toml` | Environment variable | Flag | Default | Meaning |\n|---|---|---|---|---|\n",
    );
    for setting in std::iter::once(&*CONFIG_FILE).chain(SETTINGS.iter()) {
        table.push_str(&markdown_row(setting));
    }
    table
}

fn markdown_row(setting: &Setting) -> String {
    let key = match setting.key.contains('.') {
        true => format!("`{}`", setting.key),
        false => String::new(),
    };
    let flag = match setting.flag {
        Some(flag) => format!("`--{flag}`"),
        None => "none, it is a secret".to_owned(),
    };
    let default = match setting.kind {
        Kind::Properties => "none".to_owned(),
        _ => setting.default_shown().replace(',', ", ").replace(",  ", ", "),
    };
    let cells = [
        key,
        format!("`{}`", setting.env),
        flag,
        default,
        format!("{}: {}", setting.help, setting.allowed),
    ];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}
