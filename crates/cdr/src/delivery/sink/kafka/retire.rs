//! Ends clients, some of which do not end.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::debug;

/// Drops a client, and waits no longer than this for it: what is left then ends with the process.
///
/// The client's threads wait until a time of day. When the clock is set back, a wait that has begun
/// takes that much longer, and it could be an hour before they hear that all is over. And a consumer
/// asks to leave its group until somebody answers.
pub(super) fn retire<T: Send + 'static>(client: T, longest: Duration) {
    let (at_work, over) = sync_channel::<()>(0);
    // What a consumer does when it gives up its partitions may need the runtime.
    let runtime = Handle::try_current().ok();
    thread::spawn(move || {
        let _entered = runtime.as_ref().map(Handle::enter);
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
    fn the_runtime_is_at_hand() {
        struct Asks(SyncSender<bool>);
        impl Drop for Asks {
            fn drop(&mut self) {
                self.0
                    .send(Handle::try_current().is_ok_and(|runtime| runtime.block_on(async { true })))
                    .unwrap();
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (asks, answer) = sync_channel(1);
        let _entered = runtime.enter();
        retire(Asks(asks), Duration::from_secs(600));
        assert!(answer.recv().unwrap());
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
