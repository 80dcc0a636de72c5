//! The progress of runs without Kafka: the index file alone.

use std::time::Duration;

use cdr_model::Plan;

use super::board::Board;
use super::milestones::Milestones;

/// Writes the files' progress until the sinks are done; tells whether all is delivered. Blocks.
pub fn keep_progress(plan: &Plan, board: &Board, mut milestones: Milestones) -> bool {
    loop {
        let (cursors, final_word) = board.files();
        let complete = cursors.complete_before(milestones.sinks());
        if final_word {
            let finished = complete.is_some_and(|cursor| plan.is_done(cursor));
            milestones.end(&cursors, finished);
            return finished;
        }
        milestones.reached(&cursors);
        board.wait_for_files(Duration::from_secs(1));
    }
}
