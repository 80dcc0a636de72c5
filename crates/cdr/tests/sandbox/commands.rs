//! `cdr demo` and `cdr sandbox`, as a newcomer meets them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::{cdr, out};

const DEMO: &str = "demo --sftp-port 0 --kafka-port 0";

#[test]
fn a_demo_delivers_shows_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let text = out(&cdr(folder.path(), DEMO).output().unwrap());
    for line in [
        "172 files on the SFTP server, among them\n  cdr_data_20240101_001645.csv  81.89 kB\n",
        "\n  msisdn,tower_id,up_bytes,down_bytes,data_type,ip_address,website_url,event_datetime\n  27656039177,",
        "In the topic cdr_voice, by partition and offset, among others\n  0/0 {\"msisdn\":",
        "  topic cdr_data: 86,000 of 86,000 records\n",
        ": 172 of 172 right\n",
        "All is right: nothing is missing, nothing is doubled",
        "cdr verify --env dev --profile realistic\n",
        "Who used most? `cdr process` counts from the topics, each record once:\n\n  SUBSCRIBER ",
        "\n  TOWER ",
        "\nTo query one: cdr usage --store-path .cdr/usage.db 27",
    ] {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
}

#[test]
fn a_second_demo_finds_what_the_first_delivered_and_can_begin_again() {
    let folder = tempfile::tempdir().unwrap();
    out(&cdr(folder.path(), DEMO).output().unwrap());
    let again = cdr(folder.path(), DEMO).output().unwrap();
    assert!(out(&again).contains("All is right"));
    let log = String::from_utf8_lossy(&again.stderr);
    // The SFTP server has another port, so it counts as another target, and gets its files again.
    assert!(log.contains("Continuing run cdr: records of 86, files of 0 of 86 parts"), "{log}");
    let restarted =
        cdr(folder.path(), &format!("{DEMO} --restart --lines-per-second 2")).output().unwrap();
    assert!(
        out(&restarted).contains("topic cdr_data: 173,000 of 173,000 records"),
        "{}",
        out(&restarted)
    );
}

#[test]
fn a_demo_on_a_port_that_is_taken_fails() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let output =
        cdr(folder.path(), &format!("demo --sftp-port {port} --kafka-port 0")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    let expected = format!(
        "cannot listen on 127.0.0.1:{port}; if something else serves there, stop it, or choose another port with --sftp-port"
    );
    assert!(log.contains(&expected), "{log}");
}

