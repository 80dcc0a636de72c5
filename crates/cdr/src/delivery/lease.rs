//! The lease on a run: whether it is still this process's, and not another's that has fenced it.
//!
//! Kafka fences a producer whose run was taken over. A file sink has nothing like that: so before a
//! file gets its name, the lease must be valid. Each commit renews it. A process that was halted, or
//! has not committed for long, suspects its lease, and waits for a commit that was requested later.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::files::PublishCondition;

/// How often a process that is not halted sends a heartbeat.
pub const HEARTBEAT: Duration = Duration::from_millis(50);

/// A pause between two heartbeats after which the process counts as having been halted: another one
/// may have taken the run over.
const HALT: Duration = Duration::from_millis(500);

/// How old the last commit may be when a file gets its name: a process that cannot reach the brokers
/// does not learn that another one has taken the run over.
const LEASE_TIME: Duration = Duration::from_secs(30);

/// The lease on a run. One that nobody begins is valid until it is ended: without Kafka, there is
/// nobody who could fence this process.
#[derive(Debug, Default)]
pub struct Lease {
    state: Mutex<Option<State>>,
    ended: CancellationToken,
    /// Wakes those whose files wait.
    renewed: Notify,
    /// Wakes the one who commits.
    suspected: Notify,
    /// Whether a file has begun to wait.
    #[cfg(test)]
    waiting: Notify,
}

#[derive(Debug)]
struct State {
    heartbeat: Instant,
    renewed: Instant,
    suspect_since: Option<Instant>,
}

impl State {
    fn new(now: Instant) -> Self {
        State { heartbeat: now, renewed: now, suspect_since: None }
    }

    fn is_valid(&mut self, now: Instant) -> bool {
        self.heartbeat(now);
        if now.duration_since(self.renewed) >= LEASE_TIME {
            self.suspect_since.get_or_insert(now);
        }
        self.suspect_since.is_none()
    }

    fn heartbeat(&mut self, now: Instant) {
        if now.duration_since(self.heartbeat) >= HALT {
            self.suspect_since = Some(now);
        }
        self.heartbeat = now;
    }
}

impl Lease {
    /// From here on, commits renew the lease.
    pub fn begin(&self) {
        *self.state() = Some(State::new(Instant::now()));
    }

    /// Notes that the process is not halted; to be called every [`HEARTBEAT`].
    pub fn heartbeat(&self) {
        if let Some(state) = &mut *self.state() {
            state.heartbeat(Instant::now());
        }
    }

    /// Notes that a commit has succeeded which was requested then: nobody had taken the run over at
    /// that time.
    pub fn renew(&self, requested: Instant) {
        if let Some(state) = &mut *self.state() {
            state.renewed = requested;
            if state.suspect_since.is_some_and(|since| requested >= since) {
                state.suspect_since = None;
            }
        }
        self.renewed.notify_waiters();
    }

    /// Whether a commit is wanted, if only to see whether it succeeds.
    pub fn is_suspect(&self) -> bool {
        self.state().as_ref().is_some_and(|state| state.suspect_since.is_some())
    }

    /// Resolves when a file waits for the lease to be renewed.
    pub async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Ends the lease: another process has taken the run over, or nobody commits any more. What is in
    /// flight must not be finished.
    pub fn end(&self) {
        self.ended.cancel();
    }

    /// Resolves when the lease has ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// One of a run that another process may have taken over.
    #[cfg(test)]
    pub(crate) fn suspect() -> Lease {
        let (lease, now) = (Lease::default(), Instant::now());
        *lease.state() = Some(State { suspect_since: Some(now), ..State::new(now) });
        lease
    }

    /// Resolves when a file waits for its name.
    #[cfg(test)]
    pub(crate) async fn waiting(&self) {
        self.waiting.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No file gets its name unless the run is still ours: with a lease that is suspect only after the next
/// commit, and never once it has ended.
#[async_trait]
impl PublishCondition for Lease {
    async fn met(&self) {
        loop {
            let mut renewed = std::pin::pin!(self.renewed.notified());
            renewed.as_mut().enable();
            if self.ended.is_cancelled() {
                return std::future::pending().await;
            }
            if self.state().as_mut().is_none_or(|state| state.is_valid(Instant::now())) {
                return;
            }
            self.suspected.notify_one();
            #[cfg(test)]
            self.waiting.notify_one();
            renewed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lease as after some time in which something went wrong.
    fn lease(wrong: impl FnOnce(&mut State)) -> Lease {
        let lease = Lease::default();
        lease.begin();
        wrong(lease.state().as_mut().unwrap());
        lease
    }

    /// That of a process which was halted for some time.
    fn halted(pause: Duration) -> Lease {
        lease(|state| state.heartbeat -= pause)
    }

    /// Whether it is valid without any more commit.
    fn is_valid(lease: &Lease) -> bool {
        let mut valid = std::pin::pin!(lease.met());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        valid.as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn the_lease_of_a_process_that_was_not_halted_is_valid() {
        assert!(is_valid(&halted(Duration::ZERO)));
        assert!(is_valid(&Lease::default()), "nor can anybody take it without commits");
    }

    #[test]
    fn after_a_halt_only_a_commit_that_was_requested_later_renews_it() {
        let before = Instant::now();
        let lease = halted(HALT);
        assert!(!is_valid(&lease));
        assert!(lease.is_suspect());
        lease.renew(before);
        assert!(!is_valid(&lease), "that commit shows nothing of the time since");
        lease.renew(Instant::now());
        assert!(is_valid(&lease));
    }

    #[test]
    fn without_a_commit_for_long_it_becomes_suspect_when_a_file_wants_its_name() {
        let lease = lease(|state| state.renewed -= LEASE_TIME);
        assert!(!lease.is_suspect(), "no commit is wanted as long as no file waits");
        assert!(!is_valid(&lease));
        assert!(lease.is_suspect());
        lease.renew(Instant::now());
        assert!(is_valid(&lease));
    }

    #[test]
    fn a_lease_that_has_ended_is_never_valid_again() {
        let lease = halted(Duration::ZERO);
        lease.end();
        lease.renew(Instant::now());
        assert!(!is_valid(&lease));
        let unbegun = Lease::default();
        unbegun.end();
        assert!(!is_valid(&unbegun));
    }

    #[test]
    fn a_halt_is_noticed_by_the_heartbeat_too() {
        let lease = halted(HALT);
        lease.heartbeat();
        assert!(!is_valid(&lease));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_the_commit() {
        let lease = std::sync::Arc::new(halted(HALT));
        let waiting = tokio::spawn({
            let lease = lease.clone();
            async move { lease.met().await }
        });
        lease.suspected().await;
        lease.renew(Instant::now());
        waiting.await.unwrap();
    }
}
