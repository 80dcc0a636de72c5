//! What every store promises.

use cdr_model::usage::{Sighting, Usage};
use cdr_model::{Generator, PartIndex, Plan, Scenario, Shard, Stream};

use super::*;

/// Makes an empty store, and opens the same one again.
pub(super) struct TestStore {
    pub config: StoreConfig,
    _folder: Option<tempfile::TempDir>,
}

impl TestStore {
    pub fn file() -> TestStore {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig::File(folder.path().join("usage.db"));
        TestStore { config, _folder: Some(folder) }
    }

    fn open(&self) -> Store {
        Store::open(&self.config).unwrap()
    }
}

fn partition(number: i32) -> TopicPartition {
    ("cdr_data".to_owned(), number)
}

type Advance = (TopicPartition, OffsetAdvance);

fn advance(number: i32, from: Option<i64>, to: i64) -> Advance {
    (partition(number), OffsetAdvance { from, to, counted: 2, dead: 1 })
}

/// Some records of the generator, and what they come to.
fn interactions(part: u64) -> Vec<Interaction> {
    let scenario = Scenario { subscribers: 50, towers: 20, ..Scenario::default() };
    let generator = Generator::new(&scenario).unwrap();
    let part = Plan::new(&scenario, Shard::WHOLE).unwrap().part(PartIndex(part));
    let mut interactions = Vec::new();
    for stream in [Stream::Data, Stream::Voice] {
        generator.interactions(stream, &part, |one| interactions.push(one));
    }
    interactions
}

fn stored(store: &mut Store) -> Usage {
    let mut usage = Usage::default();
    store
        .all_usage(&mut |msisdn, found| {
            let key = cdr_model::usage::UsageKey {
                hour: found.hour,
                msisdn,
                usage_type: found.usage_type.number(),
            };
            assert_eq!(usage.sums.insert(key, found.sums), None);
        })
        .unwrap();
    store
        .all_loads(&mut |tower, found| {
            assert_eq!(usage.loads.insert((found.quarter, tower), found.load), None);
        })
        .unwrap();
    usage
}

fn truth<'a>(interactions: impl IntoIterator<Item = &'a Interaction>) -> Usage {
    let mut usage = Usage::default();
    interactions.into_iter().for_each(|one| usage.add(one));
    usage
}

fn batch(advances: &[Advance], interactions: &[Interaction]) -> Batch {
    Batch { advances: advances.iter().cloned().collect(), interactions: interactions.to_vec() }
}

fn add(store: &mut Store, advances: &[Advance], interactions: &[Interaction]) -> Added {
    store.add(&mut batch(advances, interactions)).unwrap()
}

pub(super) fn batches_add_up(place: &TestStore) {
    let (first, second) = (interactions(0), interactions(1));
    let mut store = place.open();
    assert_eq!(add(&mut store, &[advance(0, None, 10)], &first), Added::Stored);
    drop(store);
    let mut store = place.open();
    assert_eq!(
        add(&mut store, &[advance(0, Some(10), 25), advance(1, None, 3)], &second),
        Added::Stored
    );
    assert_eq!(stored(&mut store), truth(first.iter().chain(&second)));
    let committed = store.committed().unwrap();
    assert_eq!(
        committed,
        BTreeMap::from([
            (partition(0), Committed { offset: 25, counted: 4, dead: 2 }),
            (partition(1), Committed { offset: 3, counted: 2, dead: 1 }),
        ])
    );
}

pub(super) fn whoever_comes_second_changes_nothing(place: &TestStore) {
    let some = interactions(0);
    let (mut one, mut other) = (place.open(), place.open());
    let begin = [advance(0, None, 10), advance(1, None, 10)];
    assert_eq!(add(&mut one, &begin, &some), Added::Stored);
    let as_it_is = (stored(&mut one), one.committed().unwrap());
    // A beginning that was made already; a step that somebody made; one of two that is right.
    assert_eq!(add(&mut other, &[advance(1, None, 10)], &some), Added::OffsetConflict);
    assert_eq!(add(&mut other, &[advance(0, Some(9), 12)], &some), Added::OffsetConflict);
    assert_eq!(
        add(&mut other, &[advance(0, Some(10), 12), advance(1, Some(11), 12)], &some),
        Added::OffsetConflict
    );
    assert_eq!(add(&mut other, &[advance(2, Some(0), 12)], &some), Added::OffsetConflict);
    assert_eq!((stored(&mut other), other.committed().unwrap()), as_it_is);
    assert_eq!(add(&mut other, &[advance(0, Some(10), 12)], &[]), Added::Stored);
}

