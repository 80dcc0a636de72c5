//! The stream processor between real Kafka brokers and its stores, and what it answers.

use std::process::Command;

use cdr::processing::store::{HourUsage, QuarterLoad, Store, StoreConfig};
use cdr::secret::Secret;
use cdr_model::usage::{Usage, UsageKey};
use cdr_model::{PartIndex, Shard, Stream};
use serde_json::Value;

use crate::support::process::{Ended, LIMIT, Process};
use crate::support::scene::{Job, Scene};
use crate::support::services::Services;

/// What a store must hold that has counted the run once.
fn truth(scene: &Scene) -> Usage {
    let (plan, generator) = (scene.plan(Shard::WHOLE), scene.generator());
    let mut usage = Usage::default();
    for part in 0..plan.files() {
        for stream in plan.streams() {
            generator.interactions(stream, &plan.part(PartIndex(part)), |one| usage.add(&one));
        }
    }
    usage
}

fn counted(store: &mut Store) -> u64 {
    store.committed().expect("offsets").values().map(|at| at.counted).sum()
}

/// Fails unless the store holds exactly the run.
fn check(scene: &Scene, store: &mut Store) {
    let (mut found, truth) = (Usage::default(), truth(scene));
    let mut add = |msisdn, one: HourUsage| {
        let key = UsageKey { hour: one.hour, msisdn, usage_type: one.usage_type.number() };
        found.sums.insert(key, one.sums);
    };
    store.all_usage(&mut add).expect("usage");
    let mut add = |tower, one: QuarterLoad| {
        found.loads.insert((one.quarter, tower), one.load);
    };
    store.all_loads(&mut add).expect("loads");
    assert!(found.sums == truth.sums, "{}: sums differ", scene.name);
    assert!(found.loads == truth.loads, "{}: loads differ", scene.name);
}

fn records(scene: &Scene) -> u64 {
    2 * scene.parts() * u64::from(scene.scenario.line_count)
}

/// The numbers of some subscribers of the first part.
fn subscribers(scene: &Scene) -> Vec<String> {
    let part = scene.plan(Shard::WHOLE).part(PartIndex(0));
    let generator = scene.generator();
    let mut found = Vec::new();
    generator.interactions(Stream::Data, &part, |one| found.push(one.msisdn.to_string()));
    found.truncate(3);
    found
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn printed(job: Job) -> Value {
    json(&job.end().expect(0).lines.join("\n"))
}

fn stop(processor: Process) -> Ended {
    processor.signal("TERM");
    processor.end().expect(143)
}

/// Queries the API of a processor, whose address is in its log.
fn query(processor: &Process, path: &str) -> String {
    answer(processor, path).unwrap_or_else(|refusal| panic!("{path}: {refusal}"))
}

/// What the API answers, or with which words it refuses.
fn answer(processor: &Process, path: &str) -> Result<String, String> {
    let line = processor.wait_for_line("Usage API on http://");
    let url = line.split("Usage API on ").nth(1).and_then(|rest| rest.split(',').next()).expect("a URL");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail-with-body", "-u", "cdr_data:password", "--max-time"]);
    let output = curl.arg(LIMIT.as_secs().to_string()).arg(format!("{url}{path}")).output();
    let output = output.expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(text + &String::from_utf8_lossy(&output.stderr)),
    }
}

#[test]
fn what_was_delivered_is_counted_and_answered_as_by_the_model() {
    let scene = Scene::new("counted", 60, 1_000);
    scene.run().with("SINKS", "kafka").end().expect(0);
    let processor = scene.process().start();
    let mut store = Store::open(&StoreConfig::File(scene.folder.join("usage.db"))).expect("a store");
    processor.wait_until("all is counted", || counted(&mut store) == records(&scene));
    check(&scene, &mut store);
    assert_eq!(query(&processor, "/readyz"), "ready\n");
    for msisdn in subscribers(&scene) {
        let expected = printed(scene.usage(&msisdn).flag("--expected"));
        assert_eq!(printed(scene.usage(&msisdn)), expected, "cdr usage {msisdn}");
        let (from, to) = (&expected["from"], &expected["to"]);
        let (from, to) = (from.as_str().expect("a date"), to.as_str().expect("a date"));
        let answer = query(&processor, &format!("/usage/{msisdn}?from={from}&to={to}"));
        assert_eq!(json(&answer), expected, "the API about {msisdn}");
    }
    stop(processor);
}

