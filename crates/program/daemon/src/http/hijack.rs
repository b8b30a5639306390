//! Connections that stop being HTTP: both directions are copied, half-closes included.

use std::time::Duration;

use berth_api::version::ApiVersion;
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
/// The reason that Docker's clients look for behind 101.
const UPGRADED: ReasonPhrase = ReasonPhrase::from_static(b"UPGRADED");
/// The first API version whose streams name their framing.
const NAMED_FRAMING: ApiVersion = ApiVersion::new(1, 42);

/// The content type of a stream of frames.
pub fn framed_type(version: ApiVersion) -> &'static str {
    if version >= NAMED_FRAMING {
        "application/vnd.docker.multiplexed-stream"
    } else {
        "application/vnd.docker.raw-stream"
    }
}

/// Answers with `past`, then the container's streams: with `Upgrade` the connection is handed
/// over whole; without it the output follows as the answer's body and there is no input.
pub fn streams(
    request: Request<Incoming>,
    past: Vec<u8>,
    streams: UnixStream,
    version: ApiVersion,
) -> Response<Body> {
    begin(request, past, Some(streams), version)
}

/// Answers with `past` and nothing else.
pub fn replay(request: Request<Incoming>, past: Vec<u8>, version: ApiVersion) -> Response<Body> {
    begin(request, past, None, version)
}

fn begin(
    request: Request<Incoming>,
    past: Vec<u8>,
    streams: Option<UnixStream>,
    version: ApiVersion,
) -> Response<Body> {
    let kind = HeaderValue::from_static(framed_type(version));
    if !request.headers().contains_key(UPGRADE) {
        let mut response = Response::new(output_only(past, streams));
        response.headers_mut().insert(CONTENT_TYPE, kind);
        return response;
    }
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(client) => take_over(client, &past, streams).await,
            Err(error) => tracing::debug!(%error, "client left before its stream began"),
        }
    });
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.extensions_mut().insert(UPGRADED);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    response
}

