//! The topics: which there are, on disk and in memory.
//!
//! A topic is a folder with its description and a folder for each partition. It comes into being,
//! and goes, with the renaming of that folder, so that a crash leaves it whole or not there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use tracing::{error, info};
use uuid::Uuid;

use super::compact;
use super::config::Config;
use super::error::{ApiError, Error};
use super::files::replace_file;
use super::log::scan::ScanDepth;
use super::partition::Partition;
use super::topic_config::{Effective, Overrides};

const DESCRIPTION_FILE: &str = "topic.json";

/// Begins the names of folders that are coming or going; no topic's name can.
const HALF_DONE: char = '~';

/// What is written of a topic.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Description {
    id: Uuid,
    partitions: i32,
    config: Overrides,
}

/// A topic.
#[derive(Debug)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
    dir: PathBuf,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    partitions: Vec<Arc<Partition>>,
    config: Overrides,
    effective: Effective,
}

impl Topic {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.state().partitions.get(usize::try_from(index).ok()?).cloned()
    }

    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.state().partitions.clone()
    }

    pub fn effective(&self) -> Effective {
        self.state().effective
    }

    pub fn config(&self) -> Overrides {
        self.state().config.clone()
    }

    /// Whether it was not deleted meanwhile; then its folder must not come back, and may be another's.
    fn is_among(&self, by_name: &BTreeMap<String, Arc<Topic>>) -> bool {
        by_name.get(&self.name).is_some_and(|known| known.id == self.id)
    }

    fn describe(&self, partitions: i32, config: Overrides) -> io::Result<()> {
        write_description(&self.dir, &Description { id: self.id, partitions, config })
    }
}

/// All topics of a broker.
#[derive(Debug)]
pub struct Topics {
    dir: PathBuf,
    config: Arc<Config>,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
}

/// A topic to be made.
#[derive(Clone, Debug)]
pub struct NewTopic {
    pub name: String,
    pub partitions: i32,
    pub config: Overrides,
}

