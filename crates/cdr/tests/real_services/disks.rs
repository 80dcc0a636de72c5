//! Disks that are full or cannot be written to, at the server and here.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::check::{self, has_all};
use crate::support::clients;
use crate::support::course::{self, PARTS, goes_on};
use crate::support::scene::Scene;

/// Room for some of the files of [`scene`].
const LITTLE: &str = "size=256k";

fn scene(name: &'static str) -> Scene {
    Scene::new(name, 40, 100)
}

#[test]
fn a_server_without_space_is_waited_for_until_there_is_some() {
    let scene = scene("remote-full");
    let disk = scene.services.mount(&scene.uploads(), LITTLE);
    let ended = scene.run().with("SFTP_GIVE_UP_SECONDS", 2).end().expect(4);
    has_all(ended.line("ERROR"), &["failed to write remote-full/cdr_", "disk", "free some space there"]);
    check::complete_files(&scene);

    let process = scene.run().start();
    process.wait_for_line("free some space there; trying again for up to 300 s");
    check::complete_files(&scene);
    disk.change("size=16m");
    process.end().expect(0).line("Continuing run remote-full");
    check::verified(&scene);
}

#[test]
fn a_remote_file_system_that_is_read_only_is_waited_for_until_it_is_repaired() {
    let scene = scene("remote-read-only");
    let disk = scene.services.mount(&scene.uploads(), "size=16m");
    disk.change("ro");
    let ended = scene.run().with("SFTP_GIVE_UP_SECONDS", 2).end().expect(4);
    has_all(ended.line("ERROR"), &["failed to create remote-read-only/", "read-only"]);

    let process = scene.run().start();
    process.wait_for_line("failed to create remote-read-only/");
    disk.change("rw");
    process.end().expect(0).line("Continuing run remote-read-only");
    check::verified(&scene);
}

#[test]
fn a_remote_folder_that_becomes_read_only_ends_the_run_which_goes_on_when_it_is_repaired() {
    let scene = Scene::new("remote-locked", 400, 50);
    let process = course::slow(&scene).start();
    process.wait_for_line("Generated");
    let set_mode = sftp_chmod(&scene);
    set_mode("555");
    let ended = process.end().expect(1);
    has_all(ended.line("ERROR"), &["may not write to remote-locked", "write permission"]);
    check::complete_files(&scene);

    set_mode("755");
    scene.run().end().expect(0).line("Continuing run remote-locked");
    check::verified(&scene);
}

/// Changes the mode of the remote folder, as the user whom it belongs to.
fn sftp_chmod(scene: &Scene) -> impl Fn(&str) {
    let key = clients::accepted_ssh_key(scene, "chmod", "");
    let variable = |name| scene.services.variable(name);
    let known = format!("UserKnownHostsFile={}", variable("SFTP_KNOWN_HOSTS"));
    let user = format!("{}@{}", variable("SFTP_USER"), variable("SFTP_HOST"));
    move |mode| {
        let batch = scene.folder.join("batch");
        fs::write(&batch, format!("chmod {mode} {}\n", scene.name)).expect("the folder is ours");
        let mut sftp = Command::new("sftp");
        sftp.args(["-q", "-o", "BatchMode=yes", "-o", &known, "-P", variable("SFTP_PORT"), "-b"]);
        sftp.arg(batch).arg("-i").arg(&key).arg(&user);
        clients::output(&scene.folder, sftp);
    }
}

/// Writes a file until the disk is full.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).expect("a file of nothing has room");
    while file.write_all(&[1; 4096]).is_ok() {}
    path
}

#[test]
fn a_full_local_disk_does_not_stop_a_run_at_work_and_does_stop_its_next_start() {
    let scene = Scene::new("local-full", PARTS, 50);
    let _disk = scene.services.mount(&scene.folder, "size=256k");
    let process = course::slow(&scene).start();
    goes_on(&scene, &process);
    let filler = fill(&scene.folder);
    process.wait_for_line("cannot write the index file idx_data.dat");
    let stale = scene.index();
    process.wait_for_lines("Generated", 3);
    let ended = process.kill();
    has_all(ended.line("WARNING"), &["No space left", "free space", "the run goes on"]);
    assert_eq!(scene.index(), stale, "the file was not harmed");

    let ended = scene.run().end().expect(1);
    has_all(ended.line("ERROR"), &["cannot write the index file", "No space left", "free space"]);
    fs::remove_file(filler).expect("it is ours");
    scene.run().end().expect(0).line("Continuing run local-full");
    check::verified(&scene);
    assert!(!scene.index_file().exists());
}
