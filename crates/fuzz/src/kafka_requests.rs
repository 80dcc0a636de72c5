//! Requests as they come over the wire, each behind its length. Whatever they are, the broker answers
//! or refuses them; it does not panic.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use cdr_sandbox::kafka::{Broker, Closed, Config};
use tokio::runtime::{Builder, Runtime};

/// Waiting for other members of a group, or for records, counts as an answer.
const WAIT: Duration = Duration::from_millis(2);

/// After as many inputs a new broker takes the place of the old one and of what it had to keep.
const INPUTS_PER_BROKER: u32 = 1_000;

struct Fixture {
    runtime: Runtime,
    broker: Broker,
    _dir: tempfile::TempDir,
    inputs: u32,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().expect("a folder");
        let config = Config { rebalance_delay: Duration::ZERO, ..Config::new(dir.path()) };
        let broker = Broker::open(config).expect("an empty folder");
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Fixture { runtime, broker, _dir: dir, inputs: 0 }
    }

    fn answer(&self, request: Bytes) {
        let answer = async { tokio::time::timeout(WAIT, self.broker.answer(request)).await };
        if let Ok(Err(error @ Closed::Failed(..))) = self.runtime.block_on(answer) {
            panic!("{error}");
        }
    }
}

static WORLD: Mutex<Option<Fixture>> = Mutex::new(None);

/// Hands the requests to a broker, which remembers what earlier inputs did to it.
pub fn check(bytes: &[u8]) {
    let mut fixture = WORLD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    fixture.take_if(|fixture| fixture.inputs >= INPUTS_PER_BROKER);
    let fixture = fixture.get_or_insert_with(Fixture::new);
    fixture.inputs += 1;
    let mut rest = Bytes::copy_from_slice(bytes);
    while rest.len() >= 4 {
        let length = rest.split_to(4).iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        let request = rest.split_to(length.min(rest.len()));
        fixture.answer(request);
    }
}
