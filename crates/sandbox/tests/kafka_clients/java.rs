//! Kafka's own tools, on its Java clients. Each takes seconds to start, so they share brokers.

use serde_json::Value;
use tokio::process::Command;

use crate::support::{Program, Running, python, run};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/kafka-tool");
const TOOLS: &str = "org.apache.kafka.tools";

/// Beside the version of the tools in general, the oldest and the newest one that is installed.
const OTHER_CLIENTS: [&str; 2] = ["3.9.2", "4.3.0"];

/// A tool with its arguments, separated by spaces.
fn tool(broker: &Running, class: &str, arguments: &str) -> Command {
    let mut command = Command::new(SCRIPT);
    command.arg(class).args(["--bootstrap-server", &broker.address]);
    command.args(arguments.split(' '));
    command
}

async fn run_tool(broker: &Running, class: &str, arguments: &str) -> String {
    run(&mut tool(broker, &format!("{TOOLS}.{class}"), arguments), "").await
}

/// The words of each line that has all of `wanted`.
fn rows(printed: &str, wanted: &[&str]) -> Vec<Vec<String>> {
    let lines = printed.lines().filter(|line| wanted.iter().all(|word| line.contains(word)));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn event(line: &str) -> (String, Value) {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    (value["name"].as_str().unwrap_or_default().to_owned(), value)
}

/// What the group tool and the console have of records that the console wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn console_topics_groups_and_settings() {
    let broker = Running::start().await;
    let create = "--create --topic talk --partitions 2 --config retention.ms=86400000";
    run_tool(&broker, "TopicCommand", create).await;
    let producing = format!("{TOOLS}.ConsoleProducer");
    let properties = "--property parse.key=true --property key.separator=: --compression-codec";
    let mut produce = tool(&broker, &producing, &format!("--topic talk {properties} zstd"));
    run(&mut produce, "a:one\nb:two\nc:three\nd:four\n").await;

    let consume = "--topic talk --group talkers --from-beginning --isolation-level read_committed \
                   --max-messages 4 --timeout-ms 30000 --property print.key=true";
    let (consumed, described, configs) = tokio::join!(
        run_tool(&broker, "consumer.ConsoleConsumer", consume),
        run_tool(&broker, "TopicCommand", "--describe --topic talk"),
        run_settings(&broker),
    );
    let mut consumed: Vec<&str> = consumed.lines().collect();
    consumed.sort_unstable();
    assert_eq!(consumed, ["a\tone", "b\ttwo", "c\tthree", "d\tfour"]);
    assert!(
        described.contains("PartitionCount: 2") && described.contains("retention.ms=86400000"),
        "{described}"
    );
    assert_eq!(rows(&described, &["Partition: ", "Leader: 1", "Isr: 1"]).len(), 2, "{described}");
    assert!(configs.contains("retention.ms=86400000"), "{configs}");

    let (group, ends) = tokio::join!(
        run_tool(&broker, "consumer.group.ConsumerGroupCommand", "--describe --group talkers"),
        run_tool(&broker, "GetOffsetShell", "--topic talk"),
    );
    // Group, topic, partition, committed offset, end, lag.
    let of_group = rows(&group, &["talkers", "talk"]);
    assert_eq!(of_group.len(), 2, "{group}");
    let committed: i64 = of_group.iter().map(|row| row[3].parse::<i64>().unwrap()).sum();
    assert!(committed == 4 && of_group.iter().all(|row| row[5] == "0"), "{group}");
    let end = |line: &str| line.rsplit(':').next().unwrap().parse::<i64>().unwrap();
    assert_eq!(ends.lines().map(end).sum::<i64>(), 4, "{ends}");
}

async fn run_settings(broker: &Running) -> String {
    let arguments = "--describe --entity-type topics --entity-name talk";
    run(&mut tool(broker, "kafka.admin.ConfigCommand", arguments), "").await
}

