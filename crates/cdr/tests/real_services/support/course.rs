//! Runs that something happens to while they are at work.

use super::check;
use super::process::{Ended, Process};
use super::scene::{Job, Scene};

/// More parts than any disturbance lasts for.
pub const PARTS: u64 = 2_000;

/// A slow run of many parts, for as long as it takes.
pub fn slow(scene: &Scene) -> Job {
    scene.run_at(20)
}

/// Lets something happen to a run, and sees that it goes on afterwards and that nothing is missing
/// or doubled in the end. Gives the run's log until then.
pub fn disturbed(scene: &Scene, job: Job, disturb: impl FnOnce(&Process)) -> Ended {
    let process = job.start();
    process.wait_for_line("Generated");
    disturb(&process);
    goes_on(scene, &process);
    finish(scene, process)
}

/// Waits until some more parts are complete.
pub fn goes_on(scene: &Scene, process: &Process) {
    let before = scene.index().unwrap_or(0);
    process.wait_until("it goes on", || scene.index() > Some(before + 5));
}

/// Stops a slow run, and has the rest delivered at full speed.
fn finish(scene: &Scene, process: Process) -> Ended {
    process.signal("TERM");
    let ended = process.end().expect(143);
    scene.run().end().expect(0).line(&format!("Continuing run {}", scene.name));
    check::verified(scene);
    ended
}
