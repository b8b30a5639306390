//! The terminal that a person sits at: whether there is one, its size, and raw mode.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, Once, PoisonError};

use berth_sys::rustix::stdio::{stderr, stdin, stdout};
use berth_sys::rustix::termios::{self, OptionalActions, Termios};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::error::ConsoleError;

/// One of the program's standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Whether this stream is a terminal.
pub fn is_terminal(stream: Stream) -> bool {
    match stream {
        Stream::Stdin => termios::isatty(stdin()),
        Stream::Stdout => termios::isatty(stdout()),
        Stream::Stderr => termios::isatty(stderr()),
    }
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Its height.
    pub rows: u16,
    /// Its width.
    pub columns: u16,
}

/// The size of the user's terminal: of the first of standard output, input and error that is one
/// and has a size.
pub fn size() -> Option<Size> {
    [
        termios::tcgetwinsize(stdout()),
        termios::tcgetwinsize(stdin()),
        termios::tcgetwinsize(stderr()),
    ]
    .into_iter()
    .flatten()
    .find(|size| size.ws_row > 0 && size.ws_col > 0)
    .map(|size| Size {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// The settings to go back to, while a [`Raw`] lives. Not in it, because a panic and a signal must
/// find them too.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// What SIGTERM and SIGHUP mean while the terminal is raw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSignal {
    /// The end of the program, as always, behind the way back to the old settings.
    End,
    /// Something else: the program has handlers of its own.
    Handled,
}

/// Raw mode of the terminal at standard input: every key is passed on as it is, none is echoed and
/// none means a signal. The settings from before come back when this is dropped, when the program
/// panics, and when SIGTERM or SIGHUP ends it.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Enters raw mode; `None` where standard input is no terminal. Needs a tokio runtime with
    /// I/O where signals mean the end. One at a time: a second one changes nothing.
    ///
    /// # Errors
    /// The terminal refuses, or a signal cannot be taken over.
    pub fn enter(on_signal: OnSignal) -> Result<Option<Self>, ConsoleError> {
        if !is_terminal(Stream::Stdin) {
            return Ok(None);
        }
        let failed = |e: berth_sys::rustix::io::Errno| ConsoleError::Terminal { source: e.into() };
        if on_signal == OnSignal::End {
            end_on_signals()?;
        }
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let next = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                next(panic);
            }));
        });
        let before = termios::tcgetattr(stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        let mut slot = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(before);
        }
        termios::tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Some(Self(())))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Goes back to the settings from before raw mode, if any.
fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // A terminal that is gone has no settings.
        let _ = termios::tcsetattr(stdin(), OptionalActions::Drain, &before);
    }
}

/// From now on SIGTERM and SIGHUP restore the terminal and end the program with the exit status
/// that a shell shows for them.
fn end_on_signals() -> Result<(), ConsoleError> {
    for (name, kind) in [
        ("SIGTERM", SignalKind::terminate()),
        ("SIGHUP", SignalKind::hangup()),
    ] {
        let mut signals = signal(kind).map_err(|source| ConsoleError::Signal { name, source })?;
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                restore();
                std::process::exit(128 + kind.as_raw_value());
            }
        });
    }
    Ok(())
}

/// Tells a container the size of the user's terminal, now and whenever it changes, until this is
/// dropped.
#[derive(Debug)]
pub struct Sizes {
    again: Arc<Notify>,
    task: AbortHandle,
}

impl Sizes {
    /// Calls `tell` with the size at once, after every change, and after every
    /// [`Sizes::tell_again`]; one call at a time, and for several changes during a call only the
    /// last size. What `tell` comes to is its own business: a container that does not run yet
    /// cannot be resized, and one that does not run any more need not be. Needs a tokio runtime
    /// with I/O enabled.
    ///
    /// # Errors
    /// SIGWINCH cannot be taken over.
    pub fn follow<T, F>(tell: T) -> Result<Self, ConsoleError>
    where
        T: Fn(Size) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let changes: Signal =
            signal(SignalKind::window_change()).map_err(|source: io::Error| {
                ConsoleError::Signal {
                    name: "SIGWINCH",
                    source,
                }
            })?;
        let again = Arc::new(Notify::new());
        let task = tokio::spawn(follow(tell, changes, Arc::clone(&again))).abort_handle();
        Ok(Self { again, task })
    }

    /// Tells the size again: right after a start, since until then nobody may have listened.
    pub fn tell_again(&self) {
        self.again.notify_one();
    }
}

impl Drop for Sizes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow<T, F>(tell: T, mut changes: Signal, again: Arc<Notify>)
where
    T: Fn(Size) -> F,
    F: Future<Output = ()>,
{
    loop {
        if let Some(size) = size() {
            tell(size).await;
        }
        tokio::select! {
            changed = changes.recv() => if changed.is_none() { return },
            () = again.notified() => {}
        }
    }
}
