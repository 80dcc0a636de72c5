//! Where the server is, how it is reached, and what its errors mean.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::error::{Error, SqlState};
use postgres::{Client, Config};

use super::super::{Result, StoreError};
use super::tls::{Connector, Tls, connector, is_broken, refused};
use crate::secret::Secret;

/// How long a server may take to answer that it is there, unless the URL has another.
const CONNECT: Duration = Duration::from_secs(10);

/// How long what was sent may stay without the other host's receipt.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A connection in use is probed after this silence, so that a host that is gone is noticed.
const SILENCE: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 4;

/// What `keepalives_idle` is where the URL has none.
const SILENCE_UNSAID: Duration = Duration::from_secs(2 * 60 * 60);

/// What a connection begins with. The server, too, must notice a client that is gone: it may have
/// rows locked that others wait for. Plans of short queries are not worth compiling.
const SESSION: &str = "
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 4;
    SET idle_in_transaction_session_timeout = '60s';
    SET lock_timeout = '60s';
    SET client_min_messages = warning;
    SET jit = off";

/// A server and database, with what it takes to log in.
pub struct Server {
    name: String,
    config: Config,
    connector: Connector,
    /// Whether a connection without TLS will do, too.
    is_tls_optional: bool,
}

impl Server {
    /// Reads a URL; does not connect.
    ///
    /// # Errors
    /// What is no URL of a server. Its parts do not appear in the error: a password whose special
    /// characters are not encoded looks like a host or an option.
    pub fn parse(url: &Secret) -> Result<Server> {
        let (tls, rest) = Tls::take(url.expose())?;
        let mut config = config(url.expose(), &rest).ok_or_else(|| {
            refused(
                "at STORE_URL",
                "that is no URL of a PostgreSQL server",
                "It is like postgres://user:password@host:5432/name, where special characters of the password \
                 are encoded, such as %40 for @",
            )
        })?;
        tls.apply(&mut config);
        let name = name(&config);
        let connector = connector(&tls).map_err(|(reason, remedy)| refused(&name, &reason, remedy))?;
        limit_waiting(&mut config);
        if config.get_application_name().is_none() {
            config.application_name("cdr");
        }
        Ok(Server { name, config, connector, is_tls_optional: tls.is_optional() })
    }

    /// Host, port and database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Logs in.
    #[cfg_attr(not(feature = "tls"), expect(clippy::clone_on_copy, reason = "only that one is Copy"))]
    pub fn connect(&self) -> std::result::Result<Client, Error> {
        let mut client = match self.config.connect(self.connector.clone()) {
            // As libpq does; a server may have TLS that does not work, or not for this user.
            Err(error)
                if self.is_tls_optional
                    && (is_of_tls(&error)
                        || error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)) =>
            {
                let mut config = self.config.clone();
                config.ssl_mode(SslMode::Disable).connect(self.connector.clone()).map_err(|_| error)?
            }
            connected => connected?,
        };
        client.batch_execute(SESSION)?;
        Ok(client)
    }

    /// Why it cannot be connected to at first.
    pub fn refused(&self, error: &Error) -> StoreError {
        let (passing, remedy) = outlook(error);
        StoreError::Open { store: self.name.clone(), reason: reason(error), remedy, passing }
    }

    /// Why it cannot do something.
    pub fn failed(&self, error: &Error) -> StoreError {
        let (passing, remedy) = outlook(error);
        StoreError::Failed { store: self.name.clone(), reason: reason(error), remedy, passing }
    }
}

/// Reads a URL, or its `rest` without what TLS needs; `None` of what is none.
fn config(url: &str, rest: &str) -> Option<Config> {
    let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    let config: Config = rest.parse().ok()?;
    // Two @ mean that the password has one, and the host would begin with the password's end.
    let is_plain = |host: &Host| !matches!(host, Host::Tcp(host) if host.contains(['@', ':', '?', '#']));
    let hosts = config.get_hosts();
    let is_whole = url.matches('@').count() <= 1 && !hosts.is_empty() && hosts.iter().all(is_plain);
    (is_url && is_whole).then_some(config)
}

/// Where the URL does not limit how long to wait for a host that does not answer, we do.
fn limit_waiting(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if config.get_keepalives_idle() == SILENCE_UNSAID {
        config.keepalives_idle(SILENCE).keepalives_interval(PROBE_EVERY).keepalives_retries(PROBES);
    }
}

fn name(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(at, host)| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(host) => format!("{host}:{port}"),
            Host::Unix(folder) => folder.display().to_string(),
        }
    });
    let hosts: Vec<_> = hosts.collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("{}/{database}", hosts.join(","))
}

/// An error with its causes, in one line. The server's details are left out: they may quote rows.
fn reason(error: &Error) -> String {
    match error.as_db_error() {
        Some(found) => format!("{} ({})", found.message(), found.code().code()),
        None => causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}")),
    }
}

