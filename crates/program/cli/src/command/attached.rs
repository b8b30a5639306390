//! The streams of a container at the user's end: its output, the user's input and signals.

use berth_api::client::{Attached, Client, Output};
use berth_api::exec::ResizeQuery;
use berth_console::terminal::{self, OnSignal};
use berth_console::{ConsoleError, Ended, Leave, Options, Raw, Size, Sizes, Stream, Typing};
use berth_types::keys::DetachKeys;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, PIPE_CLOSED};

/// What is said to a user who left by the detach keys, where that is not simply success.
pub const ESCAPED: &str = "read escape sequence";

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

/// How the user's streams meet a container's.
#[derive(Debug)]
pub struct Seat {
    tty: bool,
    stdin: bool,
    detach_keys: DetachKeys,
    /// Restores the terminal when the seat is left.
    raw: Option<Raw>,
}

impl Seat {
    /// Readies the user's terminal: where both ends have one and the input goes there, every key
    /// is passed on from here on. To be done before the start, so that nothing is echoed twice.
    ///
    /// # Errors
    /// The input is wanted on a terminal and there is none here, or it refuses.
    pub fn take(tty: bool, stdin: bool, detach_keys: Option<&str>) -> Result<Self, Exit> {
        check(tty, stdin)?;
        // Keys that make no sense are the engine's to refuse.
        let detach_keys = DetachKeys::parse(detach_keys.unwrap_or_default()).unwrap_or_default();
        let raw = match tty && stdin {
            true => Raw::enter(OnSignal::End).map_err(|e| broken(&e))?,
            false => None,
        };
        Ok(Self {
            tty,
            stdin,
            detach_keys,
            raw,
        })
    }

    /// Connects the streams until the container's output ends, or the user leaves by the detach
    /// keys, which the engine heeds; then the terminal is the user's again. The end of the input
    /// closes the container's, no more.
    pub async fn converse(self, attached: Attached) -> Result<Ended, Exit> {
        let options = Options {
            tty: self.tty,
            typing: if self.stdin { Typing::On } else { Typing::Off },
            leave: match self.tty && self.stdin {
                true => Leave::AtEngine(&self.detach_keys),
                false => Leave::Never,
            },
        };
        let ended = berth_console::converse(attached, &options).await;
        drop(self.raw);
        ended.map_err(|e| broken(&e))
    }
}

/// Whether the user's input can go to a terminal.
///
/// # Errors
/// It is none, in Docker's words.
pub fn check(tty: bool, stdin: bool) -> Result<(), Exit> {
    if tty && stdin && !terminal::is_terminal(Stream::Stdin) {
        return Err(Exit::failed("the input device is not a TTY"));
    }
    Ok(())
}

/// The user's terminal's size as `[rows, columns]`, where it is one and counts.
pub fn console_size(tty: bool) -> Option<[u32; 2]> {
    let size = terminal::size().filter(|_| tty)?;
    Some([size.rows.into(), size.columns.into()])
}

/// What follows the user's window to the terminal of a container, until it is dropped.
///
/// # Errors
/// The system refuses to hand over the signal.
pub fn follow_size(client: &Client, id: &str) -> Result<Sizes, Exit> {
    let (client, id) = (client.clone(), id.to_owned());
    let sizes = Sizes::follow(move |size| {
        let (client, id) = (client.clone(), id.clone());
        async move {
            // A container that has ended has no size; its waiter learns of it.
            let _ = client.containers().resize(&id, cells(size)).await;
        }
    });
    sizes.map_err(|e| broken(&e))
}

/// A size as the engine wants it.
pub fn cells(size: Size) -> ResizeQuery {
    ResizeQuery {
        height: size.rows,
        width: size.columns,
    }
}

/// Prints a container's output to its end, taken apart into both streams unless it comes from a
/// terminal.
pub async fn show(output: Output, tty: bool) -> Result<(), Exit> {
    berth_console::show(output, tty)
        .await
        .map_err(|e| broken(&e))
}

/// The end of a command whose streams broke.
pub fn broken(error: &ConsoleError) -> Exit {
    match error {
        ConsoleError::ReaderGone => Exit::silent(PIPE_CLOSED),
        other => Exit::failed(format!("berth: {}", berth_types::chain(other))),
    }
}
