//! Against a real PostgreSQL server, from `scripts/services`: with the feature `real-services`.
//!
//! Tests share a server and have databases of their own. Those that end the server have another.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, LazyLock};
use std::thread;

use ::postgres::error::SqlState;
use ::postgres::{Client, NoTls};

use super::*;
use crate::processing::store::postgres::server;
use crate::secret::Secret;

/// A server that ends with this process.
struct Server {
    dir: PathBuf,
    /// Of its first database, with the password.
    url: String,
    /// Where its certificates are.
    tls: String,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(name)
}

impl Server {
    /// That of all tests which leave it as it is.
    fn shared() -> &'static Server {
        static SHARED: LazyLock<Server> = LazyLock::new(Server::start);
        &SHARED
    }

    fn start() -> Server {
        let dir = tempfile::Builder::new().prefix("cdr-postgres-").tempdir().unwrap().keep();
        let us = std::process::id().to_string();
        // Statics are never dropped, so a process of its own stops the server when this one has
        // ended, however it ended, and removes its folder.
        let mut waiting = Command::new("python3");
        waiting.arg(script("lib/when-process-ends.py")).arg(&us);
        waiting.args(["bash", "-c", r#""$0" stop "$1"; rm -rf "$1""#]).arg(script("services")).arg(&dir);
        waiting.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        #[expect(
            clippy::zombie_processes,
            reason = "it outlives this process, which is what it is for"
        )]
        waiting.spawn().unwrap();
        services("start", &dir, &["--no-kafka", "--no-sftp", "--postgres", "--parent", &us]);
        let variables = fs::read_to_string(dir.join("services.env")).unwrap();
        let variable = |name: &str| {
            let value = variables.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap().to_owned()
        };
        Server { url: variable("STORE_URL="), tls: variable("STORE_TLS_DIR="), dir }
    }

    /// The URL of a new database.
    fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("usage_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        client(&self.url).batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        format!("{}/{name}", self.url.strip_suffix("/postgres").unwrap())
    }
}

fn services(verb: &str, dir: &Path, arguments: &[&str]) {
    let run = Command::new(script("services")).arg(verb).arg(dir).args(arguments).output().unwrap();
    assert!(run.status.success(), "scripts/services {verb}: {}", String::from_utf8_lossy(&run.stderr));
}

/// A connection that is not ours.
fn client(url: &str) -> Client {
    Client::connect(url, NoTls).unwrap()
}

fn at(url: &str) -> TestStore {
    TestStore { config: StoreConfig::Postgres(Secret::new(url)), _folder: None }
}

fn place() -> TestStore {
    at(&Server::shared().database())
}

/// What these come to, so many times.
fn truth_of_many(interactions: &[Interaction], times: usize) -> Usage {
    truth((0..times).flat_map(|_| interactions))
}

promises! {
    place();
    batches_add_up,
    whoever_comes_second_changes_nothing,
    a_subscriber_and_a_tower_are_found,
    dwells_are_found_over_hours_and_batches,
    the_heaviest_are_the_sums_of_all,
    another_cluster_is_refused_until_all_is_cleared,
    a_topic_that_was_created_again_is_refused_until_all_is_cleared,
    a_hot_subscribers_sightings_are_not_copied_by_each_batch
}

#[test]
fn several_that_open_an_empty_database_at_once_all_can() {
    let (place, barrier) = (place(), Barrier::new(6));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                barrier.wait();
                place.open().bind("one").unwrap();
            });
        }
    });
}

#[test]
fn a_newer_schema_is_left_alone() {
    let url = Server::shared().database();
    drop(at(&url).open());
    client(&url).execute("UPDATE schema_version SET version = 1000", &[]).unwrap();
    let error = Store::open(&at(&url).config).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 1_000, known: 3, .. }), "{error}");
}

#[test]
fn an_older_schema_keeps_what_it_holds() {
    let url = Server::shared().database();
    let place = at(&url);
    let outcome = add(&mut place.open(), &[advance(0, None, 3)], &interactions(0));
    assert_eq!(outcome, Added::Stored);
    client(&url).batch_execute("ALTER TABLE usage RENAME COLUMN sightings TO visits; DROP TABLE more_sightings; DROP TABLE topic; UPDATE schema_version SET version = 1").unwrap();
    keeps_what_it_holds(&place);
}

