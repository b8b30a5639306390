//! What a monitor says without being asked.

use berth_shim::protocol::{Decoder, Event};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use crate::lifecycle::End;

/// Bytes read from the monitor's link at once.
const LINK_READ: usize = 4096;

/// The connection that tells of the end of a run.
pub(super) struct Link {
    pub stream: UnixStream,
    pub decoder: Decoder,
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
    let mut buffer = [0; LINK_READ];
    loop {
        match link.decoder.event() {
            Ok(Some(Event::Exited(record))) => return Word::End(Some(End::Recorded(record))),
            Ok(Some(Event::OomKilled(kills))) => return Word::OomKilled(kills),
            Ok(None) => {}
            Ok(Some(Event::ExecExited(_))) => continue,
            Err(_) => return Word::End(None),
        }
        match link.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return Word::End(None),
            Ok(n) => link.decoder.push(&buffer[..n]),
        }
    }
}
