//! What each request does.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use russh_sftp::protocol::{Close, FileAttributes, Fstat, OpenFlags, Packet, Write};

use crate::client::{Client, EOF, FAILURE, NO_SUCH_FILE, No, OP_UNSUPPORTED, PERMISSION_DENIED, string};
use crate::server::Running;

const CREATE: OpenFlags = OpenFlags::WRITE.union(OpenFlags::CREATE);

fn code<T: std::fmt::Debug>(outcome: Result<T, No>) -> u32 {
    outcome.unwrap_err().code
}

#[tokio::test]
async fn requests_on_a_file_that_do_not_wait_for_each_other_are_done_in_order() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    let handle = client.open("a.csv", CREATE).await.unwrap();
    let data = |index: u8| vec![index; 200_000];
    for index in 0..10 {
        let offset = u64::from(index) * 200_000;
        let id = client.id();
        let write = Write { id, handle: handle.clone(), offset, data: data(index) };
        client.send(write.into()).await;
    }
    let fstat = Fstat { id: client.id(), handle: handle.clone() };
    client.send(fstat.into()).await;
    let close = Close { id: client.id(), handle };
    client.send(close.into()).await;
    for _ in 0..10 {
        assert!(matches!(client.receive().await, Some(Packet::Status(_))));
    }
    match client.receive().await {
        Some(Packet::Attrs(attrs)) => assert_eq!(attrs.attrs.size, Some(2_000_000)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(client.receive().await, Some(Packet::Status(_))));
    let expected: Vec<u8> = (0..10).flat_map(data).collect();
    assert!(fs::read(server.file("a.csv")).unwrap() == expected);
}

#[tokio::test]
async fn what_was_written_can_be_read() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    let content: Vec<u8> = (0..400_000_u32).map(|number| number as u8).collect();
    fs::write(server.file("a"), &content).unwrap();
    let handle = client.open("a", OpenFlags::READ).await.unwrap();
    assert_eq!(client.read(&handle, 399_990, 100).await.unwrap(), content[399_990..]);
    assert_eq!(client.read(&handle, 5, 3).await.unwrap(), [5, 6, 7]);
    // No more than fits into one answer.
    assert_eq!(client.read(&handle, 0, u32::MAX).await.unwrap(), content[..261_120]);
    assert_eq!(code(client.read(&handle, 400_000, 10).await), EOF);
    assert_eq!(code(client.read(&handle, 1 << 40, 10).await), EOF);
}

#[tokio::test]
async fn open_does_as_the_flags_say() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    let content = || fs::read_to_string(server.file("a")).unwrap();
    assert_eq!(code(client.open("a", OpenFlags::WRITE).await), NO_SUCH_FILE);
    client.put("a", b"first").await.unwrap();

    let handle = client.open("a", CREATE).await.unwrap();
    client.write(&handle, 0, b"F").await.unwrap();
    assert_eq!(content(), "First");
    // OpenSSH gives the system's EBADF this code.
    assert_eq!(code(client.read(&handle, 0, 1).await), NO_SUCH_FILE);

    let append = client.open("a", OpenFlags::WRITE | OpenFlags::APPEND).await.unwrap();
    client.write(&append, 0, b", last").await.unwrap();
    client.write(&append, 0, b"!").await.unwrap();
    assert_eq!(content(), "First, last!");

    let no = client.open("a", CREATE | OpenFlags::EXCLUDE).await.unwrap_err();
    assert_eq!(no, No { code: FAILURE, message: "File exists: /a".to_owned() });
    client.open("b", CREATE | OpenFlags::EXCLUDE).await.unwrap();

    client.open("a", OpenFlags::READ | OpenFlags::TRUNCATE).await.unwrap();
    assert_eq!(content(), "First, last!", "what is only read must not be truncated");
    client.open("a", OpenFlags::WRITE | OpenFlags::TRUNCATE).await.unwrap();
    assert_eq!(content(), "");
}

