//! Large folders behind a slow network, which takes long where each answer is waited for.

use std::fs::{self, File};

use cdr_sandbox::sftp;
use tokio::net::TcpListener;

use super::proxy::Proxy;
use super::*;
use crate::files::{Listed, Stale};

/// A server with a folder of files, and a sink behind a network that is slow once it is connected.
struct Scene {
    root: TempDir,
    sink: SftpSink,
    proxy: Proxy,
    _home: TempDir,
}

impl Scene {
    async fn new(names: impl Iterator<Item = String>) -> Scene {
        let (root, home) = (home(), home());
        for name in names {
            File::create(root.path().join(name)).unwrap();
        }
        let settings = sftp::Config::new(root.path(), home.path().join("host_key"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = sftp::Server::open(settings).unwrap();
        tokio::spawn(server.serve(listener, std::future::pending()));
        let proxy = Proxy::start(port).await;
        let mut config = config(proxy.port, &home);
        config.password = Some(Secret::new("password".to_owned()));
        config.connections = 1;
        config.request_timeout = Duration::from_secs(60);
        let sink = SftpSink::new(&config).unwrap();
        in_time(sink.connect()).await.unwrap();
        Scene { root, sink, proxy, _home: home }
    }
}

/// One round trip for each answer would take 80 s.
#[tokio::test]
async fn names_are_requested_ahead_of_those_that_have_come() {
    let scene = Scene::new((0..5_000).map(|number| format!("{number}.csv"))).await;
    scene.proxy.delay(800);
    let mut count = 0;
    let mut take = |listed: Listed<'_>| count += u32::from(matches!(listed, Listed::File(_)));
    own(in_time(scene.sink.list(&mut take)).await).unwrap();
    assert_eq!(count, 5_000);
}

/// One round trip for each removal would take 80 s.
#[tokio::test]
async fn many_stale_files_are_removed_at_once() {
    let stale = (0..2_000).map(|number| format!(".{number}.csv.0123456789abcdef-0.part"));
    let scene = Scene::new(stale.chain(["0.csv".to_owned()])).await;
    scene.proxy.delay(20);
    own(in_time(scene.sink.clean_up(Stale::OfOthers, &|_| true)).await).unwrap();
    let left: Vec<_> =
        fs::read_dir(scene.root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["0.csv"]);
}
