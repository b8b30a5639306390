//! Images of containers: who was made from which, and a container's files as a new image.
//!
//! A running container stands still while its files are copied. The intent to let it go on is a
//! file in its directory below the exec root, which lives as long as the run does: an engine that
//! is killed meanwhile leaves it, and the next one lets the container go on.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use berth_image::{CommitOptions, Image, ImageError, User, apply_changes};
use berth_storage::StorageError;
use berth_storage::archive::{ArchiveError, Form, TreeOptions, Written, write_tree};
use berth_store::{Event, EventKind, failpoint};
use berth_sys::cgroup::{Cgroup, CgroupError};
use berth_sys::rustix::pipe::{PipeFlags, pipe_with};
use berth_types::oci::{Empty, ImageDefaults};
use berth_types::task;
use berth_types::{Caller, ContainerId, ImageReference, Timestamp, chain};

use crate::error::ContainerError;
use crate::files::busy::Taken;
use crate::groups;
use crate::record::{Phase, Record};
use crate::service::Containers;
use crate::shared::Shared;
use crate::threads::Work;

/// The file that says that the engine stopped a container for a copy.
const FROZEN: &str = "frozen-for-commit";

/// How a container's files become an image.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitRequest {
    /// The name of the image; nothing leaves it dangling.
    pub reference: Option<ImageReference>,
    /// Who made it.
    pub author: String,
    /// A remark.
    pub comment: String,
    /// Whether the container stands still meanwhile.
    pub pause: bool,
    /// What the image's containers start from; what it leaves open, and all of it where there is
    /// none, is the container's.
    pub config: Option<ImageDefaults>,
    /// Dockerfile instructions that change that.
    pub changes: Vec<String>,
}

impl Containers {
    /// The containers that were made from an image, whoever owns them.
    pub fn users_of(&self, image: &Image) -> Vec<User> {
        let index = self.shared.read_index();
        let records = index.by_id.values().map(|handle| handle.snapshot.borrow());
        let mut users: Vec<User> = records
            .filter(|r| r.image == image.id && r.image_owner == image.owner)
            .filter(|r| r.state.phase != Phase::Removed)
            .map(|r| User {
                id: r.id.to_string(),
                running: !matches!(r.state.phase, Phase::Created | Phase::Exited),
            })
            .collect();
        users.sort_by(|a, b| a.id.cmp(&b.id));
        users
    }

    /// Makes an image of a container's files.
    ///
    /// # Errors
    /// There is no such container, a change is wrong, the container cannot be stopped for the
    /// copy, or the copy fails; no image is made then.
    pub async fn commit(
        &self,
        caller: &Caller,
        key: &str,
        request: CommitRequest,
    ) -> Result<Arc<Image>, ContainerError> {
        let record = self.get(caller, key)?;
        if matches!(record.state.phase, Phase::Removing | Phase::Removed) {
            return Err(ContainerError::Removing(record.id.to_string()));
        }
        let (shared, caller) = (Arc::clone(&self.shared), caller.clone());
        let task = task::begin("commit", record.id);
        let work = Work::with_files(record.id, "make an image");
        let commit = move || commit(&shared, &caller, &record, request);
        task.run(self.shared.threads.run(work, commit)).await?
    }
}

fn commit(
    shared: &Shared,
    caller: &Caller,
    record: &Record,
    request: CommitRequest,
) -> Result<Arc<Image>, ContainerError> {
    let parent = shared.images.by_id(&record.image_owner, record.image);
    let own = defaults(record, parent.as_deref());
    let mut config = request.config.clone().unwrap_or_else(|| own.clone());
    apply_changes(&request.changes, &mut config)?;
    if request.config.is_some() {
        fill(&mut config, own);
    }
    let options = CommitOptions {
        reference: request.reference,
        author: request.author,
        comment: request.comment.clone(),
        created_by: record
            .settings
            .cmd
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(" "),
        config,
        now: Timestamp::now(),
    };
    let name = options.reference.clone().map(ImageReference::or_latest);
    let upper = shared.storage.open_upper(record.id)?;
    let frozen = if request.pause && record.state.phase == Phase::Running {
        Frozen::new(shared, record.id)?
    } else {
        None
    };
    let io = |source| ContainerError::Io {
        what: "make a pipe for the files",
        id: record.id.to_string(),
        source,
    };
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| io(e.into()))?;
    let image = std::thread::scope(|scope| {
        let copy = scope.spawn(move || copy(upper, write, frozen));
        let is_whole = || {
            let written = copy.join().map_err(|_| ImageError::Interrupted)?;
            note(record, written.map_err(StorageError::from)?);
            // What was removed meanwhile is copied in part.
            let index = shared.read_index();
            match index.by_id.contains_key(&record.id) {
                true => Ok(()),
                false => Err(ImageError::Interrupted),
            }
        };
        let parent = parent.as_deref();
        let images = &shared.images;
        images.commit(caller, &record.layers, parent, read, is_whole, options)
    })?;
    announce(shared, record, &image, name, request.comment);
    Ok(image)
}

/// Writes the files, then lets the container go on.
fn copy(
    upper: OwnedFd,
    sink: OwnedFd,
    frozen: Option<Frozen<'_>>,
) -> Result<Written, ArchiveError> {
    let options = TreeOptions {
        form: Form::Layer,
        name: Vec::new(),
        cross_mounts: false,
    };
    let sink = io::BufWriter::with_capacity(64 << 10, File::from(sink));
    let written = write_tree(upper.as_fd(), &options, sink);
    drop(frozen);
    written
}

/// Tells the log what the image lacks.
fn note(record: &Record, written: Written) {
    if written.sockets + written.shrunk + written.vanished + written.ambiguous > 0 {
        tracing::warn!(id = %record.id, ?written, "a committed image lacks some of its container's files");
    }
}

