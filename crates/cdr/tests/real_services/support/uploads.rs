//! The files of a run, as they stand on the server's disk or in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// What distinguishes a file from another that took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    inode: u64,
    pub modified: SystemTime,
}

/// Every file of a folder, by name; none where there is no folder.
pub fn identities(folder: &Path) -> BTreeMap<String, Identity> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let identity = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("the folder can be read");
        // A file that was renamed since is found under its new name, or the next time.
        let metadata = entry.metadata().ok()?;
        let modified = metadata.modified().expect("a time");
        let name = entry.file_name().into_string().expect("a plain name");
        Some((name, Identity { inode: metadata.ino(), modified }))
    };
    entries.filter_map(identity).collect()
}

/// Whether an upload is in progress, or was cut off.
pub fn has_partial(folder: &Path) -> bool {
    identities(folder).keys().any(|name| is_partial(name))
}

/// Whether a name is not that of a complete file.
pub fn is_partial(name: &str) -> bool {
    name.ends_with(".part")
}

/// The sizes of what is not complete, in bytes.
pub fn partial_sizes(folder: &Path) -> Vec<u64> {
    let names = identities(folder).into_keys().filter(|name| is_partial(name));
    // A file that was renamed since is complete.
    names.filter_map(|name| Some(fs::metadata(folder.join(name)).ok()?.len())).collect()
}