/// `cdr sandbox` at work; it does not outlive the test.
struct Serving {
    child: Child,
    out: BufReader<ChildStdout>,
    sftp_port: String,
    brokers: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn serve(folder: &std::path::Path) -> Serving {
    serve_with(folder, "")
}

fn serve_with(folder: &std::path::Path, arguments: &str) -> Serving {
    let mut command = cdr(folder, &format!("sandbox --sftp-port 0 --kafka-port 0 {arguments}"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("Serving until Ctrl-C") {
        assert!(out.read_line(&mut seen).unwrap() > 0, "it has ended: {seen}");
    }
    let word = |line: &str, number: usize| {
        let line = seen.lines().find(|text| text.trim_start().starts_with(line)).expect("its line");
        line.split_whitespace().nth(number).expect("a word").trim_end_matches(',').to_owned()
    };
    let sftp_port = word("SFTP", 1).rsplit_once(':').unwrap().1.to_owned();
    let brokers = word("Kafka", 1);
    Serving { child, out, sftp_port, brokers }
}

impl Serving {
    fn job(&self, folder: &std::path::Path, arguments: &str) -> Command {
        let mut command = cdr(folder, arguments);
        command.env("CDR_ENV", "dev").env("KAFKA_BROKERS", &self.brokers);
        command.env("SFTP_PORT", &self.sftp_port).env("SFTP_KNOWN_HOSTS", folder.join("known_hosts"));
        command
    }
}

#[test]
fn a_sandbox_keeps_what_was_delivered_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let first = serve(folder.path());
    out(&first.job(folder.path(), "run").output().unwrap());
    drop(first);
    let second = serve(folder.path());
    let text = out(&second.job(folder.path(), "verify").output().unwrap());
    assert!(text.contains("All is right"), "{text}");
    assert!(text.contains("topic cdr_voice: 86,000 of 86,000 records"), "{text}");
}

#[test]
fn a_sandbox_ends_well_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let mut serving = serve(folder.path());
    let killed = Command::new("kill").args(["-TERM", &serving.child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    assert!(serving.child.wait().unwrap().success());
    let mut rest = String::new();
    serving.out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn the_broker_is_found_under_the_name_that_it_advertises() {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let folder = tempfile::tempdir().unwrap();
    let serving = serve_with(folder.path(), "--advertise sandbox.example");
    let mut config = rdkafka::ClientConfig::new();
    let consumer: BaseConsumer = config.set("bootstrap.servers", &serving.brokers).create().unwrap();
    let metadata = consumer.fetch_metadata(None, crate::support::LIMIT).unwrap();
    let port = serving.brokers.rsplit_once(':').unwrap().1;
    let advertised = metadata.brokers().first().map(|broker| (broker.host(), broker.port().to_string()));
    assert_eq!(advertised, Some(("sandbox.example", port.to_owned())));
}

/// With a standard output whose reader has left before it begins.
fn unread(mut command: Command) -> std::process::Child {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn servers_and_demo_do_their_work_when_nobody_reads_what_they_print() {
    let folder = tempfile::tempdir().unwrap();
    let demo = unread(cdr(folder.path(), DEMO)).wait_with_output().unwrap();
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
    let ports = "sandbox --dir served --sftp-port 0 --kafka-port 0";
    let mut serving = unread(cdr(folder.path(), ports));
    // It serves once its folder is there, and ends well on demand.
    let begun = std::time::Instant::now();
    while !folder.path().join("served/kafka").exists() {
        assert!(begun.elapsed() < crate::support::LIMIT && serving.try_wait().unwrap().is_none());
        crate::support::pause();
    }
    assert!(Command::new("kill").arg(serving.id().to_string()).status().unwrap().success());
    let served = serving.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&served.stderr);
    assert!(!log.contains("panicked"), "{log}");
    // The signal may come before it listens for any.
    assert!(served.status.code().is_none_or(|code| code == 0), "{log}");
}

#[test]
fn what_topics_hold_has_the_statistics_of_what_was_generated() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(folder.path());
    out(&serving.job(folder.path(), "run --profile realistic").output().unwrap());
    let report = |arguments: &str| -> serde_json::Value {
        let stats = format!("stats --profile realistic --format json {arguments}");
        serde_json::from_str(&out(&serving.job(folder.path(), &stats).output().unwrap())).unwrap()
    };
    let (topics, generated) = (report("--from topics"), report(""));
    assert_eq!((&topics["records"], &topics["unreadable"]), (&172_000.into(), &0.into()));
    assert_eq!(topics["histograms"], generated["histograms"]);
    // Also where partitions were read side by side, each person's records come in order.
    for law in ["callers in two calls at once", "time between calls", "time at the most frequent place"]
    {
        let found = |report: &serde_json::Value| {
            let laws = report["laws"].as_array().unwrap().iter();
            let mut found = laws.filter(|one| one["law"].as_str().unwrap().starts_with(law));
            found.next().unwrap()["found"].as_f64().unwrap()
        };
        assert!((found(&topics) - found(&generated)).abs() < 1e-3, "{law}: {topics} {generated}");
    }
    let unreadable =
        report("--from topics --columns msisdn=msisdn,start_time=start_time,end_time=start_time");
    // Sessions have no start_time.
    assert_eq!((&unreadable["records"], &unreadable["unreadable"]), (&86_000.into(), &86_000.into()));
}
