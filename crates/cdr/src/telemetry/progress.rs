//! How far a run is, and what is shown and logged about it. The clock is given.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use cdr_model::progress::{KAFKA, SinkTargets};
use cdr_model::{PerStream, Stream};
use indicatif::{FormattedDuration, ProgressBar};

use super::display::{Shown, bar};
use super::units;

/// How far a run is. The sinks count, the display reads. Each count is exact; together they may be a
/// moment apart.
///
/// A continued run sets the counters to what earlier sessions delivered before the display starts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Parts of the run; 0 when it has no end.
    parts_total: u64,
    /// Streams of the run, each of which has a file in every part.
    streams: u64,
    /// Parts that are complete at every destination.
    parts_complete: AtomicU64,
    /// Records in Kafka.
    records: PerStream<AtomicU64>,
    sinks: BTreeMap<String, SinkCounters>,
}

/// How far one sink is.
#[derive(Debug, Default)]
struct SinkCounters {
    /// Parts that are delivered.
    parts: AtomicU64,
    /// Records in Kafka or files elsewhere, of this session.
    items: AtomicU64,
    /// Bytes of their values or contents.
    bytes: AtomicU64,
}

impl Counters {
    /// For a run of `parts_total` parts, 0 for one without end, to these sinks.
    pub fn new(parts_total: u64, streams: usize, targets: &SinkTargets) -> Self {
        let sinks = targets.keys().map(|name| (name.clone(), SinkCounters::default())).collect();
        Counters { parts_total, streams: streams as u64, sinks, ..Counters::default() }
    }

    /// Counts what a committed transaction added: records by stream, and bytes of values.
    pub fn add_records(&self, records: &PerStream<u64>, bytes: u64) {
        for (stream, &count) in records.iter() {
            self.records[stream].fetch_add(count, Relaxed);
        }
        self.add_items(KAFKA, records.values().sum(), bytes);
    }

    /// Counts a file that stands at its destination.
    pub fn add_file(&self, sink: &str, bytes: u64) {
        self.add_items(sink, 1, bytes);
    }

    fn add_items(&self, sink: &str, items: u64, bytes: u64) {
        if let Some(sink) = self.sinks.get(sink) {
            sink.items.fetch_add(items, Relaxed);
            sink.bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// Sets the parts that a sink has delivered.
    pub fn set_parts(&self, sink: &str, parts: u64) {
        if let Some(sink) = self.sinks.get(sink) {
            sink.parts.store(parts, Relaxed);
        }
    }

    /// Sets the parts that are complete at every destination.
    pub fn set_complete(&self, parts: u64) {
        self.parts_complete.store(parts, Relaxed);
    }

    /// Sets the records that earlier sessions of the run delivered.
    pub fn set_records(&self, records: &PerStream<u64>) {
        for (stream, &count) in records.iter() {
            self.records[stream].store(count, Relaxed);
        }
    }

    /// Parts that are complete at every destination.
    pub fn complete(&self) -> u64 {
        self.parts_complete.load(Relaxed)
    }

    /// Records in Kafka, earlier sessions included.
    pub fn records(&self) -> PerStream<u64> {
        PerStream::from_fn(|stream| self.records[stream].load(Relaxed))
    }

    /// Files that file sinks have taken in this session.
    pub fn files(&self) -> u64 {
        let of_files = self.sinks.iter().filter(|(name, _)| *name != KAFKA);
        of_files.map(|(_, sink)| sink.items.load(Relaxed)).sum()
    }

    /// Bytes that all sinks have taken in this session.
    pub fn bytes(&self) -> u64 {
        self.sinks.values().map(|sink| sink.bytes.load(Relaxed)).sum()
    }
}

/// Without a completed part for this long, a line shows that the run is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A run as it is shown.
#[derive(Debug)]
pub struct RunProgress {
    counters: Arc<Counters>,
    parts_logged: u64,
    logged: Instant,
    /// Of each sink.
    windows: Vec<Window>,
}

impl RunProgress {
    /// What the counters hold at `now` counts as shown.
    pub fn new(counters: Arc<Counters>, now: Instant) -> Self {
        let windows = counters.sinks.keys().map(|_| Window::default()).collect();
        Self { parts_logged: counters.complete(), counters, logged: now, windows }
    }

    fn heartbeat(&self) -> String {
        let part = units::count(self.counters.complete());
        let of = match self.counters.parts_total {
            0 => String::new(),
            total => format!(" of {}", units::count(total)),
        };
        let records = units::count(self.counters.records().values().sum());
        let files = units::count(self.counters.files());
        format!("Progress: part {part}{of}, {records} records, {files} files")
    }
}

impl Shown for RunProgress {
    fn bars(&self) -> Vec<ProgressBar> {
        let total = self.counters.parts_total;
        let template = match total {
            0 => "{prefix:9} {spinner} {human_pos} parts, {msg}, {elapsed_precise}",
            _ => "{prefix:9} [{wide_bar}] {human_pos}/{human_len} parts, {msg}, {elapsed_precise}",
        };
        self.counters.sinks.keys().map(|name| bar(name, total, template)).collect()
    }

    fn update(&mut self, bars: &[ProgressBar], now: Instant) {
        let sinks = self.counters.sinks.iter().zip(&mut self.windows);
        for (bar, ((name, counters), window)) in bars.iter().zip(sinks) {
            let parts = counters.parts.load(Relaxed);
            let (items, bytes) = (counters.items.load(Relaxed), counters.bytes.load(Relaxed));
            window.push(now, Sample { parts, items, bytes });
            let things = if name == KAFKA { "records" } else { "files" };
            bar.set_message(window.rates(things, self.counters.parts_total));
            bar.set_position(parts);
        }
    }

    /// One line reports all parts completed since the last.
    fn line(&mut self, now: Instant) -> Option<String> {
        let parts = self.counters.complete().saturating_sub(self.parts_logged);
        if parts == 0 && now.duration_since(self.logged) < HEARTBEAT {
            return None;
        }
        self.logged = now;
        self.parts_logged += parts;
        Some(match parts {
            0 => self.heartbeat(),
            _ => format!("Generated {} cdr files...", self.counters.streams * parts),
        })
    }
}

/// Over how long rates are averaged.
const WINDOW: Duration = Duration::from_secs(10);

/// [`SinkCounters`] at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    parts: u64,
    items: u64,
    bytes: u64,
}

/// The last samples of a sink, from which rates are computed.
#[derive(Debug, Default)]
struct Window(VecDeque<(Instant, Sample)>);

impl Window {
    /// Adds a sample, and forgets what is too long ago.
    fn push(&mut self, now: Instant, sample: Sample) {
        self.0.push_back((now, sample));
        while self.0.front().is_some_and(|(then, _)| now.duration_since(*then) > WINDOW) {
            self.0.pop_front();
        }
    }

