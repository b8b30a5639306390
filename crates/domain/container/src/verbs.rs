//! The verbs between start and removal: pause, restart, rename, update, prune.

use std::sync::Arc;
use std::time::Duration;

use berth_types::Caller;
use berth_types::task::{self, Wait};

use crate::create;
use crate::error::ContainerError;
use crate::lifecycle::Input;
use crate::machine;
use crate::record::{Phase, Record, Settings};
use crate::service::{Containers, KILL_PATIENCE, STOP_TIMEOUT};
use crate::signal;
use crate::update::Change;

/// What a prune removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The containers that are gone.
    pub ids: Vec<String>,
    /// Bytes they had written.
    pub bytes: u64,
}

impl Containers {
    /// Freezes a container's processes.
    ///
    /// # Errors
    /// It does not run, or is paused already.
    pub async fn pause(&self, caller: &Caller, key: &str) -> Result<(), ContainerError> {
        let handle = self.find(caller, key)?;
        handle.step(Input::Pause).await.map(drop)
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// It is not paused.
    pub async fn unpause(&self, caller: &Caller, key: &str) -> Result<(), ContainerError> {
        let handle = self.find(caller, key)?;
        handle.step(Input::Unpause).await.map(drop)
    }

    /// Stops a container as [`Containers::stop`] does and starts it again; one that does not run
    /// is started. The wish survives the engine.
    ///
    /// # Errors
    /// The signal is none, the container does not end, or it does not start again.
    pub async fn restart(
        &self,
        caller: &Caller,
        key: &str,
        timeout: Option<i64>,
        signal: Option<&str>,
    ) -> Result<(), ContainerError> {
        let handle = self.find(caller, key)?;
        let settings = handle.snapshot.borrow().settings.clone();
        let (signal, seconds, patience) = patience(&settings, timeout, signal)?;
        let mut watch = handle.snapshot.clone();
        let report = handle.step(Input::Restart { signal, patience }).await?;
        let decided = watch.wait_for(|r| !r.state.restart.asked);
        let over = match u64::try_from(seconds) {
            Ok(seconds) => {
                let limit = Duration::from_secs(seconds).saturating_add(KILL_PATIENCE);
                let decided = tokio::time::timeout(limit, decided);
                let decided = task::waiting(Wait::Program, Some(limit), decided).await;
                decided.map_err(|_| {
                    ContainerError::Conflict(format!(
                        "container {key} was killed and does not end: one of its processes hangs in the kernel; it is started when that ends"
                    ))
                })?
            }
            Err(_) => task::waiting(Wait::Program, None, decided).await,
        };
        let record = match over {
            Ok(seen) => Arc::clone(&seen),
            // The actor ended with the container.
            Err(_) => return Err(ContainerError::NotFound(key.to_owned())),
        };
        // The run that was to end may be there yet, where a stop took the restart back.
        let again = Some(record.state.started_at) != report.met;
        match (record.state.phase, record.state.error.as_str()) {
            (Phase::Running | Phase::Paused | Phase::Restarting, _) if again => Ok(()),
            (Phase::Running | Phase::Paused, _) | (_, "") => {
                Err(ContainerError::Conflict(format!(
                    "container {key} was not started again: another request stopped it meanwhile"
                )))
            }
            (_, error) => Err(ContainerError::Invalid(format!(
                "Cannot restart container {key}: {error}"
            ))),
        }
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// The name is impossible, taken, or the one it has.
    pub async fn rename(
        &self,
        caller: &Caller,
        key: &str,
        name: &str,
    ) -> Result<(), ContainerError> {
        let handle = self.find(caller, key)?;
        let name = name.strip_prefix('/').unwrap_or(name);
        if name.is_empty() {
            return Err(ContainerError::Invalid(
                "Neither old nor new names may be empty".to_owned(),
            ));
        }
        if handle.snapshot.borrow().name == name {
            return Err(ContainerError::Invalid(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        create::check_name(name)?;
        handle.rename(name.to_owned()).await
    }

    /// Changes limits and restart policy, at once where the container runs. Returns warnings.
    ///
    /// # Errors
    /// A value is refused; then nothing is changed.
    pub async fn update(
        &self,
        caller: &Caller,
        key: &str,
        change: Change,
    ) -> Result<Vec<String>, ContainerError> {
        self.find(caller, key)?.update(change).await
    }

    /// Removes the containers that do not run and that `fits` allows.
    pub async fn prune(&self, caller: &Caller, fits: impl Fn(&Record) -> bool) -> Pruned {
        let mut pruned = Pruned::default();
        for record in self.all(caller) {
            if record.state.phase.is_active() || !fits(&record) {
                continue;
            }
            let (counter, counted) = (self.clone(), Arc::clone(&record));
            let count = move || counter.usage(&counted).0;
            let count = machine::blocking(task::blocking(count)).await;
            let id = record.id.to_string();
            match self.remove(caller, &id, false).await {
                Ok(()) => {
                    pruned.ids.push(id);
                    let bytes = count.ok().and_then(|n| u64::try_from(n).ok());
                    pruned.bytes = pruned.bytes.saturating_add(bytes.unwrap_or(0));
                }
                // Started or removed by somebody else meanwhile, or the log says why.
                Err(error) => tracing::info!(%id, %error, "not pruned"),
            }
        }
        pruned
    }
}

/// Whether a signal asks the container's program to end: SIGKILL, its stop signal, or any where
/// it has none of its own.
pub(crate) fn ends(settings: &Settings, number: i32) -> bool {
    number == signal::KILL
        || settings.stop_signal.is_empty()
        || signal::parse(&settings.stop_signal).is_ok_and(|own| own == number)
}

/// How a container is asked to end: the signal, the seconds until SIGKILL (negative for ever),
/// and the same as a span of time.
pub(crate) fn patience(
    settings: &Settings,
    timeout: Option<i64>,
    signal: Option<&str>,
) -> Result<(i32, i64, Option<Duration>), ContainerError> {
    let name = signal
        .filter(|s| !s.is_empty())
        .unwrap_or(&settings.stop_signal);
    let signal = if name.is_empty() {
        signal::TERM
    } else {
        signal::parse(name)?
    };
    let seconds = timeout.or(settings.stop_timeout).unwrap_or(STOP_TIMEOUT);
    let span = u64::try_from(seconds).ok().map(Duration::from_secs);
    Ok((signal, seconds, span))
}
