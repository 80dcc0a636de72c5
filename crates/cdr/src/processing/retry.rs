//! Retries what a store refuses while it is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Observer;
use super::store::StoreError;
use crate::kafka::Standby;

/// Between tries.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// How long a store may be away, who learns of it, and what ends the retries.
#[derive(Clone)]
pub struct StoreRetry {
    /// The member of a group that has to be kept meanwhile, if there is one.
    pub standby: Standby,
    pub observer: Arc<dyn Observer>,
    pub shutdown: CancellationToken,
    pub give_up_after: Duration,
}

impl StoreRetry {
    /// Acts until it succeeds, as long as trying again may help: for `give_up_after` since the first
    /// try, and after a shutdown not more than twice.
    pub fn run<T>(&self, mut act: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let begun = Instant::now();
        let mut is_away = false;
        loop {
            let error = match act() {
                Err(error) if error.is_passing() && begun.elapsed() < self.give_up_after => error,
                result => {
                    if is_away && result.is_ok() {
                        info!("The usage store is back after {:.1} s", begun.elapsed().as_secs_f64());
                        self.observer.store_answers(true);
                    }
                    return result;
                }
            };
            if !is_away {
                warn!("{error}. Trying again for up to {} s", self.give_up_after.as_secs());
                self.observer.store_answers(false);
                is_away = true;
            } else if self.shutdown.is_cancelled() {
                return Err(error);
            }
            self.standby.wait(RETRY_INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cdr_model::{PerStream, Stream};

    use super::*;
    use crate::kafka::{Lags, TopicPartition};

    /// What was reported of the store.
    #[derive(Default)]
    struct Answers(Mutex<Vec<bool>>);

    impl Observer for Answers {
        fn stored(&self, _: &PerStream<u64>, _: Duration, _: Duration) {}
        fn dead(&self, _: Stream, _: &'static str) {}
        fn lags(&self, _: &Lags) {}
        fn assigned(&self) {}
        fn store_answers(&self, answers: bool) {
            self.0.lock().unwrap().push(answers);
        }
        fn brokers_answer(&self, _: bool) {}
        fn revoked(&self, _: &TopicPartition) {}
    }

    fn retry(answers: &Arc<Answers>, seconds: u64) -> StoreRetry {
        StoreRetry {
            standby: Standby::default(),
            observer: answers.clone(),
            shutdown: CancellationToken::new(),
            give_up_after: Duration::from_secs(seconds),
        }
    }

    fn failed(passing: bool) -> StoreError {
        StoreError::Open { store: "s".to_owned(), reason: "away".to_owned(), remedy: "Wait", passing }
    }

    #[test]
    fn a_store_that_comes_back_is_waited_for() {
        let (answers, mut tries) = (Arc::default(), 0);
        let done = retry(&answers, 60).run(|| {
            tries += 1;
            if tries < 3 { Err(failed(true)) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap(), 3);
        assert_eq!(*answers.0.lock().unwrap(), [false, true]);
    }

    #[test]
    fn what_no_waiting_mends_fails_at_once() {
        let mut tries = 0;
        let act = || -> Result<(), _> {
            tries += 1;
            Err(failed(false))
        };
        retry(&Arc::default(), 60).run(act).unwrap_err();
        assert_eq!(tries, 1);
    }

    #[test]
    fn a_store_that_stays_away_is_given_up_on_in_time_or_on_shutdown() {
        let act = || Err::<(), _>(failed(true));
        retry(&Arc::default(), 0).run(act).unwrap_err();
        let retry = retry(&Arc::default(), 60);
        retry.shutdown.cancel();
        retry.run(act).unwrap_err();
    }
}
