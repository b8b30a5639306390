//! The container's state machine: a value without I/O.
//!
//! ```text
//!             Start            Started            Pause, Frozen
//!   Created ────────▶ Starting ───────▶ Running ─────────────▶ Paused
//!      ▲  ▲              │ ▲ ▲  failed    │  ▲  Unpause, Thawed  │
//!      │  └──────────────┘ │ │            │  └───────────────────┤
//!      │          Tick, due│ │ Start      │ Ended                │ Ended
//!      │                   │ │            ▼                      ▼
//!      └ ─ ─ ─ ─ ─ Restarting└───────── Exited       (as from Running)
//!                          ▲              │
//!                          └── by policy, or because a restart was asked for
//!
//!   Created, Exited ── Remove ──▶ Removing ── RemoveDone ──▶ Removed
//!   Running, Paused ── Remove{force} ──▶ (killed) ── Ended ──▶ Removing
//!   Restarting ── Remove{force} ──▶ Removing;  ── Stop ──▶ Exited
//! ```
//!
//! The actor takes an input, steps, carries the effects out and feeds their completions back.
//! Requests that find nothing to do answer [`Done::Unchanged`], which is not an error. A frozen
//! program dies of nothing before it is thawed, so whatever ends it thaws it too, and one that is
//! being killed is not frozen any more.
//!
//! Time comes in with every input, and is that of a clock which only goes forward: what waits for
//! a moment waits as long when somebody sets the machine's clock. Only what the next engine has to
//! know of a pause is a date, in the record.

mod words;

use std::time::Duration;

use berth_network::Endpoint;
use berth_types::launch::{StartFailure, StartFailureKind};
use tokio::time::Instant;

use crate::record::{Phase, RestartPolicy, Restarts, State};
use crate::restart;

pub use words::{Done, Effect, End, Input, Launched, Now, Refused};

/// SIGKILL, which cannot be caught.
const SIGKILL: i32 = 9;
/// Exit code of a program whose end nobody saw.
pub const EXIT_UNKNOWN: i32 = 255;

/// A container's state with what only matters while the engine lives.
#[derive(Debug, Clone, PartialEq)]
pub struct Lifecycle {
    state: State,
    auto_remove: bool,
    policy: RestartPolicy,
    remove_at_end: bool,
    /// When patience with this run ends.
    kill_at: Option<Instant>,
    /// When the next one begins.
    restart_at: Option<Instant>,
    /// When this engine launched it.
    launched_at: Option<Instant>,
    stopping: bool,
    closing: bool,
    /// It was sent SIGKILL.
    killed: bool,
}

impl Lifecycle {
    /// Takes up the life of a container where its record left it. Of a pause before a restart, what
    /// its date leaves is waited for, and never longer than the whole.
    pub fn new(state: State, auto_remove: bool, policy: RestartPolicy, now: Now) -> Self {
        let restart_at = (state.phase == Phase::Restarting).then(|| {
            let whole = if state.restart.asked {
                Duration::ZERO
            } else {
                Duration::from_millis(state.restart.pause_ms)
            };
            let left = state
                .restart
                .due
                .map_or(Duration::ZERO, |due| now.date.age(due));
            now.instant + left.min(whole)
        });
        Self {
            state,
            auto_remove,
            policy,
            remove_at_end: false,
            kill_at: None,
            restart_at,
            launched_at: None,
            stopping: false,
            closing: false,
            killed: false,
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

    /// Whether a stop is under way.
    pub fn stopping(&self) -> bool {
        self.stopping
    }

    /// Another restart policy, from the end of this run on.
    pub fn set_policy(&mut self, policy: RestartPolicy) {
        self.policy = policy;
    }

    /// When the next [`Input::Tick`] is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        if self.closing && self.state.phase == Phase::Restarting {
            return None;
        }
        self.restart_at.or(self.kill_at)
    }

