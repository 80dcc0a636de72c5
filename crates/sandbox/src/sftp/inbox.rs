//! Requests that wait for their turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::backpressure::Backpressure;
use super::wire::{Malformed, complete};

/// Bytes of requests that are taken at once, about; one request may be larger.
const TAKEN_BYTES: usize = 256 * 1024;

/// What a client has sent on one channel and was not yet looked at. The backpressure bounds it.
#[derive(Debug)]
pub(super) struct Inbox {
    backpressure: Arc<Backpressure>,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    ended: bool,
}

/// What nobody takes any more does not wait any more.
impl Drop for Inbox {
    fn drop(&mut self) {
        let rest = self.state().bytes.len();
        self.backpressure.sub(rest);
    }
}

impl Inbox {
    pub(super) fn new(backpressure: Arc<Backpressure>) -> Self {
        Self { backpressure, state: Mutex::default(), news: Notify::new() }
    }

    /// Keeps what has come, unless the end has come before it.
    pub(super) fn put(&self, data: &[u8]) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        // Before anybody can take it.
        self.backpressure.add(data.len());
        state.bytes.extend_from_slice(data);
        drop(state);
        self.news.notify_one();
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.news.notify_one();
    }

    /// Waits for requests; gives one or more complete ones, or `None` when no more will come. Only one
    /// task may wait.
    ///
    /// # Errors
    ///
    /// When the next request is not one.
    pub(super) async fn take(&self) -> Result<Option<Bytes>, Malformed> {
        loop {
            if let Some(taken) = self.try_take()? {
                return Ok(taken);
            }
            self.news.notified().await;
        }
    }

    /// `None` when it is too early to know.
    fn try_take(&self) -> Result<Option<Option<Bytes>>, Malformed> {
        let mut state = self.state();
        let length = complete(&state.bytes, TAKEN_BYTES)?;
        if length > 0 {
            let taken = state.bytes.split_to(length).freeze();
            drop(state);
            self.backpressure.sub(length);
            return Ok(Some(Some(taken)));
        }
        // A message that was cut off will not be completed.
        Ok(state.ended.then_some(None))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_complete_is_taken_and_the_rest_waits_for_more() {
        let inbox = Inbox::new(Arc::default());
        inbox.put(&[0, 0, 0, 1, 9, 0, 0]);
        assert_eq!(inbox.take().await.unwrap().unwrap(), [0, 0, 0, 1, 9][..]);
        inbox.put(&[0, 1]);
        inbox.put(&[8]);
        inbox.end();
        inbox.put(&[0, 0, 0, 1, 7]);
        assert_eq!(inbox.take().await.unwrap().unwrap(), [0, 0, 0, 1, 8][..]);
        assert!(inbox.take().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_message_that_is_cut_off_is_dropped() {
        let inbox = Inbox::new(Arc::default());
        inbox.put(&[0, 0, 0, 9, 1]);
        inbox.end();
        assert!(inbox.take().await.unwrap().is_none());
    }

    #[test]
    fn bytes_wait_until_they_are_taken_or_given_up() {
        let backpressure = Arc::new(Backpressure::default());
        let inboxes = [(); 2].map(|()| Inbox::new(Arc::clone(&backpressure)));
        let half = vec![0; 4 * 1024 * 1024];
        inboxes.iter().for_each(|inbox| inbox.put(&half));
        assert!(backpressure.is_full());
        drop(inboxes);
        assert!(!backpressure.is_full());
    }
}
