//! What is known of a file, as numbers and as a line of `ls -l`.

use chrono::DateTime;
use russh_sftp::protocol::FileAttributes;
use rustix::fs::{FileType, RawMode, Stat, Timespec, Timestamps};

/// Half a year, in seconds: `ls` shows the year instead of the time for what is older.
const RECENT_SECONDS: i64 = 365 * 24 * 60 * 60 / 2;

/// The bits of a mode that clients may set. Those that let a program run as the file's owner are not
/// among them: the owner is who runs this server.
pub(super) const MODE_BITS: u32 = 0o777;

pub(super) fn attributes(stat: &Stat) -> FileAttributes {
    let mut attributes = FileAttributes::empty();
    attributes.size = u64::try_from(stat.st_size).ok();
    attributes.uid = Some(stat.st_uid);
    attributes.gid = Some(stat.st_gid);
    attributes.permissions = Some(mode(stat));
    attributes.atime = Some(seconds(stat.st_atime));
    attributes.mtime = Some(seconds(stat.st_mtime));
    attributes
}

/// A time as the protocol has it: seconds since 1970, in 32 bits.
fn seconds(time: i64) -> u32 {
    u32::try_from(time.max(0)).unwrap_or(u32::MAX)
}

#[allow(clippy::useless_conversion, reason = "the type differs between systems")]
fn mode(stat: &Stat) -> u32 {
    stat.st_mode.into()
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode as RawMode)
}

/// The times to set, if there are any among the attributes.
pub(super) fn times(attributes: &FileAttributes) -> Option<Timestamps> {
    let time = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
    Some(Timestamps { last_access: time(attributes.atime?), last_modification: time(attributes.mtime?) })
}

/// A line of `ls -ln`, with the time in UTC; `now` is in seconds since 1970.
pub(super) fn long_name(name: &str, stat: &Stat, now: i64) -> String {
    let time = stat.st_mtime;
    let recent = (now - RECENT_SECONDS..=now).contains(&time);
    let format = if recent { "%b %e %H:%M" } else { "%b %e  %Y" };
    let time = DateTime::from_timestamp(time, 0).unwrap_or_default().format(format);
    format!(
        "{}{} {:>3} {:<8} {:<8} {:>8} {time} {name}",
        type_letter(file_type(stat)),
        permission_letters(mode(stat)),
        stat.st_nlink,
        stat.st_uid,
        stat.st_gid,
        stat.st_size,
    )
}

fn type_letter(kind: FileType) -> char {
    match kind {
        FileType::RegularFile => '-',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => '?',
    }
}

fn permission_letters(mode: u32) -> String {
    let bits = (0..9).rev().map(|bit| mode >> bit & 1 == 1);
    bits.zip("rwxrwxrwx".chars()).map(|(set, letter)| if set { letter } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn stat() -> Stat {
        let mut stat = rustix::fs::fstat(tempfile::tempfile().unwrap().as_fd()).unwrap();
        stat.st_mode = 0o100_640;
        stat.st_nlink = 1;
        (stat.st_uid, stat.st_gid) = (1000, 100);
        stat.st_size = 110_592;
        stat.st_mtime = 1_700_000_000;
        stat
    }

    #[test]
    fn a_long_name_reads_like_ls() {
        assert_eq!(
            long_name("a.csv", &stat(), 1_700_000_060),
            "-rw-r-----   1 1000     100        110592 Nov 14 22:13 a.csv"
        );
    }

    #[test]
    fn an_old_file_shows_its_year() {
        assert_eq!(
            long_name("a.csv", &stat(), 1_800_000_000),
            "-rw-r-----   1 1000     100        110592 Nov 14  2023 a.csv"
        );
    }

    #[test]
    fn times_beyond_32_bits_are_the_nearest_that_fit() {
        assert_eq!([-1, 0, 5, i64::MAX].map(seconds), [0, 0, 5, u32::MAX]);
    }
}
