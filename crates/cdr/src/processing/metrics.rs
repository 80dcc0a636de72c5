//! What the stream processor reports of itself, in the text format of OpenMetrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use cdr_model::PerStream;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::probes::{self, Readiness};
use crate::http;
use crate::settings::{parsed, settings, whole};

/// See the section "Negotiation of protocol" of OpenMetrics 1.0.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

settings! {
    /// Where metrics are served.
    #[derive(Copy, Eq)]
    pub struct MetricsConfig in "metrics" {
        /// where metrics and probes are served
        pub bind: IpAddr = parsed("METRICS_BIND", "an address", |text| text.parse().ok())
            .value("ADDRESS").dev_prod("127.0.0.1", "0.0.0.0"),
        /// port of metrics and probes; 0 for one that is free
        pub port: u16 = whole("METRICS_PORT", 0..=65_535).value("PORT").default("8000"),
    }
}

/// The processor's metrics: by name for those who count, and in the registry for those who read. Clones
/// count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    updates: PerStream<Counter>,
    last_update: Gauge<f64, AtomicU64>,
    lag: Family<Labels, Gauge>,
    batch_records: Histogram,
    batch_seconds: Histogram,
    store_seconds: Histogram,
    dead_letters: Family<Labels, Counter>,
    registry: Arc<Registry>,
}

