//! Feeds the broker requests as they come over the wire, each behind its length. Whatever they are,
//! the broker answers or refuses them; it does not panic.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use cdr_sandbox::kafka::{Broker, Closed, Config};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

/// Waiting for other members of a group, or for records, counts as an answer.
const WAIT: Duration = Duration::from_millis(20);

struct World {
    runtime: Runtime,
    broker: Broker,
    _dir: tempfile::TempDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a folder");
    let broker = Broker::open(Config::new(dir.path())).expect("an empty folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    World { runtime: runtime.expect("threads"), broker, _dir: dir }
});

fuzz_target!(|bytes: &[u8]| {
    let mut rest = Bytes::copy_from_slice(bytes);
    while rest.len() >= 4 {
        let length = rest.split_to(4).iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        let request = rest.split_to(length.min(rest.len()));
        let answer = WORLD
            .runtime
            .block_on(async { tokio::time::timeout(WAIT, WORLD.broker.answer(request)).await });
        if let Ok(Err(error @ Closed::Failed(..))) = answer {
            panic!("{error}");
        }
    }
});
