//! Connections that stop being HTTP: both directions are copied, half-closes included.

use std::pin::Pin;
use std::time::Duration;

use berth_api::version::ApiVersion;
use berth_sys::unread::unread;
use berth_types::keys::{DetachKeys, Scanner};
use berth_types::task::{self, Wait};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::hangup::HangUp;
use super::{Body, channel, empty};

/// Bytes copied at once in each direction.
const COPY: usize = 32 << 10;
/// Longest time that is spent on input behind the end of the output, and on a client's last input
/// when it has left.
const LINGER: Duration = Duration::from_secs(2);
/// Pause between two looks at whether the client has read the head of the answer.
const HEAD_LOOK: Duration = Duration::from_millis(1);
/// Most of those looks.
const HEAD_LOOKS: u32 = 200;
/// The reason that Docker's clients look for behind 101.
const UPGRADED: ReasonPhrase = ReasonPhrase::from_static(b"UPGRADED");
/// The first API version whose streams name their framing.
const NAMED_FRAMING: ApiVersion = ApiVersion::new(1, 42);

/// The content type of streams: those of a terminal are raw, all others framed.
pub fn content_type(terminal: bool, version: ApiVersion) -> &'static str {
    if version >= NAMED_FRAMING && !terminal {
        "application/vnd.docker.multiplexed-stream"
    } else {
        "application/vnd.docker.raw-stream"
    }
}

/// What a client gets its connection joined with.
#[derive(Default)]
pub struct Session {
    /// What it is sent first.
    pub past: Vec<u8>,
    /// The streams, as soon as they are there; without them there is only the past.
    pub streams: Option<Streams>,
    /// The streams are those of a terminal.
    pub terminal: bool,
    /// The keys in its input by which it leaves, if any do.
    pub keys: Option<DetachKeys>,
    /// What the end of the connection waits for, behind the end of the output.
    pub settled: Option<Settled>,
    /// What follows when the client leaves and the streams go on.
    pub left: Option<Box<dyn FnOnce() + Send>>,
}

/// Streams that are on their way; where they cannot come, what the client is told instead.
pub type Streams = Pin<Box<dyn Future<Output = Result<UnixStream, Vec<u8>>> + Send>>;

/// Streams that are there.
pub fn ready(streams: UnixStream) -> Streams {
    Box::pin(std::future::ready(Ok(streams)))
}

/// Something that is waited for.
pub type Settled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Answers with the past, then the streams: with `Upgrade` the connection is handed over whole;
/// without it the output follows as the answer's body and there is no input.
pub fn begin(request: Request<Incoming>, session: Session, version: ApiVersion) -> Response<Body> {
    let kind = HeaderValue::from_static(content_type(session.terminal, version));
    if !request.headers().contains_key(UPGRADE) {
        let mut response = Response::new(output_only(session));
        response.headers_mut().insert(CONTENT_TYPE, kind);
        return response;
    }
    tokio::spawn(task::here(async move {
        let _waits = task::waits(Wait::Program, None);
        match hyper::upgrade::on(request).await {
            Ok(client) => take_over(client, session).await,
            Err(error) => tracing::debug!(%error, "client left before its stream began"),
        }
    }));
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.extensions_mut().insert(UPGRADED);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    response
}

fn output_only(session: Session) -> Body {
    let (sender, body) = channel();
    tokio::spawn(task::here(async move {
        let _waits = task::waits(Wait::Program, None);
        if !session.past.is_empty() && sender.send(Bytes::from(session.past)).await.is_err() {
            return;
        }
        let Some(streams) = session.streams else {
            return;
        };
        let mut streams = match streams.await {
            Ok(streams) => streams,
            Err(words) => {
                // A client that is gone does not need them.
                let _ = sender.send(Bytes::from(words)).await;
                return;
            }
        };
        // Whoever asked for input cannot send any: the program sees it closed. Of a terminal it
        // is left open, for there its end would be a hang-up.
        if !session.terminal {
            let _ = streams.shutdown().await;
        }
        let mut buffer = vec![0; COPY];
        loop {
            let read = tokio::select! {
                read = streams.read(&mut buffer) => read,
                () = sender.closed() => return,
            };
            let Ok(n @ 1..) = read else { break };
            let piece = Bytes::copy_from_slice(&buffer[..n]);
            if sender.send(piece).await.is_err() {
                return;
            }
        }
        if let Some(settled) = session.settled {
            tokio::select! {
                () = settled => {}
                () = sender.closed() => {}
            }
        }
    }));
    body
}

/// Takes the connection from HTTP, with what was read of it already.
async fn take_over(upgraded: Upgraded, session: Session) {
    match upgraded.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) => join(parts.io.into_inner(), &parts.read_buf, session).await,
        Err(_) => tracing::error!("a connection to hand over is of an unknown type"),
    }
}

