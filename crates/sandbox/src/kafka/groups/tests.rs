use super::*;
use crate::kafka::config::Config;

const NOBODY: Caller<'static> = Caller { member_id: "", instance_id: None, generation: -1 };

fn open(dir: &Path) -> Groups {
    Groups::open(&dir.join("journal"), 0, Config::new("").limits).unwrap()
}

fn partition(topic: &str) -> TopicPartition {
    (topic.to_owned(), 0)
}

fn at(topic: &str, offset: i64) -> Vec<(TopicPartition, Committed)> {
    vec![(partition(topic), Committed { offset, leader_epoch: 0, metadata: Some("note".to_owned()) })]
}

fn offset(groups: &Groups, topic: &str) -> Option<i64> {
    groups.committed("g", &partition(topic)).0.map(|committed| committed.offset)
}

fn pending(
    groups: &mut Groups,
    producer_id: i64,
    topic: &str,
    offset: i64,
) -> Result<(), ResponseError> {
    groups.commit_in_transaction("g", NOBODY, producer_id, at(topic, offset), || Ok(()))
}

#[test]
fn offsets_are_found_again_and_the_last_one_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut groups = open(dir.path());
    groups.commit("g", NOBODY, at("t", 5), 0).unwrap();
    groups.commit("g", NOBODY, at("t", 7), 0).unwrap();
    groups.commit("g", NOBODY, at("u", 1), 0).unwrap();
    for _ in 0..2 {
        groups = open(dir.path());
        assert_eq!((offset(&groups, "t"), offset(&groups, "u")), (Some(7), Some(1)));
        assert_eq!(groups.partitions("g"), [partition("t"), partition("u")]);
        assert_eq!(groups.all(), [("g".to_owned(), Phase::Empty, String::new())]);
    }
}

#[test]
fn offsets_of_a_transaction_count_when_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut groups = open(dir.path());
    groups.commit("g", NOBODY, at("t", 1), 0).unwrap();
    pending(&mut groups, 1, "t", 10).unwrap();
    pending(&mut groups, 2, "u", 20).unwrap();
    let mut groups = open(dir.path());
    assert!(groups.committed("g", &partition("t")).1);
    assert_eq!(offset(&groups, "t"), Some(1));
    groups.end_transaction("g", 1, Outcome::Commit).unwrap();
    groups.end_transaction("g", 2, Outcome::Abort).unwrap();
    // A crash in between makes it come again.
    groups.end_transaction("g", 1, Outcome::Commit).unwrap();
    let groups = open(dir.path());
    assert_eq!((offset(&groups, "t"), offset(&groups, "u")), (Some(10), None));
    assert!(!groups.committed("g", &partition("t")).1);
}

#[test]
fn a_transaction_that_is_not_open_commits_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut groups = open(dir.path());
    let fenced = || Err(ResponseError::InvalidProducerEpoch);
    let refused = groups.commit_in_transaction("g", NOBODY, 1, at("t", 1), fenced);
    assert_eq!(refused, Err(ResponseError::InvalidProducerEpoch));
    assert!(!groups.has_offsets("g"));
}

#[test]
fn a_member_that_nobody_knows_commits_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut groups = open(dir.path());
    let stranger = Caller { member_id: "x", instance_id: None, generation: 3 };
    assert_eq!(groups.commit("g", stranger, at("t", 1), 0), Err(ResponseError::UnknownMemberId));
    assert_eq!(groups.heartbeat("g", stranger, 0), Err(ResponseError::UnknownMemberId));
    assert_eq!(groups.commit("", NOBODY, at("t", 1), 0), Err(ResponseError::InvalidGroupId));
}

#[test]
fn groups_and_offsets_are_deleted_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut groups = open(dir.path());
    assert_eq!(groups.delete("g"), Err(ResponseError::GroupIdNotFound));
    groups.commit("g", NOBODY, at("t", 5), 0).unwrap();
    groups.commit("g", NOBODY, at("u", 5), 0).unwrap();
    groups.forget("g", vec![partition("t")]).unwrap();
    let mut groups = open(dir.path());
    assert_eq!(groups.partitions("g"), [partition("u")]);
    groups.forget_topic("u").unwrap();
    let mut groups = open(dir.path());
    assert!(!groups.has_offsets("g"));
    groups.commit("g", NOBODY, at("t", 5), 0).unwrap();
    groups.delete("g").unwrap();
    assert!(open(dir.path()).all().is_empty());
}

#[test]
fn there_are_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let mut groups = open(dir.path());
    groups.limits.groups = 1;
    groups.limits.offsets_per_group = 2;
    groups.commit("g", NOBODY, at("t", 1), 0).unwrap();
    assert_eq!(groups.commit("h", NOBODY, at("t", 1), 0), Err(ResponseError::PolicyViolation));
    let more = [at("u", 1), at("v", 1)].concat();
    assert_eq!(groups.commit("g", NOBODY, more, 0), Err(ResponseError::PolicyViolation));
    // A full group goes on with the partitions that it has, also in transactions.
    groups.commit("g", NOBODY, at("u", 1), 0).unwrap();
    groups.commit("g", NOBODY, [at("t", 2), at("u", 2)].concat(), 0).unwrap();
    assert_eq!(groups.commit("g", NOBODY, at("v", 1), 0), Err(ResponseError::PolicyViolation));
    assert_eq!(pending(&mut groups, 7, "t", 3), Err(ResponseError::PolicyViolation));
    groups.limits.offsets_per_group = 3;
    pending(&mut groups, 7, "t", 3).unwrap();
    pending(&mut groups, 7, "t", 4).unwrap();
    assert_eq!(offset(&groups, "t"), Some(2));
}

#[test]
fn the_file_does_not_grow_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut groups = open(dir.path());
    let path = dir.path().join("journal");
    let mut largest = 0;
    for round in 0..60_000 {
        groups.commit("g", NOBODY, at("t", round), 0).unwrap();
        if round % 1_000 == 0 {
            largest = largest.max(std::fs::metadata(&path).unwrap().len());
        }
    }
    assert!(largest < 6 << 20, "{largest}");
    assert_eq!(offset(&open(dir.path()), "t"), Some(59_999));
}
