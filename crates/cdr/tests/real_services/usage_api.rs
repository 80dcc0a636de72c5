//! The usage API and the metrics, as seen by programs that nobody here wrote.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use cdr::http;
use cdr::processing::Readiness;
use cdr::processing::api::{self, ApiConfig};
use cdr::processing::metrics::{self, Metrics};
use cdr::processing::store::{Added, Batch, OffsetAdvance, Store, StoreConfig};
use cdr::processing::tariff::Tariff;
use cdr::secret::Secret;
use cdr_model::usage::{Interaction, Used};
use cdr_model::{CallType, DataType, Micros, PerStream, Stream};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::clients;
use crate::support::services::Services;

/// A server in this process, on a port of its own.
struct Server {
    runtime: Runtime,
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    fn start<F>(serve: impl FnOnce(TcpListener, CancellationToken) -> F) -> Server
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Runtime::new().expect("threads");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let stop = CancellationToken::new();
        let task = runtime.spawn(serve(listener, stop.clone()));
        Server { runtime, address, stop, task }
    }

    fn end(self) {
        self.stop.cancel();
        self.runtime.block_on(self.task).expect("no panic");
    }
}

/// The usage of the document's examples, so that requests with these find something.
fn fill(file: &Path) {
    let at = |time: &str, used| Interaction {
        msisdn: 27_821_234_567,
        tower: 1_882,
        time: Micros::parse(time.as_bytes()).expect("a time"),
        used,
    };
    let data = Used::Data { data_type: DataType::Video, up_bytes: 312_323, down_bytes: 12_000_000 };
    let call = Used::Call { call_type: CallType::Voice, seconds: 89 };
    let interactions = vec![
        at("2024-01-01 00:30:00.000000", data),
        at("2024-01-01 01:30:00.000000", call),
        at("2024-01-01 02:30:00.000000", call),
    ];
    let partition = ("cdr_data".to_owned(), 0);
    let advance = OffsetAdvance { from: None, to: 3, counted: 3, dead: 0 };
    let advances = BTreeMap::from([(partition, advance)]);
    let mut store = Store::open(&StoreConfig::File(file.to_owned())).expect("a new store");
    let outcome = store.add(&mut Batch { advances, interactions }).expect("it is stored");
    assert_eq!(outcome, Added::Stored);
}

/// Schemathesis makes requests from the document, right and wrong ones, and compares the answers with it.
#[test]
fn schemathesis_finds_no_answer_that_the_document_does_not_describe() {
    let services = Services::shared();
    let folder = services.folder("usage-api");
    let file = folder.join("usage.db");
    fill(&file);
    let (user, password) = ("cdr_usage".to_owned(), Secret::new("secret"));
    let settings = ApiConfig { bind: None, port: 0, user, password };
    let tariff = Tariff { zar_per_gb: 49.into(), zar_per_minute: 1.into(), wak_per_zar: 1.into() };
    let readiness = Readiness::starting();
    readiness.set(None);
    let api = api::router(StoreConfig::File(file), tariff, &settings, readiness);
    let server =
        Server::start(|listener, stop| http::serve(listener, api, http::Limits::default(), stop));

    let mut schemathesis = Command::new(services.variable("VENV_PYTHON"));
    // Its folder of found examples would be in the project.
    schemathesis.current_dir(&folder).args(["-m", "schemathesis.cli", "run"]);
    schemathesis.arg(format!("http://{}/openapi.json", server.address));
    schemathesis.args(["--auth", "cdr_usage:secret", "--seed", "418001", "--max-examples", "100"]);
    schemathesis.args(["--phases", "examples,coverage,fuzzing", "--request-timeout", "30"]);
    // A document cannot express that an interval's end is later than its beginning, nor which days a month
    // has; so not all that it allows is accepted.
    schemathesis.args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"]);
    let output = clients::output(&folder, schemathesis);
    // All but the document itself, which it has read already.
    let output = String::from_utf8_lossy(&output);
    assert!(output.contains("Tested: 5\n"), "{output}");
    server.end();
}

#[test]
fn the_prometheus_client_reads_the_metrics_by_their_names() {
    let metrics = Metrics::default();
    let counted = PerStream::from_fn(|stream| if stream == Stream::Data { 700 } else { 300 });
    let times = [250, 125].map(Duration::from_millis);
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_732_000_000_500);
    metrics.stored(&counted, times[0], times[1], at);
    metrics.lag("cdr_data", 2, 7);
    metrics.dead("cdr_voice", "empty");
    let server =
        Server::start(|listener, stop| metrics::serve(listener, metrics, Readiness::starting(), stop));

    let services = Services::shared();
    let mut python = clients::python(services, "metrics_prometheus.py");
    python.arg(format!("http://{}/metrics", server.address));
    let read = clients::output(&services.folder("metrics"), python);
    server.end();
    let expected = r#"cdr_batch_records_count {} 1
cdr_batch_records_sum {} 1000.0
cdr_batch_seconds_count {} 1
cdr_batch_seconds_sum {} 0.25
cdr_consumer_lag {"partition": "2", "topic": "cdr_data"} 7
cdr_data_updates_total {} 700
cdr_dead_letters_total {"reason": "empty", "topic": "cdr_voice"} 1
cdr_last_update_timestamp {} 1732000000.5
cdr_store_seconds_count {} 1
cdr_store_seconds_sum {} 0.125
cdr_voice_updates_total {} 300
"#;
    assert_eq!(str::from_utf8(&read).expect("text"), expected);
}
