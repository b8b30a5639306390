//! What a monitor says without being asked.

use std::future::poll_fn;
use std::io;

use berth_shim::protocol::{Decoder, Event};
use tokio::net::UnixStream;

use crate::lifecycle::End;

/// Bytes read from the monitor's link at once.
const LINK_READ: usize = 4096;

/// The connection that tells of the end of a run.
pub(super) struct Link {
    pub stream: UnixStream,
    pub decoder: Decoder,
}

impl Link {
    /// Takes what there is to read; how many bytes that were. The buffer is on the stack for that
    /// long: in the future that waits, every container that runs would have one.
    fn read(&mut self) -> io::Result<usize> {
        let mut buffer = [0; LINK_READ];
        let n = self.stream.try_read(&mut buffer)?;
        self.decoder.push(&buffer[..n]);
        Ok(n)
    }
}

/// What a monitor says without being asked.
pub(super) enum Word {
    /// So many processes were killed for want of memory.
    OomKilled(u64),
    /// An exit record; `None` where the monitor is gone without a word.
    End(Option<End>),
}

/// Waits for the monitor's word.
pub(super) async fn next_word(link: &mut Option<Link>) -> Word {
    let Some(link) = link else {
        return std::future::pending().await;
    };
    loop {
        match link.decoder.event() {
            Ok(Some(Event::Exited(record))) => return Word::End(Some(End::Recorded(record))),
            Ok(Some(Event::OomKilled(kills))) => return Word::OomKilled(kills),
            Ok(None) => {}
            Ok(Some(Event::ExecExited(_))) => continue,
            Err(_) => return Word::End(None),
        }
        let readable = poll_fn(|context| link.stream.poll_read_ready(context)).await;
        match readable.and_then(|()| link.read()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return Word::End(None),
            Ok(_) => {}
        }
    }
}
