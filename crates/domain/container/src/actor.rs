//! One task per container: it alone changes the container's state.
//!
//! The loop takes an input (a request, the monitor's report, the time), steps the pure
//! [`Lifecycle`], carries the effects out and publishes an immutable snapshot. Readers look at
//! the snapshot and never wait for this task.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use berth_shim::Task;
use berth_shim::protocol::Decoder;
use berth_types::launch::{Phase as TimedPhase, ProcessIdentity, StartFailure};
use berth_types::task;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::boot::{Found, Looking, begin_unseen, end_of};
use crate::closing;
use crate::effects::{self, LaunchFault};
use crate::error::ContainerError;
use crate::events;
use crate::inflight;
use crate::lifecycle::{Done, Effect, End, Input, Launched, Lifecycle, Now, Refused};
use crate::machine;
use crate::network;
use crate::record::{Phase, Record, State};
use crate::shared::Shared;
use crate::signal;
use crate::sources;
use crate::terminals;
use crate::threads::Work;
use crate::unrecorded::Unrecorded;
use crate::update::{self, Change};

mod doubt;
mod handle;
mod link;
mod parked;

use doubt::Doubt;
pub(crate) use handle::Handle;
pub use handle::Report;
use handle::{Mail, Request};
use link::{Link, Word, next_word};
use parked::Parked;

/// Requests that wait for one container. A client past this waits in its own connection.
const MAILBOX: usize = 32;
/// After what was done to a run out of reach, until it is looked at again.
const SOON: Duration = Duration::from_millis(50);

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

    /// Looks for what an earlier engine left. Requests wait until that has been looked for once.
    async fn take_up(&mut self) {
        let (id, phase) = (self.record.id, self.record.state.phase);
        let mut looking = Looking::first(&self.shared, id, phase);
        let found = looking.found().await;
        self.looking = Some(looking);
        let (adopted, ended) = match &found {
            Found::Alive(_) => (1, 0),
            Found::Over(_) | Found::Missed(_) => (0, 1),
            Found::Settled | Found::OutOfReach { .. } => (0, 0),
        };
        self.take_found(found).await;
        self.shared.search.send_modify(|search| {
            search.sought = search.sought.saturating_sub(1);
            search.adopted += adopted;
            search.ended += ended;
        });
        // A container that never ran waits for its first start, not for the engine's.
        if self.life.state().phase != Phase::Created {
            self.shared.swept().await;
            closing::turn(&self.shared, &self.record).await;
            self.internal(Input::EngineStarted).await;
        }
    }

    /// Goes on from what came of a look for the run.
    async fn take_found(&mut self, found: Found) {
        let looked = self.looking.take();
        let phase = self.life.state().phase;
        match found {
            Found::Alive(task) => {
                let launched = launched(task.as_ref());
                self.take_task(task);
                self.internal(Input::Started(launched)).await;
                self.adopt_group().await;
            }
            Found::Over(end) => {
                let end = self.as_seen(end);
                self.internal(Input::Ended(end)).await;
            }
            Found::Missed(end) => {
                begin_unseen(&mut self.life, end_of(&end));
                self.internal(Input::Ended(end)).await;
            }
            Found::OutOfReach { silent } => {
                if !phase.is_live() {
                    begin_unseen(&mut self.life, machine::date());
                    self.note_state();
                    self.publish.send_replace(Arc::clone(&self.record));
                }
                self.silent = silent;
                let pause = looked.map_or(Duration::ZERO, |looked| looked.next_pause());
                self.look_after(pause);
            }
            // A container that removes itself was on its way out when the engine was killed.
            Found::Settled if self.record.host.auto_remove && phase == Phase::Exited => {
                self.internal(Input::Remove { force: false }).await;
            }
            // Nothing was left of a start that was cut off.
            Found::Settled => {}
        }
    }

    fn look_after(&mut self, pause: Duration) {
        let (id, phase) = (self.record.id, self.life.state().phase);
        self.looking = Some(Looking::after(&self.shared, id, phase, pause));
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

    async fn perform(&mut self, effect: Effect) -> Option<Input> {
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
    async fn commit(&mut self) -> Result<(), ContainerError> {
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

    fn take_task(&mut self, mut task: Box<dyn Task>) {
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
    async fn settle_end(&mut self, end: Option<End>) -> End {
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

    /// Brings the record of an adopted container to what its group is, and takes back what an
    /// update wrote there that was cut off before its record: it never was.
    async fn adopt_group(&mut self) {
        let (shared, id) = (Arc::clone(&self.shared), self.record.id);
        let limits = self.record.host.limits.clone();
        let look = move || {
            update::settle(&shared, id, &limits);
            effects::is_frozen(&shared, id)
        };
        match self.on_thread("look at the control group", look).await {
            Ok(Ok(true)) => self.internal(Input::Frozen).await,
            Ok(Ok(false)) => self.internal(Input::Thawed).await,
            Ok(Err(error)) => {
                tracing::warn!(%id, %error, "cannot tell whether the container is paused");
            }
            Err(_) => {}
        }
    }

    /// Does what blocks, for as long as that takes: it has its own limits.
    async fn on_thread<T: Send + 'static>(
        &self,
        what: &'static str,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ContainerError> {
        let work = Work::living(self.record.id, what);
        self.shared.threads.run(work, job).await
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

fn launched(task: &dyn Task) -> Launched {
    let started = task.started();
    Launched {
        init: started.init,
        monitor: task.monitor(),
        at: started.at,
    }
}

/// Waits for what comes of a look for the run, while there is one.
async fn next_found(looking: &mut Option<Looking>) -> Found {
    match looking {
        Some(looking) => looking.found().await,
        None => std::future::pending().await,
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
