//! Files of containers: `archive`, `changes`, `export`.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use berth_api::archive::{FilesystemChange, PATH_STAT_HEADER, PathStat, mode};
use berth_container::{ChangeKind, Containers, CopyIn, Files, FilesError, PathFacts};
use berth_sys::rustix::fs::FileType;
use berth_types::{Caller, task};
use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use super::error::{ApiError, ApiResult, sentence};
use super::images::feed;
use super::reply;
use super::router::Call;
use crate::http::{Body, Broken, breakable, send_blocking};

/// Bytes of an archive that are sent at once.
const PIECE: usize = 64 << 10;
/// How long a piece may take to be read: what takes longer does not come.
const STALLED: Duration = Duration::from_secs(30);

/// The router of files.
#[derive(Clone)]
pub struct FilesApi {
    files: Files,
}

impl FilesApi {
    /// For the files of these containers.
    pub fn new(containers: Containers) -> Self {
        Self {
            files: Files::new(containers),
        }
    }

    pub(super) async fn stat(&self, call: &Call, id: &str) -> ApiResult {
        let path = path(call)?;
        let facts = self
            .look(call, id, move |files, caller, id| {
                files.stat(caller, id, &path)
            })
            .await?;
        let mut response = reply::bare(StatusCode::OK);
        describe(&mut response, &facts);
        Ok(response)
    }

    pub(super) async fn read(&self, call: &Call, id: &str) -> ApiResult {
        let path = path(call)?;
        let outgoing = self
            .look(call, id, move |files, caller, id| {
                files.open(caller, id, &path)
            })
            .await?;
        let facts = outgoing.facts.clone();
        let body = self.stream(call, id, move |sink| outgoing.write(sink));
        let mut response = reply::stream(body, "application/x-tar");
        describe(&mut response, &facts);
        Ok(response)
    }

    pub(super) async fn write(&self, call: Call, id: &str) -> ApiResult {
        let path = path(&call)?;
        let options = CopyIn {
            keep_kinds: call.query.switch("noOverwriteDirNonDir"),
            to_user: call.query.switch("copyUIDGID"),
        };
        let (caller, key) = (call.caller.clone(), id.to_owned());
        let (archive, feeding) = feed(call.request.into_body())?;
        let copy = move |files: Files| files.copy_in(&caller, &key, &path, options, archive);
        let copied = self.files.on_thread(&call.caller, id, copy).await;
        let whole = Arc::clone(&feeding.whole);
        feeding.end().await;
        copied??;
        if !whole.load(Ordering::Acquire) {
            return Err(ApiError::invalid(
                "the archive broke off before its end: copy again",
            ));
        }
        Ok(reply::bare(StatusCode::OK))
    }

    pub(super) async fn changes(&self, call: &Call, id: &str) -> ApiResult {
        let (caller, key) = (call.caller.clone(), id.to_owned());
        let changes = move |files: Files| files.changes(&caller, &key);
        let changes = self.files.on_thread(&call.caller, id, changes).await??;
        let list: Vec<FilesystemChange> = changes
            .into_iter()
            .map(|change| FilesystemChange {
                path: change.path,
                kind: match change.kind {
                    ChangeKind::Modified => FilesystemChange::MODIFIED,
                    ChangeKind::Added => FilesystemChange::ADDED,
                    ChangeKind::Deleted => FilesystemChange::DELETED,
                },
            })
            .collect();
        Ok(reply::ok(&list))
    }

    pub(super) async fn export(&self, call: &Call, id: &str) -> ApiResult {
        let exported = self
            .look(call, id, |files, caller, id| files.export(caller, id))
            .await?;
        let body = self.stream(call, id, move |sink| exported.write(sink).map(drop));
        Ok(reply::stream(body, "application/octet-stream"))
    }

    async fn look<T: Send + 'static>(
        &self,
        call: &Call,
        id: &str,
        work: impl FnOnce(&Files, &Caller, &str) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (caller, key) = (call.caller.clone(), id.to_owned());
        let work = move |files: Files| work(&files, &caller, &key);
        Ok(self.files.look(&call.caller, id, work).await??)
    }

    /// A body that a thread of the container's share writes.
    fn stream(
        &self,
        call: &Call,
        id: &str,
        write: impl FnOnce(&mut Sink) -> Result<(), FilesError> + Send + 'static,
    ) -> Body {
        let (sender, body) = breakable();
        let pulse = Arc::new(Pulse::default());
        let sink = Sink {
            sender: sender.clone(),
            piece: Vec::with_capacity(PIECE),
            pulse: Arc::clone(&pulse),
        };
        let (files, caller, id) = (self.files.clone(), call.caller.clone(), id.to_owned());
        tokio::spawn(task::here(async move {
            let writing = files.on_thread(&caller, &id, move |_| written(sink, write));
            let why = tokio::select! {
                written = writing => match written {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) | Err(error) => sentence(&error),
                },
                () = pulse.stopped() => format!(
                    "a file of container {id} was not read for {} s: its file system hangs",
                    STALLED.as_secs()
                ),
            };
            tracing::warn!(error = why, "an archive broke off");
            // Fails where the client is gone, who does not need it then.
            let _ = sender.send(Err(Broken)).await;
        }));
        body
    }
}