/// Whether the connection is lost with this error.
pub fn is_loss(error: &Error) -> bool {
    match error.code() {
        Some(code) => ["08", "57P"].iter().any(|of| code.code().starts_with(of)) || is_overdue(code),
        None => {
            error.is_closed() || causes(error).any(|cause| cause.is::<io::Error>() || is_broken(cause))
        }
    }
}

/// Whether a transaction was open for too long, as when this process was halted: by
/// `idle_in_transaction_session_timeout` or, since PostgreSQL 17, by `transaction_timeout`.
fn is_overdue(code: &SqlState) -> bool {
    ["25P03", "25P04"].contains(&code.code())
}

fn causes(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// Whether no connection with TLS came about.
fn is_of_tls(error: &Error) -> bool {
    error.code().is_none() && error.to_string().contains("TLS")
}

/// Whether a later try may do, and what people can do for it.
pub fn outlook(error: &Error) -> (bool, &'static str) {
    let Some(code) = error.code() else {
        return match is_loss(error) {
            false if is_of_tls(error) => (
                false,
                "sslmode and sslrootcert in STORE_URL name whom to trust: the server's certificate must be signed by \
                 it and, for verify-full, name the host",
            ),
            true => (true, "Whether the server runs and can be reached will show: it is tried again"),
            false => (false, "What it answered cannot be used; choose another store with STORE_URL"),
        };
    };
    match (code, code.code().get(..2)) {
        (&SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE, _) => {
            (true, "Another process was in the way; it is tried again")
        }
        (&SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED, _) => {
            (true, "Another process holds what is needed, or somebody cancelled; it is tried again")
        }
        (&SqlState::READ_ONLY_SQL_TRANSACTION, _) => (
            true,
            "The server is a standby or read-only; with several hosts, add target_session_attrs=read-write",
        ),
        (&SqlState::DISK_FULL, _) => (true, "Make room on the server's disk"),
        (_, Some("53")) => {
            (true, "The server has reached a limit; raise it, or let fewer clients connect")
        }
        (_, Some("08" | "57")) => (true, "The server ends or begins; it is tried again"),
        _ if is_overdue(code) => (true, "A transaction was open for too long; it is tried again"),
        (_, Some("28")) => (false, "The user and password in STORE_URL must be those of the server"),
        (_, Some("3D")) => (false, "The database in STORE_URL must exist: createdb makes it"),
        (&SqlState::INSUFFICIENT_PRIVILEGE, _) | (_, Some("3F")) => {
            (false, "The user of STORE_URL must own the database, or have all rights in its schema")
        }
        _ => (false, "It is not changed by what failed; start again, or choose another with STORE_URL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Server> {
        Server::parse(&Secret::new(url))
    }

    #[test]
    fn a_name_has_all_but_the_login() {
        for (url, name) in [
            ("postgres://u:sesame@db.example:5433/cdr", "db.example:5433/cdr"),
            ("postgresql://u:sesame@db.example/cdr?connect_timeout=3", "db.example:5432/cdr"),
            ("postgres://u:ses%40me@one:1,two:2/cdr", "one:1,two:2/cdr"),
            ("postgres://u@localhost", "localhost:5432/u"),
            ("postgres://u:sesame@%2Frun%2Fpostgresql/cdr", "/run/postgresql/cdr"),
        ] {
            assert_eq!(parse(url).unwrap().name(), name);
        }
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn encryption_that_there_is_not_is_not_promised() {
        let error = parse("postgres://u:sesame@host/cdr?sslmode=require").map(|_| ()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("host:5432/cdr: its sslmode requires TLS"), "{text}");
        assert!(text.contains("built without") && !text.contains("sesame"), "{text}");
    }

    #[test]
    #[cfg(feature = "tls")]
    fn a_certificate_that_is_not_there_is_named() {
        let url = "postgres://u:sesame@host/cdr?sslmode=verify-full&sslrootcert=/nowhere/ca.pem";
        let text = parse(url).map(|_| ()).unwrap_err().to_string();
        assert!(
            text.contains("host:5432/cdr: sslrootcert=/nowhere/ca.pem cannot be used: No such"),
            "{text}"
        );
        assert!(!text.contains("sesame"), "{text}");
    }

    #[test]
    fn no_part_of_a_password_is_taken_for_something_else() {
        for url in [
            "postgres://u:ses@me@host/cdr",
            "postgres://u:12@34@host/cdr",
            "postgres://u:sesame/cdr",
            "postgres://u:pass@host/cdr?sesame=1",
            "postgres://u:pass@host/cdr?sslmode=sesame",
            "host=h user=u password=two sesame=words",
            "mysql://u:sesame@host/cdr",
            "sesame",
            "",
        ] {
            let error = parse(url).map(|server| server.name().to_owned()).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.starts_with("cannot open the usage store at STORE_URL: "), "{text}");
            assert!(!text.contains("sesame") && !text.contains("me@") && !text.contains("34"), "{text}");
        }
    }
}