fn output_only(past: Vec<u8>, streams: Option<UnixStream>) -> Body {
    let (sender, body) = channel();
    tokio::spawn(async move {
        if !past.is_empty() && sender.send(Bytes::from(past)).await.is_err() {
            return;
        }
        let Some(mut streams) = streams else { return };
        // Whoever asked for input cannot send any: the container sees it closed.
        let _ = streams.shutdown().await;
        let mut buffer = vec![0; COPY];
        loop {
            let read = tokio::select! {
                read = streams.read(&mut buffer) => read,
                () = sender.closed() => return,
            };
            let Ok(n @ 1..) = read else { return };
            let piece = Bytes::copy_from_slice(&buffer[..n]);
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    body
}

/// Takes the connection from HTTP, with what was read of it already.
async fn take_over(upgraded: Upgraded, past: &[u8], streams: Option<UnixStream>) {
    match upgraded.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) => join(parts.io.into_inner(), &parts.read_buf, past, streams).await,
        Err(_) => tracing::error!("a connection to hand over is of an unknown type"),
    }
}

/// Copies until the container's side ends or the client is gone. `early` is input that came with
/// the request.
async fn join(client: UnixStream, early: &[u8], past: &[u8], streams: Option<UnixStream>) {
    let gone = HangUp::of(&client);
    let (mut from_client, mut to_client) = client.into_split();
    if to_client.write_all(past).await.is_err() {
        return;
    }
    if let Some(streams) = streams {
        let (output, input) = streams.into_split();
        let inward = async {
            let mut input = input;
            input.write_all(early).await.map_err(|_| Broken::Sink)?;
            // Dropped at the end of the input, which closes this direction.
            copy(&mut from_client, &mut input).await
        };
        if exchange(inward, output, &mut to_client, &gone)
            .await
            .is_none()
        {
            return;
        }
    }
    let _ = to_client.shutdown().await;
    // Input that nobody wants any more is read all the same: closed over it, the connection would
    // be reset under the client that still reads.
    let mut nothing = vec![0; COPY];
    let rest = async { while let Ok(1..) = from_client.read(&mut nothing).await {} };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

/// Copies both ways. The end of the input, on either side, does not end the output. None means
/// that the client is gone.
async fn exchange(
    inward: impl Future<Output = Result<(), Broken>>,
    mut output: OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    gone: &HangUp,
) -> Option<()> {
    let outward = copy(&mut output, to_client);
    tokio::pin!(inward, outward);
    let sent = tokio::select! {
        sent = &mut outward => sent,
        heard = &mut inward => match heard {
            Err(Broken::Source) => return None,
            Ok(()) | Err(Broken::Sink) => tokio::select! {
                sent = &mut outward => sent,
                () = gone.noticed() => return None,
            },
        },
        () = gone.noticed() => {
            // What the client sent before it left is the program's.
            let _ = tokio::time::timeout(LINGER, inward).await;
            return None;
        }
    };
    // A container that ended may have reset the connection behind its last output.
    (!matches!(sent, Err(Broken::Sink))).then_some(())
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
mod tests {
    use super::*;

    /// A client, the container's end of the streams, and the task between them.
    fn joined(early: &'static [u8]) -> (UnixStream, UnixStream, tokio::task::JoinHandle<()>) {
        let (client, near) = UnixStream::pair().unwrap();
        let (streams, container) = UnixStream::pair().unwrap();
        let task = tokio::spawn(async move { join(near, early, b"past ", Some(streams)).await });
        (client, container, task)
    }

    async fn guarded<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), what)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn output_goes_on_behind_the_end_of_the_input() {
        let (mut client, mut container, task) = joined(b"early ");
        client.write_all(b"input").await.unwrap();
        client.shutdown().await.unwrap();
        let mut input = Vec::new();
        guarded(container.read_to_end(&mut input)).await.unwrap();
        assert_eq!(input, b"early input");
        container.write_all(b"output").await.unwrap();
        drop(container);
        let mut output = Vec::new();
        guarded(client.read_to_end(&mut output)).await.unwrap();
        assert_eq!(output, b"past output");
        drop(client);
        guarded(task).await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_reads_no_more_loses_no_output() {
        let (mut client, mut container, task) = joined(b"");
        // More than the sockets hold, so that the copy of it runs into the closed input.
        let output = vec![b'x'; 4 << 20];
        let expected = output.len() + b"past ".len();
        let program = tokio::spawn(async move {
            let mut some = [0; 16];
            container.read_exact(&mut some).await.unwrap();
            let socket = container.into_std().unwrap();
            socket.shutdown(std::net::Shutdown::Read).unwrap();
            let mut container = UnixStream::from_std(socket).unwrap();
            container.write_all(&output).await.unwrap();
        });
        let (mut from, mut to) = client.split();
        let mut received = Vec::new();
        let endless = async { while to.write_all(&[b'y'; 4096]).await.is_ok() {} };
        tokio::select! {
            read = guarded(from.read_to_end(&mut received)) => drop(read.unwrap()),
            () = async { endless.await; std::future::pending().await } => {}
        }
        assert_eq!(received.len(), expected);
        drop(client);
        guarded(program).await.unwrap();
        guarded(task).await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_let_go_of() {
        let (mut client, mut container, task) = joined(b"");
        client.read_exact(&mut [0; 5]).await.unwrap();
        client.write_all(b"last words").await.unwrap();
        drop(client);
        let mut input = Vec::new();
        guarded(container.read_to_end(&mut input)).await.unwrap();
        assert_eq!(input, b"last words");
        guarded(task).await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_ends_its_input_and_leaves_is_noticed() {
        let (mut client, mut container, task) = joined(b"");
        client.shutdown().await.unwrap();
        let mut input = Vec::new();
        guarded(container.read_to_end(&mut input)).await.unwrap();
        drop(client);
        // The container is still there and says nothing.
        guarded(task).await.unwrap();
    }
}
