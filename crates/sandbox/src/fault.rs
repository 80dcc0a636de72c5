//! What a test has a server do wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One thing to go wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed, and the request was not applied.
    CloseBefore,
    /// The request is applied, and the connection is closed instead of answered.
    CloseAfter,
    /// The request is applied and answered after this time.
    Delay(Duration),
    /// The request is not applied, and answered with this code of the server's protocol.
    Fail(i32),
}

/// The faults that a server has in store; clones share them. `K` is the kind of a request.
#[derive(Debug)]
pub struct Faults<K>(Arc<Mutex<State<K>>>);

#[derive(Debug)]
struct State<K> {
    planned: VecDeque<Planned<K>>,
    accepting: bool,
}

#[derive(Debug)]
struct Planned<K> {
    kind: K,
    /// Requests of the kind that pass before it.
    skip: u32,
    fault: Fault,
}

impl<K> Clone for Faults<K> {
    fn clone(&self) -> Self {
        Faults(self.0.clone())
    }
}

impl<K> Default for Faults<K> {
    fn default() -> Self {
        Faults(Arc::new(Mutex::new(State { planned: VecDeque::new(), accepting: true })))
    }
}

impl<K: Copy + PartialEq> Faults<K> {
    /// After `skip` more requests of a kind, the next one meets `fault`, once.
    pub fn plan(&self, kind: K, skip: u32, fault: Fault) {
        self.state().planned.push_back(Planned { kind, skip, fault });
    }

    /// What is to go wrong with the request that has just come.
    pub fn meet(&self, kind: K) -> Option<Fault> {
        let planned = &mut self.state().planned;
        let of_kind = |planned: &&Planned<K>| planned.kind == kind;
        let due = planned.iter().position(|planned| of_kind(&planned) && planned.skip == 0);
        for other in planned.iter_mut().filter(|planned| planned.kind == kind) {
            other.skip = other.skip.saturating_sub(1);
        }
        due.and_then(|due| planned.remove(due)).map(|planned| planned.fault)
    }

    /// Nothing more goes wrong.
    pub fn clear(&self) {
        self.state().planned.clear();
    }

    /// Whether all that was planned has happened.
    pub fn are_over(&self) -> bool {
        self.state().planned.is_empty()
    }

    /// Whether the server takes new connections; one that does not closes them at once.
    pub fn accept(&self, accepting: bool) {
        self.state().accepting = accepting;
    }

    pub fn accepting(&self) -> bool {
        self.state().accepting
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        // Each change under the lock is complete in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_once_after_as_many_requests_of_its_kind_as_are_to_pass() {
        let faults = Faults::default();
        faults.plan('w', 1, Fault::CloseBefore);
        faults.plan('r', 0, Fault::Fail(4));
        assert_eq!(faults.meet('w'), None);
        assert_eq!(faults.meet('r'), Some(Fault::Fail(4)));
        assert!(!faults.are_over());
        assert_eq!(faults.meet('w'), Some(Fault::CloseBefore));
        assert_eq!(faults.meet('w'), None);
        assert!(faults.are_over());
    }

    #[test]
    fn faults_of_one_kind_strike_one_by_one() {
        let faults = Faults::default();
        faults.plan('w', 0, Fault::CloseBefore);
        faults.plan('w', 0, Fault::CloseAfter);
        assert_eq!(faults.meet('w'), Some(Fault::CloseBefore));
        assert_eq!(faults.meet('w'), Some(Fault::CloseAfter));
    }

    #[test]
    fn a_clone_shares_what_was_planned() {
        let faults = Faults::default();
        faults.clone().plan('w', 0, Fault::CloseAfter);
        faults.clone().accept(false);
        assert!(!faults.accepting());
        assert_eq!(faults.meet('w'), Some(Fault::CloseAfter));
    }
}
