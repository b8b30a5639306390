//! The sources of bind mounts: directories and files of the host, on whatever file system.
//!
//! A source that the kernel has at hand, on a device of the machine's own, is there. Everything
//! else is looked at by a process that may hang in it ([`crate::files::reader`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use berth_sys::rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};
use berth_types::ContainerId;
use berth_types::launch::StartFailureKind;
use serde::de::DeserializeOwned;

use crate::devices::Node;
use crate::effects::LaunchFault;
use crate::error::ContainerError;
use crate::files::reader::{Errand, Failure, Request, Source};
use crate::record::Record;
use crate::service::Containers;
use crate::shared::Shared;
use crate::threads::Work;

/// How long the sources of bind mounts may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Whose share of the threads the containers have that are not there yet.
const NOT_YET: ContainerId = ContainerId::from_bytes([0; 32]);

/// Makes sure of the sources of a container that starts. A launch is not begun that would hang in
/// one. Docker's `-v` makes a missing directory; `--mount` refuses it.
///
/// Returns the device nodes that it gets: these are looked at likewise.
pub(crate) async fn make(shared: &Arc<Shared>, record: &Record) -> Result<Vec<Node>, LaunchFault> {
    let binds = record.host.binds.iter();
    let sources = binds.map(|bind| Source {
        path: bind.source.clone(),
        make: bind.short.is_some(),
    });
    let Some((source, error)) = look(shared, record.id, sources.collect()).await? else {
        return devices(shared, record).await;
    };
    let why = match source.make {
        true => format!("{} and cannot be made: {error}", missing(&source)),
        false => missing(&source),
    };
    Err(LaunchFault::of(StartFailureKind::BadMount, why))
}

/// Docker's words for a source that is not there, which clients look for.
fn missing(source: &Source) -> String {
    format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {}",
        source.path
    )
}

async fn devices(shared: &Arc<Shared>, record: &Record) -> Result<Vec<Node>, LaunchFault> {
    if record.host.devices.is_empty() {
        return Ok(Vec::new());
    }
    let devices = Request::Devices(record.host.devices.clone());
    let asked = ask(shared, record.id, "look at the devices", devices).await?;
    Ok(asked.map_err(|failure| ContainerError::Invalid(failure.text))?)
}

impl Containers {
    /// Refuses what is to mount paths of the host that are not all there.
    ///
    /// # Errors
    /// The first path that is missing, or they do not answer within some seconds.
    pub async fn expect_sources(&self, paths: Vec<String>) -> Result<(), ContainerError> {
        let sources = paths.into_iter().map(|path| Source { path, make: false });
        match look(&self.shared, NOT_YET, sources.collect()).await? {
            Some((source, _)) => Err(ContainerError::Invalid(missing(&source))),
            None => Ok(()),
        }
    }
}

/// The first source that is not there, and why.
async fn look(
    shared: &Arc<Shared>,
    id: ContainerId,
    mut sources: Vec<Source>,
) -> Result<Option<(Source, io::Error)>, ContainerError> {
    sources.retain(|source| !is_at_hand(&source.path));
    if sources.is_empty() {
        return Ok(None);
    }
    let what = "look at the sources of the mounts";
    let looked: Result<(), _> = ask(shared, id, what, Request::Sources(sources.clone())).await?;
    let Err(failure) = looked else {
        return Ok(None);
    };
    let source = sources.into_iter().nth(failure.subject);
    Ok(source.map(|source| (source, failure.into())))
}

/// Asks a reader, with patience.
async fn ask<T: DeserializeOwned + Send + 'static>(
    shared: &Arc<Shared>,
    id: ContainerId,
    what: &'static str,
    request: Request,
) -> Result<Result<T, Failure>, ContainerError> {
    let work = Work::with_files(id, what).within(PATIENCE);
    let readers = shared.readers.clone();
    let ask = move || readers.take(Errand::Host)?.ask(&request, None);
    let answer = shared.threads.run(work, ask).await?;
    answer.map_err(|source| ContainerError::Io {
        what,
        id: id.to_string(),
        source,
    })
}

/// Whether the kernel finds a path without asking anybody (`RESOLVE_CACHED`), on a block device.
/// That never waits.
fn is_at_hand(path: &str) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Ok(fd) = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED) else {
        return false;
    };
    let itself = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(fd, c"", itself, StatxFlags::TYPE).is_ok_and(|found| found.stx_dev_major != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_of_a_disk_is_not_at_hand() {
        assert!(!is_at_hand("/proc/self"));
        assert!(!is_at_hand("/no/such/path"));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let device = statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE).unwrap();
        assert_eq!(is_at_hand(path), device.stx_dev_major != 0);
    }
}
