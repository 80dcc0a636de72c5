//! SIGINT and SIGTERM: the first requests a shutdown that finishes what is in flight, the second ends
//! the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::exit::Exit;

/// Two signals within this time are one request: some tools send one to the process and to its group.
const ONE_REQUEST: Duration = Duration::from_millis(300);

/// Listens for signals until it is dropped, and remembers which came first.
#[derive(Debug)]
pub struct Signals {
    seen: Seen,
    listener: JoinHandle<()>,
}

#[derive(Clone, Debug, Default)]
struct Seen(Arc<AtomicI32>);

impl Drop for Signals {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Signals {
    /// Begins to listen; the first signal cancels `shutdown`.
    ///
    /// # Errors
    /// When the system does not let us listen.
    pub fn watch(shutdown: CancellationToken) -> io::Result<Signals> {
        let seen = Seen::default();
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let received = seen.clone();
        let listener = tokio::spawn(async move {
            let mut requests = Requests::default();
            loop {
                let kind = tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = terminate.recv() => SignalKind::terminate(),
                };
                if requests.is_another(Instant::now()) {
                    received.add(kind, &shutdown);
                }
            }
        });
        Ok(Signals { seen, listener })
    }

    /// How the process should end, if a signal came.
    pub fn exit(&self) -> Option<Exit> {
        let number = self.seen.0.load(Ordering::SeqCst);
        Some(number).filter(|&number| number != 0).map(exit_of)
    }
}

impl Seen {
    fn add(&self, kind: SignalKind, shutdown: &CancellationToken) {
        let number = kind.as_raw_value();
        match self.0.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => {
                info!("Stopping: finishing what is in flight (a second signal stops at once)");
                shutdown.cancel();
            }
            Err(first) => {
                warn!("Stopping at once; nothing that was committed is lost");
                stop_at_once(exit_of(first));
            }
        }
    }
}

/// Counts requests, of which each may be several signals.
#[derive(Default)]
struct Requests {
    first: Option<Instant>,
}

impl Requests {
    /// Whether a signal that comes now is more than an echo of the first.
    fn is_another(&mut self, now: Instant) -> bool {
        match self.first {
            Some(first) => now.duration_since(first) >= ONE_REQUEST,
            None => {
                self.first = Some(now);
                true
            }
        }
    }
}

fn exit_of(number: i32) -> Exit {
    match number == SignalKind::terminate().as_raw_value() {
        true => Exit::Terminated,
        false => Exit::Interrupted,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the user wants the process gone, and that is as safe as a kill"
)]
fn stop_at_once(exit: Exit) {
    std::process::exit(exit as i32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_come_together_are_one_request_and_a_later_one_is_another() {
        let (mut requests, begun) = (Requests::default(), Instant::now());
        let at = |after_ms| begun + Duration::from_millis(after_ms);
        let another = [0, 1, 299, 300, 301].map(|after_ms| requests.is_another(at(after_ms)));
        assert_eq!(another, [true, false, false, true, true]);
    }
}
