//! Files arrive whole, whatever the server can do.

use std::sync::atomic::Ordering::SeqCst;

use async_trait::async_trait;
use russh::Limits;
use tokio::sync::Notify;

use super::*;
use crate::files::Stale;

#[tokio::test]
async fn many_files_at_once_arrive_with_their_content() {
    let (server, home) = (Server::start().await, home());
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    in_time(store.connect()).await.unwrap();
    for outcome in in_time(put_all(&store, 0..64, 50_000)).await {
        outcome.unwrap();
    }
    check_files(&server, 0..64, 50_000);
    assert_eq!(server.switches.connections.load(SeqCst), 2);
    store.close().await;
}

#[tokio::test]
async fn sizes_from_nothing_to_several_pieces_arrive() {
    let (server, home) = (Server::start().await, home());
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    for length in [0, 1, 32_768, 261_120, 261_121, 3_000_000] {
        in_time(store.put("file.csv", &content(1, length), &Unconditional)).await.unwrap();
        let found = std::fs::read(server.file("file.csv")).unwrap();
        assert!(found == content(1, length), "{length} bytes");
    }
    assert_eq!(server.switches.largest_write.load(SeqCst), 261_120);
}

#[tokio::test]
async fn writes_keep_to_what_the_server_takes() {
    for (limits, largest) in [
        (None, 32_768),
        (Some([0, 0, 0, 0]), 32_768),
        (Some([0, 0, 10_000, 0]), 10_000),
        (Some([20_000, 0, 50_000, 0]), 18_976),
    ] {
        let (server, home) = (Server::start().await, home());
        *server.switches.limits.lock().unwrap() = limits;
        let store = SftpSink::new(&config(server.port, &home)).unwrap();
        in_time(store.put("0.csv", &content(0, 100_000), &Unconditional)).await.unwrap();
        check_files(&server, 0..1, 100_000);
        let found = server.switches.largest_write.load(SeqCst);
        assert_eq!(found, largest, "{limits:?}");
    }
}

#[tokio::test]
async fn no_more_files_are_open_than_the_server_allows() {
    let (server, home) = (Server::start().await, home());
    *server.switches.limits.lock().unwrap() = Some([0, 0, 0, 1]);
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    for outcome in in_time(put_all(&store, 0..16, 10_000)).await {
        outcome.unwrap();
    }
    check_files(&server, 0..16, 10_000);
}

#[tokio::test]
async fn a_file_with_the_name_is_replaced_with_and_without_posix_rename() {
    for posix_rename in [true, false] {
        let (server, home) = (Server::start().await, home());
        server.switches.posix_rename.store(posix_rename, SeqCst);
        let store = SftpSink::new(&config(server.port, &home)).unwrap();
        in_time(store.put("0.csv", b"an older file", &Unconditional)).await.unwrap();
        in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
        check_files(&server, 0..1, 1000);
    }
}

