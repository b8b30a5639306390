//! One request over one connection.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::error::ClientError;
use super::streams::ReaderBody;
use crate::decode;
use crate::error::ErrorResponse;

/// How long opening a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The most bytes of an answer that is read as a whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The most bytes of an error's body that are read.
const ERROR_BYTES_MAX: usize = 1 << 20;

/// Where an engine is.
#[derive(Debug)]
pub(super) struct Address {
    host: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Unix(PathBuf),
    Tcp(String),
}

impl Address {
    /// Reads `unix://PATH` or `tcp://NAME[:PORT]`.
    pub(super) fn parse(host: &str) -> Result<Self, ClientError> {
        let wrong = |reason| ClientError::Address {
            address: host.to_owned(),
            reason,
        };
        let place = if let Some(path) = host.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(wrong(
                    "a Unix socket needs an absolute path, as in unix:///run/x.sock",
                ));
            }
            Place::Unix(path.into())
        } else if let Some(authority) = host.strip_prefix("tcp://") {
            Place::Tcp(tcp_authority(authority).ok_or_else(|| wrong("expected tcp://NAME:PORT"))?)
        } else {
            return Err(wrong("expected unix:///PATH or tcp://NAME:PORT"));
        };
        Ok(Self {
            host: host.to_owned(),
            place,
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    async fn open(&self) -> io::Result<Box<dyn Connection>> {
        Ok(match &self.place {
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Place::Tcp(authority) => {
                let stream = TcpStream::connect(authority).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ClientError> {
        let host = self.host.clone();
        match timeout(CONNECT_LIMIT, self.open()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(source)) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(ClientError::Permission { host, source })
            }
            Ok(Err(source)) => Err(ClientError::Connect { host, source }),
            Err(_) => Err(ClientError::Timeout {
                host,
                seconds: CONNECT_LIMIT.as_secs(),
            }),
        }
    }
}

/// `NAME:PORT` with Docker's port where none is said; paths and user names have no meaning.
fn tcp_authority(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() || text.contains(['/', '@', '?', '#']) {
        return None;
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (text, "2375"),
    };
    if name.is_empty() || port.parse::<u16>().is_err() {
        return None;
    }
    Some(format!("{name}:{port}"))
}

/// A socket, of whichever family.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The body of a request.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A request that is being put together.
pub(super) struct Call<'a> {
    address: &'a Address,
    /// Method and path, for messages.
    name: String,
    request: hyper::http::request::Builder,
    body: Result<Body, serde_json::Error>,
}

impl<'a> Call<'a> {
    pub(super) fn new(address: &'a Address, method: Method, path: &str) -> Self {
        let shown = path.split('?').next().unwrap_or_default();
        Self {
            address,
            name: format!("{method} {shown}"),
            request: Request::builder()
                .method(method)
                .uri(path)
                .header(HOST, "berth"),
            body: Ok(Empty::new().map_err(|never| match never {}).boxed_unsync()),
        }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sends a value as JSON.
    pub(super) fn body_json(mut self, value: &impl Serialize) -> Self {
        self.request = self.request.header(CONTENT_TYPE, "application/json");
        self.body = serde_json::to_vec(value).map(|json| {
            Full::from(json)
                .map_err(|never| match never {})
                .boxed_unsync()
        });
        self
    }

    /// Sends what a reader gives, in chunks.
    pub(super) fn body_reader(mut self, reader: impl AsyncRead + Send + 'static) -> Self {
        self.request = self.request.header(CONTENT_TYPE, "application/x-tar");
        self.body = Ok(ReaderBody::new(reader).boxed_unsync());
        self
    }

    /// Asks for the connection to be handed over.
    pub(super) fn upgrade(mut self) -> Self {
        self.request = self
            .request
            .header(CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(UPGRADE, HeaderValue::from_static("tcp"));
        self
    }

    /// Sends the request and waits for the head of the answer; a status of 400 and above is an
    /// error.
    pub(super) async fn send(self) -> Result<Answer, ClientError> {
        let Self {
            address,
            name,
            request,
            body,
        } = self;
        let body = body.map_err(|source| ClientError::Encode {
            request: name.clone(),
            source,
        })?;
        let request = request.body(body).map_err(|source| ClientError::Request {
            request: name.clone(),
            source,
        })?;
        let answer = Answer::new(address, name, request).await?;
        if answer.status().as_u16() < 400 {
            Ok(answer)
        } else {
            Err(answer.refusal().await)
        }
    }

    /// Sends the request and reads the whole answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        self.send().await?.json().await
    }
}

/// The answer to a request: its head, and a body that is still to be read.
pub(super) struct Answer {
    host: String,
    name: String,
    response: Response<Incoming>,
}

impl Answer {
    async fn new(
        address: &Address,
        name: String,
        request: Request<Body>,
    ) -> Result<Self, ClientError> {
        let connection = address.connect().await?;
        let broken = |source| ClientError::Transport {
            host: address.host.clone(),
            request: name.clone(),
            source,
        };
        let (mut sender, driver) = http1::handshake(TokioIo::new(connection))
            .await
            .map_err(broken)?;
        // The driver ends when the body of the answer is read or dropped. Its error, if any, also
        // comes out of the request or the body, so it is not reported a second time.
        tokio::spawn(driver.with_upgrades());
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok(Self {
            host: address.host.clone(),
            name,
            response,
        })
    }

    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &hyper::HeaderMap {
        self.response.headers()
    }

    /// Names the request, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The head's owner, for streams and upgrades.
    pub(super) fn into_response(self) -> Response<Incoming> {
        self.response
    }

    /// An error of this request's connection.
    pub(super) fn broken(&self) -> impl Fn(hyper::Error) -> ClientError + Send + use<> {
        let (host, name) = (self.host.clone(), self.name.clone());
        move |source| ClientError::Transport {
            host: host.clone(),
            request: name.clone(),
            source,
        }
    }

    /// Reads the whole body as JSON.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let request = self.name.clone();
        let body = self.whole(ANSWER_BYTES_MAX).await?;
        decode::from_slice(&body).map_err(|cause| ClientError::Answer { request, cause })
    }

    async fn whole(self, limit: usize) -> Result<Bytes, ClientError> {
        let broken = self.broken();
        match Limited::new(self.response.into_body(), limit)
            .collect()
            .await
        {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ClientError::TooLong {
                request: self.name,
                limit,
            }),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(source) => Err(broken(*source)),
                Err(_) => Err(ClientError::TooLong {
                    request: self.name,
                    limit,
                }),
            },
        }
    }

    /// The refusal that this answer is. The message stands in JSON, or is the text itself (errors
    /// of attach).
    async fn refusal(self) -> ClientError {
        let status = self.status();
        let body = match self.whole(ERROR_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        let message = match decode::from_slice::<ErrorResponse>(&body) {
            Ok(error) => error.message,
            Err(_) => String::from_utf8_lossy(&body).trim().to_owned(),
        };
        let message = if message.is_empty() {
            format!("the engine answered {status} without a reason")
        } else {
            message
        };
        ClientError::Response {
            status: status.as_u16(),
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Place};

    #[test]
    fn addresses_are_dockers() {
        let unix = Address::parse("unix:///run/berth/berth.sock").unwrap();
        assert!(matches!(unix.place, Place::Unix(path) if path.ends_with("berth/berth.sock")));
        for (text, authority) in [
            ("tcp://127.0.0.1:2375", "127.0.0.1:2375"),
            ("tcp://box/", "box:2375"),
            ("tcp://[::1]:99", "[::1]:99"),
            ("tcp://[::1]", "[::1]:2375"),
        ] {
            let tcp = Address::parse(text).unwrap();
            assert!(
                matches!(&tcp.place, Place::Tcp(found) if found == authority),
                "{text}"
            );
        }
        for text in [
            "",
            "/run/x.sock",
            "unix://x.sock",
            "tcp://",
            "tcp://h:p",
            "tcp://u@h:1",
            "ssh://h",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
