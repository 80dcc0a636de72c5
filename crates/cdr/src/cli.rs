//! The command line: what can be typed. No logic.

use clap::{ArgAction, Parser};

use crate::commands::Command;

const EXIT_CODES: &str = "\
Exit codes:
    0  complete (also when the run was finished already)
    1  failed
    2  usage or configuration
    3  refused to continue: what is delivered and what is known do not agree
    4  a destination is unreachable, or gave up on
    5  fenced: another process runs with the same run name and shard
    6  cdr verify: what is there is not what should be; cdr stats --check: a law is not kept
  130  stopped by SIGINT, progress saved
  143  stopped by SIGTERM, progress saved

Settings come from defaults, cdr.toml, environment variables and flags; later ones win.
`cdr config` shows what is in force and where it came from.";

/// Generates synthetic call detail records and delivers them over SFTP and Kafka, exactly once.
#[derive(Parser)]
#[command(name = "cdr", version, after_long_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// Log warnings and errors only; twice: errors only
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "verbose")]
    quiet: u8,

    /// Log more: -v decisions, -vv every detail
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
}

impl Cli {
    /// How much is logged, relative to `--log-level`: steps towards more (positive) or less.
    pub fn verbosity(&self) -> i32 {
        i32::from(self.verbose) - i32::from(self.quiet)
    }
}

#[cfg(test)]
mod tests {
    use cdr_model::Stream;
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn setting_flags_arrive_by_key() {
        let cli = parse(
            "cdr run -vv --line-count 5 --follow --sftp-agent=no --config my.toml --dry-run \
             --kafka-property a=b --kafka-property debug=all",
        );
        let Command::Run(args) = cli.as_ref().ok().map(|cli| &cli.command).unwrap() else {
            panic!("not run");
        };
        let given = &args.settings.values;
        assert_eq!(cli.as_ref().ok().unwrap().verbosity(), 2);
        assert!(args.dry_run && !args.restart && !args.trust_index);
        assert_eq!(given.values["data.line_count"], "5");
        assert_eq!(given.values["run.follow"], "true");
        assert_eq!(given.values["sftp.agent"], "no");
        assert_eq!(given.values.len(), 3);
        assert_eq!(given.properties, ["a=b", "debug=all"]);
        assert_eq!(given.config_file.as_deref().unwrap().to_str(), Some("my.toml"));
    }

    #[test]
    fn sample_takes_data_settings_only() {
        let cli = parse("cdr sample voice -n 3 --format json --part 7 --seed 9 --env prod").ok();
        let Some(Cli { command: Command::Sample(args), .. }) = cli else { panic!("not sample") };
        assert_eq!((args.stream, args.count, args.part), (Stream::Voice, 3, 7));
        assert_eq!(args.settings.values.values["data.seed"], "9");
        assert_eq!(args.settings.values.values["run.env"], "prod");
        assert!(parse("cdr sample data --sftp-host x").is_err());
    }

    #[test]
    fn a_secret_has_no_flag() {
        for flag in ["--sftp-password", "--sftp-key-passphrase"] {
            assert!(parse(&format!("cdr run {flag} x")).is_err(), "{flag}");
        }
    }

    #[test]
    fn exit_codes_are_in_the_long_help() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("  5  fenced: another process"), "{help}");
    }
}
