//! The verbs of further processes: create, start, resize, inspect.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::sync::Arc;
use std::time::Duration;

use berth_shim::protocol::{Decoder, Event};
use berth_shim::{AttachWant, ExecRequest, ExecTask, LaunchError, Task};
use berth_types::launch::{Exec as ExecLaunch, StartFailureKind, Stdin};
use berth_types::oci::ConsoleSize;
use berth_types::task::{self, Wait};
use berth_types::{Caller, ContainerId, ExecId};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use crate::actor::Handle;
use crate::effects;
use crate::error::ContainerError;
use crate::events;
use crate::exec::{Exec, ExecSettings, ExecState};
use crate::process;
use crate::record::Record;
use crate::service::{Containers, random};
use crate::shared::Shared;
use crate::terminals;
use crate::threads::Work;

/// Longest wait of a resize for a start that is under way (Docker's number).
const BEGIN_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read from a process's link at once: one frame is far smaller.
const LINK_READ: usize = 256;
/// Exit code of a process that went down with its monitor: killed.
const EXIT_KILLED: i32 = 128 + 9;
/// Exit code of a program that is not there.
const EXIT_NOT_FOUND: i32 = 127;
/// Exit code of a process that could not be started for any other reason.
const EXIT_NOT_STARTED: i32 = 126;

impl Containers {
    /// Creates a further process, which [`Containers::exec_start`] starts.
    ///
    /// # Errors
    /// The container does not run, the settings are wrong, or there are too many already.
    pub async fn exec_create(
        &self,
        caller: &Caller,
        key: &str,
        settings: ExecSettings,
    ) -> Result<ExecId, ContainerError> {
        let handle = self.find(caller, key)?;
        let (record, _) = running(&handle).await?;
        check(&settings)?;
        let id = ExecId::from_bytes(random()?);
        let exec = Arc::new(Exec::new(id, record.id, settings));
        self.shared.execs.insert(Arc::clone(&exec))?;
        announce(&self.shared, &exec, "exec_create");
        Ok(id)
    }

    /// A further process, by its full id.
    ///
    /// # Errors
    /// There is none; an engine that was restarted has forgotten all.
    pub fn exec(&self, caller: &Caller, id: &str) -> Result<Arc<Exec>, ContainerError> {
        let missing = || ContainerError::NoExec(id.to_owned());
        let exec = id.parse().ok().and_then(|id| self.shared.execs.get(&id));
        let exec = exec.ok_or_else(missing)?;
        let owner = snapshot(&self.shared, exec.container).map(|record| record.owner.clone());
        match owner {
            Some(owner) if caller.scope.sees(&owner) => Ok(exec),
            _ => Err(missing()),
        }
    }

    /// The further processes of a container that are not over.
    pub fn exec_ids(&self, container: ContainerId) -> Vec<ExecId> {
        self.shared.execs.of(container)
    }

    /// Claims the one start of a process that was created. What is returned starts it, and
    /// resolves when its program runs: to its streams, unless the client is `detached`. `console`
    /// is the size of its terminal, where the client says it only now.
    ///
    /// # Errors
    /// It was started before, or its container does not run. Of what is returned:
    /// [`ContainerError::Exec`], a program that could not be started; the exit code says so too.
    pub async fn exec_start(
        &self,
        caller: &Caller,
        id: &str,
        detached: bool,
        console: Option<ConsoleSize>,
    ) -> Result<
        impl Future<Output = Result<Option<UnixStream>, ContainerError>> + Send + use<>,
        ContainerError,
    > {
        let exec = self.exec(caller, id)?;
        let handle = self.find(caller, &exec.container.to_string())?;
        let (record, task) = running(&handle).await?;
        exec.claim()?;
        let this = self.clone();
        Ok(async move {
            match this.launch(&exec, record, task, detached, console).await {
                Ok((pid, link, near)) => {
                    exec.set(ExecState::Running(pid));
                    announce(&this.shared, &exec, "exec_start");
                    let running = task::begin("exec", exec.container);
                    tokio::spawn(running.run(watch(this.shared, exec, pid, link)));
                    Ok(near)
                }
                Err(error) => {
                    let code = code_of(&error);
                    exec.set(ExecState::Ended { code, pid: 0 });
                    Err(error)
                }
            }
        })
    }

