//! The command line: what can be typed. No logic.

use std::net::IpAddr;
use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::config::{DataFlags, ProcessFlags, RunFlags, SettingFlags, UsageFlags};

const EXIT_CODES: &str = "\
Exit codes:
    0  complete (also when the run was finished already)
    1  failed
    2  usage or configuration
    3  refused to continue: what is delivered and what is known do not agree
    4  a destination is unreachable, or gave up on
    5  fenced: another process runs with the same run name and shard
    6  cdr verify: what is there is not what should be
  130  stopped by SIGINT, progress saved
  143  stopped by SIGTERM, progress saved

Settings come from defaults, cdr.toml, environment variables and flags; later ones win.
`cdr config` shows what is in force and where it came from.";

const RUN_EXAMPLES: &str = "\
Examples:
  cdr run                                      all records to SFTP and Kafka, continuing where it stopped
  cdr run --sinks directory --directory out    files to a folder only
  cdr run --start now --pace realtime --follow a live stream without end
  cdr run --shard 2/8                          the second of eight processes that share the work
  cdr run --dry-run                            what would be delivered, and where";

const SAMPLE_EXAMPLES: &str = "\
Examples:
  cdr sample data                              ten data records as CSV
  cdr sample voice -n 3 --format json          three voice records as Kafka messages
  cdr sample data --part 85 --seed 7           from the 86th file of another seed";

const VERIFY_EXAMPLES: &str = "\
Examples:
  cdr verify                                   every file and every record of the run, with the run's settings
  cdr verify --sinks kafka                     the topics alone
  cdr verify --format json | jq .right         for machines
  cdr verify && echo complete                  exit code 0 only when all is right, otherwise 6

What should be there is generated anew from the seed, so give the settings that the run had. It changes
nothing, and can look at a run that is still going: then at what is committed so far.";

const PROCESS_EXAMPLES: &str = "\
Examples:
  cdr process                                  count what the topics hold and what comes, into usage.db, until Ctrl-C
  cdr process --until-end                      end when all that there is has been counted
  STORE_URL=postgres://… cdr process           into PostgreSQL; any number of them share the work
  API_PORT=0 METRICS_PORT=0 cdr process        another one on the same host, with ports that are free
  cdr process --restart                        forget what was counted, and begin with the first message

Sums and the place up to which the topics are read change in one transaction, so that every message counts once:
after a kill, a rebalance, or with several processors at once.";

const USAGE_EXAMPLES: &str = "\
Examples:
  cdr usage                                    the heaviest subscribers and towers, as cdr process has counted
  cdr usage 27821234567                        a subscriber's days, with charges and stays
  cdr usage 27821234567 --from 2024-01-02      from a day on
  cdr usage 27821234567 --expected             what the run's records come to, computed anew from the seed
  cdr usage 27821234567 --format json | jq .total.charge";

const SANDBOX_EXAMPLES: &str = "\
Examples:
  cdr sandbox                                  SFTP on localhost:10022, Kafka on localhost:19092, until Ctrl-C
  cdr sandbox --dir /tmp/try --kafka-port 0    data elsewhere, and a port that is free
  KAFKA_BROKERS=localhost:19092 cdr run        from another terminal: the job against it

The password of the SFTP user is `password`, or what SFTP_PASSWORD says. It is for trying things out on one
machine; what is acknowledged is kept on disk and is there at the next start.";

const DEMO_EXAMPLES: &str = "\
Examples:
  cdr demo                                     a day of records through services of its own, then a look at them
  cdr demo --lines-per-second 10               ten times as many
  cdr demo --restart                           once more from the beginning
  cdr demo </dev/null | tee demo.txt           without a terminal it ends by itself";

const CONFIG_EXAMPLES: &str = "\
Examples:
  cdr config                                   each setting, its value and its origin
  cdr config --env prod                        as it would be in production
  cdr config --markdown                        the table of settings in the README";

/// Generates synthetic call detail records and delivers them over SFTP and Kafka, exactly once.
#[derive(Parser)]
#[command(name = "cdr", version, after_long_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// How much is logged, relative to `--log-level`.
#[derive(Args)]
pub struct Verbosity {
    /// Log warnings and errors only; twice: errors only
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "verbose")]
    quiet: u8,

    /// Log more: -v decisions, -vv every detail
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
}

impl Verbosity {
    /// Steps towards more (positive) or less (negative) verbose, for `LogLevel::shifted`.
    pub fn steps(&self) -> i32 {
        i32::from(self.verbose) - i32::from(self.quiet)
    }
}

/// What `cdr` does.
#[derive(Subcommand)]
pub enum Command {
    /// Generate the records and deliver them, continuing where an earlier run stopped
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),

    /// Compare what was delivered with what should be: nothing missing, doubled or altered
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Box<VerifyArgs>),

    /// Count usage from the topics, exactly once, and answer questions about it
    #[command(after_help = PROCESS_EXAMPLES)]
    Process(Box<ProcessArgs>),

    /// Show what a subscriber used, or who used most
    #[command(after_help = USAGE_EXAMPLES)]
    Usage(Box<UsageArgs>),

    /// See the whole job work, with an SFTP server and a broker of its own
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Box<DemoArgs>),

    /// Serve SFTP and Kafka from this process, to try things out
    #[command(after_help = SANDBOX_EXAMPLES)]
    Sandbox(SandboxArgs),

    /// Print some records
    #[command(after_help = SAMPLE_EXAMPLES)]
    Sample(Box<SampleArgs>),

    /// Show the configuration in force
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(Box<ConfigArgs>),
}

