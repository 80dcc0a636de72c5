//! Reads the store on threads that may block, over a few connections that are opened when needed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::warn;

use crate::processing::problem::Problem;
use crate::processing::store::{Store, StoreConfig, StoreError};

/// Reads at once. Each has a connection, and with it the store's cache.
const CONNECTIONS: usize = 2;

/// How long a read waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Connections to a store, for reading.
#[derive(Debug)]
pub(super) struct Reader {
    store: StoreConfig,
    idle: Mutex<Vec<Store>>,
    turns: Arc<Semaphore>,
}

impl Drop for Reader {
    /// A connection to PostgreSQL must not be closed by a thread that runs tasks.
    fn drop(&mut self) {
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(PoisonError::into_inner));
        std::thread::spawn(move || drop(idle));
    }
}

impl Reader {
    pub fn new(store: StoreConfig) -> Reader {
        Reader { store, idle: Mutex::default(), turns: Arc::new(Semaphore::new(CONNECTIONS)) }
    }

    /// Queries the store. A read that has begun goes on when nobody waits for it any more,
    /// and keeps its turn.
    ///
    /// # Errors
    /// A store that cannot be opened or fails, or no turn in time. The reason is logged, since it may
    /// name what clients are not to know.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let Ok(Ok(turn)) = timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await else {
            warn!("the usage API has more to read from its store than it can");
            return Err(Problem::Store);
        };
        let reader = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            reader.read_now(query)
        });
        let reason = match read.await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("reading its store ended early: {error}"),
        };
        warn!("the usage API cannot answer: {reason}");
        Err(Problem::Store)
    }

    /// A connection that has failed is not used again: the next read opens another.
    fn read_now<T>(
        &self,
        query: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut store = idle.map_or_else(|| Store::open(&self.store), Ok)?;
        let found = query(&mut store)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(store);
        Ok(found)
    }
}