    async fn launch(
        &self,
        exec: &Arc<Exec>,
        record: Arc<Record>,
        task: Arc<dyn Task>,
        detached: bool,
        console: Option<ConsoleSize>,
    ) -> Result<(i32, Option<Socket>, Option<UnixStream>), ContainerError> {
        let io = |source| ContainerError::Io {
            what: "make the streams of a process",
            id: record.id.to_string(),
            source,
        };
        let (near, far) = if detached {
            (None, None)
        } else {
            let (near, far) = Socket::pair().map_err(io)?;
            near.set_nonblocking(true).map_err(io)?;
            (Some(UnixStream::from_std(near).map_err(io)?), Some(far))
        };
        let shared = Arc::clone(&self.shared);
        let own = Arc::clone(exec);
        let start = move || -> Result<Box<dyn ExecTask>, ContainerError> {
            let request = request(&shared, &record, &own, detached, console)?;
            let filter = shared
                .filters
                .get(&record.host, shared.facts.capabilities)?;
            let filter = filter.as_ref().map(|f| f.as_bytes());
            let far = far.map(OwnedFd::from);
            task.exec(&request, filter, far)
                .map_err(|error| match error {
                    // It answered a moment ago.
                    LaunchError::Monitor(source) if effects::monitor_hung_up(&source) => {
                        ContainerError::Conflict(format!(
                            "container {} is not running: it has just ended",
                            record.id
                        ))
                    }
                    other => ContainerError::Exec(other),
                })
        };
        let work = Work::asking(exec.container, "start a further process");
        let mut started = self.shared.threads.run(work, start).await??;
        Ok((started.process().pid, started.take_link(), near))
    }

    /// Says that the client left a process's streams, which goes on.
    pub fn exec_left(&self, exec: &Exec) {
        if let (ExecState::Running(_), Some(record)) =
            (exec.state(), snapshot(&self.shared, exec.container))
        {
            let extra = [("execID", exec.id.to_string())];
            events::publish(&self.shared, &record, "exec_detach", &extra);
        }
    }

    /// Sets the size of a process's terminal. One that is on its way is waited for.
    ///
    /// # Errors
    /// It has no terminal, has ended, or is not started.
    pub async fn exec_resize(
        &self,
        caller: &Caller,
        id: &str,
        size: ConsoleSize,
    ) -> Result<(), ContainerError> {
        let exec = self.exec(caller, id)?;
        let begun = tokio::time::timeout(BEGIN_PATIENCE, exec.begun());
        let begun = task::waiting(Wait::Program, Some(BEGIN_PATIENCE), begun).await;
        if !matches!(begun, Ok(ExecState::Running(_))) {
            let why = if begun.is_ok() {
                "has ended"
            } else {
                "was not started in time"
            };
            return Err(ContainerError::Conflict(format!(
                "cannot resize exec {id}: it {why}"
            )));
        }
        let handle = self.find(caller, &exec.container.to_string())?;
        let task = terminals::task(&handle).await?;
        let id = id.to_owned();
        terminals::resize(&self.shared.threads, exec.container, task, Some(id), size).await
    }
}

/// The exit code of a process that could not be started.
fn code_of(error: &ContainerError) -> i32 {
    match error {
        ContainerError::Exec(LaunchError::Start(failure))
            if failure.kind == StartFailureKind::CommandNotFound =>
        {
            EXIT_NOT_FOUND
        }
        _ => EXIT_NOT_STARTED,
    }
}

/// The record and the monitor of a container that runs and is not paused.
async fn running(handle: &Handle) -> Result<(Arc<Record>, Arc<dyn Task>), ContainerError> {
    let task = terminals::task(handle).await?;
    let record = Arc::clone(&handle.snapshot.borrow());
    match record.state.phase.word() {
        "running" => Ok((record, task)),
        "paused" => Err(ContainerError::Conflict(format!(
            "container {} is paused, unpause the container before exec",
            record.id
        ))),
        _ => Err(ContainerError::Conflict(format!(
            "container {} is not running",
            record.id
        ))),
    }
}

