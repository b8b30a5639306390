//! What the actor's effects do to the machine: idempotent, blocking, named after the container.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use berth_network::Endpoint;
use berth_shim::exit_record;
use berth_shim::{AttachWant, LaunchError, LaunchRequest, Task};
use berth_store::failpoint;
use berth_sys::socket::open_directory;
use berth_sys::{cgroup, pidfd};
use berth_types::launch::{
    EXIT_RECORD_VERSION, ExitRecord, Phase as TimedPhase, ProcessIdentity, StartFailure,
    StartFailureKind,
};
use berth_types::{ContainerId, chain};

use crate::devices;
use crate::error::ContainerError;
use crate::groups;
use crate::hostfiles;
use crate::lifecycle::End;
use crate::machine;
use crate::network;
use crate::parents::Kept;
use crate::record::Record;
use crate::scopes;
use crate::shared::Shared;
use crate::spec;

/// A launch that did not happen.
pub(crate) struct LaunchFault {
    /// What the record keeps.
    pub failure: StartFailure,
    /// What the client is told, where that is more than the failure.
    pub error: Option<ContainerError>,
}

impl LaunchFault {
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::of(StartFailureKind::Internal, message)
    }

    pub(crate) fn of(kind: StartFailureKind, message: impl Into<String>) -> Self {
        Self {
            failure: StartFailure {
                kind,
                message: message.into(),
            },
            error: None,
        }
    }
}

impl From<ContainerError> for LaunchFault {
    fn from(error: ContainerError) -> Self {
        let message = chain(&error);
        Self {
            error: Some(error),
            ..Self::internal(message)
        }
    }
}

/// What a launch gives: the monitor, where the time went, the place on the network.
pub(crate) type Launched = (Box<dyn Task>, Vec<TimedPhase>, Option<Endpoint>);

/// Starts a container: directories, files, the intent, the monitor.
pub(crate) fn launch(
    shared: &Shared,
    record: &Record,
    nodes: Vec<devices::Node>,
    wants: Vec<AttachWant>,
    ends: Vec<OwnedFd>,
) -> Result<Launched, LaunchFault> {
    failpoint::hit("start.begin");
    let begun = Instant::now();
    let mut phases = Vec::new();
    let mut phase = |name: &str, since: Instant| {
        let us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        phases.push(TimedPhase {
            name: name.to_owned(),
            us,
        });
        Instant::now()
    };
    let io = |what| {
        move |source| {
            LaunchFault::from(ContainerError::Io {
                what,
                id: record.id.to_string(),
                source,
            })
        }
    };

    let files = shared.files.take(record.id);
    let _files = files.ok_or_else(|| {
        ContainerError::Conflict(format!(
            "files are being copied into container {}: start it when that is over",
            record.name
        ))
    })?;
    let snapshot = shared
        .storage
        .prepare(record.id)
        .map_err(|e| LaunchFault::from(ContainerError::from(e)))?;
    let state = shared
        .storage
        .make_state(record.id)
        .map_err(|e| LaunchFault::from(ContainerError::from(e)))?;
    if record.host.auto_remove && record.state.finished_at.is_set() {
        allow_volatile_again(&snapshot.work).map_err(io("reuse the writable layer"))?;
    }
    open_directory(&state)
        .and_then(exit_record::remove)
        .map_err(io("clear the last exit record"))?;
    let at = phase("engine: files", begun);

    make_runtime_dir(&shared.runtime_dir(record.id)).map_err(io("make the runtime directory"))?;
    failpoint::hit("start.intent");
    let _parent = make_parent(shared, record)?;
    let place = network::prepare(shared, record).map_err(LaunchFault::from)?;
    let endpoint = place.as_ref().and_then(|place| place.endpoint.clone());
    failpoint::hit("start.attached");
    let surroundings = hostfiles::Surroundings::of(shared, record, endpoint.as_ref());
    hostfiles::write(record, &shared.facts, &state, &surroundings)
        .map_err(io("write the host files"))?;
    let at = phase("engine: network", at);
    let lower: Vec<String> = snapshot
        .lower
        .iter()
        .map(|p| p.to_string_lossy().into_owned())
        .collect();
    let dirs = spec::Dirs {
        state: &state,
        lower: &lower,
        upper: &snapshot.upper.to_string_lossy(),
        work: &snapshot.work.to_string_lossy(),
    };
    let mut launch = spec::launch(record, &shared.facts, dirs).map_err(LaunchFault::from)?;
    if let Some(place) = &place {
        place.join(&mut launch.bundle.spec.linux.namespaces);
    }
    devices::add(nodes, &mut launch.bundle.spec.linux);
    let filter = shared
        .filters
        .get(&record.host, shared.facts.capabilities)
        .map_err(LaunchFault::from)?;
    let at = phase("engine: spec and filter", at);

    let request = LaunchRequest {
        launch,
        parked: wants,
    };
    let bytes = filter.as_ref().map(|f| f.as_bytes());
    let launched = shared.launcher.launch(&request, bytes, ends);
    shared.networks.refill();
    let task = launched.map_err(launch_error)?;
    failpoint::hit("start.launched");
    phase("engine: monitor", at);
    network::announce(shared, record, "connect");
    Ok((task, phases, endpoint))
}

