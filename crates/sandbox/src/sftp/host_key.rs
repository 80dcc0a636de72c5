//! The key by which clients know the server again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

use super::error::Error;

/// More than any key takes, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Reads the key from its file, or makes both. Several servers may do so at once; they get the same.
pub(super) fn load_or_make(file: &Path) -> Result<PrivateKey, Error> {
    match File::open(file) {
        Ok(opened) => read(file, opened),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(file).map_err(|error| failed(file, "made", error))?;
            // Another process may have been first.
            read(file, File::open(file).map_err(|error| failed(file, "read", error))?)
        }
        Err(error) => Err(failed(file, "read", error)),
    }
}

fn failed(file: &Path, action: &'static str, error: io::Error) -> Error {
    Error::HostKeyFile { file: file.to_owned(), action, error }
}

fn read(file: &Path, opened: File) -> Result<PrivateKey, Error> {
    let metadata = opened.metadata().map_err(|error| failed(file, "read", error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::HostKeyExposed { file: file.to_owned(), mode });
    }
    let mut text = String::new();
    let text_read = opened.take(FILE_BYTES_MAX).read_to_string(&mut text);
    let invalid = |detail: String| Error::HostKeyInvalid { file: file.to_owned(), detail };
    match text_read {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::InvalidData => return Err(invalid(error.to_string())),
        Err(error) => return Err(failed(file, "read", error)),
    }
    let key = PrivateKey::from_openssh(&text).map_err(|error| invalid(error.to_string()))?;
    if key.is_encrypted() {
        return Err(invalid("it needs a passphrase".to_owned()));
    }
    Ok(key)
}

/// Makes a key and puts it into its place in one step, unless there is one by then.
fn make(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519);
    let text = key.and_then(|key| key.to_openssh(LineEnding::LF)).map_err(io::Error::other)?;
    let draft = draft_of(file);
    write_private(&draft, text.as_bytes())?;
    let linked = match fs::hard_link(&draft, file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    linked.and(fs::remove_file(&draft))
}

/// A name beside the file that no other process uses, nor another server in this one.
fn draft_of(file: &Path) -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id());
    let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}-{thread}.new", std::process::id()));
    name.into()
}

fn write_private(file: &Path, text: &[u8]) -> io::Result<()> {
    // What a process with the same number left behind, if it was killed.
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str, mode: u32) -> Result<PrivateKey, Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = load_or_make(&file);
        assert_eq!(fs::read_to_string(&file).unwrap(), text, "it must stay as it was");
        loaded
    }

    fn text() -> String {
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
        key.to_openssh(LineEnding::LF).unwrap().to_string()
    }

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sub/key");
        let made = load_or_make(&file).unwrap();
        assert_eq!(load_or_make(&file).unwrap(), made);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn servers_that_begin_at_once_get_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| load_or_make(&file).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key == &keys[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let error = with_file(&text(), 0o640).unwrap_err();
        assert!(matches!(error, Error::HostKeyExposed { mode: 0o640, .. }), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
        with_file(&text(), 0o400).unwrap();
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        for bad in ["", "nonsense", &text()[..100]] {
            let error = with_file(bad, 0o600).unwrap_err();
            assert!(matches!(error, Error::HostKeyInvalid { .. }), "{error}");
        }
    }

    #[test]
    fn a_folder_in_its_place_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(load_or_make(folder.path()), Err(Error::HostKeyFile { .. })));
    }
}
