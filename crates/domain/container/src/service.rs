//! The verbs: what a front may ask of containers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use berth_image::{Image, Images};
use berth_shim::AttachWant;
use berth_storage::Storage;
use berth_store::{WriteError, WriteTxn, failpoint};
use berth_types::task::{self, Wait};
use berth_types::{Caller, ContainerId};
use tokio::net::UnixStream;

use crate::actor::{self, Origin, Report};
use crate::create::{self, CreateRequest, ImageFacts};
use crate::error::ContainerError;
use crate::events;
use crate::groups;
use crate::lifecycle::Input;
use crate::logs::{LogOptions, LogReader};
use crate::record::{Log, Phase, Record};
use crate::shared::Shared;
use crate::{machine, names, signal, tables, verbs};

/// Seconds between the polite signal and SIGKILL unless the request or the container says
/// otherwise.
pub const STOP_TIMEOUT: i64 = 10;
/// How long a kill waits for the death of its victim.
pub(crate) const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// Names that are tried before a minted one is given up.
const NAME_ATTEMPTS: u32 = 8;

/// What came of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The new container.
    pub id: ContainerId,
    /// What was not done as asked.
    pub warnings: Vec<String>,
}

/// When a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// As soon as the container does not run.
    NotRunning,
    /// At the end of the next run.
    NextExit,
    /// When the container is removed.
    Removed,
}

/// The containers of one engine. Cheap to clone.
#[derive(Clone)]
pub struct Containers {
    pub(crate) shared: Arc<Shared>,
}

