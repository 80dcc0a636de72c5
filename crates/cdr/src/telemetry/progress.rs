//! How far a run is, and what is logged about it. Pure: the clock is given.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cdr_model::PerStream;
use cdr_model::progress::{KAFKA, SinkTargets};
use indicatif::FormattedDuration;

use super::units;

/// How far a run is. The sinks count, the display reads.
///
/// A continued run sets the counters to what earlier sessions delivered before the display starts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Parts of the run; 0 when it has no end.
    pub parts_total: u64,
    /// Streams of the run, each of which has a file in every part.
    pub streams: u64,
    /// Parts that are complete at every destination.
    parts_complete: AtomicU64,
    /// Records in Kafka.
    records: PerStream<AtomicU64>,
    sinks: Vec<SinkCounters>,
}

/// How far one sink is.
#[derive(Debug, Default)]
struct SinkCounters {
    name: String,
    /// Parts that are delivered.
    parts: AtomicU64,
    /// Records or files of this session.
    items: AtomicU64,
    /// Bytes of their values or contents.
    bytes: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn set(counter: &AtomicU64, value: u64) {
    counter.store(value, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    /// For a run of `parts_total` parts, 0 for one without end, to these sinks.
    pub fn new(parts_total: u64, streams: usize, targets: &SinkTargets) -> Self {
        let sink = |name: &String| SinkCounters { name: name.clone(), ..SinkCounters::default() };
        let sinks = targets.keys().map(sink).collect();
        Counters { parts_total, streams: streams as u64, sinks, ..Counters::default() }
    }

    fn sink(&self, name: &str, act: impl Fn(&SinkCounters)) {
        self.sinks.iter().find(|sink| sink.name == name).into_iter().for_each(act);
    }

    /// Counts what a committed transaction added: records by stream, and bytes of values.
    pub fn add_records(&self, records: &PerStream<u64>, bytes: u64) {
        for (stream, &count) in records.iter() {
            add(&self.records[stream], count);
        }
        self.sink(KAFKA, |sink| {
            add(&sink.items, records.values().sum());
            add(&sink.bytes, bytes);
        });
    }

    /// Counts a file that stands at its destination.
    pub fn add_file(&self, sink: &str, bytes: u64) {
        self.sink(sink, |sink| {
            add(&sink.items, 1);
            add(&sink.bytes, bytes);
        });
    }

    /// Sets the parts that a sink has delivered.
    pub fn set_parts(&self, sink: &str, parts: u64) {
        self.sink(sink, |sink| set(&sink.parts, parts));
    }

    /// Sets the parts that are complete at every destination.
    pub fn set_complete(&self, parts: u64) {
        set(&self.parts_complete, parts);
    }

    /// Sets the records that earlier sessions of the run delivered.
    pub fn set_records(&self, records: &PerStream<u64>) {
        for (stream, &count) in records.iter() {
            set(&self.records[stream], count);
        }
    }

    /// Records in Kafka.
    pub fn records(&self) -> PerStream<u64> {
        PerStream::from_fn(|stream| read(&self.records[stream]))
    }

    /// The counters now. Each is exact; together they may be a moment apart.
    pub fn snapshot(&self) -> Snapshot {
        let sink = |sink: &SinkCounters| SinkSnapshot {
            parts: read(&sink.parts),
            items: read(&sink.items),
            bytes: read(&sink.bytes),
            is_kafka: sink.name == KAFKA,
        };
        Snapshot {
            parts_total: self.parts_total,
            parts_complete: read(&self.parts_complete),
            files_per_part: self.streams,
            records: self.records().values().sum(),
            sinks: self.sinks.iter().map(sink).collect(),
        }
    }

    /// The names of the sinks, in the order of a snapshot's.
    pub fn sink_names(&self) -> impl Iterator<Item = &str> {
        self.sinks.iter().map(|sink| sink.name.as_str())
    }
}

/// [`Counters`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub parts_total: u64,
    pub parts_complete: u64,
    pub files_per_part: u64,
    /// Of all streams in Kafka, earlier sessions included.
    pub records: u64,
    pub sinks: Vec<SinkSnapshot>,
}

/// One sink at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkSnapshot {
    pub parts: u64,
    /// Records in Kafka or files elsewhere, of this session.
    pub items: u64,
    pub bytes: u64,
    pub is_kafka: bool,
}

impl Snapshot {
    /// Files that file sinks have taken in this session.
    pub fn files(&self) -> u64 {
        self.sinks.iter().filter(|sink| !sink.is_kafka).map(|sink| sink.items).sum()
    }

