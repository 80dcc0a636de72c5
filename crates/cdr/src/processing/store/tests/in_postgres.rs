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

use ::postgres::{Client, NoTls};

use super::*;
use crate::processing::store::Postgres;
use crate::secret::Secret;

/// A server that ends with this process.
struct Server {
    dir: PathBuf,
    /// Of its first database, with the password.
    url: String,
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
        let url = variables.lines().find_map(|line| line.strip_prefix("STORE_URL=")).unwrap();
        Server { url: url.to_owned(), dir }
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

fn at(url: &str) -> Place {
    Place { config: StoreConfig::Postgres(Secret::new(url)), _folder: None }
}

fn place() -> Place {
    at(&Server::shared().database())
}

fn batch(advances: &[Advance], interactions: &[Interaction]) -> Batch {
    Batch { advances: advances.to_vec(), interactions: interactions.to_vec() }
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
    stays_are_found_over_hours_and_batches,
    the_heaviest_are_the_sums_of_all,
    another_cluster_is_refused_until_all_is_cleared
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
    assert!(matches!(error, StoreError::Newer { found: 1_000, known: 1, .. }), "{error}");
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
            assert_eq!(outcome, Outcome::Stored);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| work(0, &forwards));
        scope.spawn(|| work(1, &backwards));
    });
    assert_eq!(stored(&mut place.open()), truth_of_many(&forwards, 2 * ROUNDS as usize));
}

/// Both read the positions and try to advance them, in different orders, until the end is reached.
#[test]
fn two_that_believe_they_have_the_same_partitions_count_everything_once() {
    const END: i64 = 40;
    let (place, some) = (place(), interactions(0));
    let begin = [advance(0, None, 1), advance(1, None, 1)];
    assert_eq!(add(&mut place.open(), &begin, &some), Outcome::Stored);
    let barrier = Barrier::new(2);
    let work = |order: [i32; 2]| {
        let mut store = place.open();
        barrier.wait();
        loop {
            let next = store.positions().unwrap()[0].1.next;
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
    assert!(
        store.positions().unwrap().iter().all(|(_, at)| at.next == END && at.counted == 2 * END as u64)
    );
}

#[test]
fn a_server_that_is_killed_and_comes_back_has_every_batch_once() {
    let server = Server::start();
    let (place, some) = (at(&server.database()), interactions(0));
    let mut store = place.open();
    assert_eq!(add(&mut store, &[advance(0, None, 1)], &some), Outcome::Stored);

    services("stop-postgres", &server.dir, &[]);
    for _ in 0..2 {
        let error = store.add(&mut batch(&[advance(0, Some(1), 2)], &some)).unwrap_err();
        assert!(error.is_passing(), "{error}");
    }
    services("start-postgres", &server.dir, &[]);
    assert_eq!(add(&mut store, &[advance(0, Some(1), 2)], &some), Outcome::Stored);

    // Between two calls: the first may find its connection gone, and says that it passes.
    services("stop-postgres", &server.dir, &[]);
    services("start-postgres", &server.dir, &[]);
    let last = [advance(0, Some(2), 3)];
    match store.add(&mut batch(&last, &some)) {
        Ok(outcome) => assert_eq!(outcome, Outcome::Stored),
        Err(error) => {
            assert!(error.is_passing(), "{error}");
            assert_eq!(add(&mut store, &last, &some), Outcome::Stored);
        }
    }
    assert_eq!(stored(&mut store), truth_of_many(&some, 3));
    assert_eq!(store.positions().unwrap(), [(partition(0), Position { next: 3, counted: 6, dead: 3 })]);
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
    assert_eq!((stored(&mut store), store.positions().unwrap()), (Usage::default(), vec![]));
    assert_eq!(add(&mut store, &[advance(0, None, 1)], &some), Outcome::Stored);
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
    let error = Postgres::open(&Secret::new(wrong)).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("password authentication failed for user"), "{text}");
    assert!(text.contains("127.0.0.1") && !text.contains("sesame"), "{text}");
}

#[test]
fn a_database_that_does_not_exist_is_named() {
    let url = Server::shared().url.replace("/postgres", "/nowhere");
    let error = Postgres::open(&Secret::new(url)).unwrap_err().to_string();
    assert!(error.contains("/nowhere: database \"nowhere\" does not exist (3D000)"), "{error}");
    assert!(error.contains("must exist"), "{error}");
}
