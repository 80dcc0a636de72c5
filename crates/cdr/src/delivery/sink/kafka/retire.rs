//! Ends clients, some of which do not end.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::debug;

/// Drops a client, and waits no longer than this for it: what is left then ends with the process.
///
/// The client's threads wait until a time of day. When the clock is set back, a wait that has begun
/// takes that much longer, and it could be an hour before they hear that all is over. And a consumer
/// asks to leave its group until somebody answers.
pub(super) fn retire<T: Send + 'static>(client: T, longest: Duration) {
    let (at_work, over) = sync_channel::<()>(0);
    thread::spawn(move || {
        drop(client);
        drop(at_work);
    });
    if over.recv_timeout(longest) == Err(RecvTimeoutError::Timeout) {
        debug!("the client does not end; it is left to itself");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Instant;

    use super::*;

    /// Ends when it is told to, and tells that.
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
        retire(Slow(may, ends), Duration::from_millis(1));
        assert!(ended.try_recv().is_err());
        drop(may_end);
        ended.recv().unwrap();
    }

    #[test]
    fn one_that_ends_is_not_waited_for_any_longer() {
        let ((may_end, may), (ends, ended)) = (sync_channel(1), sync_channel(1));
        drop::<SyncSender<()>>(may_end);
        let begun = Instant::now();
        retire(Slow(may, ends), Duration::from_secs(600));
        assert!(begun.elapsed() < Duration::from_secs(600));
        ended.recv().unwrap();
    }
}
