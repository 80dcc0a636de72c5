//! The connections to the server: opened as uploads need them, made again when lost, shared by all uploads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::MutexGuard as DialGuard;
use tokio::time::Instant;

use super::connect::{Connection, Connector};
use super::error::SftpError;
use super::health::{Backoff, Health};

pub(super) struct Pool {
    pub(super) connector: Connector,
    pub(super) health: Health,
    slots: Vec<Slot>,
}

/// Room for one connection.
#[derive(Default)]
struct Slot {
    connection: Mutex<Option<Arc<Connection>>>,
    /// Held by the one task that makes the connection.
    dial: tokio::sync::Mutex<Backoff>,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Self {
        let config = &connector.config;
        let health = Health::new(config.address(), config.give_up_after);
        let slots = (0..config.connections.max(1)).map(|_| Slot::default()).collect();
        Self { connector, health, slots }
    }

    /// The connection with the fewest users; another one, where there is room for it and the first has users
    /// already. Waits for the server to be there, until it is time to give up on work begun at
    /// `waiting_since`.
    pub(super) async fn lease(&self, waiting_since: Instant) -> Result<Arc<Connection>, SftpError> {
        loop {
            let Some((users, connection)) = self.least_used() else {
                // One task tries to connect; the others wait for it here.
                let slot = &self.slots[0];
                let mut dial = slot.dial.lock().await;
                if self.least_used().is_none() {
                    self.health.verdict(waiting_since)?;
                    dial.pause(self.health.retry_deadline(waiting_since)).await;
                    if let Err(error) = self.dial(slot, &mut dial).await {
                        self.health.failed(waiting_since, &error, true);
                    }
                }
                continue;
            };
            if users > 0
                && let Some((slot, mut dial)) = self.free_slot()
            {
                match self.dial(slot, &mut dial).await {
                    Ok(connection) => return Ok(connection),
                    // The server may just not want more connections.
                    Err(error) => tracing::debug!("no further connection: {error}"),
                }
            }
            return Ok(connection);
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.slots.iter().any(|slot| slot.live().is_some())
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        for slot in &self.slots {
            let connection = slot.connection().take();
            if let Some(connection) = connection {
                connection.close().await;
            }
        }
    }

    fn least_used(&self) -> Option<(usize, Arc<Connection>)> {
        self.slots.iter().filter_map(Slot::live).min_by_key(|(users, _)| *users)
    }

    /// A slot without connection that nobody is busy with, and that is not to be left alone for a while.
    fn free_slot(&self) -> Option<(&Slot, DialGuard<'_, Backoff>)> {
        self.slots.iter().find_map(|slot| {
            if slot.live().is_some() {
                return None;
            }
            let dial = slot.dial.try_lock().ok()?;
            (dial.is_over() && slot.live().is_none()).then_some((slot, dial))
        })
    }

    async fn dial(&self, slot: &Slot, backoff: &mut Backoff) -> Result<Arc<Connection>, SftpError> {
        match self.connector.connect().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *backoff = Backoff::default();
                *slot.connection() = Some(Arc::clone(&connection));
                self.health.connected();
                Ok(connection)
            }
            Err(error) => {
                backoff.failed();
                Err(error)
            }
        }
    }
}

impl Slot {
    fn connection(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        // Each change under the lock is complete in itself.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, if it can be used, and how many use it.
    fn live(&self) -> Option<(usize, Arc<Connection>)> {
        let mut connection = self.connection();
        if connection.as_ref().is_some_and(|connection| connection.is_lost()) {
            *connection = None;
        }
        connection.as_ref().map(|connection| (Arc::strong_count(connection) - 1, Arc::clone(connection)))
    }
}
