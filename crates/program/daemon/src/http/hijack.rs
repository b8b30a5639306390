//! Connections that stop being HTTP: both directions are copied, half-closes included.

use berth_api::version::ApiVersion;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Body, channel, empty};

/// Bytes copied at once in each direction.
const COPY: usize = 32 << 10;
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
            Ok(client) => join(TokioIo::new(client), &past, streams).await,
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
        while let Ok(n @ 1..) = streams.read(&mut buffer).await {
            if sender
                .send(Bytes::copy_from_slice(&buffer[..n]))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    body
}

/// Copies until the container's side ends. The client's end of input is passed on and does not
/// end the output.
async fn join(client: impl AsyncRead + AsyncWrite, past: &[u8], streams: Option<UnixStream>) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    if to_client.write_all(past).await.is_err() {
        return;
    }
    let Some(streams) = streams else {
        let _ = to_client.shutdown().await;
        return;
    };
    let (mut output, mut input) = streams.into_split();
    let inward = async {
        let ended = copy(&mut from_client, &mut input).await;
        let _ = input.shutdown().await;
        ended
    };
    let outward = async {
        let ended = copy(&mut output, &mut to_client).await;
        let _ = to_client.shutdown().await;
        ended
    };
    tokio::pin!(inward, outward);
    tokio::select! {
        _ = &mut outward => {}
        ended = &mut inward => {
            // A client whose connection broke is gone; one that only closed its side listens on.
            if ended.is_ok() {
                let _ = outward.await;
            }
        }
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut buffer = vec![0; COPY];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..n]).await?;
        to.flush().await?;
    }
}
