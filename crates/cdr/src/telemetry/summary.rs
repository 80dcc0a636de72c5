//! The last lines of a run.

use std::time::Duration;

use cdr_model::Stream;

use super::units;

/// Logs that the whole run is complete, in the contract's words. Parts, of a file for each stream, are
/// what the contract calls files here.
pub fn log_completion(records: &[(Stream, u64)], parts: u64) {
    tracing::info!("{}", completion(records, parts));
}

/// What one session of a run delivered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivered {
    pub records: u64,
    pub files: u64,
    pub bytes: u64,
}

/// Logs what this process delivered, and how fast.
pub fn log_session(delivered: Delivered, elapsed: Duration) {
    tracing::info!("{}", session(delivered, elapsed));
}

/// Word for word what consumers of the log look for.
fn completion(records: &[(Stream, u64)], parts: u64) -> String {
    let records: Vec<_> = records.iter().map(|(stream, count)| format!("{stream} [{count}]")).collect();
    format!("Completed data generation. {}, files [{parts}]", records.join(", "))
}

fn session(delivered: Delivered, elapsed: Duration) -> String {
    let rate = |number| units::per_second(number, elapsed);
    let Delivered { records, files, bytes } = delivered;
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

    #[test]
    fn the_completion_line_is_the_contracts() {
        assert_eq!(
            completion(&[(Stream::Data, 864_000), (Stream::Voice, 864_000)], 864),
            "Completed data generation. cdr_data [864000], cdr_voice [864000], files [864]"
        );
    }

    #[test]
    fn a_session_is_summed_up_in_readable_units() {
        let delivered = Delivered { records: 1_728_000, files: 1_728, bytes: 400_000_000 };
        assert_eq!(
            session(delivered, Duration::from_millis(3_200)),
            "This session: 1,728,000 records, 1,728 files, 400.00 MB in 3.2 s: \
             540,000 records/s, 540 files/s, 125.00 MB/s"
        );
        assert!(
            session(Delivered::default(), Duration::ZERO).contains("0 records, 0 files, 0 B in 0 ms")
        );
    }
}