    /// Takes one input at the moment `now`.
    ///
    /// # Errors
    /// The input does not fit the state, which is then unchanged.
    pub fn step(&mut self, input: Input, now: Instant) -> Result<Done, Refused> {
        use Phase::{Created, Exited, Paused, Removed, Removing, Restarting, Running, Starting};
        match (self.state.phase, input) {
            (Created | Exited | Restarting, Input::Start | Input::Restart { .. })
                if self.closing =>
            {
                Err(Refused::Closing)
            }
            (Created | Exited, Input::Start) => Ok(self.begin(false)),
            (Starting | Running | Restarting, Input::Start) => Ok(Done::Unchanged),
            (Paused, Input::Start) => Err(Refused::Paused),
            (Exited, Input::EngineStarted) if self.policy.returns(&self.state) && !self.closing => {
                Ok(self.begin(false))
            }
            (_, Input::EngineStarted) => Ok(Done::Unchanged),

            (
                Starting | Created | Exited | Running | Paused | Restarting,
                Input::Started(launched),
            ) => Ok(self.started(launched, now)),
            (Starting, Input::StartFailed(failure)) => Ok(self.start_failed(&failure)),

            (Running | Paused, Input::Signal { signal, ends }) => Ok(self.signal(signal, ends)),
            (Restarting, Input::Signal { ends, .. }) => Ok(self.give_up(ends)),
            (Created | Starting | Exited, Input::Signal { .. }) => Err(Refused::NotRunning),

            (Running | Paused, Input::Stop { signal, patience }) => {
                Ok(self.stop(signal, end(now, patience), false))
            }
            (Restarting, Input::Stop { .. }) => Ok(self.give_up(true)),
            (Created | Starting | Exited, Input::Stop { .. }) => Ok(Done::Unchanged),

            (Running | Paused, Input::Restart { signal, patience }) => {
                Ok(self.stop(signal, end(now, patience), true))
            }
            (Created | Exited | Restarting, Input::Restart { .. }) => Ok(self.begin(true)),
            (Starting, Input::Restart { .. }) => Ok(Done::Unchanged),

            (Running | Paused, Input::Close { signal, patience }) => {
                Ok(self.close(signal, now + patience))
            }
            (_, Input::Close { .. }) => {
                self.closing = true;
                Ok(Done::Unchanged)
            }

            // Frozen, it would not die of what it was sent.
            (Running, Input::Pause) if self.killed => Err(Refused::NotRunning),
            (Running, Input::Pause) => Ok(effects([Effect::Freeze])),
            (Paused, Input::Pause) => Err(Refused::Paused),
            (Restarting, Input::Pause) => Err(Refused::Restarting),
            (Created | Starting | Exited, Input::Pause) => Err(Refused::NotRunning),
            (Paused, Input::Unpause) => Ok(effects([Effect::Thaw])),
            (Created | Starting | Running | Restarting | Exited, Input::Unpause) => {
                Err(Refused::NotPaused)
            }
            (Running, Input::Frozen) => Ok(self.turn(Paused)),
            (Paused, Input::Thawed) => Ok(self.turn(Running)),
            (Paused, Input::Frozen) | (Running, Input::Thawed) => Ok(Done::Unchanged),

            (Running | Paused | Restarting, Input::Tick) => Ok(self.tick(now)),
            (_, Input::Tick) => Ok(Done::Unchanged),

            (Created | Exited, Input::Remove { .. })
            | (Restarting, Input::Remove { force: true }) => {
                self.state.phase = Removing;
                self.restart_at = None;
                Ok(effects([Effect::Remove]))
            }
            (Running | Paused, Input::Remove { force: true }) => {
                self.remove_at_end = true;
                Ok(self.signal(SIGKILL, true))
            }
            (Running | Paused | Restarting | Starting, Input::Remove { .. }) => {
                Err(Refused::Running)
            }

            (Running | Paused, Input::OomKilled(kills)) => Ok(self.oom_killed(kills)),
            // Told by a monitor whose container's end is known.
            (_, Input::OomKilled(_)) => Ok(Done::Unchanged),
            (Running | Paused, Input::Ended(end)) => Ok(self.ended(end, now)),

            (Removing, Input::RemoveDone) => {
                self.state.phase = Removed;
                Ok(effects([]))
            }
            (Removing, Input::RemoveFailed) => {
                let ran = self.state.finished_at.is_set();
                self.state.phase = if ran { Exited } else { Created };
                self.state.restart.due = None;
                self.remove_at_end = false;
                // The row may still tell of the run, or of a restart that will not be.
                Ok(effects([Effect::Commit]))
            }

            (Created | Starting | Running | Paused | Restarting | Exited, Input::Change) => {
                Ok(effects([]))
            }

            (
                Removing | Removed,
                Input::Start
                | Input::Signal { .. }
                | Input::Stop { .. }
                | Input::Restart { .. }
                | Input::Pause
                | Input::Unpause
                | Input::Change
                | Input::Remove { .. },
            ) => Err(Refused::Removing),
            (
                _,
                Input::StartFailed(_)
                | Input::Frozen
                | Input::Thawed
                | Input::Ended(_)
                | Input::RemoveDone
                | Input::RemoveFailed,
            )
            | (Removing | Removed, Input::Started(_)) => Err(Refused::Stray),
        }
    }

