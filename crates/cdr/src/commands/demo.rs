//! `cdr demo`: the whole job against services of its own, and a look at what came of it.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::Context;
use cdr_model::Stream;
use cdr_model::resume::Wish;

use crate::cli::DemoArgs;
use crate::commands::sandbox::{Services, wait_for_signal};
use crate::commands::signals::Signals;
use crate::commands::{process, run, usage, verify};
use crate::config::{Config, FlagValues, SinkKind};
use crate::delivery::board::Board;
use crate::delivery::sink::kafka::Reader;
use crate::delivery::sink::sftp::SftpStore;
use crate::exit::Exit;
use crate::processing::store::StoreConfig;
use crate::setup;
use crate::telemetry::{Terminal, units};

/// How many of each are shown.
const FILES_SHOWN: usize = 3;
const LINES_SHOWN: usize = 4;
const RECORDS_SHOWN: usize = 3;
const HEAVY_SHOWN: u32 = 3;

/// In the demo's folder.
const USAGE_FILE: &str = "usage.db";

/// The flags of the job: those given, and the dev environment whatever `USER` says.
pub fn flags(args: &DemoArgs) -> FlagValues {
    let mut flags = args.settings.values.clone();
    flags.values.entry("run.env").or_insert_with(|| "dev".to_owned());
    flags
}

/// Runs services, the job, a verification, and shows what arrived. On a terminal it then serves until
/// a signal comes.
///
/// # Errors
/// Whatever keeps one of these from its end.
pub async fn demo(args: &DemoArgs, config: Config, terminal: &Terminal) -> anyhow::Result<Exit> {
    println!("An SFTP server and a Kafka-compatible broker start in this process:\n");
    let services = Services::start(&args.services, config.sftp.password.clone()).await?;
    println!("{}", services.describe(&args.services));
    let config = at(config, args, &services);
    let exit = deliver_and_show(args, &config, terminal).await;
    if matches!(exit, Ok(Exit::Complete)) && terminal.is_terminal() && std::io::stdin().is_terminal() {
        println!("\nThe servers stay up for you to look around. Ctrl-C ends them.");
        wait_for_signal().await?;
    }
    services.stop().await;
    exit
}

/// The configuration, with the services of the demo for destinations and its folder for files.
fn at(config: Config, args: &DemoArgs, services: &Services) -> Config {
    let mut config = config;
    let folder = &args.services.dir;
    config.run.sinks = vec![SinkKind::Sftp, SinkKind::Kafka];
    config.run.index_file = folder.join("idx_data.dat");
    config.sftp.host = services.sftp_host();
    config.sftp.port = services.sftp.port();
    config.sftp.user.clone_from(&args.services.sftp_user);
    config.sftp.key_file = None;
    config.sftp.agent = false;
    config.sftp.known_hosts = folder.join("known_hosts");
    config.kafka.brokers = vec![services.brokers()];
    config.kafka.properties.clear();
    config.process.store = StoreConfig::File(folder.join(USAGE_FILE));
    config
}

async fn deliver_and_show(
    args: &DemoArgs,
    config: &Config,
    terminal: &Terminal,
) -> anyhow::Result<Exit> {
    let wish = if args.restart { Wish::Restart } else { Wish::Continue };
    let exit = run::run(config.clone(), wish, terminal).await?;
    if exit != Exit::Complete {
        return Ok(exit);
    }
    let board = Arc::new(Board::default());
    let signals = Signals::watch(board.clone())?;
    let (files, records) = (files(config).await?, records(config, &board).await?);
    println!("\n{files}\n{records}");
    println!("Is everything there, once? `cdr verify` compares it with what should be:\n");
    let report = verify::look(config, &board, terminal).await?;
    if let Some(exit) = signals.exit() {
        return Ok(exit);
    }
    print!("{}", report.text());
    println!("\nTo do so yourself, in another terminal: {}\n", verify_command(args, config));
    if !report.right {
        return Ok(Exit::Differs);
    }
    println!("Who used most? `cdr process` counts from the topics, each record once:\n");
    let mut store = process::count_to_the_end(config, &board).await?;
    if let Some(exit) = signals.exit() {
        return Ok(exit);
    }
    let (text, heaviest) = usage::heaviest(&mut store, HEAVY_SHOWN)?;
    println!("{text}");
    if let Some(msisdn) = heaviest {
        let path = args.services.dir.join(USAGE_FILE);
        println!("To ask for one: cdr usage --store-path {} {msisdn}", path.display());
    }
    Ok(Exit::Complete)
}

fn verify_command(args: &DemoArgs, config: &Config) -> String {
    format!(
        "SFTP_PORT={} SFTP_KNOWN_HOSTS={} KAFKA_BROKERS={} cdr verify --env {}",
        config.sftp.port,
        args.services.dir.join("known_hosts").display(),
        config.kafka.brokers.join(","),
        config.env.name(),
    )
}

/// The names of some files, and the beginning of one.
async fn files(config: &Config) -> anyhow::Result<String> {
    let store = SftpStore::read_only(setup::sftp(config))?;
    let mut found = store.list().await?;
    found.retain(|file| !file.name.starts_with('.'));
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text =
        format!("{} files on the SFTP server, among them\n", units::count(found.len() as u64));
    for file in found.iter().take(FILES_SHOWN) {
        writeln!(text, "  {}  {}", file.name, file.size.map_or_else(String::new, units::bytes))?;
    }
    if let Some(first) = found.first() {
        let bytes = store.get(&first.name, 1 << 20).await?.unwrap_or_default();
        writeln!(text, "The first of them begins with")?;
        for line in String::from_utf8_lossy(&bytes).lines().take(LINES_SHOWN) {
            writeln!(text, "  {line}")?;
        }
    }
    store.close().await;
    Ok(text)
}

/// How many records are in each topic, and some of them.
async fn records(config: &Config, board: &Arc<Board>) -> anyhow::Result<String> {
    let (kafka, board) = (setup::kafka(config), board.clone());
    let looking = tokio::task::spawn_blocking(move || {
        let topics = Stream::ALL.map(|stream| kafka.topic(stream).to_owned());
        let mut reader = Reader::open(kafka, board)?;
        let mut text = String::new();
        for topic in topics {
            let Some(mut span) = reader.span(&topic)? else { continue };
            for (from, to) in span.from.iter().zip(&mut span.to) {
                *to = (*to).min(from + 1);
            }
            let mut lines = Vec::new();
            reader.read(&[span], |_, seen| {
                let value = String::from_utf8_lossy(seen.value);
                lines.push(format!("  {}/{} {value}", seen.partition, seen.offset));
            })?;
            lines.truncate(RECORDS_SHOWN);
            writeln!(text, "In the topic {topic}, by partition and offset, among others")?;
            lines.iter().try_for_each(|line| writeln!(text, "{line}"))?;
        }
        anyhow::Ok(text)
    });
    looking.await.context("looking at the topics ended unexpectedly")?
}