/// Names and values.
type Labels = [(&'static str, String); 2];

impl Default for Metrics {
    /// Counters get their names' ending, `_total`, when they are written.
    fn default() -> Metrics {
        let mut registry = Registry::default();
        let all = &mut registry;
        let updates = PerStream::from_fn(|stream| {
            let help = format!("Records of {stream} counted in the usage store by this process");
            add(all, &format!("{stream}_updates"), &help, Counter::default())
        });
        Metrics {
            updates,
            last_update: add(
                all,
                "cdr_last_update_timestamp",
                "When the last batch was stored, in seconds since 1970; 0 before the first",
                Gauge::default(),
            ),
            lag: add(
                all,
                "cdr_consumer_lag",
                "Messages of an assigned partition that are not stored yet",
                Family::default(),
            ),
            batch_records: add(
                all,
                "cdr_batch_records",
                "Records counted per batch",
                Histogram::new(exponential_buckets(1.0, 4.0, 11)),
            ),
            batch_seconds: add(
                all,
                "cdr_batch_seconds",
                "From the arrival of a batch's first record until it was stored",
                seconds(),
            ),
            store_seconds: add(
                all,
                "cdr_store_seconds",
                "Time that the store took for a batch",
                seconds(),
            ),
            dead_letters: add(
                all,
                "cdr_dead_letters",
                "Messages that could not be used, by topic and reason",
                Family::default(),
            ),
            registry: Arc::new(registry),
        }
    }
}

impl Metrics {
    /// Counts a batch: its records, the time from its first one's arrival until it was stored, the part
    /// of that which the store took, and when it was stored.
    pub fn stored(
        &self,
        counted: &PerStream<u64>,
        batch_time: Duration,
        store_time: Duration,
        at: SystemTime,
    ) {
        for (stream, counted) in counted.iter() {
            self.updates[stream].inc_by(*counted);
        }
        self.batch_records.observe(counted.values().sum::<u64>() as f64);
        self.batch_seconds.observe(batch_time.as_secs_f64());
        self.store_seconds.observe(store_time.as_secs_f64());
        self.last_update.set(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }

    /// Sets how many messages of a partition are not stored yet.
    pub fn lag(&self, topic: &str, partition: i32, lag: i64) {
        self.lag.get_or_create_owned(&of_partition(topic, partition)).set(lag);
    }

    /// Drops the lag of a partition that somebody else reads now.
    pub fn forget(&self, topic: &str, partition: i32) {
        self.lag.remove(&of_partition(topic, partition));
    }

    /// Counts a message that could not be used; the reason is one of few words, such as
    /// [`Unusable::kind`](super::message::Unusable::kind) gives.
    pub fn dead(&self, topic: &str, reason: &'static str) {
        let labels = [("topic", topic.to_owned()), ("reason", reason.to_owned())];
        self.dead_letters.get_or_create_owned(&labels).inc();
    }

    /// All of them as text.
    fn text(&self) -> String {
        let mut metrics = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut metrics, &self.registry);
        metrics
    }
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn of_partition(topic: &str, partition: i32) -> Labels {
    [("topic", topic.to_owned()), ("partition", partition.to_string())]
}

/// From a millisecond to half a minute, each twice the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// Serves `GET /metrics` and the probes until shutdown. A request here is answered, however many
/// others are slow: the oldest connection makes room for a new one.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: CancellationToken,
) {
    let limits = http::Limits { ends_oldest: true, ..http::Limits::default() };
    http::serve(listener, router(metrics, readiness), limits, shutdown).await;
}

fn router(metrics: Metrics, readiness: Readiness) -> Router {
    let text = async move || ([(CONTENT_TYPE, OPENMETRICS)], metrics.text());
    Router::new().route("/metrics", get(text)).merge(probes::routes(readiness))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use cdr_model::Stream;
    use tower::ServiceExt;

    use super::*;

    /// What is read, without the lines that only explain.
    fn samples(metrics: &Metrics) -> Vec<String> {
        let text = metrics.text();
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn check_has(metrics: &Metrics, expected: &[&str]) {
        let samples = samples(metrics);
        for sample in expected {
            assert!(samples.iter().any(|found| found == sample), "{sample} in {samples:#?}");
        }
    }

    fn counted([data, voice]: [u64; 2]) -> PerStream<u64> {
        let mut counted = PerStream::default();
        (counted[Stream::Data], counted[Stream::Voice]) = (data, voice);
        counted
    }

    #[test]
    fn what_counts_from_0_is_there_from_the_start() {
        check_has(
            &Metrics::default(),
            &[
                "cdr_data_updates_total 0",
                "cdr_voice_updates_total 0",
                "cdr_last_update_timestamp 0.0",
                "cdr_batch_seconds_count 0",
                "cdr_store_seconds_count 0",
            ],
        );
    }

    #[test]
    fn a_stored_batch_shows_in_each_of_its_metrics() {
        let metrics = Metrics::default();
        for (data, voice) in [(700, 300), (50, 0)] {
            let at = UNIX_EPOCH + Duration::from_millis(1_732_000_000_500);
            let times = [250, 125].map(Duration::from_millis);
            metrics.clone().stored(&counted([data, voice]), times[0], times[1], at);
        }
        check_has(
            &metrics,
            &[
                "cdr_data_updates_total 750",
                "cdr_voice_updates_total 300",
                "cdr_last_update_timestamp 1732000000.5",
                "cdr_batch_records_sum 1050.0",
                r#"cdr_batch_records_bucket{le="64.0"} 1"#,
                "cdr_batch_seconds_sum 0.5",
                r#"cdr_batch_seconds_bucket{le="0.128"} 0"#,
                r#"cdr_batch_seconds_bucket{le="0.256"} 2"#,
                r#"cdr_batch_seconds_bucket{le="+Inf"} 2"#,
                "cdr_store_seconds_sum 0.25",
                "cdr_store_seconds_count 2",
            ],
        );
    }

    #[test]
    fn the_lag_of_a_partition_that_was_revoked_is_gone() {
        let metrics = Metrics::default();
        metrics.lag("cdr_data", 0, 12);
        metrics.lag("cdr_data", 0, 7);
        metrics.lag("cdr_voice", 3, 0);
        check_has(
            &metrics,
            &[
                r#"cdr_consumer_lag{topic="cdr_data",partition="0"} 7"#,
                r#"cdr_consumer_lag{topic="cdr_voice",partition="3"} 0"#,
            ],
        );
        metrics.forget("cdr_data", 0);
        metrics.forget("cdr_data", 0);
        let left: Vec<_> = samples(&metrics).into_iter().filter(|line| line.contains("lag")).collect();
        assert_eq!(left, [r#"cdr_consumer_lag{topic="cdr_voice",partition="3"} 0"#]);
    }

    #[test]
    fn dead_letters_are_counted_by_topic_and_reason() {
        let metrics = Metrics::default();
        for (topic, reason) in [("cdr_data", "empty"), ("cdr_data", "empty"), ("cdr \"voice\"", "empty")]
        {
            metrics.dead(topic, reason);
        }
        check_has(
            &metrics,
            &[
                r#"cdr_dead_letters_total{topic="cdr_data",reason="empty"} 2"#,
                r#"cdr_dead_letters_total{topic="cdr \"voice\"",reason="empty"} 1"#,
            ],
        );
    }

    #[tokio::test]
    async fn they_are_served_with_the_type_of_openmetrics() {
        let metrics = Metrics::default();
        let get = |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            router(metrics.clone(), Readiness::starting()).oneshot(request)
        };
        let response = get("/metrics").await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], OPENMETRICS);
        assert_eq!(to_bytes(response.into_body(), usize::MAX).await.unwrap(), metrics.text());
        assert_eq!(get("/").await.unwrap().status(), StatusCode::NOT_FOUND);
    }
}