/// The same subscribers and towers, in different orders; each of the two has a partition.
#[test]
fn two_at_once_add_to_the_same_rows_and_lose_nothing() {
    const ROUNDS: i64 = 40;
    let (place, forwards) = (place(), interactions(0));
    let backwards: Vec<_> = forwards.iter().copied().rev().collect();
    let barrier = Barrier::new(2);
    let work = |number: i32, interactions: &[Interaction]| {
        let mut store = place.open();
        barrier.wait();
        for round in 0..ROUNDS {
            let from = (round > 0).then_some(round);
            let outcome = add(&mut store, &[advance(number, from, round + 1)], interactions);
            assert_eq!(outcome, Added::Stored);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| work(0, &forwards));
        scope.spawn(|| work(1, &backwards));
    });
    assert_eq!(stored(&mut place.open()), truth_of_many(&forwards, 2 * ROUNDS as usize));
}

/// Both read the committed offsets and try to advance them, in different orders, until the end is reached.
#[test]
fn two_that_believe_they_have_the_same_partitions_count_everything_once() {
    const END: i64 = 40;
    let (place, some) = (place(), interactions(0));
    let begin = [advance(0, None, 1), advance(1, None, 1)];
    assert_eq!(add(&mut place.open(), &begin, &some), Added::Stored);
    let barrier = Barrier::new(2);
    let work = |order: [i32; 2]| {
        let mut store = place.open();
        barrier.wait();
        loop {
            let next = store.committed().unwrap()[&partition(0)].offset;
            if next == END {
                break;
            }
            let advances = order.map(|number| advance(number, Some(next), next + 1));
            let _either = add(&mut store, &advances, &some);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| work([0, 1]));
        scope.spawn(|| work([1, 0]));
    });
    let mut store = place.open();
    assert_eq!(stored(&mut store), truth_of_many(&some, END as usize));
    let committed = store.committed().unwrap();
    assert!(committed.values().all(|at| at.offset == END && at.counted == 2 * END as u64));
}

#[test]
fn a_server_that_is_killed_and_comes_back_has_every_batch_once() {
    let server = Server::start();
    let (place, some) = (at(&server.database()), interactions(0));
    let mut store = place.open();
    assert_eq!(add(&mut store, &[advance(0, None, 1)], &some), Added::Stored);

    services("stop-postgres", &server.dir, &[]);
    for _ in 0..2 {
        let error = store.add(&mut batch(&[advance(0, Some(1), 2)], &some)).unwrap_err();
        assert!(error.is_passing(), "{error}");
    }
    services("start-postgres", &server.dir, &[]);
    assert_eq!(add(&mut store, &[advance(0, Some(1), 2)], &some), Added::Stored);

    // Between two calls: the first may find its connection gone, and reports that it passes.
    services("stop-postgres", &server.dir, &[]);
    services("start-postgres", &server.dir, &[]);
    let last = [advance(0, Some(2), 3)];
    match store.add(&mut batch(&last, &some)) {
        Ok(outcome) => assert_eq!(outcome, Added::Stored),
        Err(error) => {
            assert!(error.is_passing(), "{error}");
            assert_eq!(add(&mut store, &last, &some), Added::Stored);
        }
    }
    assert_eq!(stored(&mut store), truth_of_many(&some, 3));
    assert_eq!(
        store.committed().unwrap(),
        BTreeMap::from([(partition(0), Committed { offset: 3, counted: 6, dead: 3 })])
    );
}

#[test]
fn a_connection_that_the_server_ends_in_a_batch_leaves_nothing_of_it() {
    let url = Server::shared().database();
    let (place, some) = (at(&url), interactions(0));
    let (mut store, mut other) = (place.open(), client(&url));
    let mut blocking = other.transaction().unwrap();
    blocking.batch_execute("LOCK TABLE tower_load IN EXCLUSIVE MODE").unwrap();
    thread::scope(|scope| {
        let adding = scope
            .spawn(|| store.add(&mut batch(&[advance(0, None, 1)], &some)).map(|_| ()).unwrap_err());
        // It waits for the lock with the usage added, and is ended there.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND database = \
                   (SELECT oid FROM pg_database WHERE datname = current_database())";
        while blocking.execute(end, &[]).unwrap() == 0 {}
        let error = adding.join().unwrap();
        assert!(error.is_passing(), "{error}");
    });
    drop(blocking);
    assert_eq!((stored(&mut store), store.committed().unwrap()), (Usage::default(), BTreeMap::new()));
    assert_eq!(add(&mut store, &[advance(0, None, 1)], &some), Added::Stored);
}