#[test]
fn several_processors_share_a_database_while_some_come_and_go() {
    let scene = Scene::new("counted-together", 120, 1_000);
    let url = scene.services.variable("STORE_URL");
    let mut store = Store::open(&StoreConfig::Postgres(Secret::new(url))).expect("a store");
    let start = || {
        let process = scene.process().with("STORE_URL", url).with("PROCESS_BATCH_RECORDS", 1_000);
        process.with("KAFKA_PROPERTIES", "session.timeout.ms=6000").start()
    };
    let run = scene.run_at(8).with("SINKS", "kafka").start();
    let first = start();
    first.wait_until("the first one counts", || counted(&mut store) > 0);
    let (second, third) = (start(), start());
    for other in [&second, &third] {
        other.wait_for_line("- Reading counted-together-");
    }
    let answer = json(&query(
        &third,
        &format!("/usage/{}?from=2024-01-01&to=2024-01-02", subscribers(&scene)[0]),
    ));
    assert!(answer["total"]["records"].is_u64(), "{answer}");
    drop(second.kill());
    assert_eq!(stop(third).count("panicked"), 0);
    run.end().expect(0);
    first.wait_until("all is counted", || counted(&mut store) == records(&scene));
    check(&scene, &mut store);
    assert_eq!(stop(first).count(url), 0, "the password is shown");
}

#[test]
fn a_database_that_is_away_is_waited_for_at_the_start_and_at_work() {
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "database-away", 20, 1_000);
    let url = scene.services.variable("STORE_URL");
    let deliver = |shard| scene.run().with("SINKS", "kafka").with("SHARD", shard).end().expect(0);
    deliver("1/2");
    let processor = {
        let away = fragile.stop_postgres();
        let processor = scene.process().with("STORE_URL", url).start();
        processor.wait_for_line("Trying again for up to");
        let refusal = answer(&processor, "/readyz").unwrap_err();
        assert!(refusal.contains("the usage store does not answer"), "{refusal}");
        away.end();
        processor.wait_for_line("The usage store is back");
        processor
    };
    processor.wait_until("it is ready", || answer(&processor, "/readyz").is_ok());
    {
        let away = fragile.stop_postgres();
        deliver("2/2");
        processor.wait_until("it is not ready", || answer(&processor, "/readyz").is_err());
        away.end();
    }
    let mut store = Store::open(&StoreConfig::Postgres(Secret::new(url))).expect("a store");
    processor.wait_until("all is counted", || counted(&mut store) == records(&scene));
    check(&scene, &mut store);
    assert_eq!(stop(processor).count(url), 0, "the password is shown");
}

/// Opens the database with such options in its URL, where the system trusts a certificate's owner; by
/// default nobody.
fn open_with_tls(scene: &Scene, options: &str, system: &str) -> Ended {
    let url = format!("{}?{options}", scene.services.variable("STORE_URL"));
    scene.usage("27821234567").with("STORE_URL", url).with("SSL_CERT_FILE", system).end()
}

#[test]
fn a_database_is_trusted_by_the_certificates_that_are_named_and_by_no_others() {
    let scene = Scene::new("database-trusted", 1, 10);
    let tls = scene.services.variable("STORE_TLS_DIR");
    let (root, stranger) = (format!("{tls}/ca.pem"), format!("{tls}/client.crt"));
    let trusting = |file: &str, mode: &str| format!("sslmode={mode}&sslrootcert={file}");
    let check = |options: &str, system: &str, trusted: bool| {
        let ended = open_with_tls(&scene, options, system).expect(1);
        let error = ended.line("cdr: ");
        match trusted {
            true => assert!(error.contains("has no usage there"), "{options}: {error}"),
            false => assert!(error.contains("certificate verify failed"), "{options}: {error}"),
        }
    };
    for mode in ["require", "verify-ca", "verify-full"] {
        check(&trusting(&root, mode), &stranger, true);
        check(&trusting(&stranger, mode), &root, false);
    }
    check("sslmode=verify-full", &root, true);
    check("sslmode=verify-full", &stranger, false);
    check(&trusting("system", "verify-full"), &root, true);
    // Who is trusted by the system is trusted by name only.
    let other = scene.services.variable("STORE_URL").replace("127.0.0.1", "db.example");
    let url = format!("{other}?hostaddr=127.0.0.1&sslmode=verify-ca");
    let ended = scene.usage("27821234567").with("STORE_URL", url).with("SSL_CERT_FILE", &root).end();
    assert!(ended.expect(1).line("cdr: ").contains("certificate verify failed"));
    check("sslmode=require", &stranger, true);
}
