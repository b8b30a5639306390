//! What others know of a container's actor: its mailbox and its newest snapshot.

use std::sync::Arc;
use std::time::Duration;

use berth_shim::{AttachWant, Task};
use berth_types::Timestamp;
use berth_types::launch::Phase as TimedPhase;
use berth_types::task::{self, Wait};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::ContainerError;
use crate::lifecycle::Input;
use crate::record::Record;
use crate::update::Change;

/// How long a request waits for what the container is busy with, such as a start.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a request to start waits: longer than any start takes.
const START_PATIENCE: Duration = Duration::from_secs(180);

/// What came of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// There was nothing to do.
    pub unchanged: bool,
    /// Where the time of a start went.
    pub phases: Vec<TimedPhase>,
    /// When the run began that the request met, which may be younger than the snapshot was that
    /// the asker saw.
    pub(crate) met: Option<Timestamp>,
}

/// A request to the actor.
pub(crate) enum Request {
    /// An input for the state machine.
    Step(Input, oneshot::Sender<Result<Report, ContainerError>>),
    /// A client that wants the container's streams.
    Attach(
        AttachWant,
        oneshot::Sender<Result<UnixStream, ContainerError>>,
    ),
    /// Somebody who asks the monitor itself, if there is one.
    Task(oneshot::Sender<Option<Arc<dyn Task>>>),
    /// Another name.
    Rename(String, oneshot::Sender<Result<(), ContainerError>>),
    /// Other limits, another restart policy; answered with warnings.
    Update(
        Box<Change>,
        oneshot::Sender<Result<Vec<String>, ContainerError>>,
    ),
}

/// A request, with the task that it is a part of. Boxed, for a mailbox has its slots before there is
/// anything to put in.
pub(super) type Mail = Box<(Option<task::Task>, Request)>;

/// How others reach one container.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(super) requests: mpsc::Sender<Mail>,
    /// The newest snapshot.
    pub snapshot: watch::Receiver<Arc<Record>>,
}

impl Handle {
    /// Sends an input and waits for what comes of it.
    pub async fn step(&self, input: Input) -> Result<Report, ContainerError> {
        let patience = match input {
            // A start ends by its own limits, and so does what waits behind it.
            Input::Start => START_PATIENCE,
            _ => PATIENCE,
        };
        self.ask(patience, |answer| Request::Step(input, answer))
            .await?
    }

    /// The container's streams: Docker-framed output to read, plain input to write.
    pub async fn attach(&self, want: AttachWant) -> Result<UnixStream, ContainerError> {
        self.ask(PATIENCE, |answer| Request::Attach(want, answer))
            .await?
    }

    /// The monitor; none while the container does not run.
    pub async fn task(&self) -> Result<Option<Arc<dyn Task>>, ContainerError> {
        self.ask(PATIENCE, Request::Task).await
    }

    /// Gives the container another name.
    pub async fn rename(&self, name: String) -> Result<(), ContainerError> {
        self.ask(PATIENCE, |answer| Request::Rename(name, answer))
            .await?
    }

    /// Changes limits and restart policy. Answers with warnings.
    pub async fn update(&self, change: Change) -> Result<Vec<String>, ContainerError> {
        self.ask(PATIENCE, |answer| Request::Update(Box::new(change), answer))
            .await?
    }

    /// Puts a request into the mailbox, with the task that it is a part of, and waits for its
    /// answer. One that is not answered in time stays there: what was asked is done all the same.
    async fn ask<T>(
        &self,
        patience: Duration,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, ContainerError> {
        let (answer, result) = oneshot::channel();
        let _waits = task::waits(Wait::Container, Some(patience));
        let asked = async {
            let mail = Box::new((task::current(), request(answer)));
            let sent = self.requests.send(mail).await;
            sent.map_err(|_| self.gone())?;
            result.await.map_err(|_| self.gone())
        };
        let answered = tokio::time::timeout(patience, asked).await;
        answered.unwrap_or_else(|_| Err(ContainerError::Busy(self.snapshot.borrow().id.short())))
    }

    /// The actor ended: the container was removed while the request was on its way.
    fn gone(&self) -> ContainerError {
        ContainerError::NotFound(self.snapshot.borrow().id.to_string())
    }
}