/// What the container started from, as an image says it.
fn defaults(record: &Record, parent: Option<&Image>) -> ImageDefaults {
    let settings = &record.settings;
    let parent = parent.map(|image| &image.config.config);
    ImageDefaults {
        user: settings.user.clone(),
        exposed_ports: settings
            .exposed_ports
            .iter()
            .map(|port| (port.clone(), Empty {}))
            .collect(),
        env: settings.env.clone(),
        entrypoint: settings.entrypoint.clone(),
        cmd: settings.cmd.clone(),
        working_dir: settings.working_dir.clone(),
        labels: settings.labels.clone(),
        stop_signal: settings.stop_signal.clone(),
        // Triggers and shells are of the build that made the parent.
        volumes: parent.map(|p| p.volumes.clone()).unwrap_or_default(),
        healthcheck: parent.and_then(|p| p.healthcheck.clone()),
        ..ImageDefaults::default()
    }
}

/// Fills what a configuration leaves open from the container's.
fn fill(config: &mut ImageDefaults, own: ImageDefaults) {
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if is_empty(&config.entrypoint) {
        if is_empty(&config.cmd) {
            config.cmd = own.cmd;
        }
        config.entrypoint = own.entrypoint;
    }
    for (field, value) in [
        (&mut config.user, own.user),
        (&mut config.working_dir, own.working_dir),
        (&mut config.stop_signal, own.stop_signal),
    ] {
        if field.is_empty() {
            *field = value;
        }
    }
    let key = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    for pair in own.env {
        if !config.env.iter().any(|other| key(other) == key(&pair)) {
            config.env.push(pair);
        }
    }
    for (name, value) in own.labels {
        config.labels.entry(name).or_insert(value);
    }
    config.exposed_ports.extend(own.exposed_ports);
    config.volumes.extend(own.volumes);
    config.healthcheck = config.healthcheck.take().or(own.healthcheck);
}

fn announce(
    shared: &Shared,
    record: &Record,
    image: &Image,
    name: Option<ImageReference>,
    comment: String,
) {
    let mut attributes = record.settings.labels.clone();
    attributes.insert("name".to_owned(), record.name.clone());
    attributes.insert("image".to_owned(), record.image_name.clone());
    attributes.insert("comment".to_owned(), comment);
    attributes.insert("imageID".to_owned(), image.id.to_string());
    let name = name.map(|name| name.to_string()).unwrap_or_default();
    attributes.insert("imageRef".to_owned(), name);
    shared.db.events().publish(Event {
        kind: EventKind::Container,
        action: "commit".to_owned(),
        id: record.id.to_string(),
        attributes,
        owner: record.owner.clone(),
        time: Timestamp::now(),
    });
}

/// A container that stands still until this is dropped.
struct Frozen<'a> {
    group: Cgroup,
    mark: PathBuf,
    id: ContainerId,
    /// Nobody else stops it meanwhile. Given back behind the thaw.
    _taken: Taken<'a>,
}

impl<'a> Frozen<'a> {
    /// Stops a container; nothing where it stands still already, for someone else or for good.
    fn new(shared: &'a Shared, id: ContainerId) -> Result<Option<Self>, ContainerError> {
        let taken = shared.freezer.take(id).ok_or_else(|| {
            ContainerError::Conflict(format!(
                "cannot pause container {id} for the commit: it is being committed already; wait for that, or commit it without pausing"
            ))
        })?;
        let path = groups::path(shared, id);
        match Self::stop(shared, id, taken, &path) {
            // It has ended meanwhile: what has no group stands still.
            Err(_) if is_gone(&path) => Ok(None),
            stopped => stopped,
        }
    }

    fn stop(
        shared: &Shared,
        id: ContainerId,
        taken: Taken<'a>,
        path: &str,
    ) -> Result<Option<Self>, ContainerError> {
        let failed = |error: CgroupError| {
            ContainerError::Conflict(format!(
                "cannot pause container {id} for the commit: {}: commit it without pausing",
                chain(&error)
            ))
        };
        let group = Cgroup::open(path).map_err(failed)?;
        if group.is_frozen().map_err(failed)? {
            return Ok(None);
        }
        let mark = shared.runtime_dir(id).join(FROZEN);
        File::create(&mark).map_err(|source| ContainerError::Io {
            what: "note the pause",
            id: id.to_string(),
            source,
        })?;
        // From here on dropping it undoes everything.
        let frozen = Self {
            group,
            mark,
            id,
            _taken: taken,
        };
        frozen.group.freeze(true).map_err(failed)?;
        failpoint::hit("commit.frozen");
        Ok(Some(frozen))
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        thaw(&self.group, self.id);
        let _ = fs::remove_file(&self.mark);
    }
}

fn is_gone(path: &str) -> bool {
    matches!(Cgroup::find(path), Ok(None))
}

fn thaw(group: &Cgroup, id: ContainerId) {
    if let Err(error) = group.freeze(false) {
        tracing::error!(%id, error = %chain(&error), "a container stands still after a commit: unpause it");
    }
}

/// Lets a container go on that an engine stopped for a copy it did not finish.
pub(crate) fn resume(shared: &Shared, id: ContainerId) {
    let mark = shared.runtime_dir(id).join(FROZEN);
    if !mark.exists() {
        return;
    }
    match Cgroup::open(&groups::path(shared, id)) {
        Ok(group) => thaw(&group, id),
        Err(error) => {
            tracing::warn!(%id, error = %chain(&error), "control group not found after a commit");
        }
    }
    let _ = fs::remove_file(mark);
}
