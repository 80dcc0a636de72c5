//! One run, split among several processes.

use cdr_model::Shard;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::check;
use crate::support::process::LIMIT;
use crate::support::scene::Scene;

#[test]
fn three_shards_at_once_deliver_exactly_the_whole() {
    let scene = Scene::new("shards", 100, 500);
    let start = |shard: &str| scene.run().flag("--shard").flag(shard).start();
    let processes = ["1/3", "2/3", "3/3"].map(start);
    for (process, parts) in processes.into_iter().zip([34, 33, 33]) {
        let records = parts * 500;
        process.end().expect(0).line(&format!(
            "Completed data generation. cdr_data [{records}], cdr_voice [{records}], files [{parts}]"
        ));
    }
    let shards = [1, 2, 3].map(|number| Shard::new(number, 3).expect("a valid shard"));
    check::files(&scene, &scene.uploads(), 0..100);
    check::records(&scene, &shards, 0..100);

    for other in ["1/2", "1/1"] {
        let ended = scene.run().with("SHARD", other).end().expect(3);
        let line = ended.line("the run has progress in 3 shard(s)");
        assert!(line.contains("1/3 to 3/3") && line.contains("--restart"), "{line}");
    }
    check::records(&scene, &shards, 0..100);
}

#[test]
fn another_process_with_an_open_transaction_is_waited_for_in_its_own_words() {
    let scene = Scene::new("transaction-open", 3, 10);
    scene.run().end().expect(0);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", scene.services.brokers()).set("transactional.id", "open-for-long");
    let other: BaseProducer = config.create().expect("the properties are valid");
    other.init_transactions(LIMIT).expect("the brokers answer");
    other.begin_transaction().expect("none is open");
    let record = BaseRecord::to(scene.progress_topic()).key("another/1-of-1").payload("{}");
    other.send(record).expect("there is room");
    other.flush(LIMIT).expect("the brokers answer");

    let process = scene.run().flag("--restart").start();
    let topic = scene.progress_topic();
    let line = format!("Waiting for another process's transaction in topic {topic} to end");
    process.wait_for_line(&line);
    other.abort_transaction(LIMIT).expect("the brokers answer");
    let ended = process.end().expect(0);
    assert_eq!(ended.count("are away"), 0, "{}", ended.lines.join("\n"));
}

#[test]
fn a_shard_that_is_killed_is_continued_while_the_other_goes_on() {
    let scene = Scene::new("shard-killed", 120, 500);
    let start = |shard: &str| scene.run_at(40).with("SHARD", shard).start();
    let (first, second) = (start("1/2"), start("2/2"));
    second.wait_for_line("Generated");
    second.kill();
    start("2/2").end().expect(0).line("Continuing run shard-killed, shard 2/2");
    first.end().expect(0);
    let shards = [1, 2].map(|number| Shard::new(number, 2).expect("a valid shard"));
    check::files(&scene, &scene.uploads(), 0..120);
    check::records(&scene, &shards, 0..120);
}
