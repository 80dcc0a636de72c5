//! The last lines of a run.

use std::time::Duration;

use super::progress::Snapshot;
use super::units;

/// Logs that the whole run is complete, in the contract's words. Parts, of two files each, are
/// what the contract calls files here.
pub fn log_completion(data_records: u64, voice_records: u64, parts: u64) {
    tracing::info!("{}", completion(data_records, voice_records, parts));
}

/// Logs what this process did, and how fast.
pub fn log_effort(done: &Snapshot, elapsed: Duration) {
    tracing::info!("{}", effort(done, elapsed));
}

/// Word for word what consumers of the log look for.
fn completion(data_records: u64, voice_records: u64, parts: u64) -> String {
    format!(
        "Completed data generation. cdr_data [{data_records}], cdr_voice [{voice_records}], \
         files [{parts}]"
    )
}

fn effort(done: &Snapshot, elapsed: Duration) -> String {
    let rate = |number| units::per_second(number, elapsed);
    let bytes = done.bytes_kafka + done.bytes_files;
    format!(
        "This start: {} records, {} files, {} in {}: {} records/s, {} files/s, {}/s",
        units::count(done.records),
        units::count(done.files),
        units::bytes(bytes),
        units::duration(elapsed),
        units::count(rate(done.records)),
        units::count(rate(done.files)),
        units::bytes(rate(bytes)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_completion_line_is_the_contracts() {
        assert_eq!(
            completion(864_000, 864_000, 864),
            "Completed data generation. cdr_data [864000], cdr_voice [864000], files [864]"
        );
    }

    #[test]
    fn the_effort_is_in_readable_units() {
        let done = Snapshot {
            records: 1_728_000,
            files: 1_728,
            bytes_kafka: 300_000_000,
            bytes_files: 100_000_000,
            ..Snapshot::default()
        };
        assert_eq!(
            effort(&done, Duration::from_millis(3_200)),
            "This start: 1,728,000 records, 1,728 files, 400.00 MB in 3.2 s: \
             540,000 records/s, 540 files/s, 125.00 MB/s"
        );
        assert!(
            effort(&Snapshot::default(), Duration::ZERO).contains("0 records, 0 files, 0 B in 0 ms")
        );
    }
}