    /// Bytes that all sinks have taken in this session.
    pub fn bytes(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.bytes).sum()
    }
}

/// Without a completed part for this long, a line shows that the run is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Decides which log lines report the progress.
#[derive(Debug)]
pub struct Lines {
    parts_logged: u64,
    logged: Instant,
}

impl Lines {
    /// Begins at `start`, whose parts were logged by an earlier session.
    pub fn new(start: &Snapshot, now: Instant) -> Self {
        Self { parts_logged: start.parts_complete, logged: now }
    }

    /// The line that is due, if one is. One line reports all parts completed since the last.
    pub fn tick(&mut self, progress: &Snapshot, now: Instant) -> Option<String> {
        let parts = progress.parts_complete.saturating_sub(self.parts_logged);
        if parts == 0 && now.duration_since(self.logged) < HEARTBEAT {
            return None;
        }
        self.logged = now;
        self.parts_logged += parts;
        Some(match parts {
            0 => heartbeat(progress),
            _ => format!("Generated {} cdr files...", progress.files_per_part * parts),
        })
    }
}

fn heartbeat(progress: &Snapshot) -> String {
    let part = units::count(progress.parts_complete);
    let of = match progress.parts_total {
        0 => String::new(),
        total => format!(" of {}", units::count(total)),
    };
    let (records, files) = (units::count(progress.records), units::count(progress.files()));
    format!("Progress: part {part}{of}, {records} records, {files} files")
}

/// Over how long rates are averaged.
const WINDOW: Duration = Duration::from_secs(10);

/// The last snapshots, from which rates are computed.
#[derive(Debug, Default)]
pub struct Window {
    snapshots: VecDeque<(Instant, Snapshot)>,
}

impl Window {
    /// Adds the progress at `now`, and forgets what is too long ago.
    pub fn push(&mut self, now: Instant, progress: Snapshot) {
        self.snapshots.push_back((now, progress));
        let is_old = |(then, _): &(Instant, Snapshot)| now.duration_since(*then) > WINDOW;
        while self.snapshots.front().is_some_and(is_old) {
            self.snapshots.pop_front();
        }
    }

    /// By how much `value` grew per second.
    fn per_second(&self, value: impl Fn(&Snapshot) -> u64) -> f64 {
        let (Some((from, first)), Some((to, last))) = (self.snapshots.front(), self.snapshots.back())
        else {
            return 0.0;
        };
        let seconds = to.duration_since(*from).as_secs_f64();
        if seconds == 0.0 { 0.0 } else { value(last).saturating_sub(value(first)) as f64 / seconds }
    }

    /// How the sink of this number goes: `545,123 records/s, 98.12 MB/s, ETA 00:00:03`.
    pub fn rates(&self, sink: usize) -> String {
        let of = |snapshot: &Snapshot| snapshot.sinks.get(sink).copied().unwrap_or_default();
        let Some((_, last)) = self.snapshots.back() else { return String::new() };
        let things = if of(last).is_kafka { "records" } else { "files" };
        let items = units::count(self.per_second(|s| of(s).items).round() as u64);
        let bytes = units::bytes(self.per_second(|s| of(s).bytes).round() as u64);
        let left = last.parts_total.saturating_sub(of(last).parts);
        let eta = eta(left, self.per_second(|s| of(s).parts));
        format!("{items} {things}/s, {bytes}/s{eta}")
    }
}

