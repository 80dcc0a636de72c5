//! Where the sinks of a run see each other: the files' cursors, the wish to stop, and whether this
//! process still holds the run.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cdr_model::PartIndex;
use cdr_model::progress::Cursors;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often a process that is not halted says so.
pub const BEAT: Duration = Duration::from_millis(50);

/// A pause between two beats after which the process counts as having been halted: another one may
/// have taken the run over.
const HALT: Duration = Duration::from_millis(500);

/// How old the last commit may be when a file gets its name: a process that cannot reach the brokers
/// does not learn that another one has taken the run over.
const LEASE: Duration = Duration::from_secs(30);

/// A sink that takes files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSink {
    Sftp,
    Directory,
}

/// Shared by all sinks of a run.
#[derive(Debug, Default)]
pub struct Board {
    files: Mutex<Files>,
    changed: Condvar,
    stop: CancellationToken,
    lost: CancellationToken,
    hold: Mutex<Option<Hold>>,
    confirmed: Notify,
    /// Whether a file has begun to wait for its name.
    #[cfg(test)]
    asked: Notify,
}

/// The hold on a run that another process can take over, by fencing this one.
#[derive(Debug)]
struct Hold {
    beat: Instant,
    /// When it was known last.
    known: Instant,
    /// Since when it is in doubt.
    doubt: Option<Instant>,
}

impl Hold {
    fn new(now: Instant) -> Self {
        Hold { beat: now, known: now, doubt: None }
    }

    /// Whether it is certain enough for a file to get its name.
    fn is_certain(&mut self, now: Instant) -> bool {
        self.beat(now);
        if now.duration_since(self.known) >= LEASE {
            self.doubt.get_or_insert(now);
        }
        self.doubt.is_none()
    }

    fn beat(&mut self, now: Instant) {
        if now.duration_since(self.beat) >= HALT {
            self.doubt = Some(now);
        }
        self.beat = now;
    }
}

#[derive(Debug, Default)]
struct Files {
    cursors: Cursors,
    at_work: usize,
}

impl Board {
    /// Announces a file sink, which begins at `cursor`; it must leave when it ends.
    pub fn enlist(&self, sink: FileSink, cursor: PartIndex) {
        self.lock().at_work += 1;
        self.advance(sink, cursor);
    }

    /// Says that a file sink has done everything before `cursor`.
    pub fn advance(&self, sink: FileSink, cursor: PartIndex) {
        let mut files = self.lock();
        match sink {
            FileSink::Sftp => files.cursors.sftp = Some(cursor),
            FileSink::Directory => files.cursors.directory = Some(cursor),
        }
        drop(files);
        self.changed.notify_all();
    }

    /// Says that a file sink does nothing more: all is done, or it was stopped, or it failed.
    pub fn leave(&self) {
        self.lock().at_work -= 1;
        self.changed.notify_all();
    }

    /// The files' cursors, and whether they are final.
    pub fn files(&self) -> (Cursors, bool) {
        let files = self.lock();
        (files.cursors, files.at_work == 0)
    }

    /// Waits until a file sink says something, the run is to stop, or the time is over.
    pub fn wait(&self, longest: Duration) {
        let files = self.lock();
        if !self.is_stopping() {
            drop(self.changed.wait_timeout(files, longest));
        }
    }

    /// Waits only for file sinks, so that a stopped run still sees their last words.
    pub fn wait_for_files(&self, longest: Duration) {
        let files = self.lock();
        if files.at_work > 0 {
            drop(self.changed.wait_timeout(files, longest));
        }
    }

