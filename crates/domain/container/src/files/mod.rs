//! Files into and out of a container, and what it changed: `cp`, `diff`, `export`.
//!
//! Every path is resolved by the kernel below a descriptor of the container's root (`view`), so a
//! link can lead nowhere else, whatever the container does meanwhile. What a running container has
//! mounted may not answer: a process of its own looks at it (`reader`). What goes in is unpacked
//! by the confined helper with that root as its own.

pub(crate) mod busy;
mod changes;
mod error;
mod place;
pub(crate) mod reader;
mod view;

use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use berth_storage::archive::{Form, TreeOptions, Written, write_tree};
use berth_types::{Caller, Timestamp};
use berth_unpack::Budget;
use berth_unpack::protocol::{Destination, path_to_text};
use tokio::sync::watch;

pub use changes::{ChangeKind, FileChange};
pub use error::FilesError;

use crate::record::{Phase, Record};
use crate::service::Containers;
use crate::threads::Work;
use place::Wanted;
use reader::{Errand, Reader, Request, Seen, Target};

/// How long a copy waits for a start that is under way.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks again.
const ATTEMPTS: usize = 4;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFacts {
    /// The last part of the path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `st_mode`.
    pub mode: u32,
    /// When it was modified.
    pub modified: Timestamp,
    /// Where a symbolic link ends, as an absolute path in the container.
    pub link_target: Option<String>,
}

/// How an archive goes into a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyIn {
    /// Refuse to replace a directory by something else and the other way round.
    pub keep_kinds: bool,
    /// Everything belongs to the container's user, where it has one.
    pub to_user: bool,
}

/// Something of a container that is ready to be written as an archive.
pub struct Outgoing {
    /// What it is.
    pub facts: PathFacts,
    /// Who has it open.
    reader: Reader,
    container: String,
    path: String,
}

/// The files of the containers. All verbs block.
#[derive(Clone)]
pub struct Files {
    containers: Containers,
}

/// How long a look at a container's files may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(30);