impl Topics {
    /// Opens what is in a folder. Compacted topics are rewritten where that is worthwhile.
    ///
    /// # Errors
    /// When files cannot be read, or are damaged.
    pub fn open(dir: &Path, config: &Arc<Config>, depth: ScanDepth, now_ms: i64) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, error))?;
        let failed = |error| Error::io("list", dir, error);
        let mut by_name = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if name.starts_with(HALF_DONE) {
                fs::remove_dir_all(&path).map_err(|error| Error::io("remove", &path, error))?;
            } else if is_legal(&name) {
                let topic = open_topic(&path, &name, config, depth, now_ms)?;
                by_name.insert(name, Arc::new(topic));
            } else {
                return Err(Error::Foreign { path });
            }
        }
        Ok(Topics { dir: dir.to_owned(), config: config.clone(), by_name: RwLock::new(by_name) })
    }

    fn by_name(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Topic>>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn by_name_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Topic>>> {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name().get(name).cloned()
    }

    pub fn get_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.by_name().values().find(|topic| topic.id == id).cloned()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Topic>> {
        self.by_name().values().cloned().collect()
    }

    pub fn partition(&self, topic: &str, index: i32) -> Option<(Arc<Topic>, Arc<Partition>)> {
        let topic = self.get(topic)?;
        let partition = topic.partition(index)?;
        Some((topic, partition))
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// With the protocol's code, and a sentence for the client.
    pub fn create(&self, new: NewTopic, now_ms: i64) -> Result<Arc<Topic>, ApiError> {
        let mut by_name = self.by_name_mut();
        self.creatable(&new, &by_name)?;
        let failed = |error: io::Error| {
            error!("cannot create the topic {}: {error}", new.name);
            let why = format!("cannot create the topic's folder: {error}");
            ApiError::new(ResponseError::KafkaStorageError, why)
        };
        let coming = self.dir.join(format!("{HALF_DONE}{}", new.name));
        let dir = self.dir.join(&new.name);
        let id = Uuid::new_v4();
        let description = Description { id, partitions: new.partitions, config: new.config };
        fs::create_dir_all(&coming).map_err(failed)?;
        write_description(&coming, &description)
            .and_then(|()| fs::rename(&coming, &dir))
            .map_err(failed)?;
        let opened = open_topic(&dir, &new.name, &self.config, ScanDepth::Headers, now_ms);
        let topic = opened.map_err(|error| {
            // As far as it came; otherwise its name could not be used, and the next start would have it.
            drop(fs::rename(&dir, &coming).and_then(|()| fs::remove_dir_all(&coming)));
            failed(io::Error::other(error.to_string()))
        })?;
        info!("created topic {} with {} partitions", topic.name, description.partitions);
        let topic = Arc::new(topic);
        by_name.insert(topic.name.clone(), topic.clone());
        Ok(topic)
    }

    /// Whether a topic could be made.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn check(&self, new: &NewTopic) -> Result<(), ApiError> {
        self.creatable(new, &self.by_name())
    }

    fn creatable(&self, new: &NewTopic, by_name: &BTreeMap<String, Arc<Topic>>) -> Result<(), ApiError> {
        let no = |code, why| Err(ApiError::new(code, why));
        let limits = &self.config.limits;
        if !is_legal(&new.name) {
            let why = "a topic's name is 1 to 249 of the characters a-z A-Z 0-9 . _ -, and not . or ..";
            return no(ResponseError::InvalidTopicException, why);
        }
        if by_name.contains_key(&new.name) {
            return no(ResponseError::TopicAlreadyExists, "the topic is there already");
        }
        if by_name.len() >= limits.topics {
            return no(ResponseError::PolicyViolation, "this broker has as many topics as it may have");
        }
        self.room_for(new.partitions, by_name)
    }

    fn room_for(&self, more: i32, by_name: &BTreeMap<String, Arc<Topic>>) -> Result<(), ApiError> {
        let there: usize = by_name.values().map(|topic| topic.state().partitions.len()).sum();
        let limit = self.config.limits.partitions;
        match usize::try_from(more) {
            Err(_) | Ok(0) => {
                let why = "a topic has at least one partition";
                Err(ApiError::new(ResponseError::InvalidPartitions, why))
            }
            Ok(more) if there.saturating_add(more) > limit => {
                let why = format!("this broker has {there} partitions of at most {limit}");
                Err(ApiError::new(ResponseError::PolicyViolation, why))
            }
            Ok(_) => Ok(()),
        }
    }

    /// Removes a topic and all its records.
    ///
    /// # Errors
    /// When there is none of the name, or it cannot be removed.
    pub fn delete(&self, name: &str) -> Result<(), ResponseError> {
        let mut by_name = self.by_name_mut();
        let topic = by_name.get(name).cloned().ok_or(ResponseError::UnknownTopicOrPartition)?;
        let going = self.dir.join(format!("{HALF_DONE}{}", topic.id));
        if let Err(error) = fs::rename(&topic.dir, &going) {
            error!("cannot delete the topic {name}: {error}");
            return Err(ResponseError::KafkaStorageError);
        }
        by_name.remove(name);
        // Before another topic may have the folder: who still holds a partition begins no file in it.
        topic.partitions().iter().for_each(|partition| partition.delete());
        drop(by_name);
        if let Err(error) = fs::remove_dir_all(&going) {
            // It is no topic any more, and the next start tries again.
            error!("cannot remove {}: {error}", going.display());
        }
        info!("deleted topic {name}");
        Ok(())
    }

    /// Changes the settings of a topic. They were checked.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn configure(&self, topic: &Topic, config: Overrides) -> Result<(), ResponseError> {
        let by_name = self.by_name();
        if !topic.is_among(&by_name) {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        let mut state = topic.state_mut();
        if let Err(error) = topic.describe(state.partitions.len() as i32, config.clone()) {
            error!("cannot change the settings of topic {}: {error}", topic.name);
            return Err(ResponseError::KafkaStorageError);
        }
        state.effective = Effective::of(&config, &self.config);
        state.config = config;
        Ok(())
    }

    /// Gives a topic more partitions, until it has `total`.
    ///
    /// # Errors
    /// With the protocol's code, and a sentence for the client.
    pub fn extend(&self, topic: &Topic, total: i32, dry: bool, now_ms: i64) -> Result<(), ApiError> {
        let by_name = self.by_name_mut();
        if !topic.is_among(&by_name) {
            let why = "the topic was deleted";
            return Err(ApiError::new(ResponseError::UnknownTopicOrPartition, why));
        }
        let there = topic.state().partitions.len() as i32;
        if total <= there {
            let why = format!("the topic has {there} partitions already");
            return Err(ApiError::new(ResponseError::InvalidPartitions, why));
        }
        self.room_for(total - there, &by_name)?;
        if dry {
            return Ok(());
        }
        let mut state = topic.state_mut();
        let failed = |why: String| {
            error!("cannot give topic {} more partitions: {why}", topic.name);
            ApiError::new(ResponseError::KafkaStorageError, why)
        };
        let new: Result<Vec<_>, _> = (there..total)
            .map(|index| Partition::open(&topic.dir.join(index.to_string()), ScanDepth::Headers, now_ms))
            .collect();
        let new = new.map_err(|error| failed(error.to_string()))?;
        topic.describe(total, state.config.clone()).map_err(|error| failed(error.to_string()))?;
        state.partitions.extend(new.into_iter().map(Arc::new));
        Ok(())
    }
}

fn write_description(dir: &Path, description: &Description) -> io::Result<()> {
    replace_file(&dir.join(DESCRIPTION_FILE), &serde_json::to_vec_pretty(description)?)
}