pub(super) fn a_subscriber_and_a_tower_are_found(place: &TestStore) {
    let all: Vec<_> = (0..8).flat_map(interactions).collect();
    let mut store = place.open();
    for (number, half) in all.chunks(all.len() / 2 + 1).enumerate() {
        assert_eq!(add(&mut store, &[advance(number as i32, None, 1)], half), Added::Stored);
    }
    let (who, tower) = (all[0].msisdn, all[0].tower);
    let truth = truth(&all);
    let hours: Vec<_> = truth.sums.keys().map(|key| key.hour).collect();
    let (first, last) = (hours[0], hours[hours.len() - 1]);
    assert!(last.0 > first.0 + 1, "more than two hours");
    let expected = |from: Hour, to: Hour| -> Vec<HourUsage> {
        let of_it =
            truth.sums.iter().filter(|(key, _)| key.msisdn == who && key.hour >= from && key.hour < to);
        of_it
            .map(|(key, &sums)| HourUsage {
                hour: key.hour,
                usage_type: UsageType::from_number(key.usage_type).unwrap(),
                sums,
            })
            .collect()
    };
    for (from, to) in [
        (first, last),
        (Hour(first.0 + 1), Hour(last.0 + 1)),
        (Hour(i32::MIN), Hour(i32::MAX)),
        (last, first),
    ] {
        assert_eq!(store.usage(who, from, to).unwrap(), expected(from, to));
    }
    assert_eq!(store.usage(1, first, last).unwrap(), []);
    check_dwells(&mut store, &all);
    let expected: Vec<_> = truth
        .loads
        .iter()
        .filter(|((_, at), _)| *at == tower)
        .map(|(&(quarter, _), &load)| QuarterLoad { quarter, load })
        .collect();
    assert_eq!(store.loads(tower, Quarter(i32::MIN), Quarter(i32::MAX)).unwrap(), expected);
    assert_eq!(store.loads(tower, expected[0].quarter, expected[1].quarter).unwrap(), expected[..1]);
}

pub(super) fn dwells_are_found_over_hours_and_batches(place: &TestStore) {
    let mut store = place.open();
    let at = |time: &str, tower| Interaction {
        msisdn: 27_821_234_567,
        tower,
        time: cdr_model::Micros::parse(time.as_bytes()).unwrap(),
        used: cdr_model::usage::Used::Call { call_type: cdr_model::CallType::Voice, seconds: 1 },
    };
    let late = at("2024-01-01 00:59:59.999999", 7);
    let first = [
        at("2024-01-01 00:10:00.000000", 7),
        at("2024-01-01 01:10:00.000000", 7),
        at("2024-01-01 02:00:00.000000", 8),
    ];
    assert_eq!(add(&mut store, &[advance(0, None, 1)], &first), Added::Stored);
    assert_eq!(store.dwells(27_821_234_567, Hour(i32::MIN), Hour(i32::MAX)).unwrap(), []);
    assert_eq!(add(&mut store, &[advance(0, Some(1), 2)], &[late]), Added::Stored);
    let dwell = Dwell { tower: 7, start: first[0].time, end: first[1].time, interactions: 3 };
    assert_eq!(store.dwells(27_821_234_567, Hour(i32::MIN), Hour(i32::MAX)).unwrap(), [dwell]);
}

pub(super) fn the_heaviest_are_the_sums_of_all(place: &TestStore) {
    let all: Vec<_> = (0..3).flat_map(interactions).collect();
    let mut store = place.open();
    assert_eq!(add(&mut store, &[advance(0, None, 1)], &all), Added::Stored);
    let truth = truth(&all);
    let bytes_of = |msisdn: u64| -> u64 {
        truth.sums.iter().filter(|(key, _)| key.msisdn == msisdn).map(|(_, sums)| sums.bytes()).sum()
    };
    let heavy = store.heaviest_subscribers(5).unwrap();
    assert_eq!(heavy.len(), 5);
    assert!(heavy.iter().all(|one| one.bytes == bytes_of(one.id) && one.records > 0 && one.seconds > 0));
    let most = truth.sums.keys().map(|key| bytes_of(key.msisdn)).max().unwrap();
    assert_eq!(heavy[0].bytes, most);
    assert!(heavy.is_sorted_by(|one, next| one.bytes >= next.bytes));
    let towers = store.heaviest_towers(100).unwrap();
    assert_eq!(towers.len(), 20);
    let records: u64 = towers.iter().map(|one| one.records).sum();
    assert_eq!(records, all.len() as u64);
}

