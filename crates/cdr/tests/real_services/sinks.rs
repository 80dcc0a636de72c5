//! Runs that deliver to some of the destinations, at first or always.

use std::fs;
use std::path::PathBuf;

use cdr_model::{Shard, Stream};

use crate::support::check;
use crate::support::scene::Scene;
use crate::support::topics::Topic;

fn output(scene: &Scene) -> PathBuf {
    scene.folder.join("output")
}

#[test]
fn files_alone_go_to_a_folder_without_any_service() {
    let scene = Scene::new("folder", 40, 100);
    let ended = scene.run().flag("--sinks").flag("directory").end().expect(0);
    ended.line("Completed data generation. cdr_data [4000], cdr_voice [4000], files [40]");
    check::files(&scene, &output(&scene), 0..40);
    assert!(!scene.uploads().exists());
    assert_eq!(Topic::new(scene.services, scene.topic(Stream::Data)).partitions(), 0);
}

#[test]
fn files_alone_are_continued_from_the_index_file_after_a_kill() {
    let scene = Scene::new("folder-killed", 60, 100);
    let job = || scene.run_at(10).with("SINKS", "directory");
    let process = job().start();
    process.wait_until("some parts are complete", || scene.index() >= Some(9));
    process.kill();
    let index = scene.index().expect("an index file");
    // A part that the index counts is not made again: whoever took its files away is not given others.
    let taken = scene.files_of(&scene.generator(), index).map(|(name, _)| output(&scene).join(name));
    taken.iter().for_each(|file| fs::remove_file(file).expect("the part is complete"));

    let process = job().start();
    process.wait_for_line(&format!("local files of {} of 60 parts are delivered", index + 1));
    process.wait_until("further parts are complete", || scene.index() >= Some(index + 5));
    process.kill();
    scene.run().with("SINKS", "directory").end().expect(0).line("files [60]");
    assert!(!scene.index_file().exists());
    assert!(taken.iter().all(|file| !file.exists()));
    for (file, (_, content)) in taken.iter().zip(scene.files_of(&scene.generator(), index)) {
        fs::write(file, content).expect("the folder is ours");
    }
    check::files(&scene, &output(&scene), 0..60);
}

#[test]
fn files_follow_a_run_that_first_delivered_records_alone() {
    let scene = Scene::new("records-first", 30, 200);
    scene.run().with("SINKS", "kafka").end().expect(0);
    assert!(!scene.uploads().exists());
    check::records(&scene, &[Shard::WHOLE], 0..30);
    let ended = scene.run().flag("--sinks").flag("sftp,kafka").end().expect(0);
    ended.line("records of 30, files of 0 of 30 parts are delivered");
    check::delivered(&scene);
}

#[test]
fn a_run_to_all_three_destinations_delivers_to_all_three() {
    let scene = Scene::new("three-sinks", 20, 100);
    scene.run().with("SINKS", "sftp,kafka,directory").end().expect(0);
    check::delivered(&scene);
    check::files(&scene, &output(&scene), 0..20);
}

#[test]
fn an_index_file_of_the_older_pipeline_is_continued_behind_its_part() {
    let scene = Scene::new("older-pipeline", 86, 100);
    fs::write(scene.index_file(), "42\n").expect("the folder is ours");
    let ended = scene.run().with("SINKS", "sftp").end().expect(0);
    ended.line("files of 43 of 86 parts are delivered");
    ended.line("Completed data generation. cdr_data [8600], cdr_voice [8600], files [86]");
    check::files(&scene, &scene.uploads(), 43..86);
    assert!(!scene.index_file().exists());
}

#[test]
fn an_index_that_kafka_knows_nothing_of_is_refused_unless_it_is_to_be_trusted() {
    let scene = Scene::new("index-ahead", 86, 100);
    fs::write(scene.index_file(), "42\n").expect("the folder is ours");
    let ended = scene.run().with("SINKS", "sftp,kafka,directory").end().expect(3);
    let line = ended.line("ERROR");
    assert!(line.contains("the index file has part 42 as complete"), "{line}");
    assert!(line.contains("--trust-index") && line.contains("--restart"), "{line}");
    assert_eq!(fs::read_to_string(scene.index_file()).expect("it stays"), "42\n");
    let topic = Topic::new(scene.services, scene.topic(Stream::Data));
    assert_eq!(topic.partitions(), 0, "a refused start has created the topic");
    assert!(!scene.uploads().exists(), "a refused start has made the remote folder");
    assert!(!output(&scene).exists(), "a refused start has made the local folder");

    let ended = scene.run().flag("--trust-index").end().expect(0);
    ended.line("records of 43, files of 43 of 86 parts are delivered");
    check::files(&scene, &scene.uploads(), 43..86);
    check::records(&scene, &[Shard::WHOLE], 43..86);
}

#[test]
fn an_index_file_of_another_run_is_left_alone() {
    let scene = Scene::new("index-of-another", 60, 100);
    let other = scene.run_at(10).with("SINKS", "directory").with("RUN_NAME", "the-other").start();
    other.wait_until("some parts are complete", || scene.index() >= Some(9));
    other.kill();
    let index = scene.index();
    let elsewhere = || scene.run().with("INDEX_FILE", "own.dat");
    elsewhere().end().expect(0);
    // Neither the end of the finished run nor a further part of it may touch the other's file.
    for job in [scene.run(), scene.run().flag("--follow")] {
        let ended = job.end().expect(3);
        let line = ended.line("the index file idx_data.dat belongs to another run");
        assert!(line.contains("RUN_NAME was the-other, now index-of-another"), "{line}");
        assert!(line.contains("--index-file"), "{line}");
    }
    assert_eq!(scene.index(), index);
    elsewhere().end().expect(0).line("finished already");
}

#[test]
fn files_can_be_uploaded_under_their_final_names_at_once() {
    let scene = Scene::new("direct", 10, 100);
    scene.run().with("SINKS", "sftp").with("SFTP_UPLOAD_MODE", "direct").end().expect(0);
    check::files(&scene, &scene.uploads(), 0..10);
}

#[test]
fn a_folder_that_may_not_be_written_ends_the_run_with_its_name() {
    let scene = Scene::new("no-permission", 10, 100);
    let ended = scene.run().with("SFTP_REMOTE_PATH", "/").end().expect(1);
    let line = ended.line("ERROR");
    assert!(line.contains("SFTP user cdr_data may not write to /"), "{line}");
    assert!(line.contains("choose another remote path"), "{line}");
}
