//! The connections to the server: opened as uploads need them, made again when
//! lost, shared by all uploads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::MutexGuard as DialGuard;
use tokio::time::Instant;

use super::connect::{Connection, Connector};
use super::error::SftpError;
use super::folder::RemoteFolder;
use super::health::{Backoff, Health};

pub(super) struct Pool {
    connector: Connector,
    slots: Vec<Slot>,
}

/// Room for one connection.
#[derive(Default)]
struct Slot {
    connection: Mutex<Option<Arc<Connection>>>,
    users: AtomicUsize,
    /// Held by the one task that makes the connection.
    dial: tokio::sync::Mutex<Backoff>,
}

/// A connection in use.
pub(super) struct Lease<'p> {
    slot: &'p Slot,
    pub(super) connection: Arc<Connection>,
    /// Who used the connection when this lease began, besides it.
    others: usize,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.slot.users.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(super) fn new(connector: Connector, connections: usize) -> Self {
        let slots = (0..connections.max(1)).map(|_| Slot::default());
        Self { connector, slots: slots.collect() }
    }

    /// The connection with the fewest users; another one, where there is room
    /// for it and the first has users already. Waits for the server to be
    /// there, until it is time to give up on work begun at `waiting_since`.
    pub(super) async fn lease(
        &self,
        health: &Health,
        folder: &RemoteFolder,
        waiting_since: Instant,
    ) -> Result<Lease<'_>, SftpError> {
        loop {
            let Some(lease) = self.least_used() else {
                // One task tries to connect; the others wait for it here.
                let slot = &self.slots[0];
                let mut dial = slot.dial.lock().await;
                if self.least_used().is_none() {
                    health.verdict(waiting_since)?;
                    dial.pause(health.patience_ends(waiting_since)).await;
                    if let Err(error) = self.dial(slot, &mut dial, health, folder).await {
                        health.away(waiting_since, &error);
                    }
                }
                continue;
            };
            if lease.others == 0 {
                return Ok(lease);
            }
            let Some((slot, mut dial)) = self.free_slot() else {
                return Ok(lease);
            };
            return match self.dial(slot, &mut dial, health, folder).await {
                Ok(connection) => Ok(slot.lease(connection)),
                Err(error) => {
                    // The server may just not want more connections.
                    tracing::debug!("no further connection: {error}");
                    Ok(lease)
                }
            };
        }
    }

    /// Whether there is any connection.
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

    fn least_used(&self) -> Option<Lease<'_>> {
        let live = self.slots.iter().filter_map(|slot| {
            let connection = slot.live()?;
            Some((slot.users.load(Ordering::Relaxed), slot, connection))
        });
        let (_, slot, connection) = live.min_by_key(|(users, ..)| *users)?;
        Some(slot.lease(connection))
    }

    /// A slot without connection that nobody is busy with, and that is not to
    /// be left alone for a while.
    fn free_slot(&self) -> Option<(&Slot, DialGuard<'_, Backoff>)> {
        self.slots.iter().find_map(|slot| {
            if slot.live().is_some() {
                return None;
            }
            let dial = slot.dial.try_lock().ok()?;
            (dial.is_over() && slot.live().is_none()).then_some((slot, dial))
        })
    }

    async fn dial(
        &self,
        slot: &Slot,
        backoff: &mut Backoff,
        health: &Health,
        folder: &RemoteFolder,
    ) -> Result<Arc<Connection>, SftpError> {
        let made = async {
            let connection = self.connector.connect().await?;
            folder.ensure(&connection.session).await?;
            Ok(Arc::new(connection))
        };
        match made.await {
            Ok(connection) => {
                *backoff = Backoff::default();
                *slot.connection() = Some(Arc::clone(&connection));
                health.connected();
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

    fn live(&self) -> Option<Arc<Connection>> {
        let mut connection = self.connection();
        if connection.as_ref().is_some_and(|connection| connection.is_lost()) {
            *connection = None;
        }
        connection.clone()
    }

    fn lease(&self, connection: Arc<Connection>) -> Lease<'_> {
        Lease { slot: self, connection, others: self.users.fetch_add(1, Ordering::Relaxed) }
    }
}