/// Nothing for a run without end, one at its end, or one that stands still.
fn eta(left: u64, per_second: f64) -> String {
    match Duration::try_from_secs_f64((left as f64 / per_second).ceil()) {
        Ok(left) if left > Duration::ZERO => format!(", ETA {}", FormattedDuration(left)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use cdr_model::Stream;

    use super::*;

    fn at(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    const KAFKA_SINK: SinkSnapshot = SinkSnapshot { parts: 0, items: 0, bytes: 0, is_kafka: true };
    const FILE_SINK: SinkSnapshot = SinkSnapshot { is_kafka: false, ..KAFKA_SINK };

    fn complete(parts_complete: u64) -> Snapshot {
        let sinks = vec![KAFKA_SINK, SinkSnapshot { items: 20, ..FILE_SINK }];
        Snapshot { parts_total: 864, parts_complete, files_per_part: 2, records: 24_000, sinks }
    }

    #[test]
    fn one_completed_part_is_the_contracts_line() {
        let start = Instant::now();
        let mut lines = Lines::new(&complete(0), start);
        assert_eq!(lines.tick(&complete(0), at(start, 100)), None);
        let line = lines.tick(&complete(1), at(start, 200));
        assert_eq!(line.as_deref(), Some("Generated 2 cdr files..."));
        assert_eq!(lines.tick(&complete(1), at(start, 300)), None);
        let line = lines.tick(&complete(41), at(start, 400));
        assert_eq!(line.as_deref(), Some("Generated 80 cdr files..."));
    }

    #[test]
    fn parts_of_an_earlier_session_are_not_logged_again() {
        let start = Instant::now();
        let mut lines = Lines::new(&complete(500), start);
        assert_eq!(lines.tick(&complete(500), at(start, 100)), None);
        let line = lines.tick(&complete(501), at(start, 200));
        assert_eq!(line.as_deref(), Some("Generated 2 cdr files..."));
    }

    #[test]
    fn a_slow_run_shows_every_ten_seconds_that_it_is_alive() {
        let start = Instant::now();
        let mut lines = Lines::new(&complete(11), start);
        assert!(lines.tick(&complete(12), at(start, 5_000)).is_some());
        assert_eq!(lines.tick(&complete(12), at(start, 14_900)), None);
        let line = lines.tick(&complete(12), at(start, 15_000));
        assert_eq!(line.as_deref(), Some("Progress: part 12 of 864, 24,000 records, 20 files"));
        assert_eq!(lines.tick(&complete(12), at(start, 15_100)), None);
        let endless = Snapshot { parts_total: 0, ..complete(12) };
        let line = lines.tick(&endless, at(start, 25_000));
        assert_eq!(line.as_deref(), Some("Progress: part 12, 24,000 records, 20 files"));
    }

    #[test]
    fn rates_are_those_of_the_last_ten_seconds() {
        let start = Instant::now();
        let mut window = Window::default();
        assert_eq!(window.rates(0), "");
        for second in 0..=20_u64 {
            let fast = second.saturating_sub(10);
            let kafka = SinkSnapshot {
                parts: 10 * fast,
                items: 20_000 * fast,
                bytes: 3_000_000 * fast,
                ..KAFKA_SINK
            };
            let files = SinkSnapshot { items: 2 * second, bytes: 500_000 * second, ..FILE_SINK };
            let progress =
                Snapshot { parts_total: 150, sinks: vec![kafka, files], ..Snapshot::default() };
            window.push(at(start, 1_000 * second), progress);
        }
        assert_eq!(window.rates(0), "20,000 records/s, 3.00 MB/s, ETA 00:00:05");
        assert_eq!(window.rates(1), "2 files/s, 500.00 kB/s");
    }

    #[test]
    fn a_run_without_end_has_no_eta() {
        let start = Instant::now();
        let mut window = Window::default();
        let files = SinkSnapshot { items: 4, parts: 2, ..FILE_SINK };
        for (after, sink) in [(0, FILE_SINK), (1_000, files)] {
            window.push(at(start, after), Snapshot { sinks: vec![sink], ..Snapshot::default() });
        }
        assert_eq!(window.rates(0), "4 files/s, 0 B/s");
    }

    fn targets(sinks: &[&str]) -> SinkTargets {
        sinks.iter().map(|sink| ((*sink).to_owned(), String::new())).collect()
    }

    #[test]
    fn a_snapshot_adds_all_streams() {
        let counters = Counters::new(86, 2, &targets(&["kafka"]));
        let counts = |data, voice| {
            let mut counts = PerStream::default();
            (counts[Stream::Data], counts[Stream::Voice]) = (data, voice);
            counts
        };
        counters.set_records(&counts(100, 200));
        counters.add_records(&counts(2, 3), 400);
        counters.add_records(&counts(3, 4), 500);
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.parts_total, snapshot.records), (86, 312));
        assert_eq!((snapshot.sinks[0].items, snapshot.bytes()), (12, 900));
    }

    #[test]
    fn each_file_sink_has_counts_of_its_own() {
        let counters = Counters::new(86, 2, &targets(&["sftp", "directory"]));
        counters.set_parts("sftp", 7);
        counters.set_parts("directory", 80);
        counters.add_file("directory", 10);
        let names: Vec<&str> = counters.sink_names().collect();
        let parts: Vec<u64> = counters.snapshot().sinks.iter().map(|sink| sink.parts).collect();
        assert_eq!((names, parts), (vec!["directory", "sftp"], vec![80, 7]));
        assert_eq!(counters.snapshot().files(), 1);
    }
}