impl Files {
    /// Does what blocks on a thread of the container's share, however long it takes.
    ///
    /// # Errors
    /// No such container, or as much is done with its files as may be.
    pub async fn on_thread<T: Send + 'static>(
        &self,
        caller: &Caller,
        key: &str,
        job: impl FnOnce(Self) -> T + Send + 'static,
    ) -> Result<T, FilesError> {
        let id = self.containers.get(caller, key)?.id;
        self.run(Work::with_files(id, "copy the files"), job).await
    }

    /// As [`Files::on_thread`], for what a container that is well answers at once.
    ///
    /// # Errors
    /// It does not, within some seconds.
    pub async fn look<T: Send + 'static>(
        &self,
        caller: &Caller,
        key: &str,
        job: impl FnOnce(Self) -> T + Send + 'static,
    ) -> Result<T, FilesError> {
        let id = self.containers.get(caller, key)?.id;
        let work = Work::with_files(id, "look at the files").within(LOOK_PATIENCE);
        self.run(work, job).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: Work,
        job: impl FnOnce(Self) -> T + Send + 'static,
    ) -> Result<T, FilesError> {
        let this = self.clone();
        let done = self.containers.shared.threads.run(work, move || job(this));
        Ok(done.await?)
    }

    /// Of these containers.
    pub fn new(containers: Containers) -> Self {
        Self { containers }
    }

    /// What lies at a path.
    ///
    /// # Errors
    /// There is nothing, or no such container.
    pub fn stat(&self, caller: &Caller, key: &str, path: &str) -> Result<PathFacts, FilesError> {
        Ok(self.looked_at(caller, key, path, false)?.facts)
    }

    /// Opens what lies at a path for copying it out.
    ///
    /// # Errors
    /// As [`Files::stat`].
    pub fn open(&self, caller: &Caller, key: &str, path: &str) -> Result<Outgoing, FilesError> {
        self.looked_at(caller, key, path, true)
    }

    fn looked_at(
        &self,
        caller: &Caller,
        key: &str,
        path: &str,
        keep: bool,
    ) -> Result<Outgoing, FilesError> {
        let wanted = Wanted::read(path).ok_or(FilesError::BadPath)?;
        let record = self.containers.get(caller, key)?;
        let (root, is_live) = self.to_read(&record, key)?;
        let at = Asked { key, path };
        let mut reader = self.reader(key, path)?;
        let look = Request::Look {
            path: path.to_owned(),
            keep,
        };
        let looked = reader.ask(&look, Some(&root)).map_err(|e| at.failed(e))?;
        let seen: Seen = looked.map_err(|failure| at.failed(failure.into()))?;
        if !is_live {
            at.check_mounts(&record, &seen.canonical)?;
        }
        let facts = PathFacts {
            name: wanted.name,
            size: seen.size,
            mode: seen.mode,
            modified: Timestamp::from_nanos(seen.modified),
            link_target: seen.link_target,
        };
        Ok(Outgoing {
            facts,
            reader,
            container: key.to_owned(),
            path: path.to_owned(),
        })
    }

    fn reader(&self, key: &str, path: &str) -> Result<Reader, FilesError> {
        let reader = self.containers.shared.readers.take(Errand::Containers);
        reader.map_err(|source| FilesError::Look {
            operation: "start a process to look at",
            path: path.to_owned(),
            container: key.to_owned(),
            source,
        })
    }

    /// Unpacks an archive into a directory of a container; reads it to its end.
    ///
    /// # Errors
    /// The path is no directory, the archive is refused, or nothing may be written there.
    pub fn copy_in(
        &self,
        caller: &Caller,
        key: &str,
        path: &str,
        options: CopyIn,
        archive: OwnedFd,
    ) -> Result<(), FilesError> {
        if Wanted::read(path).is_none() {
            return Err(FilesError::BadPath);
        }
        let at = Asked { key, path };
        let shared = &self.containers.shared;
        for _ in 0..ATTEMPTS {
            let mut watch = self.containers.watch(caller, key)?;
            let id = watch.borrow().id;
            let taken = shared.files.take(id);
            let _taken = taken.ok_or_else(|| FilesError::Busy(key.to_owned()))?;
            let record = Arc::clone(&watch.borrow_and_update());
            // Its program may have the files already, though nobody was told yet that it runs. Or its
            // policy starts it in a moment: a copy that lasts would be the end of that.
            let starts = record.state.phase == Phase::Restarting || shared.runtime_dir(id).exists();
            if record.state.init.is_none() && starts {
                drop(_taken);
                published(&mut watch, key)?;
                continue;
            }
            let (root, is_live) = self.to_write(&record, key)?;
            let user = record.settings.user.as_str();
            let user = Some(user).filter(|user| options.to_user && !user.is_empty());
            let ask = Request::Target {
                path: path.to_owned(),
                user: user.map(str::to_owned),
            };
            let asked = self.reader(key, path)?.ask(&ask, Some(&root));
            let asked = asked.map_err(|e| at.failed(e))?;
            let target: Target = asked.map_err(|failure| at.no_target(failure.into()))?;
            let canonical = target.canonical;
            if !is_live {
                at.check_mounts(&record, &canonical)?;
            }
            if target.read_only || (!is_live && record.host.readonly_rootfs) {
                return Err(FilesError::ReadOnly);
            }
            let owner = match (user, target.owner) {
                (Some(user), None) => return Err(FilesError::User(user.to_owned())),
                (_, owner) => owner,
            };
            let into = Destination {
                directory: path_to_text(canonical.trim_matches('/').as_bytes()),
                keep_kinds: options.keep_kinds,
                owner,
            };
            let unpacker = shared.storage.unpacker();
            let unpacked = unpacker.unpack_into(archive, root.as_fd(), into, &Budget::default());
            return unpacked.map(drop).map_err(|source| FilesError::Write {
                container: key.to_owned(),
                source,
            });
        }
        Err(FilesError::Busy(key.to_owned()))
    }

    /// What a container changed of its image.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn changes(&self, caller: &Caller, key: &str) -> Result<Vec<FileChange>, FilesError> {
        let record = self.containers.get(caller, key)?;
        let at = Asked { key, path: "/" };
        let snapshot = self.containers.shared.storage.prepare(record.id)?;
        let upper = view::directory(&snapshot.upper).map_err(|e| at.failed(e))?;
        let below = view::below(&snapshot).map_err(|e| at.failed(e))?;
        changes::changes(&upper, below.as_ref()).map_err(|e| at.failed(e))
    }

    /// Opens the whole root file system of a container, without what is mounted in it.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn export(&self, caller: &Caller, key: &str) -> Result<Exported, FilesError> {
        let record = self.containers.get(caller, key)?;
        let snapshot = self.containers.shared.storage.prepare(record.id)?;
        let at = Asked { key, path: "/" };
        let root = view::to_read(&snapshot).map_err(|e| at.failed(e))?;
        Ok(Exported { root })
    }

    /// The root of a container, and whether that is what its programs see.
    fn to_read(&self, record: &Record, key: &str) -> Result<(OwnedFd, bool), FilesError> {
        if let Some(init) = record.state.init
            && let Ok(root) = view::of_process(init)
        {
            return Ok((root, true));
        }
        let at = Asked { key, path: "/" };
        let snapshot = self.containers.shared.storage.prepare(record.id)?;
        let root = view::to_read(&snapshot).map_err(|e| at.failed(e))?;
        Ok((root, false))
    }

    fn to_write(&self, record: &Record, key: &str) -> Result<(OwnedFd, bool), FilesError> {
        let at = Asked { key, path: "/" };
        if let Some(init) = record.state.init {
            let root = view::of_process(init);
            // Between its end and the record of it nobody knows whose its files are.
            return Ok((root.map_err(|_| FilesError::Busy(key.to_owned()))?, true));
        }
        let snapshot = self.containers.shared.storage.prepare(record.id)?;
        let root = view::to_write(&snapshot).map_err(|e| at.failed(e))?;
        Ok((root, false))
    }
}