/// All records that were acknowledged are there, once; the consumer gets each, and commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifiable_producer_and_consumer() {
    const RECORDS: usize = 20_000;
    let broker = Running::start().await;
    let arguments = format!("--topic verified --acks -1 --max-messages {RECORDS}");
    let produced = run_tool(&broker, "VerifiableProducer", &arguments).await;
    let events: Vec<(String, Value)> = produced.lines().map(event).collect();
    let sent = events.iter().filter(|(name, _)| name == "producer_send_success");
    let mut offsets: Vec<i64> = sent.map(|(_, event)| event["offset"].as_i64().unwrap()).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..RECORDS as i64).collect::<Vec<_>>());
    let summary = &events.iter().find(|(name, _)| name == "tool_data").unwrap().1;
    assert_eq!((&summary["sent"], &summary["acked"]), (&RECORDS.into(), &RECORDS.into()));

    let arguments = format!("--topic verified --group-id verifiers --verbose --max-messages {RECORDS}");
    let consumed = run_tool(&broker, "VerifiableConsumer", &arguments).await;
    let events: Vec<(String, Value)> = consumed.lines().map(event).collect();
    let read = events.iter().filter(|(name, _)| name == "record_data");
    let mut values: Vec<usize> =
        read.map(|(_, event)| event["value"].as_str().unwrap().parse().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, (0..RECORDS).collect::<Vec<_>>());
    let committed = events.iter().rfind(|(name, _)| name == "offsets_committed").unwrap();
    assert_eq!(committed.1["success"], true);
    assert_eq!(committed.1["offsets"][0]["offset"], RECORDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_exactly_once() {
    let broker = Running::start().await;
    copy_lines(&broker, &[]).await;
    // Nobody is in the group any more, so it may be set back.
    let reset = "--reset-offsets --group copiers --topic original --to-earliest --execute";
    let reset = run_tool(&broker, "consumer.group.ConsumerGroupCommand", reset).await;
    assert_eq!(rows(&reset, &["copiers", "original", "0"]).len(), 1, "{reset}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_and_newer_clients_copy_exactly_once() {
    for version in OTHER_CLIENTS {
        let broker = Running::start().await;
        copy_lines(&broker, &["--clients", version]).await;
    }
}

/// The copier reads in a group, writes, and commits what it has read with what it has written, while some
/// of its transactions are aborted.
async fn copy_lines(broker: &Running, clients: &[&str]) {
    const RECORDS: usize = 2_000;
    let lines: String = (0..RECORDS).map(|line| format!("{line}\n")).collect();
    run(Command::new("kcat").args(["-b", &broker.address, "-P", "-t", "original"]), &lines).await;
    let mut copy = Command::new(SCRIPT);
    copy.args(clients).arg(format!("{TOOLS}.TransactionalMessageCopier"));
    // Others name the broker differently.
    let arguments = "--input-topic original --input-partition 0 --output-topic copy --transaction-size 90 \
                     --transactional-id copier --consumer-group copiers --enable-random-aborts --group-mode \
                     --use-group-metadata --max-messages 2000 --broker-list";
    run(copy.args(arguments.split_whitespace()).arg(&broker.address), "").await;
    let consume = "-C -t copy -o beginning -e -q -X isolation.level=read_committed";
    let mut kcat = Command::new("kcat");
    let copied = run(kcat.args(["-b", &broker.address]).args(consume.split(' ')), "").await;
    assert!(copied == lines);
}

/// While a transaction is open, and when its producer is gone without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_as_they_stand() {
    let broker = Running::start().await;
    let mut holder = Program::start(&mut python("killed_client.py", "holds", &broker.address));
    holder.until(|line| line == "open").await;
    let transactions = |arguments: &'static str| run_tool(&broker, "TransactionsCommand", arguments);
    let (listed, described, producers) = tokio::join!(
        transactions("list"),
        transactions("describe --transactional-id holder"),
        transactions("describe-producers --topic held --partition 0"),
    );
    let listed = rows(&listed, &["holder"]);
    assert_eq!((listed.len(), listed[0][3].as_str()), (1, "Ongoing"));
    assert_eq!(rows(&described, &["holder", "Ongoing", "held-0"]).len(), 1, "{described}");
    // Producer id, epoch, coordinator's epoch, last sequence, last time, start of the transaction.
    let producer = rows(&producers, &[&listed[0][2]]);
    assert_eq!((producer.len(), producer[0][5].as_str()), (1, "1"), "{producers}");
    holder.kill().await;
    let (hanging, described) =
        tokio::join!(transactions("find-hanging --broker-id 1 --max-transaction-timeout 15"), async {
            run(&mut python("killed_client.py", "takes_over", &broker.address), "").await;
            transactions("describe --transactional-id holder").await
        },);
    assert!(rows(&hanging, &["held"]).is_empty(), "{hanging}");
    assert_eq!(rows(&described, &["holder", "CompleteCommit"]).len(), 1, "{described}");
}