pub(super) fn another_cluster_is_refused_until_all_is_cleared(place: &TestStore) {
    let mut store = place.open();
    store.bind("one").unwrap();
    store.bind("one").unwrap();
    let error = store.bind("other").unwrap_err().to_string();
    assert!(error.contains("from another Kafka cluster (one, and this one is other)"), "{error}");
    assert_eq!(add(&mut store, &[advance(0, None, 1)], &interactions(0)), Added::Stored);
    store.clear().unwrap();
    store.bind("other").unwrap();
    assert_eq!((stored(&mut store), store.committed().unwrap()), (Usage::default(), BTreeMap::new()));
}

fn ids(id: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("cdr_data".to_owned(), id.to_owned())])
}

pub(super) fn a_topic_that_was_created_again_is_refused_until_all_is_cleared(place: &TestStore) {
    let mut store = place.open();
    store.bind_topics(&BTreeMap::new()).unwrap();
    store.bind_topics(&ids("one")).unwrap();
    place.open().bind_topics(&ids("one")).unwrap();
    let error = place.open().bind_topics(&ids("other")).unwrap_err().to_string();
    assert!(
        error.starts_with("topic cdr_data was deleted and created again since the usage store "),
        "{error}"
    );
    store.clear().unwrap();
    store.bind_topics(&ids("other")).unwrap();
}

/// The tests of one kind of store.
macro_rules! promises {
    ($place:expr; $($name:ident),*) => {
        $(#[test]
        fn $name() {
            super::$name(&$place);
        })*
    };
}

mod in_a_file {
    use super::TestStore;

    promises! {
        TestStore::file();
        batches_add_up,
        whoever_comes_second_changes_nothing,
        a_subscriber_and_a_tower_are_found,
        dwells_are_found_over_hours_and_batches,
        the_heaviest_are_the_sums_of_all,
        another_cluster_is_refused_until_all_is_cleared,
        a_topic_that_was_created_again_is_refused_until_all_is_cleared,
        a_hot_subscribers_sightings_are_not_copied_by_each_batch
    }
}

#[cfg(all(feature = "postgres", feature = "real-services"))]
mod in_postgres;

#[test]
fn several_may_make_a_file_at_once() {
    let place = TestStore::file();
    let all_at_once = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                all_at_once.wait();
                place.open().bind("one").unwrap();
            });
        }
    });
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let place = TestStore::file();
    let StoreConfig::File(path) = &place.config else { panic!("not a file") };
    drop(place.open());
    let file = rusqlite::Connection::open(path).unwrap();
    file.pragma_update(None, "user_version", 1_000).unwrap();
    let error = Store::open(&place.config).unwrap_err().to_string();
    assert!(error.contains("made by a newer cdr (its schema is 1000, this one knows 3)"), "{error}");
}

#[test]
fn a_file_of_an_older_version_keeps_what_it_holds() {
    let place = TestStore::file();
    let StoreConfig::File(path) = &place.config else { panic!("not a file") };
    let outcome = add(&mut place.open(), &[advance(0, None, 3)], &interactions(0));
    assert_eq!(outcome, Added::Stored);
    let file = rusqlite::Connection::open(path).unwrap();
    file.execute_batch(
        "ALTER TABLE usage RENAME COLUMN sightings TO visits; DROP TABLE more_sightings; DROP TABLE topic;
         PRAGMA user_version = 1",
    )
    .unwrap();
    keeps_what_it_holds(&place);
}

#[test]
fn a_file_whose_columns_stand_in_another_order_is_filled_on() {
    let place = TestStore::file();
    let StoreConfig::File(path) = &place.config else { panic!("not a file") };
    let file = rusqlite::Connection::open(path).unwrap();
    file.execute_batch(
        "CREATE TABLE cluster (id TEXT NOT NULL);
         INSERT INTO cluster VALUES ('one');
         CREATE TABLE position (
             topic TEXT NOT NULL, partition INTEGER NOT NULL,
             next INTEGER NOT NULL, counted INTEGER NOT NULL, dead INTEGER NOT NULL,
             PRIMARY KEY (topic, partition)
         ) WITHOUT ROWID;
         INSERT INTO position VALUES ('cdr_data', 0, 3, 2, 1);
         CREATE TABLE usage (
             hour INTEGER NOT NULL, msisdn INTEGER NOT NULL, type INTEGER NOT NULL,
             records INTEGER NOT NULL, up_bytes INTEGER NOT NULL, down_bytes INTEGER NOT NULL,
             seconds INTEGER NOT NULL, visits BLOB NOT NULL,
             PRIMARY KEY (hour, msisdn, type)
         ) WITHOUT ROWID;
         CREATE TABLE tower_load (
             quarter INTEGER NOT NULL, tower INTEGER NOT NULL,
             sessions INTEGER NOT NULL, bytes INTEGER NOT NULL,
             calls INTEGER NOT NULL, call_seconds INTEGER NOT NULL,
             PRIMARY KEY (quarter, tower)
         ) WITHOUT ROWID;
         PRAGMA user_version = 1",
    )
    .unwrap();
    let (mut store, all) = (place.open(), hot_batches(&[1, 80]).concat());
    store.bind("one").unwrap();
    assert!(store.bind("other").is_err());
    assert_eq!(add(&mut store, &[advance(0, Some(3), 4)], &all), Added::Stored);
    assert_eq!(stored(&mut store), truth(&all));
    check_dwells(&mut store, &all);
    store.clear().unwrap();
    store.bind("other").unwrap();
}