/// Copies until the container's side ends or the client leaves. `early` is input that came with
/// the request.
async fn join(client: UnixStream, early: &[u8], session: Session) {
    let gone = HangUp::of(&client);
    let (mut from_client, mut to_client) = client.into_split();
    let mut past = session.past;
    let streams = match session.streams {
        Some(streams) => streams.await.map_err(|words| past.extend(words)).ok(),
        None => None,
    };
    if !past.is_empty() {
        head_is_read(&to_client).await;
        if to_client.write_all(&past).await.is_err() {
            return;
        }
    }
    if let Some(streams) = streams {
        let (output, input) = streams.into_split();
        let inward = async {
            // Dropped at the end of the input, which closes this direction.
            let mut input = input;
            match session.keys.map(Scanner::new) {
                Some(scanner) => type_in(scanner, early, &mut from_client, &mut input).await,
                None => {
                    input.write_all(early).await.map_err(|_| Broken::Sink)?;
                    copy(&mut from_client, &mut input).await?;
                    Ok(Typed::ToTheEnd)
                }
            }
        };
        let parting = exchange(inward, output, &mut to_client, &gone).await;
        match (parting, session.settled) {
            (Parting::Over, Some(settled)) => tokio::select! {
                () = settled => {}
                () = gone.noticed() => return,
            },
            (Parting::Over, None) => {}
            (Parting::Gone | Parting::Detached, _) => {
                if let Some(left) = session.left {
                    left();
                }
                if parting == Parting::Gone {
                    return;
                }
            }
        }
    }
    let _ = to_client.shutdown().await;
    // Input that nobody wants any more is read all the same: closed over it, the connection would
    // be reset under the client that still reads.
    let mut nothing = vec![0; COPY];
    let rest = async { while let Ok(1..) = from_client.read(&mut nothing).await {} };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

/// Waits, for a bounded time, until the client has read the head of the answer. Docker's client
/// for Python reads that through a buffer and the stream past the buffer: what comes together
/// with the head, it loses.
async fn head_is_read(client: &OwnedWriteHalf) {
    for _ in 0..HEAD_LOOKS {
        if !matches!(unread(client.as_ref()), Ok(1..)) {
            return;
        }
        // Nothing announces that a peer has read.
        tokio::time::sleep(HEAD_LOOK).await;
    }
}

/// How the input of a client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Typed {
    ToTheEnd,
    TheKeys,
}

/// How client and streams parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    /// The streams ended.
    Over,
    /// The client is gone.
    Gone,
    /// The client asked to leave.
    Detached,
}

/// Copies what is typed, up to the keys.
async fn type_in(
    mut scanner: Scanner,
    early: &[u8],
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
) -> Result<Typed, Broken> {
    let mut buffer = vec![0; COPY];
    let mut passed = Vec::new();
    let mut typed = early;
    loop {
        passed.clear();
        let detached = scanner.scan(typed, &mut passed);
        to.write_all(&passed).await.map_err(|_| Broken::Sink)?;
        if detached {
            return Ok(Typed::TheKeys);
        }
        let n = from.read(&mut buffer).await.map_err(|_| Broken::Source)?;
        if n == 0 {
            let written = to.write_all(scanner.rest()).await;
            written.map_err(|_| Broken::Sink)?;
            return Ok(Typed::ToTheEnd);
        }
        typed = &buffer[..n];
    }
}

/// Copies both ways. The end of the input, on either side, does not end the output.
async fn exchange(
    inward: impl Future<Output = Result<Typed, Broken>>,
    mut output: OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    gone: &HangUp,
) -> Parting {
    let outward = async {
        head_is_read(to_client).await;
        copy(&mut output, to_client).await
    };
    tokio::pin!(inward, outward);
    let sent = tokio::select! {
        sent = &mut outward => sent,
        heard = &mut inward => match heard {
            Err(Broken::Source) => return Parting::Gone,
            Ok(Typed::TheKeys) => return Parting::Detached,
            Ok(Typed::ToTheEnd) | Err(Broken::Sink) => tokio::select! {
                sent = &mut outward => sent,
                () = gone.noticed() => return Parting::Gone,
            },
        },
        () = gone.noticed() => {
            // What the client sent before it left is the program's.
            let _ = tokio::time::timeout(LINGER, inward).await;
            return Parting::Gone;
        }
    };
    // A container that ended may have reset the connection behind its last output.
    match sent {
        Err(Broken::Sink) => Parting::Gone,
        Ok(()) | Err(Broken::Source) => Parting::Over,
    }
}

/// Which side of a copy failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Source,
    Sink,
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<(), Broken> {
    let mut buffer = vec![0; COPY];
    loop {
        let n = from.read(&mut buffer).await.map_err(|_| Broken::Source)?;
        if n == 0 {
            return Ok(());
        }
        let written = to.write_all(&buffer[..n]).await;
        written.map_err(|_| Broken::Sink)?;
    }
}

#[cfg(test)]
#[path = "hijack_tests.rs"]
mod tests;
