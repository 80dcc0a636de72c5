//! OpenSSH's `sftp` and `scp`.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, UNIX_EPOCH};

use crate::support::{Setup, content, fail, run, succeed};

const LARGE_BYTES: usize = 20_000_000;
const OLD: Duration = Duration::from_secs(1_000_000_000);

async fn sftp(setup: &Setup, batch: &str) -> Output {
    let mut sftp = setup.program("sftp");
    sftp.args(setup.ssh_options()).args(["-b", "-", "cdr_data@127.0.0.1"]);
    run(&mut sftp, batch).await
}

async fn scp(setup: &Setup, arguments: &[&str]) -> Output {
    let mut scp = setup.program("scp");
    scp.args(setup.ssh_options()).args(arguments);
    run(&mut scp, "").await
}

/// A file with a time and mode that it would not have by itself.
fn make_old(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    let times = FileTimes::new().set_modified(UNIX_EPOCH + OLD).set_accessed(UNIX_EPOCH + OLD);
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
}

fn check_old(path: &Path, content: &[u8]) {
    assert!(fs::read(path).unwrap() == content);
    let metadata = fs::metadata(path).unwrap();
    assert_eq!(metadata.mtime(), OLD.as_secs() as i64);
    assert_eq!(metadata.permissions().mode(), 0o100_640);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_uploads_and_downloads_large_files() {
    let setup = Setup::new().await;
    fs::write(setup.own("large"), content(LARGE_BYTES)).unwrap();
    succeed(sftp(&setup, "put large remote\nget remote back\n").await);
    assert!(fs::read(setup.server.file("remote")).unwrap() == content(LARGE_BYTES));
    assert!(fs::read(setup.own("back")).unwrap() == content(LARGE_BYTES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_keeps_times_and_modes_of_whole_folders() {
    let setup = Setup::new().await;
    fs::create_dir_all(setup.own("tree/below")).unwrap();
    make_old(&setup.own("tree/below/a b"), b"text");
    succeed(sftp(&setup, "put -pR tree\nget -pR tree back\n").await);
    check_old(&setup.server.file("tree/below/a b"), b"text");
    check_old(&setup.own("back/below/a b"), b"text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_continues_what_was_broken_off() {
    let setup = Setup::new().await;
    let whole = content(1_000_000);
    fs::write(setup.own("up"), &whole).unwrap();
    fs::write(setup.server.file("up"), &whole[..400_000]).unwrap();
    fs::write(setup.server.file("down"), &whole).unwrap();
    fs::write(setup.own("down"), &whole[..300_001]).unwrap();
    succeed(sftp(&setup, "reput up\nreget down\n").await);
    assert!(fs::read(setup.server.file("up")).unwrap() == whole);
    assert!(fs::read(setup.own("down")).unwrap() == whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_lists_and_changes_folders() {
    let setup = Setup::new().await;
    make_old(&setup.server.file("old"), &[0; 1234]);
    let batch = "pwd\nls -l\nmkdir new\ncd new\npwd\nrename /old older\nchmod 600 older\ncd ..\n\
        ls -1\ndf\nrename new/older top\nrmdir new\nls -1 n*\n";
    let failed = sftp(&setup, batch).await;
    let printed = String::from_utf8(failed.stdout.clone()).unwrap();
    // The last command names what is gone by then, and a batch ends with its first failure.
    assert!(fail(&failed).contains("not found"));
    assert!(printed.contains("Remote working directory: /\n"), "{printed}");
    assert!(printed.contains("Remote working directory: /new\n"), "{printed}");
    assert!(printed.contains("-rw-r-----"), "{printed}");
    assert!(printed.contains("1234 Sep  9  2001 old"), "{printed}");
    assert!(printed.contains("%Capacity"), "{printed}");
    assert_eq!(fs::metadata(setup.server.file("top")).unwrap().permissions().mode(), 0o100_600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_does_not_get_out() {
    let setup = Setup::new().await;
    fs::write(setup.server.outside("secret"), "secret").unwrap();
    symlink(setup.server.outside("secret"), setup.server.file("link")).unwrap();
    for path in ["../secret", "link", "/etc/passwd", &setup.server.outside("secret").to_string_lossy()] {
        let complaint = fail(&sftp(&setup, &format!("get {path} stolen\n")).await);
        assert!(complaint.contains("not found") || complaint.contains("denied"), "{complaint}");
    }
    fail(&sftp(&setup, "symlink /etc/passwd new\n").await);
    assert!(!setup.own("stolen").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_recognizes_the_server_by_its_key() {
    let setup = Setup::new().await;
    fs::write(setup.own("known_hosts"), "").unwrap();
    assert!(fail(&sftp(&setup, "ls\n").await).contains("Host key verification failed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scp_copies_there_and_back() {
    let setup = Setup::new().await;
    fs::create_dir(setup.own("tree")).unwrap();
    make_old(&setup.own("tree/large"), &content(LARGE_BYTES));
    make_old(&setup.own("tree/empty"), b"");
    succeed(scp(&setup, &["-rp", "tree", "cdr_data@127.0.0.1:"]).await);
    check_old(&setup.server.file("tree/large"), &content(LARGE_BYTES));
    check_old(&setup.server.file("tree/empty"), b"");
    succeed(scp(&setup, &["-rp", "cdr_data@127.0.0.1:/tree", "back"]).await);
    check_old(&setup.own("back/large"), &content(LARGE_BYTES));
    succeed(scp(&setup, &["cdr_data@127.0.0.1:tree/e*", "tree/large", "cdr_data@127.0.0.1:/"]).await);
    assert_eq!(fs::read(setup.server.file("empty")).unwrap(), b"");
    assert!(fs::read(setup.server.file("large")).unwrap() == content(LARGE_BYTES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scp_names_what_is_missing() {
    let setup = Setup::new().await;
    let complaint = fail(&scp(&setup, &["cdr_data@127.0.0.1:missing", "."]).await);
    assert!(complaint.contains("No such file"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_gets_no_shell() {
    let setup = Setup::new().await;
    for command in [&["true"][..], &[]] {
        let mut ssh = setup.program("ssh");
        ssh.args(setup.ssh_options()).arg("cdr_data@127.0.0.1").args(command);
        let complaint = fail(&run(&mut ssh, "").await);
        assert!(complaint.contains("request failed"), "{complaint}");
    }
}
