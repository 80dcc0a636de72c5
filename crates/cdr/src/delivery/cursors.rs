//! How far each file sink has come, where whoever commits sees it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cdr_model::PartIndex;
use tokio::sync::Notify;

/// The cursors of a run's file sinks, by the sink's name.
#[derive(Debug, Default)]
pub struct FileCursors {
    state: Mutex<State>,
    /// For the one who commits; a change before it waits is kept.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    cursors: BTreeMap<String, PartIndex>,
    at_work: usize,
}

impl FileCursors {
    /// Adds a file sink that begins at `cursor`; it is at work until [`FileCursors::leave`].
    pub fn enlist(&self, sink: &str, cursor: PartIndex) {
        self.state().at_work += 1;
        self.advance(sink, cursor);
    }

    /// Notes that a file sink has delivered everything before `cursor`.
    pub fn advance(&self, sink: &str, cursor: PartIndex) {
        self.state().cursors.insert(sink.to_owned(), cursor);
        self.changed.notify_one();
    }

    /// Notes that a file sink delivers nothing more: all is done, or it was stopped, or it failed.
    pub fn leave(&self) {
        self.state().at_work -= 1;
        self.changed.notify_one();
    }

    /// The cursors, and whether they are final.
    pub fn snapshot(&self) -> (BTreeMap<String, PartIndex>, bool) {
        let state = self.state();
        (state.cursors.clone(), state.at_work == 0)
    }

    /// Resolves when something has changed since it resolved last. For one task at a time.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
