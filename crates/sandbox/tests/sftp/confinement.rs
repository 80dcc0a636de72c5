//! Nothing leads out of the root folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use russh_sftp::protocol::{FileAttributes, OpenFlags, ReadLink, Symlink};

use crate::client::{Client, No, OP_UNSUPPORTED, PERMISSION_DENIED, string};
use crate::server::Running;

const CREATE: OpenFlags = OpenFlags::WRITE.union(OpenFlags::CREATE).union(OpenFlags::TRUNCATE);
const SECRET: &str = "secret";

/// A server with a folder beside its root that is nobody's business, and links to it in the root.
async fn start() -> (Running, Client, PathBuf) {
    let server = Running::start().await;
    let outside = server.outside("private");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), SECRET).unwrap();
    symlink(&outside, server.file("folder_link")).unwrap();
    symlink(outside.join("file"), server.file("file_link")).unwrap();
    symlink("../private/file", server.file("relative_link")).unwrap();
    symlink(outside.join("new"), server.file("dangling_link")).unwrap();
    symlink("/", server.file("top_link")).unwrap();
    let client = Client::connect(&server).await;
    (server, client, outside)
}

/// The outside is as it was made.
fn check_untouched(outside: &std::path::Path) {
    let names: Vec<_> = fs::read_dir(outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), SECRET);
    assert_eq!(fs::metadata(outside.join("file")).unwrap().len(), SECRET.len() as u64);
}

#[tokio::test]
async fn dots_and_absolute_paths_stay_inside() {
    let (_server, mut client, outside) = start().await;
    let absolute = outside.join("file");
    for path in
        ["../private/file", "/../private/file", "a/../../private/file", &absolute.to_string_lossy()]
    {
        assert!(client.open(path, OpenFlags::READ).await.is_err(), "{path}");
        assert!(client.stat(path).await.is_err(), "{path}");
        assert!(client.remove(path).await.is_err(), "{path}");
        assert!(client.put(path, b"x").await.is_err(), "{path}");
        assert!(client.posix_rename("file_link", path).await.is_err(), "{path}");
    }
    check_untouched(&outside);
}

/// Any request, by way of each link.
#[tokio::test]
async fn links_that_were_there_before_are_not_followed() {
    let (server, mut client, outside) = start().await;
    let mut attributes = FileAttributes::empty();
    (attributes.size, attributes.permissions) = (Some(0), Some(0o777));
    (attributes.atime, attributes.mtime) = (Some(1), Some(1));
    let top = format!("top_link{}/file", outside.display());
    let below = ["folder_link/file", "folder_link/../folder_link/file", &top];
    for path in ["file_link", "relative_link", "dangling_link"].iter().chain(&below) {
        assert!(client.open(path, OpenFlags::READ).await.is_err(), "{path}");
        assert!(client.open(path, CREATE).await.is_err(), "{path}");
        assert!(client.open(path, CREATE | OpenFlags::EXCLUDE).await.is_err(), "{path}");
        assert!(client.stat(path).await.is_err(), "{path}");
        assert!(client.set(path, attributes.clone()).await.is_err(), "{path}");
        assert!(client.open_folder(path).await.is_err(), "{path}");
        assert!(client.make_folder(path).await.is_err(), "{path}");
        assert!(client.extended("statvfs@openssh.com", string(path)).await.is_err(), "{path}");
    }
    for path in below {
        assert!(client.lstat(path).await.is_err(), "{path}");
        assert!(client.remove(path).await.is_err(), "{path}");
        assert!(client.rename(path, "stolen").await.is_err(), "{path}");
    }
    client.put("mine", b"x").await.unwrap();
    for path in ["folder_link/new", "folder_link/file", "top_link/tmp/new"] {
        assert!(client.rename("mine", path).await.is_err(), "{path}");
        assert!(client.posix_rename("mine", path).await.is_err(), "{path}");
    }
    assert!(client.open_folder("folder_link").await.is_err());
    assert!(client.remove_folder("folder_link").await.is_err());
    check_untouched(&outside);
    assert!(server.file("mine").exists() && !server.file("stolen").exists());
}

