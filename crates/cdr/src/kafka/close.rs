//! Closes clients, some of which do not end.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::debug;

/// Drops a client, and waits no longer than this for its end: what is left then ends with the process.
///
/// The client's threads wait until a time of day. When the clock is set back, a wait that has begun
/// takes that much longer, and it could be an hour before they notice that all is over. And a consumer
/// repeats its request to leave the group until somebody answers.
pub(super) fn close_within<T: Send + 'static>(timeout: Duration, client: T) {
    let (at_work, over) = sync_channel::<()>(0);
    thread::spawn(move || {
        drop(client);
        drop(at_work);
    });
    if over.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
        debug!("the client does not end in time; it is left to itself");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Instant;

    use super::*;

    /// Ends when it may, and reports that.
    struct Slow(Receiver<()>, SyncSender<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.recv().unwrap_err();
            self.1.send(()).unwrap();
        }
    }

    #[test]
    fn one_that_does_not_end_is_left_to_itself() {
        let ((may_end, may), (ends, ended)) = (sync_channel(1), sync_channel(1));
        close_within(Duration::from_millis(1), Slow(may, ends));
        assert!(ended.try_recv().is_err());
        drop(may_end);
        ended.recv().unwrap();
    }

    #[test]
    fn one_that_ends_is_not_waited_for_any_longer() {
        let ((may_end, may), (ends, ended)) = (sync_channel(1), sync_channel(1));
        drop::<SyncSender<()>>(may_end);
        let begun = Instant::now();
        close_within(Duration::from_secs(600), Slow(may, ends));
        assert!(begun.elapsed() < Duration::from_secs(600));
        ended.recv().unwrap();
    }
}