#[tokio::test]
async fn only_plain_files_can_be_opened() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    client.make_folder("folder").await.unwrap();
    assert_eq!(code(client.open("folder", OpenFlags::READ).await), FAILURE);
    let fifo = std::process::Command::new("mkfifo").arg(server.file("fifo")).status().unwrap();
    assert!(fifo.success());
    assert_eq!(code(client.open("fifo", OpenFlags::READ).await), PERMISSION_DENIED);
    assert_eq!(code(client.open("fifo", OpenFlags::WRITE).await), FAILURE);
}

#[tokio::test]
async fn a_plain_rename_never_replaces() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    client.put("a", b"a").await.unwrap();
    client.put("b", b"b").await.unwrap();
    let no = client.rename("a", "b").await.unwrap_err();
    assert_eq!(no, No { code: FAILURE, message: "File exists: /b".to_owned() });
    assert_eq!(fs::read(server.file("b")).unwrap(), b"b");
    client.rename("a", "c").await.unwrap();
    assert!(!server.file("a").exists());
    assert_eq!(fs::read(server.file("c")).unwrap(), b"a");
    assert_eq!(code(client.rename("missing", "d").await), NO_SUCH_FILE);
}

#[tokio::test]
async fn a_posix_rename_replaces() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    client.put("a", b"a").await.unwrap();
    client.put("b", b"b").await.unwrap();
    client.posix_rename("a", "b").await.unwrap();
    assert!(!server.file("a").exists());
    assert_eq!(fs::read(server.file("b")).unwrap(), b"a");
}

#[tokio::test]
async fn folders_are_made_and_removed() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    client.make_folder("a").await.unwrap();
    assert_eq!(code(client.make_folder("a").await), FAILURE);
    assert_eq!(code(client.make_folder("x/y").await), NO_SUCH_FILE);
    client.put("a/b", b"").await.unwrap();
    assert_eq!(code(client.remove_folder("a").await), FAILURE);
    assert_eq!(code(client.remove("a").await), FAILURE);
    client.remove("a/b").await.unwrap();
    client.remove_folder("a").await.unwrap();
    assert_eq!(code(client.remove("a").await), NO_SUCH_FILE);
    for outcome in [client.remove_folder("/").await, client.rename("/", "x").await] {
        assert_eq!(code(outcome), PERMISSION_DENIED);
    }
}

#[tokio::test]
async fn size_mode_and_times_are_set() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    client.put("a", b"12345").await.unwrap();
    let mut attributes = FileAttributes::empty();
    attributes.size = Some(3);
    // Nobody but its owner is to run a program as its owner.
    attributes.permissions = Some(0o104_640);
    (attributes.atime, attributes.mtime) = (Some(1_000_000_000), Some(1_100_000_000));
    client.set("a", attributes).await.unwrap();
    let metadata = fs::metadata(server.file("a")).unwrap();
    assert_eq!(metadata.len(), 3);
    assert_eq!(metadata.permissions().mode(), 0o100_640);
    assert_eq!((metadata.atime(), metadata.mtime()), (1_000_000_000, 1_100_000_000));
    let seen = client.stat("a").await.unwrap();
    assert_eq!((seen.size, seen.permissions), (Some(3), Some(0o100_640)));
    assert_eq!((seen.atime, seen.mtime), (Some(1_000_000_000), Some(1_100_000_000)));
    assert_eq!(code(client.set("missing", FileAttributes::empty()).await), NO_SUCH_FILE);
}

#[tokio::test]
async fn an_open_file_is_set_by_its_handle() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    let handle = client.open("a", CREATE).await.unwrap();
    client.write(&handle, 0, b"12345").await.unwrap();
    let mut attrs = FileAttributes::empty();
    (attrs.size, attrs.permissions) = (Some(10), Some(0o600));
    (attrs.atime, attrs.mtime) = (Some(1), Some(2));
    let set = russh_sftp::protocol::FSetStat { id: client.id(), handle: handle.clone(), attrs };
    client.request(set).await.unwrap();
    let seen = client.fstat(&handle).await.unwrap();
    assert_eq!((seen.size, seen.permissions), (Some(10), Some(0o100_600)));
    assert_eq!((seen.atime, seen.mtime), (Some(1), Some(2)));
}

