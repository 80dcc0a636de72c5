//! `cdr demo`: the whole job against services of its own, and a look at what came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::Arc;

use cdr_model::Profile;
use cdr_model::resume::StartMode;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::commands::context::{Context, blocking};
use crate::commands::sandbox::{SandboxArgs, Services};
use crate::commands::signals::{Received, Signals};
use crate::commands::{process, run, usage, verify};
use crate::config::{Config, DataOnly, Flags, SinkKind, load};
use crate::exit::Exit;
use crate::files::sftp::SftpSink;
use crate::files::{FileSink as _, FileSinkKind, Listed};
use crate::kafka::Cluster;
use crate::output::print;
use crate::processing::store::StoreConfig;
use crate::telemetry::{Terminal, units};

pub const EXAMPLES: &str = "\
Examples:
  cdr demo                                     a day of records through services of its own, then a look at them
  cdr demo --lines-per-second 10               ten times as many
  cdr demo --restart                           once more from the beginning
  cdr demo </dev/null | tee demo.txt           without a terminal it ends by itself";

/// `cdr demo`.
#[derive(Args)]
pub struct DemoArgs {
    /// Begin again, whatever an earlier demo delivered
    #[arg(long)]
    pub restart: bool,

    #[command(flatten)]
    pub services: SandboxArgs,

    #[command(flatten)]
    pub settings: Flags<DataOnly>,
}

/// How many of each are shown.
const FILES_SHOWN: usize = 3;
const LINES_SHOWN: usize = 4;
const RECORDS_SHOWN: usize = 3;
const HEAVY_SHOWN: u32 = 3;

/// In the demo's folder.
const USAGE_FILE: &str = "usage.db";

/// Runs services, the job, a verification, and shows what arrived. On a terminal it then serves until
/// a signal comes.
pub async fn execute(args: &DemoArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut flags = args.settings.values.clone();
    // Whatever USER is.
    flags.values.entry("run.env").or_insert_with(|| "dev".to_owned());
    // Other settings have defaults that follow from the profile, so it stands before they are read.
    if load(&flags)?.resolved.value("data.profile")?.is_unset() {
        flags.values.insert("data.profile", Profile::Realistic.name().to_owned());
    }
    let (config, terminal) = (context.config(&flags)?, &context.terminal);
    print("An SFTP server and a Kafka-compatible broker start in this process:\n\n")?;
    let mut services = Services::start(&args.services, config.sftp.password.clone()).await?;
    print(&format!("{}\n", services.describe(&args.services.sftp_user)))?;
    let config = at(config, args, &services);
    let working = async {
        let exit = deliver_and_show(args, &config, terminal).await?;
        if exit == Exit::Complete && terminal.is_terminal && std::io::stdin().is_terminal() {
            print("\nThe servers stay up for you to look around. Ctrl-C ends them.\n")?;
            Received::listen()?.next().await;
        }
        Ok(exit)
    };
    let exit = tokio::select! {
        exit = working => exit,
        // Without it, the work would only wait.
        failure = services.servers.ended() => Err(failure),
    };
    services.servers.stop().await;
    exit
}

/// The configuration, with the services of the demo for destinations and its folder for files.
fn at(mut config: Config, args: &DemoArgs, services: &Services) -> Config {
    let folder = &args.services.dir;
    config.run.sinks = vec![SinkKind::Files(FileSinkKind::Sftp), SinkKind::Kafka];
    config.run.index_file = folder.join("idx_data.dat");
    config.sftp.host.clone_from(&services.sftp_host);
    config.sftp.port = services.sftp_port;
    config.sftp.user.clone_from(&args.services.sftp_user);
    config.sftp.key_file = None;
    config.sftp.use_agent = false;
    config.sftp.known_hosts = folder.join("known_hosts");
    let kafka = Arc::make_mut(&mut config.kafka);
    kafka.brokers.clone_from(&services.brokers);
    kafka.properties.clear();
    config.process.store = StoreConfig::File(folder.join(USAGE_FILE));
    config
}