fn check(settings: &ExecSettings) -> Result<(), ContainerError> {
    let invalid = |text: String| Err(ContainerError::Invalid(text));
    if settings.command.first().is_none_or(String::is_empty) {
        return invalid("No exec command specified".to_owned());
    }
    let mut texts = settings.command.iter().chain(&settings.env);
    if let Some(text) = texts.find(|text| text.contains('\0')) {
        return invalid(format!(
            "invalid argument {text:?}: commands and environment variables cannot hold a NUL byte"
        ));
    }
    if let Some(entry) = settings
        .env
        .iter()
        .find(|e| e.starts_with('=') || e.is_empty())
    {
        return invalid(format!("invalid environment variable: {entry}"));
    }
    if !settings.working_dir.is_empty() && !settings.working_dir.starts_with('/') {
        return invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            settings.working_dir
        ));
    }
    Ok(())
}

/// What the monitor is asked to start.
fn request(
    shared: &Shared,
    record: &Record,
    exec: &Exec,
    detached: bool,
    console: Option<ConsoleSize>,
) -> Result<ExecRequest, ContainerError> {
    let own = &exec.settings;
    let [stdin, stdout, stderr] = own.attach;
    let console = console.or(own.console_size);
    let (user, groups) = if own.user.is_empty() {
        (record.settings.user.clone(), record.host.group_add.clone())
    } else {
        (own.user.clone(), Vec::new())
    };
    Ok(ExecRequest {
        exec: ExecLaunch {
            id: exec.id.to_string(),
            process: process::further(record, &shared.facts, own, console)?,
            user,
            groups,
            // Nobody can come later to a process whose client did not want the streams.
            stdin: if stdin && !detached {
                Stdin::Pipe { once: true }
            } else {
                Stdin::Null
            },
        },
        // A terminal has one output.
        parked: (!detached)
            .then(|| AttachWant::new(stdin, stdout || (own.tty && stderr), stderr && !own.tty)),
    })
}

/// Waits for the end of a process and records it, before anyone is told.
async fn watch(shared: Arc<Shared>, exec: Arc<Exec>, pid: i32, link: Option<Socket>) {
    let code = match link.map(UnixStream::from_std) {
        Some(Ok(link)) => task::waiting(Wait::Program, None, exit_code(link)).await,
        _ => None,
    };
    let code = code.unwrap_or(EXIT_KILLED);
    exec.set(ExecState::Ended { code, pid });
    if let Some(record) = snapshot(&shared, exec.container) {
        let extra = [
            ("execID", exec.id.to_string()),
            ("exitCode", code.to_string()),
        ];
        events::publish(&shared, &record, "exec_die", &extra);
    }
}

/// The exit code that the link tells; none when the monitor went without a word.
async fn exit_code(mut link: UnixStream) -> Option<i32> {
    let mut decoder = Decoder::new();
    let mut buffer = [0; LINK_READ];
    loop {
        match decoder.event() {
            Ok(Some(Event::ExecExited(code))) => return Some(code),
            Ok(Some(Event::Exited(_) | Event::OomKilled(_))) | Err(_) => return None,
            Ok(None) => {}
        }
        match link.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => decoder.push(&buffer[..n]),
        }
    }
}

fn announce(shared: &Shared, exec: &Exec, action: &str) {
    if let Some(record) = snapshot(shared, exec.container) {
        let action = format!("{action}: {}", exec.settings.command.join(" "));
        let extra = [("execID", exec.id.to_string())];
        events::publish(shared, &record, action, &extra);
    }
}

fn snapshot(shared: &Shared, id: ContainerId) -> Option<Arc<Record>> {
    let index = shared.read_index();
    let handle = index.by_id.get(&id)?;
    Some(Arc::clone(&handle.snapshot.borrow()))
}