#[tokio::test]
async fn a_folder_is_listed_in_pieces_that_look_like_ls() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    let names: BTreeSet<_> = (0..250).map(|number| format!("file {number}")).collect();
    for name in &names {
        fs::write(server.file(name), name).unwrap();
    }
    let handle = client.open_folder("/").await.unwrap();
    let mut listed = BTreeSet::new();
    let end = loop {
        match client.read_folder(&handle).await {
            Ok(files) => {
                assert!(files.len() <= 100);
                for file in files {
                    assert!(file.longname.starts_with("-rw-"), "{}", file.longname);
                    assert!(file.longname.ends_with(&file.filename), "{}", file.longname);
                    assert_eq!(file.attrs.size, Some(file.filename.len() as u64));
                    assert!(listed.insert(file.filename));
                }
            }
            Err(no) => break no.code,
        }
    };
    assert_eq!((end, listed), (EOF, names));
    client.close(&handle).await.unwrap();
    assert_eq!(code(client.read_folder(&handle).await), FAILURE);
}

#[tokio::test]
async fn a_real_path_is_absolute_and_begins_at_the_root() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.real_path(".").await.unwrap(), "/");
    assert_eq!(client.real_path("").await.unwrap(), "/");
    assert_eq!(client.real_path("a/../b/./c").await.unwrap(), "/b/c");
    assert_eq!(client.real_path("../../etc").await.unwrap(), "/etc");
}

#[tokio::test]
async fn extensions_of_openssh_answer() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    let limits = client.extended("limits@openssh.com", Vec::new()).await.unwrap();
    assert_eq!(limits, [262_144, 261_120, 261_120, 256]);
    let system = client.extended("statvfs@openssh.com", string("/")).await.unwrap();
    assert_eq!(system.len(), 11);
    assert!(system[0] > 0 && system[2] >= system[3] && system[10] >= 255, "{system:?}");

    let handle = client.open("a", CREATE).await.unwrap();
    client.extended("fsync@openssh.com", string(&handle)).await.unwrap();
    assert_eq!(client.extended("fstatvfs@openssh.com", string(&handle)).await.unwrap().len(), 11);
    assert_eq!(code(client.extended("fsync@openssh.com", string("no handle")).await), FAILURE);
    assert_eq!(code(client.extended("fsync@openssh.com", vec![0, 0]).await), 5);
    let no = client.extended("hardlink@openssh.com", Vec::new()).await.unwrap_err();
    assert_eq!(no.code, OP_UNSUPPORTED);
    assert!(no.message.contains("hardlink@openssh.com"), "{}", no.message);
}

#[tokio::test]
async fn an_unknown_kind_of_request_is_not_supported() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    client.send_bytes(&[0, 0, 0, 5, 77, 0, 0, 0, 42]).await;
    match client.receive().await {
        Some(Packet::Status(status)) => {
            assert_eq!((status.id, status.status_code as u32), (42, OP_UNSUPPORTED));
        }
        other => panic!("{other:?}"),
    }
    client.put("a", b"the session goes on").await.unwrap();
}

#[tokio::test]
async fn names_that_are_not_utf_8_are_refused() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    // mkdir, with a name of one byte
    let request = [&[0, 0, 0, 14, 14, 0, 0, 0, 7, 0, 0, 0, 1, 0xff, 0, 0, 0, 0][..]].concat();
    client.send_bytes(&request).await;
    match client.receive().await {
        Some(Packet::Status(status)) => assert_eq!((status.id, status.status_code as u32), (7, 5)),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(server.file("")).unwrap().count(), 0);
}
