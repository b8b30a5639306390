//! Bodies of answers: whole, or streamed through a bounded channel.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;
/// Where a stream's producer puts what it has; full, it waits.
pub type Sender = mpsc::Sender<Bytes>;

/// Pieces of a streamed body that are in flight.
const IN_FLIGHT: usize = 16;

/// A body that is there as a whole.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body that is produced while it is sent. It ends when the sender is dropped; sending fails
/// when the client is gone.
pub fn channel() -> (Sender, Body) {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    (sender, Pieces(receiver).boxed_unsync())
}

struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
