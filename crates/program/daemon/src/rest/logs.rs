//! `/containers/{id}/logs`: what was written, then what is being written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use berth_api::stream::{self, StreamKind};
use berth_container::{Containers, LogOptions, LogReader, LogRecord, Record};
use berth_shim::protocol::Stream;
use berth_types::task::{self, Wait, waiting};
use berth_types::{Caller, ContainerId, ErrorKind};
use bytes::Bytes;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::error::{ApiError, ApiResult};
use super::moment::unix_seconds;
use super::reply;
use super::router::Call;
use crate::http::hijack::content_type;
use crate::http::{Sender, channel};

/// Bytes of frames that are gathered into one piece of the answer.
const PIECE: usize = 64 << 10;
/// Most of a log that an attaching client is shown first, in bytes.
const REPLAY_MAX: usize = 4 << 20;
/// Longest time between two looks at a followed log, should a notification be lost.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What the client wants of the log.
#[derive(Debug, Clone, Copy)]
struct Wants {
    stdout: bool,
    stderr: bool,
    timestamps: bool,
    /// With a header before each piece; without a terminal.
    framed: bool,
}

pub(super) async fn stream(containers: &Containers, call: &Call, id: &str) -> ApiResult {
    let query = &call.query;
    let mut wants = Wants {
        stdout: query.switch("stdout"),
        stderr: query.switch("stderr"),
        timestamps: query.switch("timestamps"),
        framed: true,
    };
    if !wants.stdout && !wants.stderr {
        return Err(ApiError::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let options = options(call)?;
    let record = containers.get(&call.caller, id)?;
    wants.framed = !record.settings.tty;
    let reader = open(containers, &call.caller, id, options).await?;
    let (sender, body) = channel();
    let follow = query
        .switch("follow")
        .then(|| containers.watch(&call.caller, id))
        .transpose()?;
    let pump = pump(record.id, reader, wants, follow, sender);
    tokio::spawn(task::here(pump));
    let kind = content_type(record.settings.tty, call.version);
    Ok(reply::stream(body, kind))
}

/// Opens the log. Finding the last lines of a long one takes a while, which blocks.
async fn open(
    containers: &Containers,
    caller: &Caller,
    id: &str,
    options: LogOptions,
) -> Result<LogReader, ApiError> {
    let (containers, caller, id) = (containers.clone(), caller.clone(), id.to_owned());
    let open = move || containers.logs(&caller, &id, options);
    tokio::task::spawn_blocking(task::blocking(open))
        .await
        .map_err(|_| ApiError::new(ErrorKind::Internal, "reading the log was interrupted"))?
        .map_err(ApiError::from)
}

fn options(call: &Call) -> Result<LogOptions, ApiError> {
    let time = |key: &str| match call.query.text(key) {
        None | Some("0") => Ok(None),
        Some(text) => unix_seconds(text).map(Some).ok_or_else(|| {
            ApiError::invalid(format!(
                "invalid value for {key:?}: {text:?} is no time in seconds"
            ))
        }),
    };
    Ok(LogOptions {
        // Whatever is no number means all, as with Docker.
        tail: call.query.text("tail").and_then(|t| t.parse().ok()),
        since: time("since")?,
        until: time("until")?,
    })
}

/// Sends records until the log is at its end and nothing follows.
async fn pump(
    id: ContainerId,
    mut reader: LogReader,
    wants: Wants,
    mut follow: Option<watch::Receiver<Arc<Record>>>,
    sender: Sender,
) {
    if follow.is_some() {
        // From here on changes are noticed; what came before is read below.
        let _ = reader.watch_fd();
    }
    loop {
        // The state is looked at before the file: what was written before the end is then sent.
        let live = follow
            .as_mut()
            .is_some_and(|w| w.borrow_and_update().state.phase.is_live());
        let gather = move || {
            let piece = gather(&mut reader, wants);
            (reader, piece)
        };
        let read = tokio::task::spawn_blocking(task::blocking(gather)).await;
        let Ok((back, piece)) = read else { return };
        reader = back;
        match piece {
            Ok(Some(bytes)) => {
                let sent = sender.send(Bytes::from(bytes));
                if waiting(Wait::ClientToRead, None, sent).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(None) if !live || reader.is_finished() => return,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%id, %error, "log not readable to its end");
                return;
            }
        }
        let Some(state) = follow.as_mut() else { return };
        let _waits = task::waits(Wait::News, None);
        tokio::select! {
            () = sender.closed() => return,
            _ = state.changed() => {}
            () = reader_changed(&reader) => {}
        }
    }
}

/// Waits until the log may have grown.
async fn reader_changed(reader: &LogReader) {
    // Tokio's pipe is its one safe way to wait for a descriptor that it did not make. It is made
    // anew for each wait, because it remembers that something was readable until it is read here.
    let watch = reader.watch_fd().and_then(|fd| fd.try_clone_to_owned());
    let Some(watch) = watch.and_then(pipe::Receiver::from_owned_fd_unchecked).ok() else {
        return tokio::time::sleep(LOOK_AGAIN).await;
    };
    tokio::select! {
        _ = watch.readable() => {}
        () = tokio::time::sleep(LOOK_AGAIN) => {}
    }
}

/// The next piece of frames; none at the present end of the log.
fn gather(reader: &mut LogReader, wants: Wants) -> std::io::Result<Option<Vec<u8>>> {
    let mut piece = Vec::new();
    while piece.len() < PIECE {
        match reader.next()? {
            Some(record) => frame(&record, wants, &mut piece),
            None if piece.is_empty() => return Ok(None),
            None => break,
        }
    }
    Ok(Some(piece))
}

fn frame(record: &LogRecord, wants: Wants, out: &mut Vec<u8>) {
    let kind = match record.stream {
        Stream::Stdout if wants.stdout => StreamKind::Stdout,
        Stream::Stderr if wants.stderr => StreamKind::Stderr,
        _ => return,
    };
    let stamp = if wants.timestamps {
        format!("{} ", record.time.fixed_width())
    } else {
        String::new()
    };
    if wants.framed {
        out.extend_from_slice(&stream::header(kind, stamp.len() + record.data.len()));
    }
    out.extend_from_slice(stamp.as_bytes());
    out.extend_from_slice(&record.data);
}

/// The newest frames of a log, at most [`REPLAY_MAX`] bytes of them.
fn replay(reader: &mut LogReader, wants: Wants) -> std::io::Result<Vec<u8>> {
    let mut pieces = VecDeque::new();
    let mut size = 0;
    while let Some(piece) = gather(reader, wants)? {
        size += piece.len();
        pieces.push_back(piece);
        // A piece holds whole frames: what is left begins with a header.
        while size > REPLAY_MAX
            && let Some(oldest) = pieces.pop_front()
        {
            size -= oldest.len();
        }
    }
    Ok(pieces.into_iter().flatten().collect())
}

/// What was written so far, for a client that attaches with `logs`: as its streams go on.
pub(super) async fn past(
    containers: &Containers,
    call: &Call,
    record: &Record,
) -> Result<Vec<u8>, ApiError> {
    let id = record.id.to_string();
    let query = &call.query;
    let wants = Wants {
        stdout: query.switch("stdout"),
        stderr: query.switch("stderr"),
        timestamps: false,
        framed: !record.settings.tty,
    };
    let mut reader = open(containers, &call.caller, &id, LogOptions::default()).await?;
    let replay = move || replay(&mut reader, wants);
    let past = tokio::task::spawn_blocking(task::blocking(replay)).await;
    match past {
        Ok(Ok(past)) => Ok(past),
        _ => Err(ApiError::new(ErrorKind::Internal, "the log cannot be read")),
    }
}
