//! A container's output on its way to the user.

use std::io::{self, Write};
use std::time::Duration;

use berth_api::client::Output;
use berth_api::stream::{Decoder, StreamKind};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::error::ConsoleError;
use crate::modes::Modes;
use crate::terminal::{self, is_terminal};

/// How much is read from a stream at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// How many pieces may wait for a slow reader before the stream is held back.
const WAITING_MAX: usize = 16;
/// How long a user who leaves waits for a terminal that takes no output.
const LAST_OUTPUT_LIMIT: Duration = Duration::from_secs(1);

/// Prints what comes, to the end; taken apart into both streams where it is framed, and watched
/// for what it changes in the terminal where it is not.
pub(crate) async fn print_all(
    output: &mut Output,
    framed: bool,
    printer: &Printer,
    modes: &mut Modes,
) -> Result<(), ConsoleError> {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = output.read(&mut buffer).await;
        let read = read.map_err(|source| ConsoleError::Broken { source })?;
        let mut piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            let end = decoder.finish();
            return end.map_err(|source| ConsoleError::Frames { source });
        }
        if !framed {
            modes.feed(piece);
            printer.print(StreamKind::Stdout, piece).await?;
            continue;
        }
        print_frames(&mut decoder, &mut piece, printer).await?;
    }
}

/// Prints what one read brought: frames of one stream that follow each other in one piece, or a
/// log of short lines would be as many writes.
async fn print_frames(
    decoder: &mut Decoder,
    piece: &mut &[u8],
    printer: &Printer,
) -> Result<(), ConsoleError> {
    let mut gathered: Option<(StreamKind, Vec<u8>)> = None;
    let end = loop {
        match decoder.next(piece) {
            Ok(Some((kind, bytes))) => match &mut gathered {
                Some((of, all)) if *of == kind => all.extend_from_slice(bytes),
                other => {
                    if let Some((of, all)) = other.replace((kind, bytes.to_vec())) {
                        printer.hand(of, all).await?;
                    }
                }
            },
            Ok(None) => break Ok(()),
            Err(source) => break Err(ConsoleError::Frames { source }),
        }
    };
    if let Some((of, all)) = gathered {
        printer.hand(of, all).await?;
    }
    end
}

/// Writes on a thread of its own, so that a reader that stops reading holds back the output and
/// nothing else: keys and signals still reach the container.
pub(crate) struct Printer {
    pieces: mpsc::Sender<(StreamKind, Vec<u8>)>,
    end: oneshot::Receiver<()>,
}

impl Printer {
    pub(crate) fn start() -> Self {
        let (pieces, mut waiting) = mpsc::channel::<(StreamKind, Vec<u8>)>(WAITING_MAX);
        let (done, end) = oneshot::channel();
        std::thread::spawn(move || {
            while let Some((kind, bytes)) = waiting.blocking_recv() {
                let written = match kind {
                    StreamKind::Stdout | StreamKind::Stdin => write(&mut io::stdout(), &bytes),
                    StreamKind::Stderr | StreamKind::Engine => write(&mut io::stderr(), &bytes),
                };
                if written.is_err() {
                    return;
                }
            }
            // The receiver may have gone with the program's end.
            let _ = done.send(());
        });
        Self { pieces, end }
    }

    /// Hands a piece to the thread; waits where too many are there already.
    pub(crate) async fn print(&self, kind: StreamKind, bytes: &[u8]) -> Result<(), ConsoleError> {
        self.hand(kind, bytes.to_vec()).await
    }

    async fn hand(&self, kind: StreamKind, bytes: Vec<u8>) -> Result<(), ConsoleError> {
        let sent = self.pieces.send((kind, bytes)).await;
        sent.map_err(|_| ConsoleError::ReaderGone)
    }

    /// Puts back what the output changed in the user's terminal.
    pub(crate) async fn undo(&self, modes: &Modes) {
        let undo = modes.undo();
        if !undo.is_empty() && is_terminal(terminal::Stream::Stdout) {
            // Where nobody reads, nothing is to be put back.
            let _ = timeout(
                LAST_OUTPUT_LIMIT,
                self.print(StreamKind::Stdout, undo.as_bytes()),
            )
            .await;
        }
    }

    /// Waits until everything is written.
    pub(crate) async fn finish(self) -> Result<(), ConsoleError> {
        drop(self.pieces);
        self.end.await.map_err(|_| ConsoleError::ReaderGone)
    }

    /// As [`Printer::finish`], for a user who left: not for long.
    pub(crate) async fn finish_soon(self) {
        // Whoever left does not wait for a screen that takes nothing.
        let _ = timeout(LAST_OUTPUT_LIMIT, self.finish()).await;
    }
}

fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}
