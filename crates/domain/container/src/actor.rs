//! One task per container: it alone changes the container's state.
//!
//! The loop takes an input (a request, the monitor's report, the time), steps the pure
//! [`Lifecycle`], carries the effects out and publishes an immutable snapshot. Readers look at
//! the snapshot and never wait for this task.

use std::collections::VecDeque;
use std::sync::Arc;

use berth_shim::Task;
use berth_types::launch::{Phase as TimedPhase, ProcessIdentity};
use berth_types::task;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::boot::Looking;
use crate::error::ContainerError;
use crate::events;
use crate::inflight;
use crate::lifecycle::{Done, Effect, Input, Lifecycle, Now, Refused};
use crate::machine;
use crate::record::{Phase, Record, State};
use crate::shared::Shared;
use crate::unrecorded::Unrecorded;
use crate::update::{self, Change};

mod carry;
mod doubt;
mod found;
mod handle;
mod link;
mod parked;

use doubt::Doubt;
use found::next_found;
pub(crate) use handle::Handle;
pub use handle::Report;
use handle::{Mail, Request};
use link::{Link, Word, next_word};
use parked::Parked;

/// Requests that wait for one container. A client past this waits in its own connection.
const MAILBOX: usize = 32;

struct Actor {
    shared: Arc<Shared>,
    /// Shared with the snapshot, until it is changed.
    record: Arc<Record>,
    life: Lifecycle,
    task: Option<Arc<dyn Task>>,
    link: Option<Link>,
    parked: Vec<Parked>,
    publish: watch::Sender<Arc<Record>>,
    requests: mpsc::Receiver<Mail>,
    failure: Option<ContainerError>,
    unrecorded: Unrecorded,
    /// How often a record was written, or tried to be.
    attempts: u64,
    /// The run that an earlier engine left, while it is looked for.
    looking: Option<Looking>,
    /// Whether a monitor that is looked for is silent, rather than of another language.
    silent: bool,
    /// What is not known of a program that was killed.
    doubt: Option<Doubt>,
    /// A monitor that was killed and may not be dead.
    undead: Option<ProcessIdentity>,
    /// Whether others were told that the container is on its network.
    connected: bool,
    phases: Vec<TimedPhase>,
}

/// Where a container's record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was just written.
    New,
    /// An earlier engine left it, and maybe a run.
    Boot,
}

/// Starts the actor of a container.
pub(crate) fn spawn(shared: Arc<Shared>, record: Record, origin: Origin) -> Handle {
    let (sender, requests) = mpsc::channel(MAILBOX);
    let record = Arc::new(record);
    let (publish, snapshot) = watch::channel(Arc::clone(&record));
    let connected = record.state.phase.is_live();
    let life = Lifecycle::new(
        record.state.clone(),
        record.host.auto_remove,
        record.host.restart,
        now(),
    );
    let actor = Actor {
        shared,
        record,
        life,
        task: None,
        link: None,
        parked: Vec::new(),
        publish,
        requests,
        failure: None,
        unrecorded: Unrecorded::default(),
        attempts: 0,
        looking: None,
        silent: false,
        doubt: None,
        undead: None,
        connected,
        phases: Vec::new(),
    };
    machine::spawn(actor.run(origin));
    Handle {
        requests: sender,
        snapshot,
    }
}

impl Actor {
    async fn run(mut self, origin: Origin) {
        if origin == Origin::Boot {
            Box::pin(self.take_up()).await;
        }
        // What is done is boxed: a container that rests, as most do, takes the memory of its waits
        // and not that of the longest thing it may ever do.
        while self.life.state().phase != Phase::Removed {
            let deadline = self.life.deadline();
            tokio::select! {
                // What has happened comes before what somebody wants to happen.
                biased;
                word = next_word(&mut self.link) => Box::pin(self.hear(word)).await,
                found = next_found(&mut self.looking) => Box::pin(self.take_found(found)).await,
                () = until(deadline) => Box::pin(self.internal(Input::Tick)).await,
                () = until(self.doubt.as_ref().map(|doubt| doubt.next)) => Box::pin(self.look_at_killed()).await,
                () = until(self.unrecorded.retry_at()) => drop(Box::pin(self.commit()).await),
                mail = self.requests.recv() => match mail {
                    Some(mail) => {
                        let (asker, request) = *mail;
                        Box::pin(task::within(asker, self.serve(request))).await;
                    }
                    None => return,
                },
            }
        }
    }

