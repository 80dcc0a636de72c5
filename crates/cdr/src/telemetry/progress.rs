//! How far a run is, and what is said about it. Pure: the clock is given.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::FormattedDuration;

use super::units;

/// How far a run is. The sinks count, the display reads.
///
/// A continued run sets the counters to what earlier runs delivered before the display starts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Parts of the run; 0 when it has no end.
    pub parts_total: u64,
    /// Parts that are complete at every destination.
    pub parts_complete: AtomicU64,
    /// Parts whose records are all in Kafka.
    pub parts_kafka: AtomicU64,
    /// Parts whose files are uploaded to every file sink.
    pub parts_files: AtomicU64,
    /// Data records in Kafka.
    pub data_records: AtomicU64,
    /// Voice records in Kafka.
    pub voice_records: AtomicU64,
    /// Files uploaded.
    pub files: AtomicU64,
    /// Bytes of record values sent to Kafka.
    pub bytes_kafka: AtomicU64,
    /// Bytes of files uploaded.
    pub bytes_files: AtomicU64,
}

impl Counters {
    /// For a run of `parts_total` parts, 0 for one without end.
    pub fn new(parts_total: u64) -> Self {
        Self { parts_total, ..Self::default() }
    }

    /// Counts what a committed transaction added: data and voice records, and bytes of values.
    pub fn add_records(&self, [data, voice]: [u64; 2], bytes: u64) {
        self.data_records.fetch_add(data, Ordering::Relaxed);
        self.voice_records.fetch_add(voice, Ordering::Relaxed);
        self.bytes_kafka.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Sets what earlier starts of the same run delivered: complete parts, the parts in Kafka and
    /// in files, the data and voice records.
    pub fn preset(&self, complete: u64, [kafka, files]: [u64; 2], records: [u64; 2]) {
        let set = |counter: &AtomicU64, value| counter.store(value, Ordering::Relaxed);
        set(&self.parts_complete, complete);
        set(&self.parts_kafka, kafka);
        set(&self.parts_files, files);
        set(&self.data_records, records[0]);
        set(&self.voice_records, records[1]);
    }

    /// Counts a file that stands at its destination.
    pub fn add_file(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes_files.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Data and voice records in Kafka.
    pub fn records(&self) -> [u64; 2] {
        [&self.data_records, &self.voice_records].map(|counter| counter.load(Ordering::Relaxed))
    }

    /// The counters now. Each is exact; together they may be a moment apart.
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            parts_total: self.parts_total,
            parts_complete: read(&self.parts_complete),
            parts_kafka: read(&self.parts_kafka),
            parts_files: read(&self.parts_files),
            records: read(&self.data_records) + read(&self.voice_records),
            files: read(&self.files),
            bytes_kafka: read(&self.bytes_kafka),
            bytes_files: read(&self.bytes_files),
        }
    }
}

/// [`Counters`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub parts_total: u64,
    pub parts_complete: u64,
    pub parts_kafka: u64,
    pub parts_files: u64,
    /// Data and voice.
    pub records: u64,
    pub files: u64,
    pub bytes_kafka: u64,
    pub bytes_files: u64,
}

impl Snapshot {
    /// What was done since an earlier snapshot of the same counters.
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        Snapshot {
            parts_total: self.parts_total,
            parts_complete: self.parts_complete - earlier.parts_complete,
            parts_kafka: self.parts_kafka - earlier.parts_kafka,
            parts_files: self.parts_files - earlier.parts_files,
            records: self.records - earlier.records,
            files: self.files - earlier.files,
            bytes_kafka: self.bytes_kafka - earlier.bytes_kafka,
            bytes_files: self.bytes_files - earlier.bytes_files,
        }
    }
}

/// Without a completed part for this long, a line says that the run is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Decides which log lines tell of the progress.
#[derive(Debug)]
pub struct Lines {
    parts_told: u64,
    told: Instant,
}

impl Lines {
    /// Begins at `start`, whose parts were told by an earlier run.
    pub fn new(start: &Snapshot, now: Instant) -> Self {
        Self { parts_told: start.parts_complete, told: now }
    }

    /// The line that is due, if one is. A part is two files, and one line tells of all parts
    /// completed since the last.
    pub fn tick(&mut self, progress: &Snapshot, now: Instant) -> Option<String> {
        let parts = progress.parts_complete.saturating_sub(self.parts_told);
        if parts == 0 && now.duration_since(self.told) < HEARTBEAT {
            return None;
        }
        self.told = now;
        self.parts_told += parts;
        Some(match parts {
            0 => heartbeat(progress),
            _ => format!("Generated {} cdr files...", 2 * parts),
        })
    }
}

