//! Clocks that are set while a run is at work.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{NaiveDateTime, TimeDelta, Utc};

use crate::support::clients;
use crate::support::course::{self, PARTS, disturbed, goes_on};
use crate::support::scene::{Job, Scene};

/// The time of day as one process sees it, which the test sets: see `clock.c`.
struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    fn new(scene: &Scene) -> Clock {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_services/support/clock.c");
        let (library, offset) = (scene.folder.join("clock.so"), scene.folder.join("clock"));
        let mut compiler = Command::new("cc");
        compiler.args(["-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        clients::output(&scene.folder, compiler);
        let clock = Clock { library, offset };
        clock.set(0);
        clock
    }

    /// Sets it to so many seconds from the right time.
    fn set(&self, seconds: i64) {
        // In its place: the run has the file in its memory.
        let file = File::options().create(true).truncate(false).write(true).open(&self.offset);
        let written = file.and_then(|mut file| file.write_all(&seconds.to_ne_bytes()));
        written.expect("the folder is ours");
    }

    fn of(&self, job: Job) -> Job {
        let job = job.with("LD_PRELOAD", self.library.display()).with("TZ", "UTC");
        job.with("CLOCK_OFFSET", self.offset.display())
    }
}

/// How many hours the time of a log line that was just written is ahead of the right one.
fn hours_ahead(line: &str) -> i64 {
    let time = line.get(..19).expect("it begins with a date and a time");
    let time = NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").expect("a date and a time");
    // To the nearest hour, since the line may be some seconds old.
    (time - Utc::now().naive_utc() + TimeDelta::minutes(30)).num_seconds().div_euclid(3_600)
}

/// Sets a run's clock, and later sets it right again.
fn is_set(name: &'static str, hours: i64) {
    let scene = Scene::new(name, PARTS, 50);
    let clock = Clock::new(&scene);
    let ended = disturbed(&scene, clock.of(course::slow(&scene)), |process| {
        for hours in [hours, 0] {
            clock.set(hours * 3_600);
            let is_seen = || hours_ahead(&process.last_line()) == hours;
            process.wait_until("its log has the new time", is_seen);
            goes_on(&scene, process);
        }
    });
    assert_eq!(ended.count("ERROR"), 0, "{}", ended.lines.join("\n"));
}

#[test]
fn a_clock_that_is_set_an_hour_ahead_changes_nothing() {
    is_set("clock-ahead", 1);
}

#[test]
fn a_clock_that_is_set_back_by_an_hour_changes_nothing() {
    is_set("clock-back", -1);
}

#[test]
fn a_run_by_the_time_of_day_waits_for_a_clock_that_was_set_back_until_it_is_set_right() {
    let scene = Scene::new("clock-back-by-mistake", 60, 10);
    let clock = Clock::new(&scene);
    let by_the_clock = || scene.run().with("START", "now").with("LINES_PER_SECOND", 10);
    let process = clock.of(by_the_clock().with("PACE", "realtime")).start();
    process.wait_for_line("Generated");
    clock.set(-3_600);
    // Some seconds later, when whoever waits does so by the new time.
    process.wait_until("it logs how far it is", || hours_ahead(&process.last_line()) == -1);
    clock.set(0);
    goes_on(&scene, &process);
    process.signal("TERM");
    process.end().expect(143);
    by_the_clock().end().expect(0);
    let verify = scene.verify().with("START", "now").with("LINES_PER_SECOND", 10);
    verify.end().expect(0).line("All is right");
}
