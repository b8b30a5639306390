//! Bodies of answers: whole, or streamed through a bounded channel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use berth_types::task::{Wait, waits};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, Broken>;

/// A streamed answer that broke off. The connection is cut, so that the client takes what it has
/// for no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off")]
pub struct Broken;

/// Where a stream's producer puts what it has; full, it waits.
pub type Sender = mpsc::Sender<Bytes>;

/// How long a client may leave an archive that it asked for unread.
const READS_WITHIN: Duration = Duration::from_secs(600);
/// Pieces of a streamed body that are in flight.
const IN_FLIGHT: usize = 16;

/// A body that is there as a whole.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body that is produced while it is sent. It ends when the sender is dropped; sending fails
/// when the client is gone.
pub fn channel() -> (Sender, Body) {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    (sender, Pieces(receiver, Ok).boxed_unsync())
}

/// As [`channel`]; the producer can also say that the answer broke off.
pub fn breakable() -> (mpsc::Sender<Result<Bytes, Broken>>, Body) {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    (sender, Pieces(receiver, |piece| piece).boxed_unsync())
}

/// Puts a piece into a streamed body, from a thread that may wait.
///
/// # Errors
/// `BrokenPipe` when the client is gone, `TimedOut` when it reads nothing for [`READS_WITHIN`]: a
/// thread, and what the stream comes from, are not kept for ever for somebody who may never come
/// back.
pub fn send_blocking<T: Send>(sender: &mpsc::Sender<T>, piece: T) -> io::Result<()> {
    let piece = match sender.try_send(piece) {
        Ok(()) => return Ok(()),
        Err(TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
        Err(TrySendError::Full(piece)) => piece,
    };
    let _waits = waits(Wait::ClientToRead, Some(READS_WITHIN));
    let sent = async { tokio::time::timeout(READS_WITHIN, sender.send(piece)).await };
    match tokio::runtime::Handle::current().block_on(sent) {
        Ok(sent) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// What comes through a channel, and how it is read.
struct Pieces<T>(mpsc::Receiver<T>, fn(T) -> Result<Bytes, Broken>);

impl<T> hyper::body::Body for Pieces<T> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let read = self.1;
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| read(piece).map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_broke_off_is_no_whole_body() {
        for (last, whole) in [(Ok(Bytes::from("b")), true), (Err(Broken), false)] {
            let (sender, body) = breakable();
            sender.send(Ok(Bytes::from("a"))).await.unwrap();
            sender.send(last).await.unwrap();
            drop(sender);
            assert_eq!(body.collect().await.is_ok(), whole);
        }
    }
}
