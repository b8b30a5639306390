//! The container's state machine: a value without I/O.
//!
//! ```text
//!             Start            Started
//!   Created ────────▶ Starting ───────▶ Running ──┐ Stop, Signal, Tick
//!      ▲  ▲              │ StartFailed     │  ▲───┘
//!      │  └──────────────┘                 │ Ended
//!      │                     Start         ▼
//!      └ ─ ─ ─ ─ ─ Starting ◀──────────  Exited
//!
//!   Created, Exited ── Remove ──▶ Removing ── RemoveDone ──▶ Removed
//!   Running ── Remove{force} ──▶ (killed) ── Ended ──▶ Removing
//! ```
//!
//! The actor takes an input, steps, carries the effects out and feeds their completions back.
//! Requests that find nothing to do answer [`Done::Unchanged`], which is not an error.

use berth_network::Endpoint;
use berth_types::Timestamp;
use berth_types::launch::{ExitRecord, ProcessIdentity, StartFailure, StartFailureKind};

use crate::record::{Phase, State};

/// SIGKILL, which cannot be caught.
const SIGKILL: i32 = 9;
/// Exit code of a program whose end nobody saw.
pub const EXIT_UNKNOWN: i32 = 255;

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
    Signal(i32),
    /// A request to stop: a signal, and SIGKILL when `kill_at` has come.
    Stop {
        /// The polite signal.
        signal: i32,
        /// When patience ends; absent for never.
        kill_at: Option<Timestamp>,
    },
    /// Time has passed.
    Tick(Timestamp),
    /// A request to remove; `force` kills a running program first.
    Remove {
        /// Whether a running container is killed.
        force: bool,
    },
    /// The program ended.
    Ended(End),
    /// The record and its claims are gone.
    RemoveDone,
    /// The record could not be removed: everything is as it was.
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
    /// As its monitor recorded.
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
    /// Clear what a run left below the exec root and in the kernel.
    ClearRuntime,
    /// Record the state durably, then publish it.
    Commit,
    /// Remove record, name and claims durably; answer with `RemoveDone`.
    Remove,
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
    /// A completion that nothing led up to: a fault in the engine, logged and ignored.
    Stray,
}

/// A container's state with what only matters while the engine lives.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    state: State,
    auto_remove: bool,
    remove_at_end: bool,
    kill_at: Option<Timestamp>,
    stopping: bool,
}

impl Lifecycle {
    /// Takes up the life of a container where its record left it.
    pub fn new(state: State, auto_remove: bool) -> Self {
        Self {
            state,
            auto_remove,
            remove_at_end: false,
            kill_at: None,
            stopping: false,
        }
    }

    /// The state, for the record.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Notes the container's place on the network; none once it has left it.
    pub fn place(&mut self, endpoint: Option<Endpoint>) {
        self.state.endpoint = endpoint;
    }

