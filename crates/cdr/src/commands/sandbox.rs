//! `cdr sandbox`: an SFTP server and a Kafka-compatible broker in this process.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use cdr_sandbox::{kafka, sftp};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::commands::context::Context;
use crate::config::{Config, FlagValues};
use crate::exit::Exit;
use crate::output;
use crate::secret::Secret;

pub const EXAMPLES: &str = "\
Examples:
  cdr sandbox                                  SFTP on localhost:10022, Kafka on localhost:19092, until Ctrl-C
  cdr sandbox --dir /tmp/try --kafka-port 0    data elsewhere, and a port that is free
  KAFKA_BROKERS=localhost:19092 cdr run        from another terminal: the job against it

The password of the SFTP user is `password`, or the value of SFTP_PASSWORD. It is for trying things out on one
machine; what is acknowledged is kept on disk and is there at the next start.";

/// `cdr sandbox`.
#[derive(Args, Clone, Debug)]
pub struct SandboxArgs {
    /// Where the servers keep their data
    #[arg(long, default_value = ".cdr", value_name = "FOLDER")]
    pub dir: PathBuf,

    /// The address to listen on; others than loopback can be reached from other machines
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub bind: IpAddr,

    /// The host under which clients find the broker, which it advertises; for those on other
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

/// Serves until a signal comes.
///
/// # Errors
/// Servers that cannot start.
pub fn execute(args: &SandboxArgs, context: &Context) -> anyhow::Result<Exit> {
    let config = context.config(&FlagValues::default())?;
    context.block_on(sandbox(args, &config))
}

/// Everybody knows it, so it is for the loopback address.
const DEFAULT_PASSWORD: &str = "password";

/// Partitions of a topic that a client creates by naming it, as `cdr run` makes them.
const PARTITIONS: i32 = 3;

async fn sandbox(args: &SandboxArgs, config: &Config) -> anyhow::Result<Exit> {
    let services = Services::start(args, config.sftp.password.clone()).await?;
    let dir = args.dir.display();
    let described = services.describe(args);
    output::print(&format!("{described}\nServing until Ctrl-C; the data stays in {dir}\n"))?;
    wait_for_signal().await?;
    info!("Stopping the servers");
    services.stop().await;
    Ok(Exit::Complete)
}

/// Waits for SIGINT or SIGTERM.
///
/// # Errors
/// When the system does not let us listen.
pub async fn wait_for_signal() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Both servers, at work.
pub struct Services {
    pub sftp: SocketAddr,
    pub kafka: SocketAddr,
    /// Of the SFTP server's host key.
    fingerprint: String,
    password_is_default: bool,
    stop: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

impl Services {
    /// Starts both.
    ///
    /// # Errors
    /// A folder that cannot be used, or a port that is taken.
    pub async fn start(args: &SandboxArgs, password: Option<Secret>) -> anyhow::Result<Services> {
        let password = password.unwrap_or_else(|| Secret::new(DEFAULT_PASSWORD));
        let password_is_default = password.expose() == DEFAULT_PASSWORD;
        let stop = CancellationToken::new();
        let sftp_server = open_sftp(args, &password)?;
        let fingerprint = sftp_server.host_key_fingerprint();
        let sftp_listener = listen((args.bind, args.sftp_port).into(), "--sftp-port").await?;
        let kafka_listener = listen((args.bind, args.kafka_port).into(), "--kafka-port").await?;
        let kafka_port = kafka_listener.local_addr().context("the broker has no address")?.port();
        let settings = kafka::Config {
            advertised: args.advertise.clone().map(|host| (host, kafka_port)),
            default_partitions: PARTITIONS,
            ..kafka::Config::new(args.dir.join("kafka"))
        };
        let broker = tokio::task::spawn_blocking(move || kafka::Broker::open(settings)).await??;
        let (sftp, kafka) = (sftp_listener.local_addr()?, kafka_listener.local_addr()?);
        if !args.bind.is_loopback() && password_is_default {
            warn!(
                "SFTP on {sftp} can be reached from other machines, with a password that everybody knows; \
                 set SFTP_PASSWORD"
            );
        }
        let (of_sftp, of_kafka) = (stop.clone(), stop.clone());
        let tasks = [
            tokio::spawn(async move { sftp_server.serve(sftp_listener, of_sftp.cancelled()).await }),
            tokio::spawn(async move {
                if let Err(failure) = broker.serve(kafka_listener, of_kafka.cancelled()).await {
                    error!("The broker has ended: {failure}");
                }
            }),
        ];
        Ok(Services { sftp, kafka, fingerprint, password_is_default, stop, tasks })
    }

    /// Ends both; what they acknowledged is on disk then.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(failure) = task.await {
                error!("A server has ended badly: {failure}");
            }
        }
    }

    /// The broker's address for clients on this machine.
    pub fn brokers(&self) -> String {
        format!("{}:{}", host(self.kafka), self.kafka.port())
    }

    /// The SFTP server's host for clients on this machine.
    pub fn sftp_host(&self) -> String {
        host(self.sftp)
    }

    /// Addresses, and commands to try.
    pub fn describe(&self, args: &SandboxArgs) -> String {
        let (user, brokers) = (&args.sftp_user, self.brokers());
        let (host, port) = (self.sftp_host(), self.sftp.port());
        let password = match self.password_is_default {
            true => "password: password",
            false => "password: SFTP_PASSWORD's",
        };
        let mut text = String::new();
        let mut row = |what: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {what:<9} {value}");
        };
        row("SFTP", &format!("{host}:{port}, user {user}, {password}"));
        row("", &format!("host key {}", self.fingerprint));
        row("Kafka", &brokers);
        row("Try", &format!("sftp -P {port} {user}@{host}"));
        row("", &format!("kcat -b {brokers} -L"));
        row(
            "",
            &format!(
                "kcat -b {brokers} -C -t cdr_data -o beginning -c 5 -X isolation.level=read_committed"
            ),
        );
        row("", &format!("rpk topic consume cdr_data --num 5 --brokers {brokers}"));
        text
    }
}

fn open_sftp(args: &SandboxArgs, password: &Secret) -> anyhow::Result<sftp::Server> {
    let mut settings = sftp::Config::new(args.dir.join("sftp"), args.dir.join("host_key"));
    settings.user.clone_from(&args.sftp_user);
    settings.password = Some(password.expose().into());
    if let Some(file) = &args.authorized_keys {
        settings.authorized_keys = sftp::read_authorized_keys(file)?;
    }
    Ok(sftp::Server::open(settings)?)
}

pub(super) async fn listen(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}; if something else serves there, stop it, or choose another port \
             with {option} (0 for one that is free)"
        )
    })
}

/// How clients on this machine reach an address that was bound.
fn host(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
        ip => ip.to_string(),
    }
}
