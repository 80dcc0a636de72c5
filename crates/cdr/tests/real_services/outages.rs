//! Destinations that are away, for a while or for too long.

use std::net::TcpListener;
use std::time::Instant;

use cdr_model::{Shard, Stream};

use crate::support::check;
use crate::support::process::Ended;
use crate::support::scene::Scene;
use crate::support::services::{Disturbance, Fragile, Services};
use crate::support::topics::Topic;

/// A run of eight seconds, which is disturbed in its middle.
fn disturbed<'a>(
    fragile: &'a Fragile,
    name: &'static str,
    disturb: impl Fn(&'a Fragile) -> Disturbance<'a>,
    seen: &str,
) -> Ended {
    let scene = Scene::at(fragile.services, name, 80, 500);
    let process = scene.run_at(10).start();
    process.wait_for_line("Generated");
    let disturbance = disturb(fragile);
    process.wait_for_line(seen);
    disturbance.end();
    let ended = process.end().expect(0);
    check::delivered(&scene);
    ended
}

/// One line that the brokers are away, or one each 5 s, and at the end one that they are back.
fn check_log(ended: &Ended, begun: Instant, what: &str) {
    let away = ended.lines.iter().filter(|line| line.contains("WARNING") && line.contains(what));
    let (away, seconds) = (away.count(), begun.elapsed().as_secs() as usize);
    let log = ended.lines.join("\n");
    assert!((1..=1 + seconds / 5).contains(&away), "{away} lines in {seconds} s:\n{log}");
    assert!(ended.count("back") >= 1, "{log}");
    assert_eq!(ended.count("ERROR"), 0, "{log}");
}

#[test]
fn brokers_that_hang_for_a_while_are_waited_for() {
    let (fragile, begun) = (Services::fragile(), Instant::now());
    let away = format!("Kafka brokers {} are away", fragile.services.brokers());
    let ended = disturbed(&fragile, "brokers-paused", Fragile::pause_brokers, &away);
    check_log(&ended, begun, &away);
}

#[test]
fn brokers_that_are_killed_and_come_back_are_waited_for() {
    let (fragile, begun) = (Services::fragile(), Instant::now());
    let away = format!("Kafka brokers {} are away", fragile.services.brokers());
    let ended = disturbed(&fragile, "brokers-killed", Fragile::kill_brokers, &away);
    check_log(&ended, begun, &away);
}

#[test]
fn an_sftp_server_that_ends_and_comes_back_is_waited_for() {
    let (fragile, begun) = (Services::fragile(), Instant::now());
    let away = format!("SFTP server 127.0.0.1:{} is away", fragile.services.variable("SFTP_PORT"));
    let ended = disturbed(&fragile, "sftp-stopped", Fragile::stop_sftp, &away);
    check_log(&ended, begun, &away);
}

#[test]
fn an_sftp_server_that_is_away_at_the_start_does_not_hold_up_the_records() {
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "sftp-away-at-start", 20, 100);
    let stopped = fragile.stop_sftp();
    let process = scene.run().start();
    let topic = Topic::new(scene.services, scene.topic(Stream::Voice));
    let all = || topic.partitions() > 0 && topic.counts().0 == 2_000;
    process.wait_until("all records are delivered", all);
    check::records(&scene, &[Shard::WHOLE], 0..20);
    stopped.end();
    process.end().expect(0);
    check::delivered(&scene);

    let stopped = fragile.stop_sftp();
    scene.run().end().expect(0).line("Run sftp-away-at-start is finished already");
    stopped.end();
}

#[test]
fn one_broker_of_three_that_is_killed_is_not_missed() {
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "one-broker-killed", 80, 500);
    let process = scene.run_at(10).start();
    process.wait_for_line("Generated");
    let killed = fragile.kill_broker("2");
    process.end().expect(0);
    killed.end();
    check::delivered(&scene);
}

#[test]
fn a_run_that_gave_up_on_its_brokers_is_continued_when_they_are_back() {
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "gave-up", 80, 500);
    let process = scene.run_at(10).with("KAFKA_GIVE_UP_SECONDS", 3).start();
    process.wait_for_line("Generated");
    let paused = fragile.pause_brokers();
    let ended = process.end().expect(4);
    check_gave_up(&ended, fragile.services.brokers(), "Check KAFKA_BROKERS");
    paused.end();
    scene.run().end().expect(0).line("Continuing run gave-up");
    check::delivered(&scene);
}

/// Gives an address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has one").to_string()
}

fn check_gave_up(ended: &Ended, address: &str, hint: &str) {
    let line = ended.line("ERROR");
    assert!(line.contains(address) && line.ends_with(hint), "{line}");
}

#[test]
fn brokers_that_stay_away_from_the_beginning_end_the_run() {
    let scene = Scene::new("no-brokers", 2, 10);
    let (address, begun) = (nobody(), Instant::now());
    let job = scene.run().with("KAFKA_BROKERS", &address).with("KAFKA_GIVE_UP_SECONDS", 3);
    let ended = job.end().expect(4);
    check_gave_up(&ended, &address, "Check KAFKA_BROKERS");
    ended.line("not reachable for 3 s");
    assert_eq!(ended.count("up to 0 s"), 0);
    // A machine that is busy with other work starts and ends processes slowly.
    assert!((3..12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[test]
fn an_sftp_server_that_stays_away_from_the_beginning_ends_the_run() {
    let scene = Scene::new("no-sftp", 2, 10);
    let (address, begun) = (nobody(), Instant::now());
    let (host, port) = address.split_once(':').expect("host:port");
    let job = scene.run().with("SFTP_HOST", host).with("SFTP_PORT", port);
    let ended = job.with("SFTP_GIVE_UP_SECONDS", 2).end().expect(4);
    check_gave_up(&ended, &address, "Check SFTP_HOST and SFTP_PORT");
    assert!((2..30).contains(&begun.elapsed().as_secs()));
}