/// `cdr run`.
#[derive(Args)]
pub struct RunArgs {
    /// Begin anew, whatever was delivered before
    #[arg(long, conflicts_with = "trust_index")]
    pub restart: bool,

    /// Continue from the local index file although the destination's progress says otherwise
    #[arg(long)]
    pub trust_index: bool,

    /// Show what would be delivered, and deliver nothing
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub settings: RunFlags,
}

/// `cdr verify`.
#[derive(Args)]
pub struct VerifyArgs {
    /// How the report is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: ReportFormat,

    #[command(flatten)]
    pub settings: RunFlags,
}

/// How a command reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

/// `cdr process`.
#[derive(Args)]
pub struct ProcessArgs {
    /// Forget what was counted, and begin with the first message that there is
    #[arg(long)]
    pub restart: bool,

    /// Go on where messages were lost to the topics' retention before they were counted
    #[arg(long)]
    pub accept_loss: bool,

    /// End when all that there is has been counted, rather than wait for more
    #[arg(long)]
    pub until_end: bool,

    #[command(flatten)]
    pub settings: ProcessFlags,
}

/// `cdr usage`.
#[derive(Args)]
pub struct UsageArgs {
    /// The subscriber's number; without one, the heaviest are shown
    pub msisdn: Option<String>,

    /// The first day
    #[arg(long, value_name = "YYYY-MM-DD", requires = "msisdn")]
    pub from: Option<NaiveDate>,

    /// The day behind the last
    #[arg(long, value_name = "YYYY-MM-DD", requires = "msisdn")]
    pub to: Option<NaiveDate>,

    /// Compute what should have been counted from the run's settings, instead of asking the store
    #[arg(long)]
    pub expected: bool,

    /// How many of the heaviest
    #[arg(long, default_value_t = 5, value_name = "NUMBER", conflicts_with = "msisdn")]
    pub top: u32,

    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: ReportFormat,

    #[command(flatten)]
    pub settings: UsageFlags,
}

/// `cdr demo`.
#[derive(Args)]
pub struct DemoArgs {
    /// Begin anew, whatever an earlier demo delivered
    #[arg(long)]
    pub restart: bool,

    #[command(flatten)]
    pub services: SandboxArgs,

    #[command(flatten)]
    pub settings: DataFlags,
}

/// `cdr sandbox`.
#[derive(Args, Clone, Debug)]
pub struct SandboxArgs {
    /// Where the servers keep their data
    #[arg(long, default_value = ".cdr", value_name = "FOLDER")]
    pub dir: PathBuf,

    /// The address to listen on; others than loopback can be reached from other machines
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub bind: IpAddr,

    /// The host under which clients find the broker, which tells it to them; for those on other
    /// machines the name or address of this one [default: the address it listens on]
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,

    /// Port of the SFTP server; 0 for one that is free
    #[arg(long, default_value_t = cdr_sandbox::sftp::DEFAULT_PORT, value_name = "PORT")]
    pub sftp_port: u16,

    /// Port of the Kafka-compatible broker; 0 for one that is free
    #[arg(long, default_value_t = cdr_sandbox::kafka::DEFAULT_PORT, value_name = "PORT")]
    pub kafka_port: u16,

    /// The SFTP server's user
    #[arg(long, default_value = "cdr_data", value_name = "NAME")]
    pub sftp_user: String,

    /// Public keys that may sign in besides the password, as in ~/.ssh/authorized_keys
    #[arg(long, value_name = "FILE")]
    pub authorized_keys: Option<PathBuf>,
}

/// `cdr sample`.
#[derive(Args)]
pub struct SampleArgs {
    /// Which records
    pub stream: SampleStream,

    /// How many records
    #[arg(short = 'n', long, default_value_t = 10, value_name = "NUMBER")]
    pub count: u64,

    /// As in the files (csv) or as in the topics (json)
    #[arg(long, default_value = "csv", value_name = "FORMAT")]
    pub format: SampleFormat,

    /// The part to take them from, counted from 0
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub part: u64,

    #[command(flatten)]
    pub settings: DataFlags,
}

/// The two streams of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SampleStream {
    /// Data sessions
    Data,
    /// Voice and video calls
    Voice,
}

/// How `cdr sample` writes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SampleFormat {
    /// As in the files, with a header line
    Csv,
    /// As in the topics, one object a line
    Json,
}

/// `cdr config`.
#[derive(Args)]
pub struct ConfigArgs {
    /// Print the table of all settings for the README instead
    #[arg(long)]
    pub markdown: bool,

    #[command(flatten)]
    pub settings: SettingFlags,
}

#[cfg(test)]
mod tests {
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
        assert_eq!(cli.as_ref().ok().unwrap().verbosity.steps(), 2);
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
        assert_eq!((args.stream, args.format), (SampleStream::Voice, SampleFormat::Json));
        assert_eq!((args.count, args.part), (3, 7));
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