/// As when this process is halted in the middle of a batch.
#[test]
fn a_transaction_that_was_open_for_too_long_is_tried_again() {
    let url = Server::shared().database();
    let (mut ours, mut other) = (client(&url), client(&url));
    let our_id: i32 = ours.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let mut transaction = ours.transaction().unwrap();
    transaction.batch_execute("SET LOCAL idle_in_transaction_session_timeout = '10ms'").unwrap();
    let is_there = "SELECT FROM pg_stat_activity WHERE pid = $1";
    while other.query_opt(is_there, &[&our_id]).unwrap().is_some() {}
    let error = transaction.batch_execute("SELECT 1").unwrap_err();
    assert_eq!(error.code().map(SqlState::code), Some("25P03"), "{error}");
    let (passing, remedy) = server::outlook(&error);
    assert!(passing && server::is_loss(&error), "{remedy}");
}

#[test]
fn a_password_is_nowhere_to_be_read() {
    let server = Server::shared();
    let (place, shown) =
        (place(), server.url.split_once('@').unwrap().1.replace("/postgres", "/usage_"));
    let store = place.open();
    assert!(store.name().starts_with(&shown), "{}", store.name());
    assert!(!format!("{store:?} {:?}", place.config).contains("password"), "{store:?}");

    let wrong = server.url.replace("postgres-password", "sesame");
    let error = Store::open(&at(&wrong).config).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("password authentication failed for user"), "{text}");
    assert!(text.contains("127.0.0.1") && !text.contains("sesame"), "{text}");
}

#[test]
fn a_database_that_does_not_exist_is_named() {
    let url = Server::shared().url.replace("/postgres", "/nowhere");
    let error = refusal(&url);
    assert!(error.contains("/nowhere: database \"nowhere\" does not exist (3D000)"), "{error}");
    assert!(error.contains("must exist"), "{error}");
}

/// Why a database cannot be opened.
fn refusal(url: &str) -> String {
    Store::open(&at(url).config).unwrap_err().to_string()
}

/// Whether a store's connection is one with TLS, as its server sees it.
#[cfg(feature = "tls")]
fn is_secured(url: &str, options: &str) -> bool {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("secured-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let _store = at(&format!("{url}?{options}&application_name={name}")).open();
    let query =
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1";
    client(&Server::shared().url).query_one(query, &[&name]).unwrap().get(0)
}

#[cfg(feature = "tls")]
#[test]
fn connections_are_secured_by_the_url() {
    let (url, root) = (Server::shared().database(), Server::shared().tls.clone() + "/ca.pem");
    assert!(!is_secured(&url, "sslmode=disable"));
    assert!(is_secured(&url, "sslmode=prefer"), "the server offers it");
    assert!(is_secured(&url, "sslmode=require"));
    assert!(is_secured(&url, &format!("sslmode=verify-full&sslrootcert={root}")));
    let stranger = refusal(&format!("{url}?sslmode=verify-full&sslrootcert=system"));
    assert!(stranger.contains("certificate verify failed"), "{stranger}");
    assert!(stranger.contains("sslmode and sslrootcert in STORE_URL name whom to trust"), "{stranger}");
}

#[cfg(feature = "tls")]
#[test]
fn a_server_of_another_name_is_trusted_when_its_name_does_not_matter() {
    let root = format!("sslrootcert={}/ca.pem", Server::shared().tls);
    let url = Server::shared().database().replace("127.0.0.1", "db.example");
    let options = |mode: &str| format!("hostaddr=127.0.0.1&sslmode={mode}&{root}");
    assert!(is_secured(&url, &options("verify-ca")));
    assert!(is_secured(&url, &options("require")));
    let refused = refusal(&format!("{url}?{}", options("verify-full")));
    assert!(refused.contains("certificate verify failed"), "{refused}");
}

#[cfg(feature = "tls")]
#[test]
fn a_server_that_wants_a_certificate_gets_one() {
    let server = Server::shared();
    client(&server.url).batch_execute("CREATE DATABASE with_certificate").unwrap();
    let url = server.url.replace("/postgres", "/with_certificate?sslmode=require");
    let without = refusal(&url);
    assert!(without.contains("valid client certificate"), "{without}");
    let tls = &server.tls;
    let with = at(&format!("{url}&sslcert={tls}/client.crt&sslkey={tls}/client.key"));
    with.open().bind("one").unwrap();
}