/// After a step back to the first schema.
fn keeps_what_it_holds(place: &TestStore) {
    let mut store = place.open();
    assert_eq!(stored(&mut store), truth(&interactions(0)));
    store.bind_topics(&ids("one")).unwrap();
    assert!(place.open().bind_topics(&ids("other")).is_err());
    let more = interactions(1);
    assert_eq!(add(&mut store, &[advance(0, Some(3), 4)], &more), Added::Stored);
    check_dwells(&mut store, &[interactions(0), more].concat());
}

/// The first of these subscribers is found where it dwelt.
fn check_dwells(store: &mut Store, all: &[Interaction]) {
    let who = all[0].msisdn;
    let of_it = all.iter().filter(|one| one.msisdn == who);
    let mut sightings: Vec<_> = of_it.map(|one| Sighting { time: one.time, tower: one.tower }).collect();
    assert_eq!(
        store.dwells(who, Hour(i32::MIN), Hour(i32::MAX)).unwrap(),
        cdr_model::usage::dwells(&mut sightings)
    );
}

/// Batches in which one subscriber has so many records of one hour.
fn hot_batches(records: &[usize]) -> Vec<Vec<Interaction>> {
    let begin = cdr_model::Micros::parse(b"2024-01-01 01:00:00.000000").unwrap();
    let mut number = 0;
    let mut one = || {
        number += 1;
        Interaction {
            msisdn: 27_821_234_567,
            tower: 1 + number as u32 / 7,
            time: cdr_model::Micros(begin.0 + number * 1_000_000),
            used: cdr_model::usage::Used::Call { call_type: cdr_model::CallType::Voice, seconds: 1 },
        }
    };
    records.iter().map(|&count| (0..count).map(|_| one()).collect()).collect()
}

pub(super) fn a_hot_subscribers_sightings_are_not_copied_by_each_batch(place: &TestStore) {
    let mut store = place.open();
    let batches = hot_batches(&[1, 30, 33, 1, 2, 64, 65, 400, 1, 3]);
    for (batch, from) in batches.iter().zip(0..) {
        let from_offset = (from > 0).then_some(from);
        let advances = [advance(0, from_offset, from + 1)];
        assert_eq!(add(&mut store, &advances, batch), Added::Stored);
    }
    let all = batches.concat();
    assert_eq!(stored(&mut store), truth(&all));
    check_dwells(&mut store, &all);
    // 64 are in the row of usage; of the seven batches behind them each has a row of its own.
    assert_eq!(store.sighting_bytes(), (64 * 8, 7, (all.len() as u64 - 64) * 8));
    store.clear().unwrap();
    assert_eq!(store.sighting_bytes(), (0, 0, 0));
}

impl Store {
    /// Bytes of sightings in rows of usage, and number and bytes of rows of their own.
    fn sighting_bytes(&mut self) -> (u64, u64, u64) {
        const QUERY: &str = "
            SELECT (SELECT CAST(coalesce(sum(length(sightings)), 0) AS bigint) FROM usage),
            count(*), CAST(coalesce(sum(length(sightings)), 0) AS bigint) FROM more_sightings";
        let mut found = (0, 0, 0);
        let each = &mut |row: &[i64], _: &[u8]| found = (row[0] as u64, row[1] as u64, row[2] as u64);
        self.0.query(QUERY, &[], each).unwrap();
        found
    }

    /// Changes how long to wait for another process that writes to the file.
    pub(in crate::processing) fn wait_for_others(&mut self, time: std::time::Duration) {
        let set = format!("PRAGMA busy_timeout = {}", time.as_millis());
        self.0.query(&set, &[], &mut |_, _| {}).unwrap();
    }
}

#[test]
fn what_is_no_store_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "no database, but long enough to look like one: ".repeat(100)).unwrap();
    for path in [path, folder.path().join("missing/usage.db"), folder.path().to_owned()] {
        let error = Store::open(&StoreConfig::File(path.clone())).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot open the usage store {}: ", path.display())),
            "{error}"
        );
    }
}