fn open_topic(
    dir: &Path,
    name: &str,
    config: &Arc<Config>,
    depth: ScanDepth,
    now_ms: i64,
) -> Result<Topic, Error> {
    let path = dir.join(DESCRIPTION_FILE);
    let text = fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
    let description: Description = serde_json::from_slice(&text).map_err(|_| Error::Foreign { path })?;
    let effective = Effective::of(&description.config, config);
    let partitions: Result<Vec<_>, Error> = (0..description.partitions)
        .map(|index| {
            let dir = dir.join(index.to_string());
            compact::finish_swap(&dir)?;
            if effective.compact {
                compact::compact(&dir, &effective, depth, now_ms)?;
            }
            Partition::open(&dir, depth, now_ms).map(Arc::new)
        })
        .collect();
    let state = RwLock::new(State { partitions: partitions?, config: description.config, effective });
    Ok(Topic { name: name.to_owned(), id: description.id, dir: dir.to_owned(), state })
}

/// Whether a topic may have a name; it then is a harmless name of a folder, too.
pub fn is_legal(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(legal) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> Topics {
        Topics::open(dir, &Arc::new(Config::new(dir)), ScanDepth::Whole, 0).unwrap()
    }

    fn new(name: &str, partitions: i32) -> NewTopic {
        NewTopic { name: name.to_owned(), partitions, config: Overrides::new() }
    }

    fn names(topics: &Topics) -> Vec<String> {
        topics.all().iter().map(|topic| topic.name.clone()).collect()
    }

    #[test]
    fn topics_and_their_settings_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path());
        let id = topics.create(new("b", 3), 0).unwrap().id;
        let a = topics.create(new("a", 1), 0).unwrap();
        let config = Overrides::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        topics.configure(&a, config.clone()).unwrap();
        topics.extend(&a, 2, false, 0).unwrap();

        let topics = open(dir.path());
        assert_eq!(names(&topics), ["a", "b"]);
        let a = topics.get("a").unwrap();
        assert_eq!((a.config(), a.partitions().len(), a.effective().compact), (config, 2, true));
        assert_eq!(topics.get_by_id(id).unwrap().name, "b");
        assert!(topics.partition("b", 2).is_some() && topics.partition("b", 3).is_none());
    }

    #[test]
    fn a_deleted_topic_is_gone_and_its_name_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path());
        let first = topics.create(new("a", 1), 0).unwrap().id;
        topics.delete("a").unwrap();
        assert_eq!(topics.delete("a"), Err(ResponseError::UnknownTopicOrPartition));
        assert_ne!(topics.create(new("a", 1), 0).unwrap().id, first);
        assert_eq!(names(&open(dir.path())), ["a"]);
    }

    #[test]
    fn who_holds_a_deleted_topic_does_not_bring_its_folder_back_nor_change_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path());
        let gone = topics.create(new("a", 1), 0).unwrap();
        topics.delete("a").unwrap();
        let extended = topics.extend(&gone, 3, false, 0).unwrap_err().code;
        assert_eq!(extended, ResponseError::UnknownTopicOrPartition);
        assert!(!dir.path().join("a").exists());
        let next = topics.create(new("a", 1), 0).unwrap();
        let config = Overrides::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        let configured = topics.configure(&gone, config);
        assert_eq!(configured, Err(ResponseError::UnknownTopicOrPartition));
        assert_eq!(open(dir.path()).get("a").unwrap().id, next.id);
        assert!(open(dir.path()).get("a").unwrap().config().is_empty());
    }

    #[test]
    fn what_a_crash_left_half_done_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("~half/0")).unwrap();
        assert!(names(&open(dir.path())).is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_topic_that_cannot_be_opened_leaves_its_name_free() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path());
        // Where the folder of the first partition should be, none can be made.
        fs::create_dir(dir.path().join("~a")).unwrap();
        fs::write(dir.path().join("~a/0"), "").unwrap();
        assert_eq!(topics.create(new("a", 2), 0).unwrap_err().code, ResponseError::KafkaStorageError);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        topics.create(new("a", 2), 0).unwrap();
        assert_eq!(names(&open(dir.path())), ["a"]);
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path());
        let long = "x".repeat(250);
        for name in ["", ".", "..", "../up", "a/b", "~a", "ä", "a b", &long] {
            let refused = topics.create(new(name, 1), 0).unwrap_err();
            assert_eq!(refused.code, ResponseError::InvalidTopicException, "{name}");
        }
    }

    #[test]
    fn there_are_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let topics = open(dir.path());
        let refused = |partitions| topics.create(new("a", partitions), 0).unwrap_err().code;
        assert_eq!(refused(0), ResponseError::InvalidPartitions);
        assert_eq!(refused(-5), ResponseError::InvalidPartitions);
        assert_eq!(refused(501), ResponseError::PolicyViolation);
        let a = topics.create(new("a", 500), 0).unwrap();
        assert_eq!(topics.extend(&a, 501, false, 0).unwrap_err().code, ResponseError::PolicyViolation);
        assert_eq!(topics.create(new("a", 1), 0).unwrap_err().code, ResponseError::TopicAlreadyExists);
    }
}