#[tokio::test]
async fn the_refusal_names_the_link() {
    let (_server, mut client, _) = start().await;
    let expected = |path: &str| No {
        code: PERMISSION_DENIED,
        message: format!("symbolic links are not followed: {path}"),
    };
    let no = client.open("file_link", OpenFlags::READ).await.unwrap_err();
    assert_eq!(no, expected("/file_link"));
    assert_eq!(client.stat("folder_link").await.unwrap_err(), expected("/folder_link"));
    assert_eq!(client.open_folder("folder_link").await.unwrap_err(), expected("/folder_link"));
}

#[tokio::test]
async fn a_link_itself_can_be_seen_renamed_and_removed() {
    let (server, mut client, outside) = start().await;
    assert_eq!(client.lstat("file_link").await.unwrap().permissions.unwrap() & 0o170_000, 0o120_000);
    client.rename("file_link", "renamed").await.unwrap();
    client.remove("renamed").await.unwrap();
    client.remove("folder_link").await.unwrap();
    // A file takes the place of the link, not of what it points to.
    client.put("mine", b"x").await.unwrap();
    client.posix_rename("mine", "relative_link").await.unwrap();
    assert!(fs::symlink_metadata(server.file("relative_link")).unwrap().is_file());
    check_untouched(&outside);
}

#[tokio::test]
async fn clients_cannot_make_links_or_read_where_they_lead() {
    let (server, mut client, _) = start().await;
    let symlink = Symlink { id: client.id(), linkpath: "new".into(), targetpath: "/etc".into() };
    assert_eq!(client.request(symlink).await.unwrap_err().code, OP_UNSUPPORTED);
    let links = [string("mine"), string("new")].concat();
    assert!(client.extended("hardlink@openssh.com", links).await.is_err());
    let read = ReadLink { id: client.id(), path: "file_link".into() };
    assert_eq!(client.request(read).await.unwrap_err().code, OP_UNSUPPORTED);
    assert!(fs::symlink_metadata(server.file("new")).is_err());
}

#[tokio::test]
async fn the_root_may_itself_be_reached_through_a_link() {
    let server = Running::start_with(|config| {
        fs::create_dir(config.root.with_file_name("elsewhere")).unwrap();
        symlink("elsewhere", &config.root).unwrap();
    })
    .await;
    let mut client = Client::connect(&server).await;
    client.put("a", b"x").await.unwrap();
    assert!(server.outside("elsewhere/a").is_file());
}

/// Ends the swapping when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A folder that becomes a link to the outside, and a folder again, over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_takes_a_folders_place_in_between_does_not_lead_out() {
    let (server, mut client, outside) = start().await;
    fs::create_dir(server.file("folder")).unwrap();
    let swapping = AtomicBool::new(true);
    let (folder, link, aside) =
        (server.file("folder"), server.file("folder_link"), server.file("aside"));
    let (mut written, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while swapping.load(Ordering::Relaxed) {
                fs::rename(&folder, &aside).unwrap();
                fs::rename(&link, &folder).unwrap();
                fs::rename(&folder, &link).unwrap();
                fs::rename(&aside, &folder).unwrap();
            }
        });
        // Also when an assertion fails, or the other thread would never end.
        let _stop = Stop(&swapping);
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for number in 0..300 {
                    match client.put(&format!("folder/{number}"), b"x").await {
                        Ok(()) => written += 1,
                        Err(_) => refused += 1,
                    }
                    assert_ne!(
                        client.stat("folder/file").await.ok().and_then(|found| found.size),
                        Some(6)
                    );
                }
            });
        });
    });
    assert_eq!(written + refused, 300);
    check_untouched(&outside);
    assert_eq!(fs::read_dir(server.file("folder")).unwrap().count(), written);
}
