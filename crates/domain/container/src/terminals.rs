//! Terminals of containers that run: their size, who sits at them, and clients that come and go.

use std::io;
use std::sync::Arc;

use berth_shim::{Task, TerminalState};
use berth_sys::rustix::io::Errno;
use berth_types::oci::ConsoleSize;
use berth_types::{Caller, ContainerId, task};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::actor::Handle;
use crate::effects;
use crate::error::ContainerError;
use crate::events;
use crate::record::Record;
use crate::service::Containers;
use crate::threads::{Threads, Work};

/// Monitors that are asked for their terminals at the same time.
const ASKED_AT_ONCE: usize = 8;

/// The terminal of a container that runs.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// The container.
    pub record: Arc<Record>,
    /// What its monitor knows of the terminal.
    pub state: TerminalState,
}

impl Containers {
    /// Sets the size of a container's terminal.
    ///
    /// # Errors
    /// The container does not run, or has no terminal.
    pub async fn resize(
        &self,
        caller: &Caller,
        key: &str,
        size: ConsoleSize,
    ) -> Result<(), ContainerError> {
        let handle = self.find(caller, key)?;
        let task = task(&handle).await?;
        let id = handle.snapshot.borrow().id;
        resize(&self.shared.threads, id, task, None, size).await?;
        let record = Arc::clone(&handle.snapshot.borrow());
        let extra = [
            ("height", size.height.to_string()),
            ("width", size.width.to_string()),
        ];
        events::publish(&self.shared, &record, "resize", &extra);
        Ok(())
    }

    /// The terminals of those of `records` that run and have one, in the same order. A container
    /// that ends meanwhile is left out.
    pub async fn terminals(&self, records: Vec<Arc<Record>>) -> Vec<Terminal> {
        let places = Arc::new(Semaphore::new(ASKED_AT_ONCE));
        let mut asked = JoinSet::new();
        let seated = |record: &Arc<Record>| record.settings.tty && record.state.init.is_some();
        for (at, record) in records.into_iter().filter(seated).enumerate() {
            let handle = self.shared.read_index().by_id.get(&record.id).cloned();
            let (Some(handle), places) = (handle, Arc::clone(&places)) else {
                continue;
            };
            let threads = self.shared.threads.clone();
            asked.spawn(task::here(async move {
                let _place = places.acquire_owned().await.ok()?;
                let task = task(&handle).await.ok()?;
                let work = Work::asking(record.id, "ask for the terminal");
                let state = threads.run(work, move || task.terminal()).await;
                let state = state.ok()?.ok()??;
                Some((at, Terminal { record, state }))
            }));
        }
        let mut found: Vec<(usize, Terminal)> =
            asked.join_all().await.into_iter().flatten().collect();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, terminal)| terminal).collect()
    }

    /// Says that a client left a container's streams, which go on.
    pub fn left(&self, record: &Record) {
        let handle = self.shared.read_index().by_id.get(&record.id).cloned();
        let Some(handle) = handle else { return };
        let now = Arc::clone(&handle.snapshot.borrow());
        if now.state.init.is_some() {
            events::publish(&self.shared, &now, "detach", &[]);
        }
    }
}

/// The monitor of a container that runs. Asked behind whatever the container is busy with, such
/// as its start.
pub(crate) async fn task(handle: &Handle) -> Result<Arc<dyn Task>, ContainerError> {
    let task = handle.task().await?;
    task.ok_or_else(|| {
        let record = handle.snapshot.borrow();
        let id = record.id;
        ContainerError::Conflict(match record.state.phase.is_live() {
            true => out_of_reach(id),
            false => format!("container {id} is not running"),
        })
    })
}

/// Why nothing can be asked of a container that runs.
pub(crate) fn out_of_reach(id: ContainerId) -> String {
    format!(
        "container {id} runs under a monitor that does not answer this engine, as its log says: it is asked again from time to time; the container can be killed and removed meanwhile"
    )
}

/// Sets the size of the container's terminal, or of that of a further process.
pub(crate) async fn resize(
    threads: &Threads,
    container: ContainerId,
    task: Arc<dyn Task>,
    exec: Option<String>,
    size: ConsoleSize,
) -> Result<(), ContainerError> {
    let what = exec
        .as_ref()
        .map_or_else(|| "container".to_owned(), |id| format!("exec {id}"));
    let work = Work::asking(container, "resize the terminal");
    let resized = move || task.resize(exec.as_deref(), size);
    let answer = threads.run(work, resized).await?;
    answer.map_err(|error: io::Error| match Errno::from_io_error(&error) {
        Some(Errno::NOTTY) => ContainerError::Invalid(format!(
            "cannot resize the {what}: it has no terminal (it was made without -t)"
        )),
        Some(Errno::SRCH) => {
            ContainerError::Conflict(format!("cannot resize the {what}: it is not running"))
        }
        _ if effects::monitor_hung_up(&error) => {
            ContainerError::Conflict(format!("cannot resize the {what}: it has just ended"))
        }
        _ => ContainerError::Io {
            what: "resize the terminal",
            id: what,
            source: error,
        },
    })
}
