//! Paths as clients give them, turned into names to walk from the root.

use std::fmt;

use super::failure::{Failure, code};

/// The longest path taken, in bytes, as on Linux. It bounds the folders that are walked for one request.
const PATH_BYTES_MAX: usize = 4096;

/// A path at or below the root: names of which none is empty, `.` or `..`, so that walking them one by
/// one cannot lead up.
///
/// The root is the client's `/` and its login folder: absolute and relative paths are the same. `..`
/// takes the name before it away, without a look at the files, and stays at the root there. That is what
/// the path means as long as no name on it is a symbolic link, and those are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inside<'a> {
    names: Vec<&'a str>,
}

impl<'a> Inside<'a> {
    pub(super) fn parse(path: &'a str) -> Result<Self, Failure> {
        if path.len() > PATH_BYTES_MAX {
            return Err(Failure::new(code::BAD_MESSAGE, format!("a path of {} bytes", path.len())));
        }
        // The decoder puts this character for bytes that are no UTF-8. The name would be another one
        // than was requested.
        if path.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Failure::new(code::BAD_MESSAGE, "a path that is not UTF-8"));
        }
        let mut names = Vec::new();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        Ok(Self { names })
    }

    /// The last name, and those of the folders on the way to it; `None` for the root.
    pub(super) fn split(&self) -> Option<(&[&'a str], &'a str)> {
        self.names.split_last().map(|(last, folders)| (folders, *last))
    }
}

/// As the client sees it: absolute, `/` for the root.
impl fmt::Display for Inside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.names.is_empty() {
            return f.write_str("/");
        }
        self.names.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(path: &str, expected: &str) {
        assert_eq!(Inside::parse(path).unwrap().to_string(), expected, "{path:?}");
    }

    #[test]
    fn absolute_and_relative_paths_are_the_same() {
        check("a/b", "/a/b");
        check("/a/b", "/a/b");
        check("//a///b/", "/a/b");
        check("./a/./b/.", "/a/b");
    }

    #[test]
    fn the_root_has_many_names() {
        for root in ["", ".", "/", "//", "/.", "..", "/..", "a/.."] {
            check(root, "/");
        }
    }

    #[test]
    fn dots_do_not_lead_out() {
        check("../../etc/passwd", "/etc/passwd");
        check("/a/../../../b", "/b");
        check("a/b/../c", "/a/c");
        check("...", "/...");
    }

    #[test]
    fn what_cannot_be_a_path_is_refused() {
        assert!(Inside::parse(&"x/".repeat(3000)).is_err());
        assert!(Inside::parse("a\u{fffd}b").is_err());
    }

    proptest! {
        #[test]
        fn every_path_is_made_of_plain_names(path in "[a./ ]{0,60}") {
            let inside = Inside::parse(&path).unwrap();
            prop_assert!(inside.names.iter().all(|name| !["", ".", ".."].contains(name)));
            prop_assert!(inside.names.iter().all(|name| !name.contains('/')));
            let again = inside.to_string();
            prop_assert_eq!(Inside::parse(&again).unwrap().to_string(), again);
        }
    }
}
