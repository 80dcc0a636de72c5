//! What was delivered, as read by programs that nobody here wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use cdr_model::usage::{Interaction, Used};
use cdr_model::{PartIndex, Shard, Stream};

use crate::support::placement;
use crate::support::scene::Scene;
use crate::support::{check, clients};

/// A finished run, which all tests of this chapter read.
fn delivered() -> &'static Scene {
    static DELIVERED: LazyLock<Scene> = LazyLock::new(|| {
        let scene = Scene::new("read", 50, 1_000);
        scene.run().end().expect(0);
        scene
    });
    &DELIVERED
}

/// Fails unless lines `PARTITION KEY VALUE`, or others like them, hold each record once and each
/// partition in order.
fn check_lines<'a>(stream: Stream, text: &'a [u8], parse: impl Fn(&'a str) -> [&'a str; 3]) {
    let mut expected = check::expected(delivered(), stream, Shard::WHOLE, 0..50);
    for line in str::from_utf8(text).expect("text").lines() {
        let [partition, key, value] = parse(line);
        let partition: usize = partition.parse().unwrap_or_else(|_| panic!("no partition in {line}"));
        let (wanted_key, wanted_value) = expected[partition].pop_front().expect("a further record");
        assert_eq!((key.as_bytes(), value.as_bytes()), (&*wanted_key, &*wanted_value), "{line}");
    }
    assert!(expected.iter().all(|rest| rest.is_empty()), "not all records were read");
}