/// Writes the whole archive, to its last piece.
fn written(
    mut sink: Sink,
    write: impl FnOnce(&mut Sink) -> Result<(), FilesError>,
) -> Result<(), FilesError> {
    write(&mut sink)?;
    // A client that is gone has no use for the last piece.
    let _ = sink.flush();
    Ok(())
}

fn path(call: &Call) -> Result<String, ApiError> {
    let path = call.query.text("path");
    path.map(str::to_owned)
        .ok_or_else(|| ApiError::invalid("bad parameter: path cannot be empty"))
}

/// How far the writing of an archive is, for who has to notice that it stands still.
#[derive(Default)]
struct Pulse {
    /// Pieces that were begun to be sent, and that were sent.
    begun: AtomicU64,
    sent: AtomicU64,
}

impl Pulse {
    /// Resolves when nothing was read for [`STALLED`]. A client that reads slowly is no reason.
    async fn stopped(&self) {
        loop {
            let before = self.sent.load(Ordering::Relaxed);
            tokio::time::sleep(STALLED).await;
            let is_reading = before == self.begun.load(Ordering::Relaxed);
            if is_reading && before == self.sent.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// The writing end of a body, in pieces of some size.
struct Sink {
    sender: mpsc::Sender<Result<Bytes, Broken>>,
    piece: Vec<u8>,
    pulse: Arc<Pulse>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE.saturating_sub(self.piece.len()).min(bytes.len());
        self.piece
            .extend_from_slice(bytes.get(..room).unwrap_or_default());
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.pulse.begun.fetch_add(1, Ordering::Relaxed);
        let sent = send_blocking(&self.sender, Ok(Bytes::from(piece)));
        self.pulse.sent.fetch_add(1, Ordering::Relaxed);
        sent
    }
}

fn describe(response: &mut Response<Body>, facts: &PathFacts) {
    let stat = PathStat {
        name: facts.name.clone(),
        size: i64::try_from(facts.size).unwrap_or(i64::MAX),
        mode: go_mode(facts.mode),
        mtime: facts.modified.to_string(),
        link_target: facts.link_target.clone().unwrap_or_default(),
    };
    let json = serde_json::to_vec(&stat).unwrap_or_default();
    if let Ok(value) = HeaderValue::from_str(&base64(&json)) {
        response.headers_mut().insert(PATH_STAT_HEADER, value);
    }
}

/// A mode as Go counts it.
fn go_mode(st_mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(st_mode) {
        FileType::RegularFile => 0,
        FileType::Directory => mode::DIRECTORY,
        FileType::Symlink => mode::SYMLINK,
        FileType::Fifo => mode::NAMED_PIPE,
        FileType::Socket => mode::SOCKET,
        FileType::CharacterDevice => mode::DEVICE | mode::CHARACTER_DEVICE,
        FileType::BlockDevice => mode::DEVICE,
        FileType::Unknown => mode::IRREGULAR,
    };
    let bits = [
        (0o4000, mode::SETUID),
        (0o2000, mode::SETGID),
        (0o1000, mode::STICKY),
    ];
    let special = bits.iter().filter(|(bit, _)| st_mode & bit != 0);
    let special: u32 = special.map(|(_, go)| go).sum();
    kind | special | (st_mode & mode::PERMISSIONS)
}

/// RFC 4648, the standard alphabet, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..4 {
            let index = (bits >> (18 - 6 * n)) & 63;
            let letter = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            text.push(char::from(if n <= group.len() { letter } else { b'=' }));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("\u{fb}\u{ff}~?>", "w7vDv34/Pg=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn modes_are_those_of_go() {
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o041_777), 1 << 31 | 1 << 20 | 0o777);
        assert_eq!(go_mode(0o104_755), 1 << 23 | 0o755);
        assert_eq!(go_mode(0o120_777), 1 << 27 | 0o777);
        assert_eq!(go_mode(0o020_666), 1 << 26 | 1 << 21 | 0o666);
    }
}
