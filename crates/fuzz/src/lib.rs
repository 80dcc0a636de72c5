//! What holds of any input: one function for each fuzz target, which panics where it does not hold.
//!
//! `scripts/fuzz` searches for such an input with libFuzzer; the programs in `targets` only hand the
//! bytes over. The tests here run each function on its corpus, so that it is tested without a fuzzer.

pub mod configuration;
pub mod csv;
mod fixture;
pub mod index;
pub mod kafka_requests;
pub mod messages;
mod offered;
pub mod progress;
pub mod records;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Checks each input of a target's corpus.
    fn check(target: &str, check: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(!paths.is_empty(), "{folder:?} is empty");
        for path in paths {
            let bytes = fs::read(&path).unwrap();
            assert!(std::panic::catch_unwind(|| check(&bytes)).is_ok(), "{}", path.display());
        }
    }

    #[test]
    fn configuration() {
        check("configuration", crate::configuration::check);
    }

    #[test]
    fn csv() {
        check("csv", crate::csv::check);
    }

    #[test]
    fn index() {
        check("index", crate::index::check);
    }

    #[test]
    fn kafka_requests() {
        check("kafka_requests", crate::kafka_requests::check);
    }

    #[test]
    fn messages() {
        check("messages", crate::messages::check);
    }

    #[test]
    fn progress() {
        check("progress", crate::progress::check);
    }

    #[test]
    fn records() {
        check("records", crate::records::check);
    }
}