impl Containers {
    /// Whether a container could be made from this image under this name: the two things that
    /// clients ask for by failing.
    ///
    /// # Errors
    /// The image is missing, or the name impossible or taken.
    pub fn check(
        &self,
        caller: &Caller,
        image: &str,
        name: Option<&str>,
    ) -> Result<(), ContainerError> {
        self.shared.images.resolve(caller, image)?;
        let Some(name) = name else { return Ok(()) };
        create::check_name(name)?;
        match self.shared.read_index().by_name.get(name) {
            Some(id) => Err(ContainerError::NameTaken {
                name: name.to_owned(),
                id: id.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// Creates a container.
    ///
    /// # Errors
    /// The request is wrong, the image is missing, the name is taken, or the disk is.
    pub async fn create(
        &self,
        caller: &Caller,
        request: CreateRequest,
    ) -> Result<Created, ContainerError> {
        let image = self.shared.images.resolve(caller, &request.image)?;
        self.shared
            .filters
            .check(&request.host, self.shared.facts.capabilities)?;
        let owner = match &request.owner {
            Some(owner) if caller.scope.is_root() => owner.clone(),
            _ => caller.scope.clone(),
        };
        let id = ContainerId::from_bytes(random()?);
        if let Some(name) = &request.name {
            create::check_name(name)?;
        }
        let mut attempt = 0;
        loop {
            let name = request
                .name
                .clone()
                .unwrap_or_else(|| names::pick(seed(), attempt));
            let facts = ImageFacts {
                id: image.id,
                owner: &image.owner,
                layers: &image.layers,
                defaults: &image.config.config,
            };
            let scope = owner.clone();
            let now = machine::date();
            let asked = request.clone();
            let (record, warnings) =
                create::record(id, name, scope, asked, facts, self.shared.capacity, now)?;
            groups::planned(&record, &self.shared.facts)?;
            match self.insert(record, Arc::clone(&image)).await {
                Err(ContainerError::NameTaken { .. })
                    if request.name.is_none() && attempt < NAME_ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(Created { id, warnings }),
            }
        }
    }

    /// Writes the row with all it claims, then makes the directories. A row whose directories an
    /// interrupted create did not make is complete all the same: a start makes them.
    async fn insert(&self, record: Record, image: Arc<Image>) -> Result<(), ContainerError> {
        let name = record.name.clone();
        let taken = |id: ContainerId| ContainerError::NameTaken {
            name: name.clone(),
            id: id.to_string(),
        };
        if let Some(id) = self.shared.read_index().by_name.get(&name) {
            return Err(taken(*id));
        }
        failpoint::hit("create.begin");
        let (id, row) = (record.id, record.clone());
        let key = name.clone();
        let insert = move |txn: &mut WriteTxn<'_>| -> Result<Option<ContainerId>, ContainerError> {
            if let Some(holder) = txn.get(&tables::NAMES, &key)? {
                return Ok(Some(holder));
            }
            txn.claim_room()?;
            Images::pin(txn, &image, &id.to_string())?;
            Storage::reserve(txn, id, row.layers.last().copied())?;
            txn.put(&tables::NAMES, &key, &id)?;
            txn.put(&tables::CONTAINERS, &id, &row)?;
            Ok(None)
        };
        if let Some(holder) = self
            .shared
            .db
            .write_async(insert)
            .await
            .map_err(WriteError::flatten)?
        {
            return Err(taken(holder));
        }
        failpoint::hit("create.committed");
        let storage = self.shared.storage.clone();
        let make = move || storage.prepare(id).and_then(|_| storage.make_state(id));
        let made = machine::blocking(task::blocking(make)).await;
        if let Err(error) = made.map_err(|_| ContainerError::ShuttingDown)? {
            self.shared.remove(&record).await?;
            return Err(error.into());
        }
        failpoint::hit("create.prepared");
        let handle = actor::spawn(Arc::clone(&self.shared), record.clone(), Origin::New);
        {
            let mut index = self.shared.write_index();
            index.by_name.insert(name, id);
            index.by_id.insert(id, handle);
        }
        events::publish(&self.shared, &record, "create", &[]);
        Ok(())
    }

    /// Starts a container. One that runs already is [`Report::unchanged`].
    ///
    /// # Errors
    /// The program cannot be started; the container is as it was, with the reason in its state.
    pub async fn start(&self, caller: &Caller, key: &str) -> Result<Report, ContainerError> {
        let handle = self.find(caller, key)?;
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(ContainerError::ShuttingDown);
        }
        handle.step(Input::Start).await
    }

    /// Sends a signal, by name or number; empty for SIGKILL.
    ///
    /// # Errors
    /// The container does not run, or the signal is none.
    pub async fn kill(&self, caller: &Caller, key: &str, name: &str) -> Result<(), ContainerError> {
        let handle = self.find(caller, key)?;
        let number = if name.is_empty() {
            signal::KILL
        } else {
            signal::parse(name)?
        };
        let mut watch = handle.snapshot.clone();
        let ends = verbs::ends(&watch.borrow().settings, number);
        handle
            .step(Input::Signal {
                signal: number,
                ends,
            })
            .await
            .map_err(|error| match error {
                ContainerError::Conflict(why) => {
                    ContainerError::Conflict(format!("cannot kill container: {key}: {why}"))
                }
                other => other,
            })?;
        if number == signal::KILL {
            // A killed container is dead when its killer is told so. The run is that which the
            // signal met, and not one before it whose restart was under way.
            let over = run_is_over(&watch.borrow());
            let dead = watch.wait_for(over);
            // What hangs in the kernel cannot be waited for.
            let dead = tokio::time::timeout(KILL_PATIENCE, dead);
            let _ = task::waiting(Wait::Program, Some(KILL_PATIENCE), dead).await;
        }
        Ok(())
    }

    /// Asks a container to end and waits until it has; kills it when `timeout` seconds are over.
    /// A negative timeout waits for ever.
    ///
    /// # Errors
    /// The signal is none, or the container survived even SIGKILL.
    pub async fn stop(
        &self,
        caller: &Caller,
        key: &str,
        timeout: Option<i64>,
        signal: Option<&str>,
    ) -> Result<Report, ContainerError> {
        let handle = self.find(caller, key)?;
        let settings = handle.snapshot.borrow().settings.clone();
        let (signal, seconds, patience) = verbs::patience(&settings, timeout, signal)?;
        let mut watch = handle.snapshot.clone();
        let report = handle.step(Input::Stop { signal, patience }).await?;
        // Of the run that the request met: a restart may have been under way before it.
        let over = run_is_over(&watch.borrow());
        let ended = watch.wait_for(over);
        let Ok(seconds) = u64::try_from(seconds) else {
            let _ = task::waiting(Wait::Program, None, ended).await;
            return Ok(report);
        };
        let patience = Duration::from_secs(seconds).saturating_add(KILL_PATIENCE);
        let ended = tokio::time::timeout(patience, ended);
        match task::waiting(Wait::Program, Some(patience), ended).await {
            Ok(_) => Ok(report),
            Err(_) => Err(ContainerError::Conflict(format!(
                "container {key} was killed and does not end: one of its processes hangs in the kernel"
            ))),
        }
    }

    /// Removes a container; with `force` a running one is killed first.
    ///
    /// # Errors
    /// It runs and `force` is not given.
    pub async fn remove(
        &self,
        caller: &Caller,
        key: &str,
        force: bool,
    ) -> Result<(), ContainerError> {
        let handle = self.find(caller, key)?;
        let mut watch = handle.snapshot.clone();
        match handle.step(Input::Remove { force }).await {
            Err(ContainerError::Removing(_) | ContainerError::NotFound(_)) if force => {}
            other => drop(other?),
        }
        let over = |r: &Arc<Record>| !r.state.phase.is_live();
        let over = tokio::time::timeout(KILL_PATIENCE, watch.wait_for(over));
        let over = task::waiting(Wait::Program, Some(KILL_PATIENCE), over).await;
        match over.map(|seen| seen.map(|record| record.state.phase)) {
            // The sender is dropped with the actor, which ends when the container is gone.
            Ok(Err(_) | Ok(Phase::Removed)) => Ok(()),
            Ok(Ok(_)) => Err(ContainerError::Conflict(format!(
                "container {key} ended and could not be removed: the engine's log says why; remove it again"
            ))),
            Err(_) => Err(ContainerError::Conflict(format!(
                "container {key} was killed and does not end: one of its processes hangs in the kernel; it is removed when that ends"
            ))),
        }
    }

    /// Waits for `condition`; resolves to the container as it was when that came true.
    ///
    /// # Errors
    /// No such container.
    pub fn wait(
        &self,
        caller: &Caller,
        key: &str,
        condition: WaitCondition,
    ) -> Result<impl Future<Output = Arc<Record>> + Send + use<>, ContainerError> {
        let mut watch = self.find(caller, key)?.snapshot;
        let first = Arc::clone(&watch.borrow_and_update());
        let over = move |now: &Arc<Record>| match condition {
            _ if now.state.phase == Phase::Removed => true,
            // Who is late finds the next run begun, but the end of the one before as well.
            WaitCondition::NotRunning => {
                !now.state.phase.is_active() || now.state.finished_at != first.state.finished_at
            }
            WaitCondition::NextExit => {
                now.state.finished_at != first.state.finished_at
                    || (!now.state.phase.is_live() && now.state.error != first.state.error)
            }
            WaitCondition::Removed => false,
        };
        Ok(async move {
            // An actor that ended published its last state first.
            let _ = task::waiting(Wait::Program, None, watch.wait_for(over)).await;
            Arc::clone(&*watch.borrow())
        })
    }

    /// The container's streams: Docker-framed output to read, plain input to write. Before a
    /// start the client is parked and misses nothing.
    ///
    /// # Errors
    /// The container is in no state to be attached to.
    pub async fn attach(
        &self,
        caller: &Caller,
        key: &str,
        want: AttachWant,
    ) -> Result<UnixStream, ContainerError> {
        let handle = self.find(caller, key)?;
        let record = Arc::clone(&handle.snapshot.borrow());
        let advice = match record.state.phase.word() {
            "paused" => "is paused, unpause the container before attach",
            "restarting" => "is restarting, wait until the container is running",
            _ => "",
        };
        if !advice.is_empty() {
            return Err(ContainerError::Conflict(format!(
                "container {key} {advice}"
            )));
        }
        let streams = handle.attach(want).await?;
        events::publish(&self.shared, &record, "attach", &[]);
        Ok(streams)
    }

    /// The container's log.
    ///
    /// # Errors
    /// It keeps none, or the files cannot be opened.
    pub fn logs(
        &self,
        caller: &Caller,
        key: &str,
        options: LogOptions,
    ) -> Result<LogReader, ContainerError> {
        let record = self.get(caller, key)?;
        if record.host.log == Log::None {
            return Err(ContainerError::Unsupported(
                "configured logging driver does not support reading: the container was created with --log-driver none".into(),
            ));
        }
        let dir = self.shared.storage.paths().state(record.id);
        LogReader::open(&dir, &record.id, options).map_err(|source| ContainerError::Io {
            what: "open the log",
            id: record.id.to_string(),
            source,
        })
    }

    /// Resolves when nothing is left of what removals do behind their replies.
    pub async fn settled(&self) {
        self.shared.behind.settled().await;
    }
}

/// Whether the run that `seen` shows is over, though another may have begun.
pub(crate) fn run_is_over(seen: &Record) -> impl Fn(&Arc<Record>) -> bool + Send + use<> {
    let began = seen.state.started_at;
    move |now| !now.state.phase.is_live() || now.state.started_at != began
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], ContainerError> {
    let mut bytes = [0; N];
    machine::random(&mut bytes).map_err(|source| ContainerError::Io {
        what: "draw the id",
        id: "(new)".into(),
        source,
    })?;
    Ok(bytes)
}

fn seed() -> u32 {
    random::<4>().map_or(0, u32::from_le_bytes)
}