    /// A start that a person asked for, or that the engine makes when it starts.
    fn begin(&mut self, asked: bool) -> Done {
        self.state.phase = Phase::Starting;
        self.restart_at = None;
        self.state.error.clear();
        self.state.restart = Restarts {
            asked,
            ..Restarts::default()
        };
        effects([Effect::Launch])
    }

    fn started(&mut self, launched: Launched, now: Instant) -> Done {
        let same = self.state.phase.is_live() && self.state.init == Some(launched.init);
        // One that an earlier engine launched began some time ago.
        let own = self.state.phase == Phase::Starting;
        self.launched_at = own.then_some(now).or(self.launched_at.filter(|_| same));
        self.restart_at = None;
        self.state.started_at = launched.at;
        // The exit code stays that of the last run, for those who wait for its end and are late.
        if !same {
            (self.state.oom_killed, self.state.oom_kills) = (false, 0);
        }
        self.state.error.clear();
        self.state.init = Some(launched.init);
        self.state.monitor = Some(launched.monitor);
        if same {
            return Done::Unchanged;
        }
        self.state.phase = Phase::Running;
        let earlier = std::mem::take(&mut self.state.restart);
        if earlier.due.is_some() && !earlier.asked {
            self.state.restart.count = earlier.count.saturating_add(1);
            self.state.restart.pause_ms = earlier.pause_ms;
        }
        effects([Effect::Commit])
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
        self.state.restart.due = None;
        let asked = std::mem::take(&mut self.state.restart.asked);
        self.settle((self.auto_remove && !asked) || self.remove_at_end)
    }

    /// A signal from a person. Where a policy, or a restart that was asked for before, could start
    /// the program again behind the engine's back, what was asked is recorded before it is done.
    fn signal(&mut self, signal: i32, ends: bool) -> Done {
        let thaw = ends && self.state.phase == Phase::Paused;
        let restart = &mut self.state.restart;
        let news = !restart.manually_stopped || (ends && (!restart.cancelled || restart.asked));
        let takes_back = ends && restart.asked;
        restart.manually_stopped = true;
        if ends {
            restart.cancelled = true;
            restart.asked = false;
        }
        self.killed |= signal == SIGKILL;
        let could = takes_back || self.policy != RestartPolicy::No;
        self.send(signal, news && could, thaw)
    }

    fn send(&self, signal: i32, record: bool, thaw: bool) -> Done {
        let mut list = Vec::new();
        if record {
            list.push(Effect::Commit);
        }
        list.push(Effect::Signal(signal));
        if thaw {
            list.push(Effect::Thaw);
        }
        Done::Effects(list)
    }