    /// Takes what the monitor says.
    async fn hear(&mut self, word: Word) {
        let end = match word {
            Word::OomKilled(kills) => return self.internal(Input::OomKilled(kills)).await,
            Word::End(end) => end,
        };
        let over = task::begin("end", self.record.id);
        over.run(async {
            let end = self.settle_end(end).await;
            self.internal(Input::Ended(end)).await;
        })
        .await;
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Step(input, answer) => {
                // The client may be gone; what it asked for is done all the same.
                let _ = answer.send(self.request(input).await);
            }
            Request::Attach(want, answer) => self.attach(want, answer),
            Request::Task(answer) => drop(answer.send(self.task.clone())),
            Request::Rename(name, answer) => {
                let _ = answer.send(self.rename(name).await);
            }
            Request::Update(change, answer) => {
                let _ = answer.send(self.update(&change).await);
            }
        }
    }

    /// An input that nobody waits for.
    async fn internal(&mut self, input: Input) {
        if let Err(error) = self.request(input).await {
            tracing::warn!(id = %self.record.id, %error, "container input failed");
        }
    }

    async fn request(&mut self, input: Input) -> Result<Report, ContainerError> {
        let task = task::begin(inflight::kind(&input), self.record.id);
        task.run(self.steps(input)).await
    }

    async fn steps(&mut self, input: Input) -> Result<Report, ContainerError> {
        self.failure = None;
        self.phases.clear();
        let attempts = self.attempts;
        let mut queue = VecDeque::from([input]);
        let mut report = Report {
            unchanged: true,
            phases: Vec::new(),
            met: Some(self.life.state().started_at),
        };
        while let Some(input) = queue.pop_front() {
            let stopping = self.life.stopping();
            let done = self
                .life
                .step(input.clone(), Instant::now())
                .map_err(|refused| self.refusal(refused))?;
            let before = self.note_state();
            let Done::Effects(list) = done else { continue };
            report.unchanged = false;
            let news = events::of_step(&before, &input, &list, &self.record.state, stopping);
            for effect in list {
                if let Some(next) = self.perform(effect).await {
                    queue.push_back(next);
                }
            }
            for item in news {
                events::publish(&self.shared, &self.record, item.action, &item.facts);
            }
        }
        // What is answered rests on a state that the next engine finds, too.
        if attempts == self.attempts && self.unrecorded.is_so() {
            self.perform(Effect::Commit).await;
        }
        self.publish.send_replace(Arc::clone(&self.record));
        report.phases = std::mem::take(&mut self.phases);
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(report),
        }
    }

    /// Brings the record to the state that the life is in. Returns the one before.
    fn note_state(&mut self) -> State {
        if self.record.state == *self.life.state() {
            return self.record.state.clone();
        }
        let state = &mut Arc::make_mut(&mut self.record).state;
        std::mem::replace(state, self.life.state().clone())
    }

    fn refusal(&self, refused: Refused) -> ContainerError {
        let id = self.record.id;
        let phase = self.record.state.phase;
        match refused {
            Refused::NotRunning => {
                ContainerError::Conflict(format!("container {id} is not running"))
            }
            Refused::Running => ContainerError::Conflict(format!(
                "cannot remove container \"/{}\": container is {}: {}stop the container before removing or force remove",
                self.record.name,
                if phase == Phase::Starting {
                    "running"
                } else {
                    phase.word()
                },
                if phase == Phase::Paused {
                    "unpause and then "
                } else {
                    ""
                },
            )),
            Refused::Paused => ContainerError::Conflict(format!(
                "container {id} is already paused: unpause it first"
            )),
            Refused::NotPaused => ContainerError::Conflict(format!("container {id} is not paused")),
            Refused::Restarting => ContainerError::Conflict(format!(
                "container {id} is restarting, wait until the container is running"
            )),
            Refused::Removing => ContainerError::Removing(id.to_string()),
            Refused::Closing => ContainerError::ShuttingDown,
            Refused::Stray => {
                ContainerError::Conflict(format!("container {id} is in no state for that any more"))
            }
        }
    }

    async fn rename(&mut self, name: String) -> Result<(), ContainerError> {
        self.request(Input::Change).await?;
        let old = update::rename(&self.shared, Arc::make_mut(&mut self.record), name).await?;
        self.unrecorded.note(true, Instant::now());
        self.publish.send_replace(Arc::clone(&self.record));
        events::publish(
            &self.shared,
            &self.record,
            "rename",
            &[("oldName", format!("/{old}"))],
        );
        Ok(())
    }

    async fn update(&mut self, change: &Change) -> Result<Vec<String>, ContainerError> {
        self.request(Input::Change).await?;
        let warnings =
            update::update(&self.shared, Arc::make_mut(&mut self.record), change).await?;
        self.unrecorded.note(true, Instant::now());
        self.life.set_policy(self.record.host.restart);
        self.publish.send_replace(Arc::clone(&self.record));
        events::publish(&self.shared, &self.record, "update", &[]);
        Ok(warnings)
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        // The timer counts whole milliseconds: a stop without patience waits for none of them.
        Some(at) if at <= Instant::now() => {}
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The present.
pub(crate) fn now() -> Now {
    Now {
        date: machine::date(),
        instant: Instant::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    /// Of a thousand containers most rest.
    #[test]
    fn a_container_that_rests_takes_little() {
        let task = size_of_future(|(actor, origin): (Actor, Origin)| actor.run(origin));
        assert!(task <= 3072, "the task of a container takes {task} bytes");
        let mail = size_of::<Mail>();
        assert!(mail <= 8, "each slot of its mailbox takes {mail} bytes");
    }
}
