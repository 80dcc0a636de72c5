//! Records in the order of time, as far as a buffer goes.

use cdr_model::{Fact, Micros};

use super::Each;

/// Records that wait at most, 56 bytes each. So many are put in order wherever they stand; of more, each may
/// come half as many records too late.
pub const WAITING_MAX: usize = 2_000_000;

/// Puts records in order.
pub struct Order {
    waiting: Vec<Fact>,
    max: usize,
    /// Of the record that was handed over last.
    passed: Option<Micros>,
    /// Records that came too late, and were left out.
    pub late: u64,
}

impl Order {
    pub fn new(max: usize) -> Order {
        Order { waiting: Vec::new(), max: max.max(2), passed: None, late: 0 }
    }

    pub fn take(&mut self, fact: Fact, each: &mut Each<'_>) {
        if self.passed.is_some_and(|passed| fact.time() < passed) {
            self.late += 1;
            return;
        }
        self.waiting.push(fact);
        if self.waiting.len() >= self.max {
            self.hand_over(self.max / 2, each);
        }
    }

    /// Hands over what still waits.
    pub fn end(mut self, each: &mut Each<'_>) -> u64 {
        self.hand_over(self.waiting.len(), each);
        self.late
    }

    fn hand_over(&mut self, count: usize, each: &mut Each<'_>) {
        // This takes little time where they are in order already.
        self.waiting.sort_by_key(Fact::time);
        for fact in self.waiting.drain(..count) {
            self.passed = Some(fact.time());
            each(&fact);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: i64) -> Fact {
        Fact::Call { caller: 1, called: None, tower: None, time: Micros(time), seconds: 0 }
    }

    fn ordered(times: &[i64], max: usize) -> (Vec<i64>, u64) {
        let (mut found, mut order) = (Vec::new(), Order::new(max));
        let mut each = |fact: &Fact| found.push(fact.time().0);
        times.iter().for_each(|&time| order.take(at(time), &mut each));
        let late = order.end(&mut each);
        (found, late)
    }

    #[test]
    fn records_come_in_order_as_far_as_the_buffer_goes() {
        assert_eq!(ordered(&[], 4), (vec![], 0));
        assert_eq!(ordered(&[3, 1, 2], 4), (vec![1, 2, 3], 0));
        assert_eq!(ordered(&[3, 1, 4, 2, 5, 6], 4), (vec![1, 2, 3, 4, 5, 6], 0));
    }

    #[test]
    fn what_comes_too_late_is_counted_and_left_out() {
        assert_eq!(ordered(&[5, 6, 7, 8, 1, 9], 4), (vec![5, 6, 7, 8, 9], 1));
        // What has the time of the last one is in order.
        assert_eq!(ordered(&[5, 6, 7, 8, 6], 4), (vec![5, 6, 6, 7, 8], 0));
    }
}