async fn deliver_and_show(
    args: &DemoArgs,
    config: &Config,
    terminal: &Terminal,
) -> anyhow::Result<Exit> {
    let mode = if args.restart { StartMode::Restart } else { StartMode::Continue };
    let exit = run::run(config, mode, terminal).await?;
    if exit != Exit::Complete {
        return Ok(exit);
    }
    let signals = Signals::watch()?;
    let shutdown = &signals.shutdown;
    let (files, records) = (files(config).await?, records(config, shutdown).await?);
    print(&format!("\n{files}\n{records}\n"))?;
    print("Is everything there, once? `cdr verify` compares it with what should be:\n\n")?;
    let report = verify::look(config, shutdown, terminal).await?;
    if let Some(exit) = signals.exit() {
        return Ok(exit);
    }
    print(&report.text())?;
    print(&format!(
        "\nTo do so yourself, in another terminal: SFTP_PORT={} SFTP_KNOWN_HOSTS={} KAFKA_BROKERS={} \
         cdr verify --env {} --profile {}\n\n",
        config.sftp.port,
        config.sftp.known_hosts.display(),
        config.kafka.brokers,
        config.run.env.name(),
        config.data.scenario.profile.name(),
    ))?;
    if !report.right {
        return Ok(Exit::Differs);
    }
    print("Who used most? `cdr process` counts from the topics, each record once:\n\n")?;
    let mut store = process::count_to_the_end(config, shutdown).await?;
    if let Some(exit) = signals.exit() {
        return Ok(exit);
    }
    let (text, heaviest) = usage::heaviest(&mut store, HEAVY_SHOWN)?;
    print(&format!("{text}\n"))?;
    if let Some(msisdn) = heaviest {
        let path = args.services.dir.join(USAGE_FILE);
        print(&format!("To query one: cdr usage --store-path {} {msisdn}\n", path.display()))?;
    }
    Ok(Exit::Complete)
}

/// The names of some files, and the beginning of one.
async fn files(config: &Config) -> anyhow::Result<String> {
    let sink = SftpSink::read_only(&config.sftp)?;
    let (mut count, mut first) = (0, BTreeMap::new());
    let mut take = |listed: Listed<'_>| match listed {
        Listed::Start => (count, first) = (0, BTreeMap::new()),
        Listed::File(file) if file.temporary_for.is_some() => {}
        Listed::File(file) => {
            count += 1;
            first.insert(file.name.to_owned(), file.bytes);
            if first.len() > FILES_SHOWN {
                first.pop_last();
            }
        }
    };
    sink.list(&mut take).await?;
    let mut text = format!("{} files on the SFTP server, among them\n", units::count(count));
    for (name, bytes) in &first {
        writeln!(text, "  {name}  {}", bytes.map_or_else(String::new, units::bytes))?;
    }
    if let Some(first) = first.keys().next() {
        let mut bytes = Vec::new();
        let mut take = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            bytes.iter().filter(|&&byte| byte == b'\n').count() < LINES_SHOWN
        };
        sink.read(first, &mut take).await?;
        writeln!(text, "The first of them begins with")?;
        for line in String::from_utf8_lossy(&bytes).lines().take(LINES_SHOWN) {
            writeln!(text, "  {line}")?;
        }
    }
    sink.close().await;
    Ok(text)
}

/// How many records are in each topic, and some of them.
async fn records(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<String> {
    let (kafka, topics, shutdown) =
        (config.kafka.clone(), config.records.topics.clone(), shutdown.clone());
    let looking = move || {
        let mut cluster = Cluster::new(&kafka, &shutdown)?;
        let mut text = String::new();
        for topic in topics.values() {
            let Some(mut range) = cluster.committed_range(topic)? else { continue };
            for (from, to) in range.from.iter().zip(&mut range.to) {
                *to = (*to).min(from + 1);
            }
            let mut lines = Vec::new();
            cluster.read(&[range], |_, record| {
                let value = String::from_utf8_lossy(record.value);
                lines.push(format!("  {}/{} {value}", record.partition, record.offset));
            })?;
            lines.truncate(RECORDS_SHOWN);
            writeln!(text, "In the topic {topic}, by partition and offset, among others")?;
            lines.iter().try_for_each(|line| writeln!(text, "{line}"))?;
        }
        anyhow::Ok(text)
    };
    blocking("looking at the topics", looking).await
}
