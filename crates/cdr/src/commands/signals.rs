//! SIGINT and SIGTERM: the first requests a shutdown that finishes what is in flight, the second ends
//! the process at once.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::exit::Exit;

/// Two signals within this time are one request: some tools send one to the process and to its group.
const ONE_REQUEST: Duration = Duration::from_millis(300);

/// The signals that are sent to the process from now on.
pub struct Received {
    interrupt: Signal,
    terminate: Signal,
}

impl Received {
    pub fn listen() -> io::Result<Received> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Received { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    /// How the process should end by the next one.
    pub async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}

/// Listens for signals until it is dropped, and remembers which came first.
pub struct Signals {
    /// The first signal cancels it.
    pub shutdown: CancellationToken,
    first: Arc<OnceLock<Exit>>,
    _listener: AbortOnDropHandle<()>,
}

impl Signals {
    pub fn watch() -> io::Result<Signals> {
        let (shutdown, first) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        let (stop, noted, mut received) = (shutdown.clone(), first.clone(), Received::listen()?);
        let listener = tokio::spawn(async move {
            let exit = received.next().await;
            let begun = Instant::now();
            noted.get_or_init(|| exit);
            info!("Stopping: finishing what is in flight (a second signal stops at once)");
            stop.cancel();
            loop {
                received.next().await;
                if is_another(begun, Instant::now()) {
                    break;
                }
            }
            warn!("Stopping at once; nothing that was committed is lost");
            #[expect(
                clippy::disallowed_methods,
                reason = "the user wants the process gone, and that is as safe as a kill"
            )]
            std::process::exit(exit as i32);
        });
        Ok(Signals { shutdown, first, _listener: AbortOnDropHandle::new(listener) })
    }

    /// How the process should end, if a signal came.
    pub fn exit(&self) -> Option<Exit> {
        self.first.get().copied()
    }
}

/// Whether a signal that comes now is more than an echo of the first.
fn is_another(first: Instant, now: Instant) -> bool {
    now.duration_since(first) >= ONE_REQUEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_come_together_are_one_request_and_a_later_one_is_another() {
        let begun = Instant::now();
        let at = |after_ms| begun + Duration::from_millis(after_ms);
        let another = [0, 1, 299, 300, 301].map(|after_ms| is_another(begun, at(after_ms)));
        assert_eq!(another, [false, false, false, true, true]);
    }
}
