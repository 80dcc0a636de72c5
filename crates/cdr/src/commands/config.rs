//! `cdr config`: the configuration in force, or the table of all settings.

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
pub fn execute(args: &ConfigArgs, context: &Context) -> anyhow::Result<Exit> {
    print(&match args.markdown {
        true => markdown(),
        false => effective(&context.without_log(&args.settings.values)?.resolved)?,
    })?;
    Ok(Exit::Complete)
}

/// The environment and why it was chosen, then one line per setting: key, value, origin. Secrets
/// are masked; what has no value shows `-`.
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
    let line = |[key, value, origin]: &[String; 3]| format!("{key:first$}  {value:second$}  {origin}\n");
    rows.iter().map(line).collect()
}

/// The table of all settings in Markdown, as it stands in the documentation.
pub(crate) fn markdown() -> String {
    let header =
        "| `cdr.toml` | Environment variable | Flag | Default | Meaning |\n|---|---|---|---|---|\n";
    let rows = std::iter::once(&*CONFIG_FILE).chain(SETTINGS.iter()).map(markdown_row);
    header.to_owned() + &rows.collect::<String>()
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
    let meaning = format!("{}: {}", setting.help, setting.allowed);
    let cells = [key, format!("`{}`", setting.env), flag, default, meaning];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}
