//! `cdr sandbox`: an SFTP server and a Kafka-compatible broker in this process.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;

use anyhow::{Context as _, anyhow};
use cdr_sandbox::{kafka, sftp};
use clap::Args;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::commands::context::{Context, blocking};
use crate::commands::signals::Received;
use crate::config::FlagValues;
use crate::exit::Exit;
use crate::output;
use crate::secret::Secret;

pub const EXAMPLES: &str = "\
Examples:
  cdr sandbox                                  SFTP on localhost:10022, Kafka on localhost:19092, until Ctrl-C
  cdr sandbox --dir /tmp/try --kafka-port 0    data elsewhere, and a port that is free
  KAFKA_BROKERS=localhost:19092 cdr run --profile realistic
                                               from another terminal: the job against it

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

/// Everybody knows it, so it is for the loopback address.
const DEFAULT_PASSWORD: &str = "password";

/// Partitions of a topic that a client creates by naming it, as `cdr run` makes them.
const PARTITIONS: i32 = 3;

/// Serves until a signal comes.
pub async fn execute(args: &SandboxArgs, context: &Context) -> anyhow::Result<Exit> {
    let config = context.config(&FlagValues::default())?;
    let mut services = Services::start(args, config.sftp.password.clone()).await?;
    let (described, dir) = (services.describe(&args.sftp_user), args.dir.display());
    output::print(&format!("{described}\nServing until Ctrl-C; the data stays in {dir}\n"))?;
    let mut signals = Received::listen()?;
    let exit = tokio::select! {
        _ = signals.next() => Ok(Exit::Complete),
        failure = services.servers.ended() => Err(failure),
    };
    info!("Stopping the servers");
    services.servers.stop().await;
    exit
}

/// Servers that run until they are stopped.
#[derive(Default)]
pub struct Servers {
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Servers {
    /// Begins to serve, until the token is cancelled.
    pub fn spawn<F>(&mut self, serve: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.tasks.spawn(serve(self.stop.clone()));
    }

    /// Works while all of them serve. When one ends, the token is cancelled, the work finishes what it has
    /// in flight, and the server's end is the error.
    pub async fn during<T>(
        &mut self,
        shutdown: &CancellationToken,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let mut work = pin!(work);
        let failure = tokio::select! {
            done = &mut work => return done,
            failure = self.ended() => failure,
        };
        shutdown.cancel();
        drop(work.await);
        Err(failure)
    }

    /// Resolves when one has ended that nobody has stopped.
    pub async fn ended(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Ok(()))) => anyhow!("a server has ended"),
            Some(Ok(Err(failure))) => failure,
            Some(Err(panic)) => {
                anyhow!(panic).context("a server has ended unexpectedly, which is a bug")
            }
            None => std::future::pending().await,
        }
    }

    /// Ends when the requests that have begun are answered.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(failure) = ended.map_err(Into::into).flatten() {
                error!("A server has ended badly: {failure:#}");
            }
        }
    }
}

/// Both servers, at work, and where clients on this machine find them.
pub struct Services {
    pub sftp_host: String,
    pub sftp_port: u16,
    pub brokers: String,
    /// Of the SFTP server's host key.
    fingerprint: String,
    password_is_default: bool,
    pub servers: Servers,
}

impl Services {
    pub async fn start(args: &SandboxArgs, password: Option<Secret>) -> anyhow::Result<Services> {
        let password = password.unwrap_or_else(|| Secret::new(DEFAULT_PASSWORD));
        let password_is_default = password.expose() == DEFAULT_PASSWORD;
        let sftp_server = open_sftp(args, &password)?;
        let fingerprint = sftp_server.host_key_fingerprint();
        let sftp_listener = listen((args.bind, args.sftp_port).into(), "--sftp-port").await?;
        let kafka_listener = listen((args.bind, args.kafka_port).into(), "--kafka-port").await?;
        let (sftp, kafka) = (sftp_listener.local_addr()?, kafka_listener.local_addr()?);
        let settings = kafka::Config {
            advertised: args.advertise.clone().map(|host| (host, kafka.port())),
            default_partitions: PARTITIONS,
            ..kafka::Config::new(args.dir.join("kafka"))
        };
        let broker = blocking("opening the broker", move || kafka::Broker::open(settings)).await?;
        if !args.bind.is_loopback() && password_is_default {
            warn!(
                "SFTP on {sftp} can be reached from other machines, with a password that everybody knows; \
                 set SFTP_PASSWORD"
            );
        }
        let mut servers = Servers::default();
        servers.spawn(async move |stop| {
            sftp_server.serve(sftp_listener, stop.cancelled()).await;
            Ok(())
        });
        servers.spawn(async move |stop| {
            broker.serve(kafka_listener, stop.cancelled()).await.context("the broker has ended")
        });
        let brokers = format!("{}:{}", host(kafka), kafka.port());
        let (sftp_host, sftp_port) = (host(sftp), sftp.port());
        Ok(Services { sftp_host, sftp_port, brokers, fingerprint, password_is_default, servers })
    }

    /// Addresses, and commands to try.
    pub fn describe(&self, user: &str) -> String {
        let Services { sftp_host: host, sftp_port: port, brokers, fingerprint, .. } = self;
        let password = if self.password_is_default { DEFAULT_PASSWORD } else { "SFTP_PASSWORD's" };
        let consume = "-C -t cdr_data -o beginning -c 5 -X isolation.level=read_committed";
        let rows = [
            ("SFTP", format!("{host}:{port}, user {user}, password: {password}")),
            ("", format!("host key {fingerprint}")),
            ("Kafka", brokers.clone()),
            ("Try", format!("sftp -P {port} {user}@{host}")),
            ("", format!("kcat -b {brokers} -L")),
            ("", format!("kcat -b {brokers} {consume}")),
            ("", format!("rpk topic consume cdr_data --num 5 --brokers {brokers}")),
        ];
        rows.iter().map(|(what, value)| format!("  {what:<9} {value}\n")).collect()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What comes of work that ends by shutdown only, beside a server.
    async fn beside<F>(server: F) -> String
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (mut servers, shutdown) = (Servers::default(), CancellationToken::new());
        servers.spawn(async |stop| {
            stop.cancelled().await;
            Ok(())
        });
        servers.spawn(|_| server);
        let work = async {
            shutdown.cancelled().await;
            Ok(())
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), servers.during(&shutdown, work)).await;
        let failure = ended.expect("the work ends with the server").unwrap_err();
        servers.stop().await;
        format!("{failure:#}")
    }

    #[tokio::test]
    async fn a_server_that_ends_ends_the_work_beside_it() {
        let panicked = beside(async { panic!("in a server") }).await;
        assert!(panicked.contains("which is a bug") && panicked.contains("in a server"), "{panicked}");
        assert_eq!(beside(async { Err(anyhow!("the disk is full")) }).await, "the disk is full");
        assert_eq!(beside(async { Ok(()) }).await, "a server has ended");
    }
}