fn by_spaces(line: &str) -> [&str; 3] {
    let mut parts = line.splitn(3, ' ');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

#[test]
fn kcat_reads_every_record_once() {
    let scene = delivered();
    for stream in Stream::ALL {
        let mut kcat = Command::new("kcat");
        kcat.args(["-C", "-b", scene.services.brokers(), "-t", scene.topic(stream)]);
        kcat.args(["-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed"]);
        kcat.args(["-f", "%p %k %s\n"]);
        check_lines(stream, &clients::output(&scene.folder, kcat), by_spaces);
    }
}

#[test]
fn kafkas_console_consumer_reads_every_record_once() {
    let scene = delivered();
    for stream in Stream::ALL {
        let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
        let mut consumer = clients::kafka_tool(scene.services, class);
        consumer.args(["--topic", scene.topic(stream), "--from-beginning"]);
        consumer.args(["--isolation-level", "read_committed", "--max-messages", "50000"]);
        consumer.args(["--property", "print.partition=true"]);
        consumer.args(["--property", "print.key=true"]);
        // It prints `Partition:0<tab>key<tab>value`.
        check_lines(stream, &clients::output(&scene.folder, consumer), |line| {
            let mut parts = line.splitn(3, '\t');
            let partition = parts.next().and_then(|text| text.strip_prefix("Partition:"));
            [partition.unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or("")]
        });
    }
}

/// It has no lz4 of its own, which is the default.
#[test]
fn kafka_python_reads_every_record_once() {
    let scene = Scene::new("read-gzip", 50, 1_000);
    scene.run().with("SINKS", "kafka").with("KAFKA_COMPRESSION", "gzip").end().expect(0);
    for stream in Stream::ALL {
        let mut python = clients::python(scene.services, "read_kafka_python.py");
        python.args([scene.services.brokers(), scene.topic(stream)]);
        check_lines(stream, &clients::output(&scene.folder, python), by_spaces);
    }
}

#[test]
fn a_consumer_as_in_use_today_sums_the_usage_that_was_generated() {
    let scene = delivered();
    for stream in Stream::ALL {
        let mut python = clients::python(scene.services, "usage_confluent.py");
        python.args([scene.services.brokers(), scene.topic(stream)]);
        let found: BTreeMap<String, [u64; 2]> =
            serde_json::from_slice(&clients::output(&scene.folder, python)).expect("JSON");
        assert!(found == usage(scene, stream), "{stream}: other sums than were generated");
    }
}

/// Records and their total by `msisdn date type`: bytes of data, or seconds of calls.
fn usage(scene: &Scene, stream: Stream) -> BTreeMap<String, [u64; 2]> {
    let (generator, plan) = (scene.generator(), scene.plan(Shard::WHOLE));
    let mut usage = BTreeMap::new();
    let mut add = |one: Interaction| {
        let (day, kind) = (&one.time.to_string()[..10], one.used.usage_type().name());
        let amount = match one.used {
            Used::Data { up_bytes, down_bytes, .. } => up_bytes + down_bytes,
            Used::Call { seconds, .. } => seconds,
        };
        let key = format!("{} {day} {kind}", one.msisdn);
        let [records, total]: &mut [u64; 2] = usage.entry(key).or_default();
        (*records, *total) = (*records + 1, *total + amount);
    };
    for part in (0..plan.files()).map(|index| plan.part(PartIndex(index))) {
        generator.interactions(stream, &part, &mut add);
    }
    usage
}

#[test]
fn records_are_where_javas_own_producer_puts_their_keys() {
    let by_java = placement::place("placement-by-java", |topic, keys| {
        let class = "org.apache.kafka.tools.ConsoleProducer";
        let producer = clients::kafka_tool(delivered().services, class);
        let mut bash = Command::new("bash");
        let tail = format!(r#"exec "$@" --topic {topic} < '{}'"#, keys.display());
        bash.args(["-c", &tail, "bash"]).arg(producer.get_program()).args(producer.get_args());
        bash.args(["--property", "parse.key=true", "--property", "key.separator=,"]);
        bash
    });
    assert_eq!(by_java.len(), 50_000);
    assert!(by_java == *placement::by_kcat(), "kcat's murmur2 is not Java's");
}

/// Fails unless both files of a part, as fetched by `fetch` into a folder, are as the model makes
/// them.
fn check_download(part: u64, fetch: impl Fn(&Scene, &str, &PathBuf)) {
    let scene = delivered();
    for (name, content) in scene.files_of(&scene.generator(), part) {
        let local = scene.folder.join(&name);
        fetch(scene, &format!("{}/{name}", scene.name), &local);
        assert!(fs::read(&local).expect("it was fetched") == content, "{name} differs");
    }
}

#[test]
fn paramiko_downloads_the_files_to_the_byte() {
    check_download(0, |scene, remote, local| {
        let mut python = clients::python(scene.services, "get_paramiko.py");
        for name in ["SFTP_HOST", "SFTP_PORT", "SFTP_USER", "SFTP_PASSWORD", "SFTP_KNOWN_HOSTS"] {
            python.arg(scene.services.variable(name));
        }
        python.arg(remote).arg(local);
        clients::output(&scene.folder, python);
    });
}

#[test]
fn lftp_downloads_the_files_to_the_byte() {
    check_download(1, |scene, remote, local| {
        let get = |name| scene.services.variable(name);
        let known = get("SFTP_KNOWN_HOSTS");
        let mut lftp = Command::new("lftp");
        lftp.env("HOME", &scene.folder).arg("-c").arg(format!(
            "set cmd:fail-exit yes; set net:max-retries 1; \
             set sftp:connect-program 'ssh -a -x -F none -o UserKnownHostsFile={known}'; \
             open -u {},{} sftp://{}:{}; get {remote} -o {}",
            get("SFTP_USER"),
            get("SFTP_PASSWORD"),
            get("SFTP_HOST"),
            get("SFTP_PORT"),
            local.display(),
        ));
        clients::output(&scene.folder, lftp);
    });
}

#[test]
fn openssh_downloads_the_files_to_the_byte() {
    let key = clients::accepted_ssh_key(delivered(), "reader", "");
    check_download(2, |scene, remote, local| {
        let get = |name| scene.services.variable(name);
        let mut sftp = Command::new("sftp");
        sftp.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i"]).arg(&key);
        sftp.args(["-o", &format!("UserKnownHostsFile={}", get("SFTP_KNOWN_HOSTS"))]);
        sftp.args(["-P", get("SFTP_PORT")]);
        sftp.arg(format!("{}@{}:{remote}", get("SFTP_USER"), get("SFTP_HOST"))).arg(local);
        clients::output(&scene.folder, sftp);
    });
}
