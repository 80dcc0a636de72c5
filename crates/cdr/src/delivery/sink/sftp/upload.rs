//! One file, over one session, to its place.

use super::config::UploadMode;
use super::error::SftpError;
use super::folder::Place;
use super::session::{Answer, Failure, Session};
use super::wire::{Request, WRITE_OVERHEAD_BYTES, status};

/// Bytes of one file that go to the connection at once. Of a larger file, two
/// such pieces at most are on their way.
const PIECE_BYTES: usize = 1024 * 1024;

/// Uploads `content`, and returns when it stands under `name` with its full
/// size. Three round trips: open; write, size and close; rename.
pub(super) async fn upload(
    session: &Session,
    place: &Place,
    mode: UploadMode,
    name: &str,
    content: &[u8],
) -> Result<(), SftpError> {
    let target = place.path(name);
    let written = match mode {
        UploadMode::Rename => place.path(&format!(".{name}.part")),
        UploadMode::Direct => target.clone(),
    };
    // Only a server that limits the open files makes this wait; the semaphore
    // is never closed.
    let _permit = session.open_files.acquire().await;
    let handle = open(session, place, &written).await?;
    let size = write(session, place, &written, &handle, content).await?;
    check_size(session, place, &written, content.len() as u64, size).await?;
    match mode {
        UploadMode::Rename => publish(session, place, &written, &target).await,
        UploadMode::Direct => Ok(()),
    }
}

/// Opens `path` for writing; makes its folder anew if that has gone.
async fn open(session: &Session, place: &Place, path: &str) -> Result<Vec<u8>, SftpError> {
    let request = Request::Open { path };
    match session.request(&request).await?.handle().await {
        Err(Failure::Status(answer)) if answer.code == status::NO_SUCH_FILE => {
            place.ensure(session).await?;
            let again = session.request(&request).await?.handle().await;
            again.map_err(|failure| place.failed("create", path, failure))
        }
        other => other.map_err(|failure| place.failed("create", path, failure)),
    }
}

/// Writes all of `content`, and closes the handle; gives the size the server
/// then reports.
///
/// Nothing is waited for in between: the protocol has a server process requests
/// on one file in the order in which they come (section 4 of the draft).
async fn write(
    session: &Session,
    place: &Place,
    path: &str,
    handle: &[u8],
    content: &[u8],
) -> Result<Option<u64>, SftpError> {
    let mut before: Vec<Answer> = Vec::new();
    let mut pieces = content.chunks(piece_bytes(session)).peekable();
    let mut offset = 0;
    // An empty file has no pieces, but a size and a handle to close.
    loop {
        let piece = pieces.next().unwrap_or_default();
        let last = pieces.peek().is_none();
        let mut batch = session.batch(batch_bytes(session, piece, handle));
        let mut answers = Vec::new();
        for data in piece.chunks(session.write_bytes) {
            answers.push(batch.add(&Request::Write { handle, offset, data })?);
            offset += data.len() as u64;
        }
        if !last {
            batch.send().await?;
            let earlier = std::mem::replace(&mut before, answers);
            if let Err(error) = all_done(place, path, earlier).await {
                session.request(&Request::Close { handle }).await?;
                return Err(error);
            }
            continue;
        }
        let size = batch.add(&Request::Fstat { handle })?;
        let close = batch.add(&Request::Close { handle })?;
        batch.send().await?;
        all_done(place, path, before).await?;
        all_done(place, path, answers).await?;
        let size = size.attributes().await;
        all_done(place, path, vec![close]).await?;
        return match size {
            Ok(attributes) => Ok(attributes.size),
            Err(Failure::Status(_)) => Ok(None),
            Err(Failure::Session(error)) => Err(error),
        };
    }
}

fn piece_bytes(session: &Session) -> usize {
    let writes = (PIECE_BYTES / session.write_bytes).max(1);
    writes * session.write_bytes
}

/// What the requests for `piece` take, with room for the last two.
fn batch_bytes(session: &Session, piece: &[u8], handle: &[u8]) -> usize {
    let requests = piece.len().div_ceil(session.write_bytes) + 2;
    piece.len() + requests * (WRITE_OVERHEAD_BYTES + handle.len())
}

async fn all_done(place: &Place, path: &str, answers: Vec<Answer>) -> Result<(), SftpError> {
    for answer in answers {
        let outcome = answer.done().await;
        outcome.map_err(|failure| place.write_failed(path, failure))?;
    }
    Ok(())
}

/// Compares sizes. Where the server did not tell the size of the open file, or
/// told another than expected, the closed file is what counts.
async fn check_size(
    session: &Session,
    place: &Place,
    path: &str,
    expected: u64,
    size: Option<u64>,
) -> Result<(), SftpError> {
    if size == Some(expected) {
        return Ok(());
    }
    let attributes = session.request(&Request::Stat { path }).await?;
    let attributes = attributes.attributes().await;
    let attributes = attributes.map_err(|failure| place.failed("tell the size of", path, failure))?;
    if attributes.size == Some(expected) {
        return Ok(());
    }
    Err(SftpError::SizeMismatch {
        address: place.address.clone(),
        path: path.to_owned(),
        expected,
        found: attributes
            .size
            .map_or_else(|| "an unknown number of".to_owned(), |size| size.to_string()),
    })
}

/// Gives the file its name, in place of a file that has it already.
async fn publish(session: &Session, place: &Place, from: &str, to: &str) -> Result<(), SftpError> {
    let failed = |failure| place.failed("rename to", to, failure);
    if session.posix_rename {
        let request = Request::PosixRename { from, to };
        match session.request(&request).await?.done().await {
            Err(Failure::Status(answer)) if answer.code == status::UNSUPPORTED => {}
            outcome => return outcome.map_err(failed),
        }
    }
    let rename = Request::Rename { from, to };
    match session.request(&rename).await?.done().await {
        // The plain rename refuses when the target exists, and has no code
        // that says so.
        Err(Failure::Status(answer)) if answer.code != status::PERMISSION_DENIED => {
            let mut batch = session.batch(1024);
            let removed = batch.add(&Request::Remove { path: to })?;
            let renamed = batch.add(&rename)?;
            batch.send().await?;
            let removed = removed.done().await;
            let renamed = renamed.done().await;
            match removed {
                Err(Failure::Status(why)) if why.code == status::PERMISSION_DENIED => {
                    renamed.map_err(|_| failed(Failure::Status(why)))
                }
                _ => renamed.map_err(failed),
            }
        }
        outcome => outcome.map_err(failed),
    }
}
