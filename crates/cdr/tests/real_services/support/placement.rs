//! Which partition a key belongs to, by a client that has nothing to do with `cdr`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use cdr_model::{Generator, Scenario};

use super::clients;
use super::services::Services;
use super::topics::Topic;

/// Partitions of every topic that `cdr` creates by default.
pub const PARTITIONS: usize = 3;

pub type Placement = HashMap<Vec<u8>, usize>;

/// The partitions in which kcat puts the default population's keys, by Java's murmur2.
pub fn by_kcat() -> &'static Placement {
    static BY_KCAT: LazyLock<Placement> = LazyLock::new(|| {
        place("placement-by-kcat", |topic, keys| {
            let mut kcat = Command::new("kcat");
            kcat.args(["-P", "-b", Services::shared().brokers(), "-t", topic, "-K", ","]);
            kcat.args(["-X", "partitioner=murmur2_random", "-l"]).arg(keys);
            kcat
        })
    });
    &BY_KCAT
}

/// Has a client produce every key once to a new topic, and sees where they went. `producer` makes
/// its command from the topic and a file of lines `key,value`.
pub fn place(topic: &str, producer: impl Fn(&str, &Path) -> Command) -> Placement {
    let services = Services::shared();
    let folder = services.folder(topic);
    let mut create = clients::kafka_tool(services, "org.apache.kafka.tools.TopicCommand");
    create.args(["--create", "--partitions", &PARTITIONS.to_string(), "--topic", topic]);
    clients::output(&folder, create);
    clients::output(&folder, producer(topic, &keys_file(&folder)));
    let mut placement = Placement::new();
    for (partition, records) in Topic::new(services, topic).records().into_iter().enumerate() {
        placement.extend(records.into_iter().map(|record| (record.key, partition)));
    }
    placement
}

fn keys_file(folder: &Path) -> PathBuf {
    let path = folder.join("keys");
    let mut file = BufWriter::new(File::create(&path).expect("the folder is ours"));
    let scenario = Scenario::default();
    let generator = Generator::new(&scenario).expect("a valid scenario");
    for index in 0..scenario.subscribers {
        let key = generator.population().subscriber(index);
        file.write_all(&[key.as_bytes(), b",x\n"].concat()).expect("the disk has room");
    }
    file.into_inner().expect("the disk has room");
    path
}
