//! A program that was killed, and a monitor that does not say so.
//!
//! Who is stopped, by a debugger for example, or sleeps where the kernel does not wake it, tells
//! nobody of the end of its container. So after a SIGKILL the actor asks the kernel:
//!
//! ```text
//!   SIGKILL to the program ── 1 s ──▶ dead? ── no ──▶ asked again, seldom: it hangs in the kernel
//!                                      │ yes, and how is read off while nobody has reaped it
//!                                      ▼ 4 s for the monitor to say it itself
//!                          SIGKILL to the monitor ── 1 s ──▶ whatever became of it, it runs nothing
//!                                                            any more: the run is over
//! ```
//!
//! Both are known by number and start time, so that no stranger is hit. A monitor that was silent
//! before gets no time. With SIGKILL pending it never comes back to its program, even where the
//! kernel does not let it die: it does nothing more, but it is there, and until it is gone the
//! container is not started again by this engine.

use std::time::Duration;

use berth_sys::process::{Life, life};
use berth_types::launch::{EXIT_RECORD_VERSION, ExitRecord, ProcessIdentity};
use tokio::time::Instant;

use super::Actor;
use crate::effects::{self, LaunchFault};
use crate::error::ContainerError;
use crate::lifecycle::{End, Input};
use crate::signal;

/// After a SIGKILL, until the kernel is asked: the end is told within some milliseconds.
const FIRST: Duration = Duration::from_secs(1);
/// The same where the monitor was silent before.
const SOON: Duration = Duration::from_millis(50);
/// How long a monitor has for telling of the end of its program.
const TELLS_WITHIN: Duration = Duration::from_secs(4);
/// How long a killed monitor is waited for.
const MONITOR_DIES_WITHIN: Duration = Duration::from_secs(1);
/// Longest pause between two looks at a program that hangs.
const SELDOM: Duration = Duration::from_secs(30);
/// What a killed program's code is, where nobody saw another one.
const KILLED: i32 = 128 + signal::KILL;

/// How far the doubt about a killed program's monitor has come.
pub(super) struct Doubt {
    /// When it is looked again.
    pub next: Instant,
    pause: Duration,
    stage: Stage,
    /// The monitor is known not to answer.
    is_silent: bool,
    init: ProcessIdentity,
    monitor: Option<ProcessIdentity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The program was not seen dead yet.
    Killed,
    /// It is dead, with this code where that could be seen.
    Dead(Option<i32>),
    /// And its monitor was killed, too.
    MonitorKilled(Option<i32>),
}

impl Actor {
    /// The program was sent SIGKILL.
    pub(super) fn doubt(&mut self, is_silent: bool) {
        #[cfg(test)]
        if crate::sim::groups().is_some() {
            return;
        }
        let state = self.life.state();
        let Some(init) = state.init.filter(|init| init.pid != 0) else {
            return;
        };
        let monitor = state.monitor;
        let pause = if is_silent { SOON } else { FIRST };
        self.doubt.get_or_insert(Doubt {
            next: Instant::now() + pause,
            pause,
            stage: Stage::Killed,
            is_silent,
            init,
            monitor,
        });
    }

    /// Asks the kernel for what the monitor has not told.
    pub(super) async fn look_at_killed(&mut self) {
        let Some(mut doubt) = self.doubt.take() else {
            return;
        };
        let now = Instant::now();
        match doubt.stage {
            Stage::Killed => match life(doubt.init) {
                // Who was reaped was reaped by its monitor, which may be about to tell.
                Ok(Life::Gone) => doubt.dead(None, now),
                Ok(Life::Ended(exit)) => doubt.dead(Some(exit.shell_code()), now),
                Ok(Life::Alive) | Err(_) => {
                    doubt.pause = (doubt.pause * 2).clamp(FIRST, SELDOM);
                    doubt.next = now + doubt.pause;
                }
            },
            Stage::Dead(code) => {
                tracing::warn!(id = %self.record.id, "the monitor does not tell of the end of its container and is killed");
                if let Some(monitor) = doubt.monitor
                    && let Err(error) = effects::signal(monitor, signal::KILL)
                {
                    tracing::debug!(id = %self.record.id, %error, "monitor not signalled");
                }
                doubt.stage = Stage::MonitorKilled(code);
                doubt.next = now + MONITOR_DIES_WITHIN;
            }
            // Its link has not ended, or there is none.
            Stage::MonitorKilled(_) => {
                self.undead = doubt.monitor;
                self.doubt = Some(doubt);
                return self.end_untold().await;
            }
        }
        self.doubt = Some(doubt);
    }

    /// The end of a run whose monitor was killed for its silence.
    async fn end_untold(&mut self) {
        (self.link, self.looking) = (None, None);
        let task = self.task.take();
        let (shared, id) = (std::sync::Arc::clone(&self.shared), self.record.id);
        let settle = move || {
            drop(task);
            effects::end_without_word(&shared, id)
        };
        let settled = self.on_thread("record the end", settle).await;
        if let Ok(end) = settled {
            let end = self.as_seen(end);
            self.internal(Input::Ended(end)).await;
        }
    }

    /// An end, with what the engine saw of it where nobody else did.
    pub(super) fn as_seen(&mut self, end: End) -> End {
        let Some(doubt) = &self.doubt else { return end };
        let (End::Unseen { at, .. }, Stage::MonitorKilled(code)) = (&end, doubt.stage) else {
            return end;
        };
        let how = match code {
            Some(_) => "how its program ended is what the kernel said",
            None => "its program was killed",
        };
        End::Recorded(ExitRecord {
            version: EXIT_RECORD_VERSION,
            code: code.unwrap_or(KILLED),
            oom_killed: self.life.state().oom_killed,
            at: *at,
            reason: Some(format!(
                "the container's monitor did not answer and was killed; {how}"
            )),
        })
    }

    /// Refuses a start while the last run's monitor hangs in the kernel: a container has one.
    pub(super) fn no_other_monitor(&mut self) -> Result<(), LaunchFault> {
        match self.undead.map(life) {
            Some(Ok(Life::Alive) | Err(_)) => {
                Err(LaunchFault::from(ContainerError::Conflict(format!(
                    "the monitor of the last run of container {} was killed and hangs in the kernel: start it when that is gone, or make another container",
                    self.record.name
                ))))
            }
            _ => {
                self.undead = None;
                Ok(())
            }
        }
    }
}

impl Doubt {
    fn dead(&mut self, code: Option<i32>, now: Instant) {
        self.stage = Stage::Dead(code);
        self.next = match self.is_silent {
            true => now,
            false => now + TELLS_WITHIN,
        };
    }
}
