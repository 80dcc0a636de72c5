//! Lets time pass in a thread that may block.

use std::time::Duration;

/// Blocks the thread, which must not run tasks.
#[expect(clippy::disallowed_methods, reason = "the threads that call this have no other task")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
