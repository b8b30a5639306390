//! What goes into a container's state machine, and what comes out of it.

use std::time::Duration;

use berth_types::Timestamp;
use berth_types::launch::{ExitRecord, ProcessIdentity, StartFailure};
use tokio::time::Instant;

/// What happens to a container.
#[derive(Debug, Clone)]
pub enum Input {
    /// A request to start.
    Start,
    /// The launch succeeded, or the monitor of an earlier engine was found.
    Started(Launched),
    /// The launch failed.
    StartFailed(StartFailure),
    /// A request to send a signal.
    Signal {
        /// Its number.
        signal: i32,
        /// Whether it is one that asks the program to end, so that no policy starts it again.
        ends: bool,
    },
    /// A request to stop: a signal, and SIGKILL when patience is over.
    Stop {
        /// The polite signal.
        signal: i32,
        /// How long patience lasts; absent for ever.
        patience: Option<Duration>,
    },
    /// A request to stop and start again; one that does not run is started.
    Restart {
        /// The polite signal.
        signal: i32,
        /// How long patience lasts; absent for ever.
        patience: Option<Duration>,
    },
    /// The machine goes down: a stop that nobody asked for. The container starts no more here, and
    /// its policy counts with the next engine.
    Close {
        /// The polite signal.
        signal: i32,
        /// How long patience lasts.
        patience: Duration,
    },
    /// A request to freeze the program.
    Pause,
    /// A request to let it go on.
    Unpause,
    /// The program is frozen.
    Frozen,
    /// The program goes on.
    Thawed,
    /// A request to change the name or the limits, which the actor carries out where this allows
    /// it.
    Change,
    /// The engine has started and taken up what it found.
    EngineStarted,
    /// Time has passed.
    Tick,
    /// A request to remove; `force` kills a running program first.
    Remove {
        /// Whether a running container is killed.
        force: bool,
    },
    /// The kernel has killed so many processes of this run for want of memory.
    OomKilled(u64),
    /// The program ended.
    Ended(End),
    /// The record and its claims are gone.
    RemoveDone,
    /// The record could not be removed: what is left of the container is an ended one.
    RemoveFailed,
}

/// A running container, as its monitor describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched {
    /// The container's init.
    pub init: ProcessIdentity,
    /// The monitor.
    pub monitor: ProcessIdentity,
    /// When the program was executed.
    pub at: Timestamp,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As its monitor recorded, or as the engine saw itself where the monitor was silent.
    Recorded(ExitRecord),
    /// Nobody saw it; the sentence says why.
    Unseen {
        /// When it was found out.
        at: Timestamp,
        /// Why nobody saw it.
        reason: String,
    },
}

/// What the actor has to do, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Start the program; answer with `Started` or `StartFailed`.
    Launch,
    /// Send a signal to the program.
    Signal(i32),
    /// Freeze the program; answer with `Frozen`.
    Freeze,
    /// Let it go on; answer with `Thawed`.
    Thaw,
    /// Clear what a run left below the exec root and in the kernel.
    ClearRuntime,
    /// Record the state durably, then publish it.
    Commit,
    /// Remove record, name and claims durably; answer with `RemoveDone`.
    Remove,
}

/// The present, on both clocks: what a record says is a date, what is waited for is not.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// By the machine's clock, which people set.
    pub date: Timestamp,
    /// By one that only goes forward.
    pub instant: Instant,
}

/// An input that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Do this.
    Effects(Vec<Effect>),
    /// There was nothing to do.
    Unchanged,
}

/// An input that does not fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The request needs a running container.
    NotRunning,
    /// The request needs a container that does not run.
    Running,
    /// The container is being removed.
    Removing,
    /// The request needs a container that is not paused.
    Paused,
    /// The request needs a container that is paused.
    NotPaused,
    /// The request needs a container that runs, and this one waits for its next start.
    Restarting,
    /// The engine ends with the machine and starts nothing any more.
    Closing,
    /// A completion that nothing led up to: a fault in the engine, logged and ignored.
    Stray,
}
