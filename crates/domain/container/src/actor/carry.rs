//! Carrying out what the state machine asks for.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use berth_shim::Task;
use berth_shim::protocol::Decoder;
use berth_types::launch::StartFailure;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::Actor;
use super::link::Link;
use crate::effects::{self, LaunchFault};
use crate::error::ContainerError;
use crate::lifecycle::{Effect, End, Input, Launched};
use crate::machine;
use crate::network;
use crate::signal;
use crate::sources;
use crate::terminals;
use crate::threads::Work;

/// After what was done to a run out of reach, until it is looked at again.
const SOON: Duration = Duration::from_millis(50);

impl Actor {
    pub(super) async fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Launch => Some(self.launch().await),
            Effect::Signal(number) => {
                self.signal(number);
                None
            }
            Effect::Freeze => self.freeze(true).await.then_some(Input::Frozen),
            Effect::Thaw => self.freeze(false).await.then_some(Input::Thawed),
            Effect::ClearRuntime => {
                self.clear_runtime().await;
                None
            }
            Effect::Commit => {
                if let Err(error) = self.commit().await {
                    self.failure.get_or_insert(error);
                }
                None
            }
            Effect::Remove => Some(match self.shared.remove(&self.record).await {
                Ok(()) => {
                    self.unrecorded.note(true, Instant::now());
                    Input::RemoveDone
                }
                Err(error) => {
                    self.failure.get_or_insert(error);
                    Input::RemoveFailed
                }
            }),
        }
    }

    /// Records the state. Where that fails it is tried again, by itself and by the next input.
    pub(super) async fn commit(&mut self) -> Result<(), ContainerError> {
        self.attempts += 1;
        let result = self.shared.commit(&self.record).await;
        self.unrecorded.note(result.is_ok(), Instant::now());
        result
    }

    async fn launch(&mut self) -> Input {
        if let Err(fault) = self.no_other_monitor() {
            return self.launch_failed(fault);
        }
        let nodes = match sources::make(&self.shared, &self.record).await {
            Ok(nodes) => nodes,
            Err(fault) => return self.launch_failed(fault),
        };
        let shared = Arc::clone(&self.shared);
        let record = Arc::clone(&self.record);
        let parked = std::mem::take(&mut self.parked);
        let (wants, ends): (Vec<_>, Vec<OwnedFd>) = parked
            .into_iter()
            .map(|p| (p.want, OwnedFd::from(p.far_end)))
            .unzip();
        let launch = move || effects::launch(&shared, &record, nodes, wants, ends);
        match self.on_thread("start the program", launch).await {
            Ok(Ok((task, mut phases, endpoint))) => {
                self.connected = true;
                self.life.place(endpoint);
                phases.extend(task.started().phases.iter().cloned());
                self.phases = phases;
                let launched = launched(task.as_ref());
                self.take_task(task);
                Input::Started(launched)
            }
            Ok(Err(fault)) => self.launch_failed(fault),
            Err(_) => self.launch_failed(LaunchFault::internal("the launch was interrupted")),
        }
    }

    fn launch_failed(&mut self, fault: LaunchFault) -> Input {
        let failure: StartFailure = fault.failure;
        self.failure = Some(fault.error.unwrap_or_else(|| ContainerError::Start {
            id: self.record.id.short(),
            failure: failure.clone(),
        }));
        Input::StartFailed(failure)
    }

    pub(super) fn take_task(&mut self, mut task: Box<dyn Task>) {
        self.link = task.take_link().and_then(|stream| {
            let stream = UnixStream::from_std(stream).ok()?;
            Some(Link {
                stream,
                decoder: Decoder::default(),
            })
        });
        self.task = Some(Arc::from(task));
    }

    fn signal(&mut self, number: i32) {
        let id = self.record.id;
        let Some(task) = &self.task else {
            self.signal_unreached(number);
            return;
        };
        if let Err(error) = task.signal(number) {
            // A program that has just ended cannot be signalled; its end is on its way.
            tracing::debug!(%id, number, %error, "signal not delivered");
        }
        if number == signal::KILL {
            self.doubt(false);
        }
    }

    /// Sends a signal to a program whose monitor does not answer, by its record.
    fn signal_unreached(&mut self, number: i32) {
        let state = self.life.state();
        let Some(init) = state.init.filter(|init| init.pid != 0) else {
            let why = terminals::out_of_reach(self.record.id);
            self.failure.get_or_insert(ContainerError::Conflict(why));
            return;
        };
        if let Err(error) = effects::signal(init, number) {
            tracing::debug!(id = %self.record.id, number, %error, "signal not delivered");
        }
        if self.silent && number == signal::KILL {
            self.doubt(true);
        }
        self.look_after(SOON);
    }

    /// Turns what the link said into an end: an exit record, or the reason why there is none.
    pub(super) async fn settle_end(&mut self, end: Option<End>) -> End {
        self.link = None;
        let task = self.task.take();
        let shared = Arc::clone(&self.shared);
        let id = self.record.id;
        let settle = move || {
            if let Some(task) = task {
                task.reap();
            }
            end.unwrap_or_else(|| effects::end_without_word(&shared, id))
        };
        let end = self.on_thread("record the end", settle).await;
        let end = end.unwrap_or_else(|_| End::Unseen {
            at: machine::date(),
            reason: "the engine could not find out how the container ended".to_owned(),
        });
        self.as_seen(end)
    }

    /// Freezes the container's processes or lets them go on, and says whether that is done.
    async fn freeze(&mut self, on: bool) -> bool {
        let (shared, id) = (Arc::clone(&self.shared), self.record.id);
        let freeze = move || effects::freeze(&shared, id, on);
        let result = self.on_thread("freeze or thaw the processes", freeze).await;
        result
            .and_then(|done| done)
            .map_err(|error| self.failure.get_or_insert(error))
            .is_ok()
    }

    /// Does what blocks, for as long as that takes: it has its own limits.
    pub(super) async fn on_thread<T: Send + 'static>(
        &self,
        what: &'static str,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ContainerError> {
        let work = Work::living(self.record.id, what);
        self.shared.threads.run(work, job).await
    }

    async fn clear_runtime(&mut self) {
        (self.task, self.link) = (None, None);
        (self.looking, self.doubt) = (None, None);
        let shared = Arc::clone(&self.shared);
        let id = self.record.id;
        let clear = move || effects::clear_runtime(&shared, id);
        if let Ok(Err(error)) = self.on_thread("clear what the run left", clear).await {
            tracing::warn!(%id, %error, "runtime directory not cleared");
        }
        self.life.place(None);
        self.note_state();
        if std::mem::take(&mut self.connected) {
            network::announce(&self.shared, &self.record, "disconnect");
        }
    }
}

pub(super) fn launched(task: &dyn Task) -> Launched {
    let started = task.started();
    Launched {
        init: started.init,
        monitor: task.monitor(),
        at: started.at,
    }
}
