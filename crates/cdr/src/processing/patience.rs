//! Waits for a store that is away, as one waits for brokers.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::store::StoreError;
use super::watch::Watcher;
use crate::delivery::board::Board;

/// Between tries.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Acts until it succeeds, as long as trying again may help: for `give_up_after` since the first
/// try, and not once more when there is the wish to stop.
///
/// # Errors
/// The last one.
pub fn persist<T>(
    board: &Board,
    watcher: &dyn Watcher,
    give_up_after: Duration,
    mut act: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        match act() {
            Ok(done) => {
                if told {
                    info!("The usage store is back after {:.1} s", begun.elapsed().as_secs_f64());
                    watcher.store_answers(true);
                }
                return Ok(done);
            }
            Err(error) if error.is_passing() && begun.elapsed() < give_up_after => {
                if told && board.is_stopping() {
                    return Err(error);
                }
                if !told {
                    warn!("{error}. Trying again for up to {} s", give_up_after.as_secs());
                    watcher.store_answers(false);
                    told = true;
                }
                pause(AGAIN_AFTER);
            }
            Err(error) => return Err(error),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the processor has a thread of its own, with no other task"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cdr_model::Stream;

    use super::*;
    use crate::delivery::sink::kafka::{Lags, TopicPartition};

    /// What was said of the store.
    #[derive(Default)]
    struct Answers(Mutex<Vec<bool>>);

    impl Watcher for Answers {
        fn stored(&self, _: [u64; 2], _: Duration, _: Duration) {}
        fn dead(&self, _: Stream, _: &'static str) {}
        fn lags(&self, _: &Lags) {}
        fn assigned(&self) {}
        fn store_answers(&self, answers: bool) {
            self.0.lock().unwrap().push(answers);
        }
        fn brokers_answer(&self, _: bool) {}
        fn gone(&self, _: &TopicPartition) {}
    }

    fn failed(passing: bool) -> StoreError {
        StoreError::Open { store: "s".to_owned(), reason: "away".to_owned(), remedy: "Wait", passing }
    }

    #[test]
    fn a_store_that_comes_back_is_waited_for() {
        let (watcher, mut tries) = (Answers::default(), 0);
        let done = persist(&Board::default(), &watcher, Duration::from_secs(60), || {
            tries += 1;
            if tries < 3 { Err(failed(true)) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap(), 3);
        assert_eq!(*watcher.0.lock().unwrap(), [false, true]);
    }

    #[test]
    fn what_no_waiting_mends_fails_at_once() {
        let (watcher, mut tries) = (Answers::default(), 0);
        let act = || -> Result<(), _> {
            tries += 1;
            Err(failed(false))
        };
        persist(&Board::default(), &watcher, Duration::from_secs(60), act).unwrap_err();
        assert_eq!(tries, 1);
    }

    #[test]
    fn a_store_that_stays_away_is_given_up_on_in_time_or_when_asked_to_stop() {
        let watcher = Answers::default();
        let act = || Err::<(), _>(failed(true));
        persist(&Board::default(), &watcher, Duration::ZERO, act).unwrap_err();
        let board = Board::default();
        board.stop();
        persist(&board, &watcher, Duration::from_secs(60), act).unwrap_err();
    }
}