fn heartbeat(progress: &Snapshot) -> String {
    let part = units::count(progress.parts_complete);
    let of = match progress.parts_total {
        0 => String::new(),
        total => format!(" of {}", units::count(total)),
    };
    let (records, files) = (units::count(progress.records), units::count(progress.files));
    format!("Progress: part {part}{of}, {records} records, {files} files")
}

/// Over how long rates are averaged.
const WINDOW: Duration = Duration::from_secs(10);

/// The last snapshots, from which rates are told.
#[derive(Debug, Default)]
pub struct Window {
    snapshots: VecDeque<(Instant, Snapshot)>,
}

impl Window {
    /// Adds the progress at `now`, and forgets what is too long ago.
    pub fn push(&mut self, now: Instant, progress: Snapshot) {
        self.snapshots.push_back((now, progress));
        let recent = |(then, _): &(Instant, Snapshot)| now.duration_since(*then) <= WINDOW;
        let old = self.snapshots.iter().take_while(|snapshot| !recent(snapshot)).count();
        self.snapshots.drain(..old);
    }

    /// By how much `value` grew per second.
    pub fn per_second(&self, value: fn(&Snapshot) -> u64) -> f64 {
        let (Some((from, first)), Some((to, last))) = (self.snapshots.front(), self.snapshots.back())
        else {
            return 0.0;
        };
        let seconds = to.duration_since(*from).as_secs_f64();
        if seconds == 0.0 { 0.0 } else { value(last).saturating_sub(value(first)) as f64 / seconds }
    }

    fn last(&self) -> Snapshot {
        self.snapshots.back().map(|(_, snapshot)| *snapshot).unwrap_or_default()
    }

    /// `545,123 records/s, 98.12 MB/s, ETA 00:00:03`.
    pub fn kafka(&self) -> String {
        let records = self.per_second(|s| s.records);
        let bytes = self.per_second(|s| s.bytes_kafka);
        self.rates("records", records, bytes) + &self.eta(|s| s.parts_kafka)
    }

    /// `545 files/s, 98.12 MB/s, ETA 00:00:03`.
    pub fn files(&self) -> String {
        let files = self.per_second(|s| s.files);
        let bytes = self.per_second(|s| s.bytes_files);
        self.rates("files", files, bytes) + &self.eta(|s| s.parts_files)
    }

    fn rates(&self, things: &str, things_per_second: f64, bytes_per_second: f64) -> String {
        let things_per_second = units::count(things_per_second.round() as u64);
        let bytes_per_second = units::bytes(bytes_per_second.round() as u64);
        format!("{things_per_second} {things}/s, {bytes_per_second}/s")
    }

    /// Nothing for a run without end, one at its end, or one that stands still.
    fn eta(&self, parts: fn(&Snapshot) -> u64) -> String {
        let left = self.last().parts_total.saturating_sub(parts(&self.last()));
        let seconds = left as f64 / self.per_second(parts);
        match Duration::try_from_secs_f64(seconds.ceil()) {
            Ok(left) if left > Duration::ZERO => format!(", ETA {}", FormattedDuration(left)),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    fn complete(parts_complete: u64) -> Snapshot {
        Snapshot { parts_total: 864, parts_complete, records: 24_000, files: 20, ..Snapshot::default() }
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
    fn parts_of_an_earlier_run_are_not_told_again() {
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
        assert_eq!(window.kafka(), "0 records/s, 0 B/s");
        for second in 0..=20_u64 {
            let fast = second.saturating_sub(10);
            let progress = Snapshot {
                parts_total: 150,
                parts_kafka: 10 * fast,
                records: 20_000 * fast,
                bytes_kafka: 3_000_000 * fast,
                files: 2 * second,
                bytes_files: 500_000 * second,
                ..Snapshot::default()
            };
            window.push(at(start, 1_000 * second), progress);
        }
        assert_eq!(window.kafka(), "20,000 records/s, 3.00 MB/s, ETA 00:00:05");
        assert_eq!(window.files(), "2 files/s, 500.00 kB/s");
    }

    #[test]
    fn a_run_without_end_has_no_eta() {
        let start = Instant::now();
        let mut window = Window::default();
        window.push(start, Snapshot::default());
        window.push(at(start, 1_000), Snapshot { files: 4, parts_files: 2, ..Snapshot::default() });
        assert_eq!(window.files(), "4 files/s, 0 B/s");
    }

    #[test]
    fn a_snapshot_adds_both_streams() {
        let counters = Counters::new(86);
        counters.add_records([2, 3], 400);
        counters.add_records([3, 4], 500);
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.parts_total, snapshot.records, snapshot.bytes_kafka), (86, 12, 900));
    }
}
