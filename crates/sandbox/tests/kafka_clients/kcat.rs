//! kcat, on librdkafka.

use tokio::process::Command;

use crate::support::{Running, run};

/// kcat with its arguments, separated by spaces.
fn kcat(broker: &Running, arguments: &str) -> Command {
    let mut command = Command::new("kcat");
    // No configuration of whoever runs this.
    command.env("KCAT_CONFIG", "/dev/null").args(["-b", &broker.address]).args(arguments.split(' '));
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn produces_and_consumes_keys_and_headers() {
    let broker = Running::start().await;
    run(&mut kcat(&broker, "-P -t keys -K : -H colour=red -H empty="), "a:one\nb:two\nc:\n").await;
    let format = "%k=%s@%o/%p %h;";
    let mut consume = kcat(&broker, "-C -t keys -o beginning -e -q -f");
    let read = run(consume.arg(format), "").await;
    let expected = ["a=one@0/0", "b=two@1/0", "c=@2/0"];
    let expected: String = expected.iter().map(|one| format!("{one} colour=red,empty=;")).collect();
    assert_eq!(read, expected);
    let mut last = kcat(&broker, "-C -t keys -o -1 -c 1 -q -f");
    assert_eq!(run(last.arg("%k"), "").await, "c");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn produces_and_consumes_every_compression() {
    let broker = Running::start().await;
    let lines: String = (0..5_000).map(|line| format!("the record number {line}\n")).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let produce = format!("-P -t {codec} -z {codec}");
        run(&mut kcat(&broker, &produce), &lines).await;
        let consume = format!("-C -t {codec} -o beginning -e -q -X check.crcs=true");
        assert!(run(&mut kcat(&broker, &consume), "").await == lines, "{codec}");
    }
    // What was compressed takes less room, so that it was not just the client that left it out.
    let sizes = |codec: &str| broker.topic_bytes(codec);
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        assert!(sizes(codec) * 2 < sizes("none"), "{codec}: {} of {}", sizes(codec), sizes("none"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumes_from_a_timestamp_on() {
    let broker = Running::start().await;
    run(&mut kcat(&broker, "-P -t times"), "1\n2\n").await;
    run(&mut kcat(&broker, "-P -t times"), "3\n4\n").await;
    let all = run(kcat(&broker, "-C -t times -o beginning -e -q -f").arg("%T %s\n"), "").await;
    let all: Vec<(i64, &str)> = all
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(time, value)| (time.parse().unwrap(), value))
        .collect();
    let from = all[2].0;
    // Records of one millisecond are as good as each other.
    let skipped = all.iter().filter(|(time, _)| *time < from).count();
    let expected: String = all[skipped..].iter().map(|(_, value)| format!("{value}\n")).collect();
    let mut consume = kcat(&broker, &format!("-C -t times -o s@{from} -e -q"));
    assert_eq!(run(&mut consume, "").await, expected);
    let query = run(&mut kcat(&broker, &format!("-Q -t times:0:{from}")), "").await;
    assert_eq!(query.trim(), format!("times [0] offset {skipped}"));
    for (time, offset) in [("-2", 0), ("-1", 4)] {
        let end = run(&mut kcat(&broker, &format!("-Q -t times:0:{time}")), "").await;
        assert_eq!(end.trim(), format!("times [0] offset {offset}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_brokers_topics_and_partitions() {
    let broker = Running::start().await;
    run(&mut kcat(&broker, "-P -t one"), "x\n").await;
    let all = run(&mut kcat(&broker, "-L"), "").await;
    let node = format!("broker 1 at {} (controller)", broker.address);
    for expected in [
        "1 brokers:",
        &node,
        "topic \"one\" with 1 partitions:",
        "partition 0, leader 1, replicas: 1, isrs: 1",
    ] {
        assert!(all.contains(expected), "no {expected:?} in {all}");
    }
    let json = run(&mut kcat(&broker, "-L -J"), "").await;
    assert!(json.contains("\"topic\":\"one\""), "{json}");
}

/// Like `kafka-console-consumer`, it joins groups, and commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_where_its_group_was() {
    let broker = Running::start().await;
    run(&mut kcat(&broker, "-P -t grouped"), "1\n2\n").await;
    let group = "-X auto.offset.reset=earliest -e -q -G readers grouped";
    assert_eq!(run(&mut kcat(&broker, group), "").await, "1\n2\n");
    run(&mut kcat(&broker, "-P -t grouped"), "3\n").await;
    assert_eq!(run(&mut kcat(&broker, group), "").await, "3\n");
}

/// It makes one transaction of its whole input.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn produces_in_a_transaction() {
    let broker = Running::start().await;
    run(&mut kcat(&broker, "-P -t sums -X transactional.id=adder"), "1\n2\n3\n").await;
    for isolation in ["read_committed", "read_uncommitted"] {
        let consume = format!("-C -t sums -o beginning -e -q -X isolation.level={isolation}");
        assert_eq!(run(&mut kcat(&broker, &consume), "").await, "1\n2\n3\n", "{isolation}");
    }
}