#[tokio::test]
async fn an_attempt_that_fails_leaves_nothing_behind() {
    let (server, home) = (Server::start().await, home());
    server.switches.failing_writes.store(3, SeqCst);
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    check_files(&server, 0..1, 1000);
    assert_eq!(std::fs::read_dir(server.root.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_file_that_others_write_is_not_touched() {
    let (server, home) = (Server::start().await, home());
    let others = server.file(".0.csv.0123456789abcdef-0.part");
    std::fs::write(&others, [b'x'; 5000]).unwrap();
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    assert_eq!(std::fs::read(server.file("0.csv")).unwrap(), content(0, 1000));
    assert_eq!(std::fs::read(others).unwrap(), [b'x'; 5000]);
}

#[tokio::test]
async fn a_file_stays_when_what_was_to_replace_it_has_gone() {
    for posix_rename in [true, false] {
        let (server, home) = (Server::start().await, home());
        server.switches.posix_rename.store(posix_rename, SeqCst);
        server.switches.losing_parts.store(true, SeqCst);
        std::fs::write(server.file("0.csv"), "an older file").unwrap();
        let mut config = config(server.port, &home);
        config.give_up_after = Duration::from_millis(300);
        let store = SftpSink::new(&config).unwrap();
        let error = in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap_err();
        assert!(error.to_string().contains("failed to rename to 0.csv"), "{error}");
        assert_eq!(std::fs::read(server.file("0.csv")).unwrap(), b"an older file");
    }
}

#[tokio::test]
async fn a_temporary_file_is_opened_as_one_that_is_not_there_yet() {
    let (server, home) = (Server::start().await, home());
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    server.switches.failing_writes.store(1, SeqCst);
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    assert_eq!(server.switches.opened.load(SeqCst), 2);
    assert_eq!(server.switches.opened_as_new.load(SeqCst), 2);
    assert_eq!(server.switches.emptied.load(SeqCst), 0);
}

#[tokio::test]
async fn a_server_that_cannot_open_what_must_be_new_gets_files_all_the_same() {
    let (server, home) = (Server::start().await, home());
    server.switches.exclusive.store(false, SeqCst);
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    check_files(&server, 0..1, 1000);
}

#[tokio::test]
async fn a_clean_up_whose_listing_is_refused_is_not_tried_again() {
    // This server lists no folders.
    let (server, home) = (Server::start().await, home());
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    let error = own(in_time(store.clean_up(Stale::All, &|_| true)).await).unwrap_err();
    assert!(matches!(error, SftpError::Rejected { .. }), "{error}");
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    check_files(&server, 0..1, 1000);
}

#[tokio::test]
async fn a_file_gets_its_name_only_once_the_condition_is_met() {
    let (server, home) = (Server::start().await, home());
    let store = Arc::new(SftpSink::new(&config(server.port, &home)).unwrap());
    let condition = Arc::new(OnRequest::default());
    let upload = tokio::spawn({
        let (store, condition) = (store.clone(), condition.clone());
        async move { store.put("0.csv", &content(0, 1000), &*condition).await }
    });
    in_time(condition.reached.notified()).await;
    assert!(!server.file("0.csv").exists());
    condition.opened.notify_one();
    assert_eq!(in_time(upload).await.unwrap().unwrap(), 1000);
    check_files(&server, 0..1, 1000);
}

/// Is met when a test says so.
#[derive(Default)]
struct OnRequest {
    reached: Notify,
    opened: Notify,
}

#[async_trait]
impl PublishCondition for OnRequest {
    async fn met(&self) {
        self.reached.notify_one();
        self.opened.notified().await;
    }
}

#[tokio::test]
async fn a_file_is_synced_before_it_gets_its_name_where_the_server_offers_that() {
    // What the server offers, what is configured, what becomes of it.
    for (offered, wanted, refused, synced) in
        [(true, true, false, 1), (true, true, true, 1), (false, true, false, 0), (true, false, false, 0)]
    {
        let (server, home) = (Server::start().await, home());
        server.switches.fsync.store(offered, SeqCst);
        server.switches.refusing_fsync.store(refused, SeqCst);
        let store = SftpSink::new(&SftpConfig { fsync: wanted, ..config(server.port, &home) }).unwrap();
        in_time(store.put("0.csv", &content(0, 2_000_000), &Unconditional)).await.unwrap();
        assert_eq!(server.switches.synced.load(SeqCst), synced, "{offered} {wanted} {refused}");
        check_files(&server, 0..1, 2_000_000);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_synced_gets_no_name() {
    let (server, home) = (Server::start().await, home());
    server.switches.failing_fsyncs.store(1, SeqCst);
    let mut config = config(server.port, &home);
    let store = SftpSink::new(&config).unwrap();
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    assert_eq!(server.switches.synced.load(SeqCst), 2, "it is tried again");
    check_files(&server, 0..1, 1000);
    server.switches.failing_fsyncs.store(usize::MAX, SeqCst);
    config.give_up_after = Duration::from_millis(300);
    let store = SftpSink::new(&config).unwrap();
    in_time(store.put("1.csv", &content(1, 1000), &Unconditional)).await.unwrap_err();
    check_files(&server, 0..1, 1000);
}

#[tokio::test]
async fn a_server_that_lists_nothing_and_does_not_say_that_this_is_the_end_is_left() {
    let (server, home) = (Server::start().await, home());
    server.switches.endless_folders.store(true, SeqCst);
    let mut config = config(server.port, &home);
    config.give_up_after = Duration::from_millis(300);
    let store = SftpSink::new(&config).unwrap();
    let listed = own(in_time(store.list(&mut |_| {})).await);
    let cleaned = own(in_time(store.clean_up(Stale::All, &|_| true)).await);
    for error in [listed.unwrap_err(), cleaned.unwrap_err()] {
        assert!(error.to_string().contains("READDIR"), "{error}");
    }
}

/// Reads a file of 100,000 bytes, in pieces of at most so many.
async fn read_in_pieces_of(bytes: usize) -> Result<Option<Vec<u8>>, SftpError> {
    let (server, home) = (Server::start().await, home());
    server.switches.longest_read.store(bytes, SeqCst);
    std::fs::write(server.file("0.csv"), content(0, 100_000)).unwrap();
    let mut config = config(server.port, &home);
    config.give_up_after = Duration::from_millis(300);
    let store = SftpSink::read_only(&config).unwrap();
    let mut found = Vec::new();
    let mut take = |piece: &[u8]| {
        found.extend_from_slice(piece);
        true
    };
    let is_there = own(in_time(store.read("0.csv", &mut take)).await)?;
    Ok(is_there.then_some(found))
}

#[tokio::test]
async fn a_file_is_read_whole_whatever_the_server_gives_at_once() {
    for bytes in [usize::MAX, 50_000, 1_000] {
        assert_eq!(read_in_pieces_of(bytes).await.unwrap(), Some(content(0, 100_000)), "{bytes}");
    }
}

#[tokio::test]
async fn a_server_that_reads_nothing_and_does_not_say_that_this_is_the_end_is_left() {
    let error = read_in_pieces_of(0).await.unwrap_err();
    assert!(error.to_string().contains("no end of the file"), "{error}");
}

/// A sink that writes files under their final names.
fn direct(server: &Server, home: &TempDir) -> SftpSink {
    let mut config = config(server.port, home);
    config.upload_mode = UploadMode::Direct;
    config.give_up_after = Duration::from_millis(300);
    SftpSink::new(&config).unwrap()
}

#[tokio::test]
async fn direct_mode_never_empties_a_file_whose_rest_it_can_cut_off() {
    let (server, home) = (Server::start().await, home());
    for length in [0, 10, 1000, 5000] {
        std::fs::write(server.file("0.csv"), vec![b'x'; length]).unwrap();
        in_time(direct(&server, &home).put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
        check_files(&server, 0..1, 1000);
    }
    assert_eq!(server.switches.emptied.load(SeqCst), 0);
}

#[tokio::test]
async fn direct_mode_empties_only_a_longer_file_where_the_rest_cannot_be_cut_off() {
    let (server, home) = (Server::start().await, home());
    server.switches.set_size.store(false, SeqCst);
    for (length, emptied) in [(10, 0), (1000, 0), (5000, 1)] {
        std::fs::write(server.file("0.csv"), vec![b'x'; length]).unwrap();
        in_time(direct(&server, &home).put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
        check_files(&server, 0..1, 1000);
        assert_eq!(server.switches.emptied.load(SeqCst), emptied, "{length} bytes were there");
    }
}

#[tokio::test]
async fn a_file_that_is_whole_stays_so_when_direct_mode_is_cut_off() {
    let (server, home) = (Server::start().await, home());
    let store = direct(&server, &home);
    in_time(store.put("0.csv", &content(0, 3_000_000), &Unconditional)).await.unwrap();
    server.switches.failing_writes.store(usize::MAX, SeqCst);
    in_time(store.put("0.csv", &content(0, 3_000_000), &Unconditional)).await.unwrap_err();
    check_files(&server, 0..1, 3_000_000);
}

#[tokio::test]
async fn a_missing_folder_is_made_and_made_again() {
    let (server, home) = (Server::start().await, home());
    let mut config = config(server.port, &home);
    config.remote_path = "incoming/cdr/".to_owned();
    let store = SftpSink::new(&config).unwrap();
    in_time(store.connect()).await.unwrap();
    in_time(store.put("a.csv", b"text", &Unconditional)).await.unwrap();
    std::fs::remove_dir_all(server.file("incoming")).unwrap();
    in_time(store.put("b.csv", b"text", &Unconditional)).await.unwrap();
    assert!(server.file("incoming/cdr/b.csv").exists());
}

#[tokio::test]
async fn a_folder_without_permission_is_refused_with_its_name() {
    let (server, home) = (Server::start().await, home());
    server.switches.read_only.store(true, SeqCst);
    let mut config = config(server.port, &home);
    for (folder, named) in [(".", "the login folder"), ("incoming", "incoming")] {
        config.remote_path = folder.to_owned();
        let store = SftpSink::new(&config).unwrap();
        let error = in_time(store.connect()).await.unwrap_err();
        assert!(error.is_permanent());
        let expected = format!(
            "SFTP user cdr_data may not write to {named} on 127.0.0.1:{}: \
             give the user write permission there, or choose another remote path",
            server.port
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_file_in_place_of_the_folder_is_refused() {
    let (server, home) = (Server::start().await, home());
    std::fs::write(server.file("incoming"), "").unwrap();
    let mut config = config(server.port, &home);
    config.remote_path = "incoming".to_owned();
    let error = in_time(SftpSink::new(&config).unwrap().connect()).await;
    assert!(matches!(error, Err(SftpError::NotAFolder { .. })), "{error:?}");
}

#[tokio::test]
async fn a_failed_write_is_done_again() {
    let (server, home) = (Server::start().await, home());
    server.switches.failing_writes.store(2, SeqCst);
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    in_time(store.put("0.csv", &content(0, 2_000_000), &Unconditional)).await.unwrap();
    check_files(&server, 0..1, 2_000_000);
}

#[tokio::test]
async fn a_full_disk_is_named_when_it_stays_full() {
    let (server, home) = (Server::start().await, home());
    server.switches.failing_writes.store(usize::MAX, SeqCst);
    let mut config = config(server.port, &home);
    config.give_up_after = Duration::from_millis(300);
    let store = SftpSink::new(&config).unwrap();
    let error = in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await;
    let Err(SftpError::GaveUp { cause, .. }) = &error else {
        panic!("{error:?}");
    };
    let expected = format!(
        "SFTP server 127.0.0.1:{} failed to write 0.csv (Failure): \
         probably its disk or the user's quota is full; free some space there",
        server.port
    );
    assert_eq!(cause.to_string(), expected);
    assert!(!server.file("0.csv").exists());
}

#[tokio::test]
async fn a_file_of_wrong_size_does_not_get_its_name() {
    let (server, home) = (Server::start().await, home());
    server.switches.wrong_sizes.store(usize::MAX, SeqCst);
    let mut config = config(server.port, &home);
    config.give_up_after = Duration::from_secs(2);
    let store = SftpSink::new(&config).unwrap();
    let error = in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap_err();
    assert!(error.to_string().contains("has 1001 bytes instead of 1000"), "{error}");
    assert!(!server.file("0.csv").exists());
    // Two wrong answers fail an attempt: that on the open file, and that on the
    // closed one. The next attempt succeeds.
    server.switches.wrong_sizes.store(2, SeqCst);
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    check_files(&server, 0..1, 1000);
}

#[tokio::test]
async fn one_wrong_word_on_the_size_is_checked_on_the_closed_file() {
    let (server, home) = (Server::start().await, home());
    server.switches.wrong_sizes.store(1, SeqCst);
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    assert_eq!(server.switches.opened.load(SeqCst), 1);
}

#[tokio::test]
async fn names_with_a_folder_are_refused() {
    let (server, home) = (Server::start().await, home());
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    for name in ["", ".", "..", "a/b", "/a", "a\0"] {
        let outcome = store.put(name, b"", &Unconditional).await;
        assert!(matches!(outcome, Err(SftpError::FileName { .. })), "{name:?}");
    }
    assert_eq!(server.switches.connections.load(SeqCst), 0);
}

#[tokio::test]
async fn new_keys_are_exchanged_under_load() {
    let limits = Limits::new(100_000, 1_000_000, Duration::from_secs(3600));
    let (server, home) = (Server::start_at(0, limits).await, home());
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    for outcome in in_time(put_all(&store, 0..100, 100_000)).await {
        outcome.unwrap();
    }
    check_files(&server, 0..100, 100_000);
}

#[tokio::test]
async fn after_closing_nothing_is_uploaded() {
    let (server, home) = (Server::start().await, home());
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    store.close().await;
    let outcome = in_time(store.put("1.csv", &content(1, 1000), &Unconditional)).await;
    assert!(matches!(outcome, Err(SftpError::Closed { .. })), "{outcome:?}");
    check_files(&server, 0..1, 1000);
}

#[test]
fn paths_follow_the_remote_path() {
    for (folder, path) in [
        (".", "a.csv"),
        ("", "a.csv"),
        ("./", "a.csv"),
        ("up", "up/a.csv"),
        ("up/cdr/", "up/cdr/a.csv"),
        ("/", "/a.csv"),
        ("/srv/in", "/srv/in/a.csv"),
    ] {
        let config = SftpConfig { remote_path: folder.to_owned(), ..config(22, &home()) };
        assert_eq!(config.path("a.csv"), path, "{folder:?}");
    }
}
