//! The streams of a container at the user's end: its output, the user's input and signals.

use std::io::{self, Read, Write};

use berth_api::client::{Attached, Client, Input, Output};
use berth_api::stream::{Decoder, StreamKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::exit::{Exit, PIPE_CLOSED};

/// How much is read from a stream at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// How many pieces may wait for a slow reader before the stream is held back.
const WAITING_MAX: usize = 16;

/// The signals that are passed on to a container's process.
const FORWARDED: [(SignalKind, &str); 7] = [
    (SignalKind::hangup(), "SIGHUP"),
    (SignalKind::interrupt(), "SIGINT"),
    (SignalKind::quit(), "SIGQUIT"),
    (SignalKind::user_defined1(), "SIGUSR1"),
    (SignalKind::user_defined2(), "SIGUSR2"),
    (SignalKind::alarm(), "SIGALRM"),
    (SignalKind::terminate(), "SIGTERM"),
];

/// Passes signals on to the container from now on, until the program ends.
///
/// # Errors
/// The system refuses to hand over a signal.
pub fn forward_signals(client: &Client, id: &str) -> Result<(), Exit> {
    for (kind, name) in FORWARDED {
        let mut signals = signal(kind)
            .map_err(|e| Exit::failed(format!("berth: cannot take over {name}: {e}")))?;
        let (client, id) = (client.clone(), id.to_owned());
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // The container may have ended already, which its waiter learns.
                let _ = client.containers().kill(&id, Some(name)).await;
            }
        });
    }
    Ok(())
}

/// Connects the user's streams with the container's until its output ends; `stdin` says whether
/// the user's input goes there too. The end of the input closes the container's, no more.
pub async fn connect(attached: Attached, stdin: bool, tty: bool) -> Result<(), Exit> {
    let Attached { output, input } = attached;
    if stdin {
        tokio::spawn(send_input(input));
        return show(output, tty).await;
    }
    // Kept to the end: letting go of it would close the connection's half.
    let shown = show(output, tty).await;
    drop(input);
    shown
}

/// Copies standard input. It is read on a thread of its own, because a read from a terminal or
/// pipe cannot be called off; the thread ends with the program.
async fn send_input(mut input: Input) {
    let (sender, mut pieces) = mpsc::channel::<Vec<u8>>(WAITING_MAX);
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => {
                    if sender.blocking_send(buffer[..read].to_vec()).is_err() {
                        return;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    while let Some(piece) = pieces.recv().await {
        if input.write_all(&piece).await.is_err() || input.flush().await.is_err() {
            // The container does not read any more; its output tells the rest.
            return;
        }
    }
    // As above: an error here means that the other side has gone already.
    let _ = input.shutdown().await;
    // The connection stays whole until the output has ended.
    std::future::pending::<()>().await;
}

/// Prints a container's output to its end, taken apart into both streams unless it comes from a
/// terminal.
pub async fn show(mut output: Output, tty: bool) -> Result<(), Exit> {
    let printer = Printer::start();
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let broken = |e: &dyn std::fmt::Display| Exit::failed(format!("berth: {e}"));
    loop {
        let read = output.read(&mut buffer).await.map_err(|e| broken(&e))?;
        let mut piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        if tty {
            printer.print(StreamKind::Stdout, piece).await?;
            continue;
        }
        while let Some((kind, bytes)) = decoder.next(&mut piece).map_err(|e| broken(&e))? {
            printer.print(kind, bytes).await?;
        }
    }
    printer.finish().await?;
    decoder.finish().map_err(|e| broken(&e))
}

/// Writes on a thread of its own, so that a reader that stops reading holds back the output and
/// nothing else: signals still reach the container.
struct Printer {
    pieces: mpsc::Sender<(StreamKind, Vec<u8>)>,
    end: oneshot::Receiver<()>,
}

impl Printer {
    fn start() -> Self {
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

    async fn print(&self, kind: StreamKind, bytes: &[u8]) -> Result<(), Exit> {
        let sent = self.pieces.send((kind, bytes.to_vec())).await;
        sent.map_err(|_| Exit::silent(PIPE_CLOSED))
    }

    /// Waits until everything is written.
    async fn finish(self) -> Result<(), Exit> {
        drop(self.pieces);
        self.end.await.map_err(|_| Exit::silent(PIPE_CLOSED))
    }
}

fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}