    /// When the next [`Input::Tick`] is wanted.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.kill_at
    }

    /// Takes one input.
    ///
    /// # Errors
    /// The input does not fit the state, which is then unchanged.
    pub fn step(&mut self, input: Input) -> Result<Done, Refused> {
        use Phase::{Created, Exited, Removed, Removing, Running, Starting};
        match (self.state.phase, input) {
            (Created | Exited, Input::Start) => {
                self.state.phase = Starting;
                self.state.error.clear();
                Ok(effects([Effect::Launch]))
            }
            (Starting | Running, Input::Start) => Ok(Done::Unchanged),

            (Starting | Created | Exited | Running, Input::Started(l)) => Ok(self.started(l)),
            (Starting, Input::StartFailed(failure)) => Ok(self.start_failed(&failure)),

            (Running, Input::Signal(signal)) => Ok(effects([Effect::Signal(signal)])),
            (Created | Starting | Exited, Input::Signal(_)) => Err(Refused::NotRunning),

            (Running, Input::Stop { signal, kill_at }) => Ok(self.stop(signal, kill_at)),
            (Created | Starting | Exited, Input::Stop { .. }) => Ok(Done::Unchanged),

            (Running, Input::Tick(now)) => Ok(self.tick(now)),
            (_, Input::Tick(_)) => Ok(Done::Unchanged),

            (Created | Exited, Input::Remove { .. }) => {
                self.state.phase = Removing;
                Ok(effects([Effect::Remove]))
            }
            (Running, Input::Remove { force: true }) => {
                self.remove_at_end = true;
                Ok(effects([Effect::Signal(SIGKILL)]))
            }
            (Running | Starting, Input::Remove { .. }) => Err(Refused::Running),

            (Running, Input::Ended(end)) => Ok(self.ended(end)),

            (Removing, Input::RemoveDone) => {
                self.state.phase = Removed;
                Ok(effects([]))
            }
            (Removing, Input::RemoveFailed) => {
                let ran = self.state.finished_at.is_set();
                self.state.phase = if ran { Exited } else { Created };
                self.remove_at_end = false;
                Ok(Done::Unchanged)
            }

            (
                Removing | Removed,
                Input::Start | Input::Signal(_) | Input::Stop { .. } | Input::Remove { .. },
            ) => Err(Refused::Removing),
            (
                _,
                Input::StartFailed(_) | Input::Ended(_) | Input::RemoveDone | Input::RemoveFailed,
            )
            | (Removing | Removed, Input::Started(_)) => Err(Refused::Stray),
        }
    }

    fn started(&mut self, launched: Launched) -> Done {
        let same = self.state.phase == Phase::Running && self.state.init == Some(launched.init);
        self.state.phase = Phase::Running;
        self.state.started_at = launched.at;
        // The exit code stays that of the last run, for those who wait for its end and are late.
        self.state.oom_killed = false;
        self.state.error.clear();
        self.state.init = Some(launched.init);
        self.state.monitor = Some(launched.monitor);
        if same {
            Done::Unchanged
        } else {
            effects([Effect::Commit])
        }
    }

    fn start_failed(&mut self, failure: &StartFailure) -> Done {
        let ran_before = self.state.finished_at.is_set();
        self.state.phase = if ran_before {
            Phase::Exited
        } else {
            Phase::Created
        };
        self.state.exit_code = match failure.kind {
            StartFailureKind::CommandNotFound | StartFailureKind::BadMount => 127,
            StartFailureKind::NotExecutable => 126,
            _ => 128,
        };
        self.state.error.clone_from(&failure.message);
        self.settle()
    }

    fn stop(&mut self, signal: i32, kill_at: Option<Timestamp>) -> Done {
        self.kill_at = match (self.stopping, self.kill_at, kill_at) {
            (true, Some(earlier), Some(new)) => Some(earlier.min(new)),
            (true, earlier, None) => earlier,
            (_, _, new) => new,
        };
        self.stopping = true;
        effects([Effect::Signal(signal)])
    }

    fn tick(&mut self, now: Timestamp) -> Done {
        match self.kill_at {
            Some(at) if at <= now => {
                self.kill_at = None;
                effects([Effect::Signal(SIGKILL)])
            }
            _ => Done::Unchanged,
        }
    }

    fn ended(&mut self, end: End) -> Done {
        let state = &mut self.state;
        state.phase = Phase::Exited;
        state.init = None;
        state.monitor = None;
        match end {
            End::Recorded(exit) => {
                state.exit_code = exit.code;
                state.oom_killed = exit.oom_killed;
                state.finished_at = exit.at;
                state.error = exit.reason.unwrap_or_default();
            }
            End::Unseen { at, reason } => {
                state.exit_code = EXIT_UNKNOWN;
                state.finished_at = at;
                state.error = reason;
            }
        }
        self.kill_at = None;
        self.stopping = false;
        self.settle()
    }

    /// What follows when a run is over: the record, or the removal.
    fn settle(&mut self) -> Done {
        if self.auto_remove || self.remove_at_end {
            self.state.phase = Phase::Removing;
            effects([Effect::ClearRuntime, Effect::Remove])
        } else {
            effects([Effect::ClearRuntime, Effect::Commit])
        }
    }
}

fn effects<const N: usize>(list: [Effect; N]) -> Done {
    Done::Effects(list.to_vec())
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
