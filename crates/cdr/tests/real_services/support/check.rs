//! Whether all was delivered: each file to the byte, each record exactly once, in its place.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::ops::Range;
use std::path::Path;

use cdr_model::{Generator, MessageFormat, PartIndex, Plan, Shard, Stream};

use super::placement::{PARTITIONS, by_kcat};
use super::scene::Scene;
use super::topics::{Record, Topic};
use super::uploads;

/// A key and a value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Fails unless a run of one process, to SFTP and Kafka, delivered everything.
pub fn delivered(scene: &Scene) {
    files(scene, &scene.uploads(), 0..scene.parts());
    records(scene, &[Shard::WHOLE], 0..scene.parts());
}

/// Fails unless a run of one process delivered everything, and `cdr verify` agrees.
pub fn verified(scene: &Scene) {
    delivered(scene);
    scene.verify().end().expect(0).line("All is right");
}

/// Fails unless the folder holds the files of these parts, to the byte, and nothing else.
pub fn files(scene: &Scene, folder: &Path, parts: Range<u64>) {
    let generator = scene.generator();
    let mut expected = BTreeSet::new();
    for (name, content) in parts.flat_map(|part| scene.files_of(&generator, part)) {
        let found = fs::read(folder.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(found == content, "{name} is not what the model makes");
        expected.insert(name);
    }
    let found: BTreeSet<String> = uploads::identities(folder).into_keys().collect();
    let foreign: Vec<_> = found.difference(&expected).collect();
    assert!(foreign.is_empty(), "the folder holds other files, too: {foreign:?}");
}

/// Fails unless every file that stands under its final name is complete, whatever else is missing;
/// gives the names.
pub fn complete_files(scene: &Scene) -> BTreeSet<String> {
    let (generator, folder) = (scene.generator(), scene.uploads());
    let mut found: BTreeSet<String> = uploads::identities(&folder).into_keys().collect();
    found.retain(|name| !uploads::is_partial(name));
    let expected = (0..scene.parts()).flat_map(|part| scene.files_of(&generator, part));
    let mut known = BTreeSet::new();
    for (name, content) in expected.filter(|(name, _)| found.contains(name)) {
        assert!(fs::read(folder.join(&name)).unwrap() == content, "{name} is not complete");
        known.insert(name);
    }
    assert_eq!(found, known, "the folder holds foreign files");
    known
}

/// Fails unless both topics hold the records of these parts exactly once, in their places and, of
/// each shard, in order.
pub fn records(scene: &Scene, shards: &[Shard], parts: Range<u64>) {
    for stream in Stream::ALL {
        let found = Topic::new(scene.services, scene.topic(stream)).records();
        same_records(scene, stream, shards, parts.clone(), found);
    }
}

/// Fails unless these are the records of one stream of these parts, by partition.
pub fn same_records(
    scene: &Scene,
    stream: Stream,
    shards: &[Shard],
    parts: Range<u64>,
    found: Vec<Vec<Record>>,
) {
    assert_eq!(found.len(), PARTITIONS);
    let mut expected: Vec<_> =
        shards.iter().map(|&shard| expected(scene, stream, shard, parts.clone())).collect();
    for (partition, records) in found.into_iter().enumerate() {
        let mut queues: Vec<_> = expected.iter_mut().map(|shard| &mut shard[partition]).collect();
        for record in records {
            let at = format!("{stream}, partition {partition}, offset {}", record.offset);
            take(&mut queues, (record.key, record.value), &at);
        }
        let missing: usize = queues.iter().map(|queue| queue.len()).sum();
        assert_eq!(missing, 0, "{stream}, partition {partition}: so many records are missing");
    }
}

/// A record must be the next one of some shard.
fn take(queues: &mut [&mut VecDeque<Pair>], found: Pair, at: &str) {
    let of = queues.iter_mut().find(|queue| queue.front() == Some(&found));
    let Some(queue) = of else {
        let text = |pair: &Pair| String::from_utf8_lossy(&pair.1).into_owned();
        let next: Vec<_> = queues.iter().map(|queue| queue.front().map(text)).collect();
        panic!("{at}: found {}\nin place of {next:#?}", text(&found));
    };
    queue.pop_front();
}

/// What one shard sends of a stream, by partition, in order.
pub fn expected(scene: &Scene, stream: Stream, shard: Shard, parts: Range<u64>) -> Vec<VecDeque<Pair>> {
    let (generator, plan) = (scene.generator(), scene.plan(shard));
    let mut queues = vec![VecDeque::new(); PARTITIONS];
    for index in parts.map(PartIndex).filter(|&index| plan.owns(index)) {
        add_part(&mut queues, &generator, &plan, stream, index);
    }
    queues
}

fn add_part(
    queues: &mut [VecDeque<Pair>],
    generator: &Generator,
    plan: &Plan,
    stream: Stream,
    index: PartIndex,
) {
    let (part, all) = (plan.part(index), 0..plan.count(stream, index));
    MessageFormat::Json.encode(generator, stream, &part, all, |message| {
        let key = message.key.as_bytes();
        let partition = by_kcat()[key];
        queues[partition].push_back((key.to_vec(), message.value.to_vec()));
    });
}

/// Fails unless the text has each of the parts.
pub fn has_all(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}