/// Waits until it is told what came of a start, or of the end of a run.
fn published(watch: &mut watch::Receiver<Arc<Record>>, key: &str) -> Result<(), FilesError> {
    let waited = async { tokio::time::timeout(START_PATIENCE, watch.changed()).await };
    match tokio::runtime::Handle::current().block_on(waited) {
        // An actor that ended with its container counts: the next look finds none.
        Ok(_) => Ok(()),
        Err(_) => Err(FilesError::Busy(key.to_owned())),
    }
}

impl Outgoing {
    /// Writes the archive. Blocks as long as the sink does.
    ///
    /// # Errors
    /// Something cannot be read, or the sink fails.
    pub fn write(mut self, sink: impl Write) -> Result<(), FilesError> {
        let at = Asked {
            key: &self.container,
            path: &self.path,
        };
        self.reader.fetch(sink).map_err(|e| at.failed(e))
    }
}

/// A root file system that is ready to be written as an archive.
pub struct Exported {
    root: OwnedFd,
}

impl Exported {
    /// Writes the archive. Blocks as long as the sink does.
    ///
    /// # Errors
    /// Something cannot be read, or the sink fails.
    pub fn write(&self, sink: impl Write) -> Result<Written, FilesError> {
        let options = TreeOptions {
            form: Form::Plain,
            name: Vec::new(),
            cross_mounts: false,
        };
        Ok(write_tree(self.root.as_fd(), &options, sink)?)
    }
}

/// What a request is about, for its errors.
struct Asked<'a> {
    key: &'a str,
    path: &'a str,
}

impl Asked<'_> {
    fn failed(&self, source: io::Error) -> FilesError {
        match source.kind() {
            io::ErrorKind::NotFound => FilesError::NotFound {
                path: self.path.to_owned(),
                container: self.key.to_owned(),
            },
            io::ErrorKind::NotADirectory => FilesError::NotADirectory(self.path.to_owned()),
            _ => FilesError::Look {
                operation: "look at",
                path: self.path.to_owned(),
                container: self.key.to_owned(),
                source,
            },
        }
    }

    fn no_target(&self, source: io::Error) -> FilesError {
        match source.kind() {
            io::ErrorKind::NotADirectory => FilesError::NoTarget(self.path.to_owned()),
            _ => self.failed(source),
        }
    }

    /// Refuses what a container that does not run has not got.
    fn check_mounts(&self, record: &Record, canonical: &str) -> Result<(), FilesError> {
        let binds = record.host.binds.iter().map(|bind| bind.target.as_str());
        let mounts = binds.chain(record.host.tmpfs.keys().map(String::as_str));
        for mount in mounts {
            let below = canonical.strip_prefix(mount.trim_end_matches('/'));
            if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return Err(FilesError::Mounted {
                    path: self.path.to_owned(),
                    container: self.key.to_owned(),
                    mount: mount.to_owned(),
                });
            }
        }
        Ok(())
    }
}
