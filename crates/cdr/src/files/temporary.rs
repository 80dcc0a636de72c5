//! The names that files have while they are written.
//!
//! Each attempt at a file has a name of its own, so that nobody else, not even an older process which
//! was halted and goes on, writes to what is about to get its final name.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{IsOurs, Stale};

/// Makes names that no other process makes; clones share the count.
#[derive(Clone, Debug)]
pub struct Temporary {
    token: String,
    count: Arc<AtomicU64>,
}

impl Default for Temporary {
    fn default() -> Self {
        // The keys of the hasher are random in each process.
        let random = RandomState::new().hash_one(std::process::id());
        Temporary { token: format!("{random:016x}"), count: Arc::default() }
    }
}

impl Temporary {
    /// A new name for another attempt: `.NAME.TOKEN-COUNT.part`.
    pub fn name(&self, of: &str) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!(".{of}.{}-{count}.part", self.token)
    }

    /// Whether a name is a temporary one, of those that are wanted, for a file that is ours.
    pub fn is_stale(&self, name: &str, wanted: Stale, is_ours: IsOurs<'_>) -> bool {
        let is_wanted = match wanted {
            Stale::OfOthers => !self.made(name),
            Stale::Own => self.made(name),
            Stale::All => true,
        };
        is_wanted && final_name(name).is_some_and(is_ours)
    }

    /// Whether a name was made here.
    fn made(&self, name: &str) -> bool {
        name.contains(&format!(".{}-", self.token))
    }
}

/// The final name of the file that a temporary name stands for; `None` if it is none. Without a token
/// it is one of an older version.
pub fn final_name(temporary: &str) -> Option<&str> {
    let inner = temporary.strip_prefix('.')?.strip_suffix(".part")?;
    match inner.rsplit_once('.') {
        Some((name, token)) if is_token(token) => Some(name),
        _ => Some(inner),
    }
}

fn is_token(text: &str) -> bool {
    let Some((token, count)) = text.split_once('-') else { return false };
    token.len() == 16
        && token.bytes().all(|byte| byte.is_ascii_hexdigit())
        && count.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_a_name_of_its_own_that_holds_the_final_one() {
        let (one, other) = (Temporary::default(), Temporary::default());
        let names = [one.name("a.csv"), one.name("a.csv"), other.name("a.csv")];
        for (index, name) in names.iter().enumerate() {
            assert_eq!(final_name(name), Some("a.csv"), "{name}");
            assert_eq!(one.made(name), index < 2, "{name}");
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1);
        }
    }

    #[test]
    fn names_of_older_versions_are_understood_and_others_are_not_ours() {
        assert_eq!(
            final_name(".cdr_data_20240101_000320.csv.part"),
            Some("cdr_data_20240101_000320.csv")
        );
        assert_eq!(final_name("cdr_data_20240101_000320.csv"), None);
        assert_eq!(final_name(".profile"), None);
    }
}
