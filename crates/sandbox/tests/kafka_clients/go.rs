//! Clients in Go: franz-go, which speaks the protocol by itself, and the Go client that brings librdkafka
//! 1.9 along.

use std::path::PathBuf;

use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::support::{Running, run};

/// The folder of the programs. They are built of what is in the sources, once; installing them has left
/// nothing to do but linking.
async fn programs() -> &'static PathBuf {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT
        .get_or_init(|| async {
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kafka_clients_go");
            let module = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka_clients/go");
            let mut build = Command::new("go");
            build.args(["build", "-C", module, "-o"]).arg(folder.join("")).arg("./...");
            run(&mut build, "").await;
            folder
        })
        .await
}

/// What one of the programs does, with a broker of its own.
async fn check(program: &str, name: &str) {
    let program = programs().await.join(program);
    let broker = Running::start().await;
    run(Command::new(program).args([name, &broker.address]), "").await;
}

macro_rules! checks {
    ($program:ident: $($test:ident $name:literal,)*) => {
        mod $program {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::check(stringify!($program), $name).await;
            })*
        }
    };
}

checks! { franz:
    produces_and_consumes_every_compression "compressions",
    commits_and_aborts_transactions "transactions",
    fences_the_older_of_two_producers "fencing",
    rebalances_when_members_come_and_go "group",
    copies_exactly_once "copies_exactly_once",
    administers "admin",
}

checks! { librdkafka:
    produces_and_consumes_every_compression "compressions",
    commits_and_aborts_transactions "transactions",
    fences_the_older_of_two_producers "fencing",
    rebalances_when_members_come_and_go "group",
    copies_exactly_once "copies_exactly_once",
    administers "admin",
}