fn launch_error(error: LaunchError) -> LaunchFault {
    match error {
        LaunchError::Start(failure) => LaunchFault {
            failure,
            error: None,
        },
        other => LaunchFault::internal(chain(&other)),
    }
}

/// Takes away the mark that a volatile overlay leaves, so that it can be mounted again
/// (`overlayfs.rst`, "Volatile mount"). The machine did not go down since: a container that removes
/// itself does not outlive that.
fn allow_volatile_again(work: &Path) -> io::Result<()> {
    match fs::remove_dir_all(work.join("work/incompat/volatile")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The intent to start: a directory that lives where the kernel's objects live, and is gone with
/// them after a power cut.
fn make_runtime_dir(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Makes what is missing above the group of a container that has a parent of its own, and keeps it
/// until the start is over.
fn make_parent<'a>(shared: &'a Shared, record: &Record) -> Result<Option<Kept<'a>>, LaunchFault> {
    if record.host.cgroup_parent.is_empty() {
        return Ok(None);
    }
    let group = groups::planned(record, &shared.facts)?;
    if shared.facts.scopes.is_some() {
        // systemd makes the slice.
        return Ok(None);
    }
    scopes::write_link(&shared.runtime_dir(record.id), &group).map_err(|source| {
        ContainerError::Io {
            what: "write down the control group",
            id: record.id.to_string(),
            source,
        }
    })?;
    failpoint::hit("start.group");
    Ok(Some(shared.parents.make(&shared.parent_notes(), &group)?))
}

/// Gives back the container's place on the network, takes away what was made for its group alone, and removes the directory that announced the
/// run.
pub(crate) fn clear_runtime(shared: &Shared, id: ContainerId) -> io::Result<()> {
    if network::is_lent(shared, id) {
        shared.networks.cut(id);
    }
    shared.networks.detach(id);
    let runtime = shared.runtime_dir(id);
    if let Some(group) = scopes::read_link(&runtime) {
        scopes::leave(&group, id);
        shared.parents.leave(&shared.parent_notes(), &group);
    }
    match fs::remove_dir_all(runtime) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// How a container ended whose monitor said nothing: by its exit record, which is written before
/// anyone is told, or unseen; then nothing of it may live on.
pub(crate) fn end_without_word(shared: &Shared, id: ContainerId) -> End {
    // A monitor that was killed behind its exit record did not come to remove the group.
    kill_cgroup(shared, id);
    if let Some(record) = read_exit_record(shared, id) {
        return End::Recorded(record);
    }
    End::Unseen {
        at: machine::date(),
        reason: "the container's monitor was killed, and the container with it".to_owned(),
    }
}

/// Kills whatever is left in a container's control group and removes the group.
pub(crate) fn kill_cgroup(shared: &Shared, id: ContainerId) {
    kill_group(id, &groups::path(shared, id));
}

/// Kills whatever is left in a group and removes it.
pub(crate) fn kill_group(id: ContainerId, path: &str) {
    #[cfg(test)]
    if let Some(groups) = crate::sim::groups() {
        return groups.kill(id);
    }
    let result = cgroup::Cgroup::find(path).and_then(|group| match group {
        Some(group) => group.kill_all().and_then(|()| group.remove()),
        None => Ok(()),
    });
    if let Err(error) = result {
        tracing::warn!(%id, error = %chain(&error), "control group not removed");
    }
}

/// Sends a signal to a process that is known by its record alone. One that is gone, or whose
/// number is another's by now, gets none.
pub(crate) fn signal(process: ProcessIdentity, number: i32) -> io::Result<()> {
    let opened = pidfd::open(process.pid)?;
    // If the number is still the process's now, the descriptor is.
    if berth_sys::process::identity(process.pid)? != process {
        return Err(io::ErrorKind::NotFound.into());
    }
    pidfd::send_signal(&opened, number)
}

/// The control group of a container that runs.
pub(crate) fn group(shared: &Shared, id: ContainerId) -> Result<cgroup::Cgroup, ContainerError> {
    Ok(cgroup::Cgroup::open(&groups::path(shared, id))?)
}

/// Freezes the processes of a container or lets them go on; returns when they do. One that stands
/// still for a commit already is not frozen: the end of that commit would thaw it.
pub(crate) fn freeze(shared: &Shared, id: ContainerId, on: bool) -> Result<(), ContainerError> {
    let taken = on.then(|| {
        shared.freezer.try_take(id).ok_or_else(|| {
            ContainerError::Conflict(format!(
                "container {id} stands still for a commit: pause it when that is over"
            ))
        })
    });
    let _taken = taken.transpose()?;
    #[cfg(test)]
    if let Some(groups) = crate::sim::groups() {
        return groups.freeze(id, on);
    }
    match cgroup::Cgroup::find(&groups::path(shared, id))? {
        Some(group) => Ok(group.freeze(on)?),
        // It has ended, and its end is on its way here.
        None if !on => Ok(()),
        None => Err(ContainerError::Conflict(format!(
            "container {id} is not running"
        ))),
    }
}

/// Whether the kernel keeps the processes of a container frozen.
pub(crate) fn is_frozen(shared: &Shared, id: ContainerId) -> Result<bool, ContainerError> {
    #[cfg(test)]
    if let Some(groups) = crate::sim::groups() {
        return groups.is_frozen(id);
    }
    Ok(group(shared, id)?.is_frozen()?)
}

/// The exit record of the last run, if one was written. A damaged one counts as none.
pub(crate) fn read_exit_record(shared: &Shared, id: ContainerId) -> Option<ExitRecord> {
    let directory = open_directory(&shared.storage.paths().state(id)).ok()?;
    let record = exit_record::read(directory).ok()??;
    (record.version == EXIT_RECORD_VERSION).then_some(record)
}

/// Removes what a monitor that is gone left half-written.
pub(crate) fn clear_unfinished_record(shared: &Shared, id: ContainerId) {
    let cleared =
        open_directory(&shared.storage.paths().state(id)).and_then(exit_record::remove_unfinished);
    if let Err(error) = cleared {
        tracing::debug!(%id, %error, "no unfinished exit record removed");
    }
}

/// Whether an error in talking to a monitor means that it has closed the connection.
pub(crate) fn monitor_hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof
    )
}

/// Whether the other end of a parked client's stream is closed.
pub(crate) fn hung_up(stream: &UnixStream) -> bool {
    use berth_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    matches!(poll(&mut fds, Some(&now)), Ok(1)) && fds[0].revents().contains(PollFlags::HUP)
}
