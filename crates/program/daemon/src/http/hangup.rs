//! Noticing that a client is gone, and not only done with sending.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Socket;

use tokio::io::Interest;
use tokio::net::UnixStream;

/// A watch on one connection. Reading tells nothing here: the end of what a client sends is no
/// sign that it does not listen any more.
#[derive(Debug)]
pub struct HangUp(Option<UnixStream>);

impl HangUp {
    /// Watches a stream. Where there is no descriptor left for that, the end is noticed when
    /// something is sent.
    pub fn of(stream: &UnixStream) -> Self {
        // A registration of its own: what is cleared below must not be missed by a writer.
        let copy = stream.as_fd().try_clone_to_owned();
        Self(
            copy.and_then(|fd| UnixStream::from_std(Socket::from(fd)))
                .ok(),
        )
    }

    /// Resolves when the other end has closed its connection, both directions of it: that is the
    /// hang-up of `epoll_ctl(2)`, which is reported like the end of writing.
    pub async fn noticed(&self) {
        let Some(watch) = &self.0 else {
            return std::future::pending().await;
        };
        while let Ok(ready) = watch.ready(Interest::WRITABLE).await {
            if ready.is_write_closed() {
                return;
            }
            // It could be written to, which is not asked: wait for the next change.
            let ask_again = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = watch.try_io(Interest::WRITABLE, ask_again);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn a_half_closed_connection_is_not_over() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let watch = HangUp::of(&near);
        far.write_all(b"last words").await.unwrap();
        far.shutdown().await.unwrap();
        tokio::time::timeout(Duration::from_millis(50), watch.noticed())
            .await
            .unwrap_err();
        drop(far);
        tokio::time::timeout(Duration::from_secs(10), watch.noticed())
            .await
            .unwrap();
    }
}
