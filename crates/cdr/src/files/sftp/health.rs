//! What is known of the server's being there, shared by all uploads: when to give up, and what to log
//! meanwhile.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::SftpError;

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Between two lines on the same failure.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The state of the server, as far as it is known here.
pub(super) struct Health {
    address: String,
    give_up_after: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_success: Option<Instant>,
    last_failure: Option<(Instant, SftpError)>,
    /// Since when there has been no connection.
    away_since: Option<Instant>,
    logged_at: Option<Instant>,
}

impl Health {
    pub(super) fn new(address: String, give_up_after: Duration) -> Self {
        Self { address, give_up_after, state: Mutex::default() }
    }

    /// A file stands in its place, or could.
    pub(super) fn succeeded(&self) {
        self.lock().last_success = Some(Instant::now());
    }

    /// There is a connection.
    pub(super) fn connected(&self) {
        let away_since = self.lock().away_since.take();
        if let Some(since) = away_since {
            let seconds = since.elapsed().as_secs_f64();
            tracing::info!("SFTP server {} is back after {seconds:.1} s", self.address);
        }
    }

    /// Work failed that began at `waiting_since`; `away`: there is no connection.
    pub(super) fn failed(&self, waiting_since: Instant, error: &SftpError, away: bool) {
        let now = Instant::now();
        let mut state = self.lock();
        state.last_failure = Some((now, error.clone()));
        if !away && matches!(error, SftpError::ConnectionLost { .. }) {
            // There is another connection, so that all goes on.
            return tracing::debug!("{error}");
        }
        if error.is_permanent() {
            return;
        }
        let news = away && state.away_since.is_none();
        if news {
            state.away_since = Some(now);
        }
        if !news && state.logged_at.is_some_and(|at| now < at + LOG_INTERVAL) {
            return;
        }
        state.logged_at = Some(now);
        let seconds = self.deadline(&state, waiting_since).duration_since(now).as_secs_f64();
        drop(state);
        if !away {
            return tracing::warn!("{error}; trying again for up to {seconds:.0} s");
        }
        let hint = error.hint().map(|hint| format!(". {hint}")).unwrap_or_default();
        let (address, cause) = (&self.address, error.in_brief());
        tracing::warn!(
            "SFTP server {address} is away ({cause}); trying again for up to {seconds:.0} s{hint}"
        );
    }

    /// Whether to go on with work that began at `waiting_since`: not after an error that will stay, which
    /// one attempt has found for all who waited for it, nor after too long a time without any success.
    pub(super) fn verdict(&self, waiting_since: Instant) -> Result<(), SftpError> {
        let state = self.lock();
        let failure = state.last_failure.as_ref().filter(|(at, _)| *at >= waiting_since);
        let Some((_, error)) = failure else { return Ok(()) };
        if error.is_permanent() {
            return Err(error.clone());
        }
        let deadline = self.deadline(&state, waiting_since);
        if Instant::now() < deadline {
            return Ok(());
        }
        let begun = deadline - self.give_up_after;
        Err(SftpError::GaveUp { seconds: begun.elapsed().as_secs_f64(), cause: Box::new(error.clone()) })
    }

    /// The retry deadline of work that began at `waiting_since`.
    pub(super) fn retry_deadline(&self, waiting_since: Instant) -> Instant {
        self.deadline(&self.lock(), waiting_since)
    }

    fn deadline(&self, state: &State, waiting_since: Instant) -> Instant {
        let begun = state.last_success.map_or(waiting_since, |at| at.max(waiting_since));
        begun + self.give_up_after
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Growing pauses between attempts.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
    /// Not to be tried again before.
    until: Option<Instant>,
}

impl Backoff {
    pub(super) fn failed(&mut self) {
        let pause = BACKOFF_MIN * 2_u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        self.until = Some(Instant::now() + jittered(pause.min(BACKOFF_MAX)));
    }

    pub(super) fn is_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    /// Waits until the next attempt is due, and not beyond `limit`.
    pub(super) async fn pause(&self, limit: Instant) {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until.min(limit)).await;
        }
    }
}

/// Between half of `pause` and all of it, so that many clients of a server that comes back do not all arrive
/// at once.
fn jittered(pause: Duration) -> Duration {
    // The standard library seeds each hasher state at random.
    let random = RandomState::new().hash_one(0) as u32;
    pause / 2 + pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_100_ms_to_5_s() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_over());
        for full_ms in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let before = Instant::now();
            backoff.failed();
            let pause = backoff.until.unwrap() - before;
            let (least, most) = (full_ms / 2, full_ms + 50);
            assert!((least..=most).contains(&pause.as_millis()), "{pause:?} of {full_ms} ms");
            assert!(!backoff.is_over());
        }
    }

    #[test]
    fn the_retry_deadline_counts_from_the_last_success_or_the_beginning() {
        let health = Health::new("localhost:22".to_owned(), Duration::from_secs(60));
        let now = Instant::now();
        let ago = |seconds| now - Duration::from_secs(seconds);
        let lost = SftpError::Refused { address: "localhost:22".to_owned(), hint: String::new() };
        assert!(health.verdict(ago(100)).is_ok(), "nothing has failed yet");
        health.failed(ago(10), &lost, true);
        assert!(health.verdict(ago(10)).is_ok());
        let given_up = health.verdict(ago(100));
        assert!(matches!(given_up, Err(SftpError::GaveUp { .. })), "{given_up:?}");
        health.succeeded();
        assert!(health.verdict(ago(100)).is_ok(), "there was a success");
    }

    #[test]
    fn what_one_attempt_found_to_stay_holds_for_all_who_waited() {
        let health = Health::new("localhost:22".to_owned(), Duration::from_secs(60));
        let before = Instant::now();
        let error = SftpError::NotAFolder { address: "localhost:22".to_owned(), path: "up".to_owned() };
        health.failed(before, &error, true);
        assert!(health.verdict(before).is_err());
        let later = Instant::now() + Duration::from_millis(1);
        assert!(health.verdict(later).is_ok(), "new work tries again");
    }
}