    /// How the sink goes: `545,123 records/s, 98.12 MB/s, ETA 00:00:03`. There is no ETA for a run
    /// without end, one at its end, or one that stands still.
    fn rates(&self, things: &str, parts_total: u64) -> String {
        let (Some((from, first)), Some((to, last))) = (self.0.front(), self.0.back()) else {
            return String::new();
        };
        let time = to.duration_since(*from);
        let items = units::count(units::per_second(last.items.saturating_sub(first.items), time));
        let bytes = units::bytes(units::per_second(last.bytes.saturating_sub(first.bytes), time));
        let (left, done) =
            (parts_total.saturating_sub(last.parts), last.parts.saturating_sub(first.parts));
        let eta =
            match Duration::try_from_secs_f64((left as f64 * time.as_secs_f64() / done as f64).ceil()) {
                Ok(left) if left > Duration::ZERO => format!(", ETA {}", FormattedDuration(left)),
                _ => String::new(),
            };
        format!("{items} {things}/s, {bytes}/s{eta}")
    }
}

/// That the whole run is complete, word for word what consumers of the log look for. Parts, of a file for
/// each stream, are what the contract calls files here.
pub fn completion(records: &[(Stream, u64)], parts: u64) -> String {
    let records: Vec<_> = records.iter().map(|(stream, count)| format!("{stream} [{count}]")).collect();
    format!("Completed data generation. {}, files [{parts}]", records.join(", "))
}

/// What one session of a run delivered, and how fast.
pub fn session(records: u64, files: u64, bytes: u64, elapsed: Duration) -> String {
    let rate = |number| units::per_second(number, elapsed);
    format!(
        "This session: {} records, {} files, {} in {}: {} records/s, {} files/s, {}/s",
        units::count(records),
        units::count(files),
        units::bytes(bytes),
        units::duration(elapsed),
        units::count(rate(records)),
        units::count(rate(files)),
        units::bytes(rate(bytes)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    fn targets(sinks: &[&str]) -> SinkTargets {
        sinks.iter().map(|sink| ((*sink).to_owned(), String::new())).collect()
    }

    fn per_stream(data: u64, voice: u64) -> PerStream<u64> {
        let mut counts = PerStream::default();
        (counts[Stream::Data], counts[Stream::Voice]) = (data, voice);
        counts
    }

    /// Of a run of 864 parts, with 24,000 records and 20 files, of which this many parts are complete.
    fn complete(parts_total: u64, parts: u64) -> Arc<Counters> {
        let counters = Counters::new(parts_total, 2, &targets(&["kafka", "sftp"]));
        counters.set_records(&per_stream(12_000, 12_000));
        (0..20).for_each(|_| counters.add_file("sftp", 0));
        counters.set_complete(parts);
        Arc::new(counters)
    }

    #[test]
    fn one_completed_part_is_the_contracts_line() {
        let start = Instant::now();
        let counters = complete(864, 0);
        let mut run = RunProgress::new(counters.clone(), start);
        assert_eq!(run.line(at(start, 100)), None);
        counters.set_complete(1);
        assert_eq!(run.line(at(start, 200)).as_deref(), Some("Generated 2 cdr files..."));
        assert_eq!(run.line(at(start, 300)), None);
        counters.set_complete(41);
        assert_eq!(run.line(at(start, 400)).as_deref(), Some("Generated 80 cdr files..."));
    }

    #[test]
    fn parts_of_an_earlier_session_are_not_logged_again() {
        let start = Instant::now();
        let counters = complete(864, 500);
        let mut run = RunProgress::new(counters.clone(), start);
        assert_eq!(run.line(at(start, 100)), None);
        counters.set_complete(501);
        assert_eq!(run.line(at(start, 200)).as_deref(), Some("Generated 2 cdr files..."));
    }

    #[test]
    fn a_slow_run_shows_every_ten_seconds_that_it_is_alive() {
        let start = Instant::now();
        let counters = complete(864, 11);
        let mut run = RunProgress::new(counters.clone(), start);
        counters.set_complete(12);
        assert!(run.line(at(start, 5_000)).is_some());
        assert_eq!(run.line(at(start, 14_900)), None);
        let line = run.line(at(start, 15_000));
        assert_eq!(line.as_deref(), Some("Progress: part 12 of 864, 24,000 records, 20 files"));
        assert_eq!(run.line(at(start, 15_100)), None);
        let mut endless = RunProgress::new(complete(0, 12), start);
        let line = endless.line(at(start, 25_000));
        assert_eq!(line.as_deref(), Some("Progress: part 12, 24,000 records, 20 files"));
    }

    #[test]
    fn rates_are_those_of_the_last_ten_seconds() {
        let start = Instant::now();
        let (mut kafka, mut files) = (Window::default(), Window::default());
        assert_eq!(kafka.rates("records", 150), "");
        for second in 0..=20_u64 {
            let fast = second.saturating_sub(10);
            let now = at(start, 1_000 * second);
            kafka.push(now, Sample { parts: 10 * fast, items: 20_000 * fast, bytes: 3_000_000 * fast });
            files.push(now, Sample { parts: 0, items: 2 * second, bytes: 500_000 * second });
        }
        assert_eq!(kafka.rates("records", 150), "20,000 records/s, 3.00 MB/s, ETA 00:00:05");
        assert_eq!(files.rates("files", 150), "2 files/s, 500.00 kB/s");
    }

    #[test]
    fn a_run_without_end_has_no_eta() {
        let start = Instant::now();
        let mut window = Window::default();
        window.push(start, Sample::default());
        window.push(at(start, 1_000), Sample { parts: 2, items: 4, bytes: 0 });
        assert_eq!(window.rates("files", 0), "4 files/s, 0 B/s");
    }

    #[test]
    fn counters_add_all_streams() {
        let counters = Counters::new(86, 2, &targets(&["kafka"]));
        counters.set_records(&per_stream(100, 200));
        counters.add_records(&per_stream(2, 3), 400);
        counters.add_records(&per_stream(3, 4), 500);
        assert_eq!((counters.parts_total, counters.records().values().sum::<u64>()), (86, 312));
        assert_eq!((counters.sinks[KAFKA].items.load(Relaxed), counters.bytes()), (12, 900));
    }

    #[test]
    fn each_file_sink_has_counts_of_its_own() {
        let counters = Counters::new(86, 2, &targets(&["sftp", "directory"]));
        counters.set_parts("sftp", 7);
        counters.set_parts("directory", 80);
        counters.add_file("directory", 10);
        let parts = |(name, sink): (&String, &SinkCounters)| (name.clone(), sink.parts.load(Relaxed));
        let parts: Vec<_> = counters.sinks.iter().map(parts).collect();
        assert_eq!(parts, [("directory".to_owned(), 80), ("sftp".to_owned(), 7)]);
        assert_eq!(counters.files(), 1);
    }

    #[test]
    fn the_completion_line_is_the_contracts() {
        assert_eq!(
            completion(&[(Stream::Data, 864_000), (Stream::Voice, 864_000)], 864),
            "Completed data generation. cdr_data [864000], cdr_voice [864000], files [864]"
        );
    }

    #[test]
    fn a_session_is_summed_up_in_readable_units() {
        assert_eq!(
            session(1_728_000, 1_728, 400_000_000, Duration::from_millis(3_200)),
            "This session: 1,728,000 records, 1,728 files, 400.00 MB in 3.2 s: \
             540,000 records/s, 540 files/s, 125.00 MB/s"
        );
        assert!(session(0, 0, 0, Duration::ZERO).contains("0 records, 0 files, 0 B in 0 ms"));
    }
}
