//! Bytes on their way: request bodies from readers, answers as readers, streams of JSON.

use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::ClientError;
use super::transport::Answer;
use crate::decode;
use crate::progress::ProgressMessage;

/// What comes from the engine; an error ends it.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;

/// What goes to the engine. `shutdown` ends the container's standard input and leaves the output
/// flowing.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// How much of a reader is sent at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// The longest message of a stream of JSON.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A request body that a reader gives.
pub(super) struct ReaderBody {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    buffer: Box<[u8]>,
    ended: bool,
}

impl ReaderBody {
    pub(super) fn new(reader: impl AsyncRead + Send + 'static) -> Self {
        Self {
            reader: Box::pin(reader),
            buffer: vec![0; CHUNK_BYTES].into_boxed_slice(),
            ended: false,
        }
    }
}

impl Body for ReaderBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let mut space = ReadBuf::new(&mut this.buffer);
        let read = ready!(this.reader.as_mut().poll_read(context, &mut space));
        this.ended = read.is_err() || space.filled().is_empty();
        Poll::Ready(match read {
            Err(error) => Some(Err(error)),
            Ok(()) if this.ended => None,
            Ok(()) => Some(Ok(Frame::data(Bytes::copy_from_slice(space.filled())))),
        })
    }
}

/// The body of an answer as a reader.
pub(super) struct BodyReader {
    body: Incoming,
    rest: Bytes,
}

impl BodyReader {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            rest: Bytes::new(),
        }
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(frame)) => this.rest = frame.into_data().unwrap_or_default(),
            }
        }
        let part = this.rest.split_to(this.rest.len().min(space.remaining()));
        space.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

/// A progress stream, message by message. A failure that the engine reports in the stream is a
/// message (see [`ProgressMessage::failed`]), not an error of [`JsonStream::next`].
pub type ProgressStream = JsonStream<ProgressMessage>;

/// A stream of JSON, a message a line.
pub struct JsonStream<T> {
    answer: Incoming,
    name: String,
    broken: Box<dyn Fn(hyper::Error) -> ClientError + Send>,
    /// Bytes that are not yet taken apart.
    pending: Vec<u8>,
    ended: bool,
    messages: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonStream<T> {
    pub(super) fn new(answer: Answer) -> Self {
        Self {
            name: answer.name().to_owned(),
            broken: Box::new(answer.broken()),
            answer: answer.into_response().into_body(),
            pending: Vec::new(),
            ended: false,
            messages: PhantomData,
        }
    }

    /// The next message; `None` at the end. May be called off and called again without losing one.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(line) = self.take_line()? {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return decode::from_slice(&line)
                    .map(Some)
                    .map_err(|cause| ClientError::Answer {
                        request: self.name.clone(),
                        cause,
                    });
            }
            if self.ended {
                return Ok(None);
            }
            match self.answer.frame().await {
                None => self.ended = true,
                Some(Err(source)) => return Err((self.broken)(source)),
                Some(Ok(frame)) => {
                    self.pending
                        .extend_from_slice(&frame.into_data().unwrap_or_default());
                }
            }
        }
    }

    /// Takes a line off the front; at the end of the stream, whatever is left.
    fn take_line(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
            let rest = self.pending.split_off(end + 1);
            return Ok(Some(std::mem::replace(&mut self.pending, rest)));
        }
        if self.pending.len() > MESSAGE_BYTES_MAX {
            return Err(ClientError::TooLong {
                request: self.name.clone(),
                limit: MESSAGE_BYTES_MAX,
            });
        }
        let last = self.ended && !self.pending.is_empty();
        Ok(last.then(|| std::mem::take(&mut self.pending)))
    }
}