    /// Asks every sink to finish what is in flight, and then to end.
    pub fn stop(&self) {
        self.stop.cancel();
        // The lock makes sure that nobody is between looking at `stop` and waiting.
        drop(self.lock());
        self.changed.notify_all();
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when the run is to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Says that commits tell from here on whether this process still holds the run.
    pub fn guard(&self) {
        *self.hold() = Some(Hold::new(Instant::now()));
    }

    /// Says that the process is not halted; to be called every [`BEAT`].
    pub fn beat(&self) {
        if let Some(hold) = &mut *self.hold() {
            hold.beat(Instant::now());
        }
    }

    /// Says that a commit which was asked for then has succeeded, so that nobody had taken the run
    /// over at that time.
    pub fn committed(&self, asked: Instant) {
        if let Some(hold) = &mut *self.hold() {
            hold.known = asked;
            if hold.doubt.is_some_and(|since| asked >= since) {
                hold.doubt = None;
            }
        }
        self.confirmed.notify_waiters();
    }

    /// Whether a commit is wanted, only to see whether it succeeds.
    pub fn is_in_doubt(&self) -> bool {
        self.hold().as_ref().is_some_and(|hold| hold.doubt.is_some())
    }

    /// Resolves when a file may get its name: at once, unless this process was halted or has not
    /// committed for long; then when it is known that no other has taken the run over. SFTP itself
    /// can keep nobody from renaming. Never resolves once the run is lost.
    pub async fn may_publish(&self) {
        loop {
            let mut confirmed = std::pin::pin!(self.confirmed.notified());
            confirmed.as_mut().enable();
            if self.lost.is_cancelled() {
                return std::future::pending().await;
            }
            if self.hold().as_mut().is_none_or(|hold| hold.is_certain(Instant::now())) {
                return;
            }
            // Whoever commits is asked to do so.
            drop(self.lock());
            self.changed.notify_all();
            #[cfg(test)]
            self.asked.notify_one();
            confirmed.await;
        }
    }

    /// Says that another process has taken the run over: what is in flight must not be finished.
    pub fn lose(&self) {
        self.lost.cancel();
        self.stop();
    }

    /// Resolves when another process has taken the run over.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// A board of a run that another process may have taken over.
    #[cfg(test)]
    pub(crate) fn in_doubt() -> Board {
        let (board, now) = (Board::default(), Instant::now());
        *board.hold() = Some(Hold { doubt: Some(now), ..Hold::new(now) });
        board
    }

    /// Resolves when a file waits for its name.
    #[cfg(test)]
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    fn hold(&self) -> MutexGuard<'_, Option<Hold>> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A board whose hold on the run is as after some time in which something went wrong.
    fn board(wrong: impl FnOnce(&mut Hold)) -> Board {
        let board = Board::default();
        board.guard();
        wrong(board.hold().as_mut().unwrap());
        board
    }

    /// A board whose process was halted for some time.
    fn halted(pause: Duration) -> Board {
        board(|hold| hold.beat -= pause)
    }

    /// Whether a file may get its name without any more commit.
    fn may_publish(board: &Board) -> bool {
        let mut asking = std::pin::pin!(board.may_publish());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        asking.as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn a_process_that_was_not_halted_may_publish() {
        assert!(may_publish(&halted(Duration::ZERO)));
        assert!(may_publish(&Board::default()), "nor is there anything to lose without commits");
    }

    #[test]
    fn after_a_halt_only_a_commit_that_began_later_lets_it_publish() {
        let before = Instant::now();
        let board = halted(HALT);
        assert!(!may_publish(&board));
        assert!(board.is_in_doubt());
        board.committed(before);
        assert!(!may_publish(&board), "that commit tells nothing of the time since");
        board.committed(Instant::now());
        assert!(may_publish(&board));
    }

    #[test]
    fn a_process_that_has_not_committed_for_long_asks_before_it_publishes() {
        let board = board(|hold| hold.known -= LEASE);
        assert!(!board.is_in_doubt(), "no commit is wanted as long as nobody asks");
        assert!(!may_publish(&board));
        assert!(board.is_in_doubt());
        board.committed(Instant::now());
        assert!(may_publish(&board));
    }

    #[test]
    fn a_process_that_has_lost_the_run_never_publishes() {
        let board = halted(Duration::ZERO);
        board.lose();
        board.committed(Instant::now());
        assert!(!may_publish(&board));
        assert!(board.is_stopping());
    }

    #[test]
    fn a_halt_is_seen_by_the_beat_too() {
        let board = halted(HALT);
        board.beat();
        assert!(!may_publish(&board));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_the_commit() {
        let board = std::sync::Arc::new(halted(HALT));
        let asking = tokio::spawn({
            let board = board.clone();
            async move { board.may_publish().await }
        });
        while !board.is_in_doubt() {
            tokio::task::yield_now().await;
        }
        board.committed(Instant::now());
        asking.await.unwrap();
    }
}
