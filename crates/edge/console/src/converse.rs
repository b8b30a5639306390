//! The streams of a container and those of the user, connected.

use std::time::Duration;

use berth_api::client::{Attached, Input, Output};
use berth_types::keys::{DetachKeys, Scanner};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::error::ConsoleError;
use crate::input::Keyboard;
use crate::modes::Modes;
use crate::output::{Printer, print_all};

/// How long an engine may take to let a user go who typed its detach keys.
const DETACH_LIMIT: Duration = Duration::from_secs(5);

/// Keys by which someone who only watches leaves, beside those of [`Options::leave`].
const WATCH_LEAVE: [u8; 3] = [b'q', b'Q', 0x03];

/// What becomes of the user's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// Nothing: it is not read.
    Off,
    /// It goes to the container; its end closes the container's input and no more.
    On,
    /// It is read and not sent: `q`, Ctrl-C and the keys to leave end the conversation.
    Watch,
}

/// Keys that end the conversation while the container goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave<'a> {
    /// None.
    Never,
    /// These, which the container never sees.
    Here(&'a DetachKeys),
    /// These, by which the engine ends the stream; they are sent, and the end that follows them is
    /// [`Ended::Detached`].
    AtEngine(&'a DetachKeys),
}

/// How [`converse`] connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options<'a> {
    /// Whether the container has a terminal: its output is then one stream of plain bytes instead
    /// of frames.
    pub tty: bool,
    /// What becomes of the user's input.
    pub typing: Typing,
    /// The keys to leave.
    pub leave: Leave<'a>,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The container's output ended.
    Closed,
    /// The user left.
    Detached,
}

/// Connects the user's streams with the container's until the container's output ends or the user
/// leaves. Raw mode is the caller's (see [`crate::Raw`]). Needs a tokio runtime with time enabled.
///
/// # Errors
/// The connection broke, its bytes are no frames, or nobody reads the output.
pub async fn converse(streams: Attached, options: &Options<'_>) -> Result<Ended, ConsoleError> {
    let Attached {
        mut output,
        mut input,
    } = streams;
    let printer = Printer::start();
    let mut modes = Modes::default();
    let ended = {
        let shown = print_all(&mut output, !options.tty, &printer, &mut modes);
        let typed = read_user(&mut input, options);
        tokio::pin!(shown, typed);
        tokio::select! {
            end = &mut shown => end.map(|()| Ended::Closed),
            typed = &mut typed => match typed {
                Ok(Typed::Left) => Ok(Ended::Detached),
                // What came last is still shown; an engine that does not let go is left.
                Ok(Typed::Leaving) => match timeout(DETACH_LIMIT, shown).await {
                    Ok(end) => end.map(|()| Ended::Detached),
                    Err(_) => Ok(Ended::Detached),
                },
                Ok(Typed::Over) => shown.await.map(|()| Ended::Closed),
                Err(e) => Err(e),
            },
        }
    };
    // Kept to the end: letting go of it would close the connection's half.
    drop(input);
    printer.undo(&modes).await;
    match ended {
        Ok(Ended::Closed) => printer.finish().await.map(|()| Ended::Closed),
        other => {
            printer.finish_soon().await;
            other
        }
    }
}

/// Prints a container's output to its end; `tty` says whether it comes from a terminal, otherwise
/// it is framed.
///
/// # Errors
/// As [`converse`].
pub async fn show(mut output: Output, tty: bool) -> Result<(), ConsoleError> {
    let printer = Printer::start();
    let shown = print_all(&mut output, !tty, &printer, &mut Modes::default()).await;
    // What came before a failure is shown before it is told.
    let finished = printer.finish().await;
    shown.and(finished)
}

/// How the user's part ended.
enum Typed {
    /// The input ended, or the container takes none.
    Over,
    /// The user left.
    Left,
    /// The user asked the engine to be let go.
    Leaving,
}

async fn read_user(input: &mut Input, options: &Options<'_>) -> Result<Typed, ConsoleError> {
    let (keys, here) = match options.leave {
        Leave::Never => (None, false),
        Leave::Here(keys) => (Some(keys), true),
        Leave::AtEngine(keys) => (Some(keys), false),
    };
    let mut scanner = keys.cloned().map(Scanner::new);
    let mut passed = Vec::new();
    let mut is_to_leave = |piece: &[u8], passed: &mut Vec<u8>| {
        passed.clear();
        scanner
            .as_mut()
            .is_some_and(|scanner| scanner.scan(piece, passed))
    };
    match options.typing {
        Typing::Off => Ok(Typed::Over),
        Typing::Watch => {
            let mut keyboard = Keyboard::open()?;
            while let Some(piece) = keyboard.next().await {
                if is_to_leave(&piece, &mut passed)
                    || piece.iter().any(|byte| WATCH_LEAVE.contains(byte))
                {
                    return Ok(Typed::Left);
                }
            }
            Ok(Typed::Over)
        }
        Typing::On => {
            let mut keyboard = Keyboard::open()?;
            while let Some(piece) = keyboard.next().await {
                let leaves = is_to_leave(&piece, &mut passed);
                let bytes = if here { &passed } else { &piece };
                let sent = match bytes.is_empty() {
                    true => Ok(()),
                    false => send(input, bytes).await,
                };
                match (leaves, here) {
                    (true, true) => return Ok(Typed::Left),
                    (true, false) => return Ok(Typed::Leaving),
                    (false, _) => {}
                }
                if sent.is_err() {
                    // The container does not read any more; its output tells the rest.
                    return Ok(Typed::Over);
                }
            }
            if let (true, Some(scanner)) = (here, &mut scanner) {
                // As above, here and below: an error means that the other side has gone already.
                let _ = send(input, scanner.rest()).await;
            }
            let _ = input.shutdown().await;
            Ok(Typed::Over)
        }
    }
}

async fn send(input: &mut Input, bytes: &[u8]) -> std::io::Result<()> {
    input.write_all(bytes).await?;
    input.flush().await
}

#[cfg(test)]
mod tests {
    use berth_api::client::Attached;
    use berth_api::stream::{StreamKind, frame};
    use tokio::io::AsyncWriteExt as _;

    use super::{Ended, Leave, Options, Typing, converse};

    fn run(future: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(future);
    }

    #[test]
    fn the_end_of_the_output_is_the_end() {
        run(async {
            let (ours, theirs) = tokio::io::duplex(64);
            let (output, input) = tokio::io::split(ours);
            let streams = Attached {
                output: Box::new(output),
                input: Box::new(input),
            };
            let options = Options {
                tty: false,
                typing: Typing::Off,
                leave: Leave::Never,
            };
            let speaker = tokio::spawn(async move {
                let mut theirs = theirs;
                theirs
                    .write_all(&frame(StreamKind::Stdout, b""))
                    .await
                    .unwrap();
            });
            assert_eq!(converse(streams, &options).await.unwrap(), Ended::Closed);
            speaker.await.unwrap();
        });
    }

    #[test]
    fn a_torn_frame_is_told() {
        run(async {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let (output, input) = tokio::io::split(ours);
            let streams = Attached {
                output: Box::new(output),
                input: Box::new(input),
            };
            let options = Options {
                tty: false,
                typing: Typing::Off,
                leave: Leave::Never,
            };
            theirs.write_all(&[1, 0, 0, 0, 0]).await.unwrap();
            drop(theirs);
            let error = converse(streams, &options).await.unwrap_err();
            assert_eq!(error.to_string(), "the container's output cannot be read");
        });
    }
}