    /// A request to end that comes between two runs.
    fn give_up(&mut self, ends: bool) -> Done {
        self.state.restart.manually_stopped = true;
        if ends {
            self.state.restart.cancelled = true;
            self.state.restart.asked = false;
            self.state.restart.due = None;
            self.restart_at = None;
            self.state.phase = Phase::Exited;
            if self.auto_remove {
                // A restart was asked for, and what follows that end after all.
                self.state.phase = Phase::Removing;
                return effects([Effect::Remove]);
            }
        }
        effects([Effect::Commit])
    }

    fn stop(&mut self, signal: i32, kill_at: Option<Instant>, again: bool) -> Done {
        self.kill_at = match (self.stopping, self.kill_at, kill_at) {
            (true, Some(earlier), Some(new)) => Some(earlier.min(new)),
            (true, earlier, None) => earlier,
            (_, _, new) => new,
        };
        self.stopping = true;
        if !again {
            return self.signal(signal, true);
        }
        self.state.restart.asked = true;
        self.state.restart.cancelled = false;
        self.killed |= signal == SIGKILL;
        self.send(signal, true, self.state.phase == Phase::Paused)
    }

    /// Nothing is recorded before the signal: without this engine's word the next one takes the end
    /// for one of the program's own, and the policy for what it is.
    fn close(&mut self, signal: i32, kill_at: Instant) -> Done {
        self.closing = true;
        self.kill_at = Some(self.kill_at.map_or(kill_at, |earlier| earlier.min(kill_at)));
        if std::mem::replace(&mut self.stopping, true) {
            return Done::Unchanged;
        }
        self.send(signal, false, self.state.phase == Phase::Paused)
    }

    fn turn(&mut self, phase: Phase) -> Done {
        self.state.phase = phase;
        effects([Effect::Commit])
    }

    fn tick(&mut self, now: Instant) -> Done {
        match self.deadline() {
            Some(at) if at <= now => {}
            _ => return Done::Unchanged,
        }
        if self.state.phase == Phase::Restarting {
            self.state.phase = Phase::Starting;
            self.restart_at = None;
            // A date stays: by it the start is known as a restart, also to the next engine.
            self.state.restart.due.get_or_insert(self.state.finished_at);
            return effects([Effect::Launch]);
        }
        self.kill_at = None;
        self.killed = true;
        self.send(SIGKILL, false, self.state.phase == Phase::Paused)
    }

    /// Recorded the first time; after that it only counts, and a monitor counts again for an
    /// engine that did not hear of it.
    fn oom_killed(&mut self, kills: u64) -> Done {
        if kills <= self.state.oom_kills {
            return Done::Unchanged;
        }
        self.state.oom_kills = kills;
        match std::mem::replace(&mut self.state.oom_killed, true) {
            false => effects([Effect::Commit]),
            true => effects([]),
        }
    }

    fn ended(&mut self, end: End, now: Instant) -> Done {
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
        self.killed = false;
        let ran = match self.launched_at.take() {
            Some(at) => now.duration_since(at),
            // By the dates of two monitors' records: all that is left of a run under two engines.
            None => state.started_at.age(state.finished_at),
        };
        // What returns with the next engine has ended until then.
        let returns = self.closing && self.policy.returns(state);
        let again = state.restart.asked || (self.policy.follows(state) && !returns);
        if again && !self.remove_at_end {
            state.phase = Phase::Restarting;
            self.restart_at = Some(now + restart::schedule(state, ran));
            return effects([Effect::ClearRuntime, Effect::Commit]);
        }
        self.settle(self.auto_remove || self.remove_at_end)
    }

    /// What follows when a run is over: the record, or the removal.
    fn settle(&mut self, remove: bool) -> Done {
        if remove {
            self.state.phase = Phase::Removing;
            effects([Effect::ClearRuntime, Effect::Remove])
        } else {
            effects([Effect::ClearRuntime, Effect::Commit])
        }
    }
}

/// When patience ends; never, where that is further away than the clock goes.
fn end(now: Instant, patience: Option<Duration>) -> Option<Instant> {
    now.checked_add(patience?)
}

fn effects<const N: usize>(list: [Effect; N]) -> Done {
    Done::Effects(list.to_vec())
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "lifecycle_reach.rs"]
mod reach;
