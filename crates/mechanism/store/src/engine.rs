//! The file behind the tables: making it, opening it, and opening it again after a failure.
//!
//! redb stops working with a file after its first I/O error, so that nothing is built on a page
//! whose fate is unknown. The file itself is then as after a crash: opening it again finds the
//! last commit that is whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use berth_types::{InstallId, Timestamp};
use redb::{Database, DatabaseError, ReadableDatabase, StorageError};
use serde::{Deserialize, Serialize};

use crate::error::{Cause, StoreError, cause, panic_text, remark};
use crate::reserve::{Reserve, ReservedFile};
use crate::table::Table;
use crate::txn::{ReadTxn, WriteTxn};

/// The newest layout of the tables that this program reads, and the one it writes.
pub(crate) const SCHEMA_VERSION: u16 = 1;
/// The oldest layout that this program reads.
const SCHEMA_OLDEST: u16 = 1;
/// Memory for cached pages. The rows of thousands of containers fit.
const CACHE_BYTES: usize = 8 << 20;

/// The one row that describes the file. Its form is never changed, only added to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    schema: u16,
    pub(crate) install_id: InstallId,
    created: Timestamp,
}

/// As much of [`Meta`] as every version has.
#[derive(Serialize, Deserialize)]
struct Schema {
    schema: u16,
}

const META: Table<String, Meta> = Table::new("berth.meta", 1);
const SCHEMA: Table<String, Schema> = Table::new(META.name(), 1);
const META_KEY: &str = "meta";
/// Counts the commits, so that after a failed one the file tells whether it took effect.
pub(crate) const SEQUENCE: Table<String, u64> = Table::new("berth.sequence", 1);
pub(crate) const SEQUENCE_KEY: &str = "sequence";

/// Opens the file for reading and writing; with `true` every page is checked first.
pub(crate) type Opener = Box<dyn Fn(bool) -> Result<Database, DatabaseError> + Send + Sync>;

pub(crate) struct Engine {
    pub(crate) path: PathBuf,
    opener: Opener,
    /// Nothing after a failed attempt to open the file again. Held for reading as long as a
    /// transaction lives, so that the file is not opened again below one.
    current: RwLock<Option<Database>>,
    reserve: Arc<Reserve>,
}

impl Engine {
    /// Opens the file at `path`, and makes it if there is none. Until [`Engine::release`] not a byte
    /// of it is changed.
    pub(crate) fn open_file(path: &Path) -> Result<Self, StoreError> {
        look(path)?;
        let reserve = Arc::new(Reserve::holding());
        let (file, room) = (path.to_owned(), Arc::clone(&reserve));
        let opener = Box::new(move |check| {
            let file = OpenOptions::new().read(true).write(true).open(&file)?;
            // What a killed engine had written and not synced is seen from here on, so it has to
            // be there after a power cut, too.
            file.sync_data()?;
            builder(check).create_with_backend(ReservedFile::new(file, &room)?)
        });
        Self::with_reserve(path, opener, reserve)
    }

    /// Opens what `opener` opens; `path` is for messages.
    pub(crate) fn open(path: &Path, opener: Opener) -> Result<Self, StoreError> {
        Self::with_reserve(path, opener, Arc::default())
    }

    fn with_reserve(
        path: &Path,
        opener: Opener,
        reserve: Arc<Reserve>,
    ) -> Result<Self, StoreError> {
        let database = guarded(|| opener(true)).map_err(|e| classify(path, e))?;
        Ok(Self {
            path: path.to_owned(),
            opener,
            current: RwLock::new(Some(database)),
            reserve,
        })
    }

    /// The file is the right one, and may be changed.
    pub(crate) fn release(&self) -> Result<(), StoreError> {
        let released = self.reserve.release();
        released.map_err(|e| self.open_failed(cause(e)))
    }

    /// That there is room on the disk for something more.
    pub(crate) fn claim_room(&self) -> Result<(), StoreError> {
        if self.reserve.has_room() {
            return Ok(());
        }
        Err(StoreError::Full {
            path: self.path.clone(),
        })
    }

    /// Runs `work` on the open database.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = current.as_ref() {
            return work(database);
        }
        drop(current);
        // What kept the file from being opened again may be over.
        self.revive()?;
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        match current.as_ref() {
            Some(database) => work(database),
            None => Err(self.open_failed(remark("it could not be read after a failed write"))),
        }
    }

    /// Opens the file if it is not open.
    fn revive(&self) -> Result<(), StoreError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.is_none() {
            let new = guarded(|| (self.opener)(false)).map_err(|e| classify(&self.path, e))?;
            *current = Some(new);
        }
        Ok(())
    }

    /// A view of the last commit for `work`.
    pub(crate) fn read<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&ReadTxn) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut result = None;
        self.with(|database| {
            let txn = database
                .begin_read()
                .map_err(|e| self.open_failed(cause(e)))?;
            result = Some(work(&ReadTxn::new(txn)));
            Ok(())
        })?;
        result.unwrap_or_else(|| Err(StoreError::Closed.into()))
    }

    fn open_failed(&self, source: Cause) -> StoreError {
        StoreError::Open {
            path: self.path.clone(),
            source,
        }
    }

    /// Closes the file and opens it again at its last whole commit. Waits for running reads.
    pub(crate) fn reopen(&self) -> Result<(), StoreError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let old = current.take();
        // The old handle may be in any state; what matters is that its lock is released.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
        let new = guarded(|| (self.opener)(false)).map_err(|e| classify(&self.path, e))?;
        *current = Some(new);
        Ok(())
    }

    /// Number of the last commit.
    pub(crate) fn sequence(&self) -> Result<u64, StoreError> {
        self.read(|txn| Ok(txn.get(&SEQUENCE, SEQUENCE_KEY)?.unwrap_or(0)))
    }

    /// The row that describes the file, if this program may work with it.
    pub(crate) fn meta(&self) -> Result<Meta, StoreError> {
        let damaged = |what: &str| StoreError::Damaged {
            path: self.path.clone(),
            source: remark(what),
        };
        self.read(|txn| {
            let schema = txn
                .get(&SCHEMA, META_KEY)?
                .ok_or_else(|| damaged("it has no header row"))?;
            check_schema(&self.path, schema.schema)?;
            txn.get(&META, META_KEY)?
                .ok_or_else(|| damaged("it has no header row"))
        })
    }
}

/// The ways an open can fail, with a panic of redb on bytes it did not expect as one of them.
enum OpenError {
    Engine(DatabaseError),
    Panic(String),
}

fn guarded(open: impl FnOnce() -> Result<Database, DatabaseError>) -> Result<Database, OpenError> {
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(result) => result.map_err(OpenError::Engine),
        Err(payload) => Err(OpenError::Panic(panic_text(&*payload))),
    }
}

fn classify(path: &Path, error: OpenError) -> StoreError {
    let path = path.to_owned();
    let error = match error {
        OpenError::Engine(e) => e,
        OpenError::Panic(text) => {
            return StoreError::Damaged {
                path,
                source: remark(text),
            };
        }
    };
    let damage = |e: &io::Error| {
        matches!(
            e.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        )
    };
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::Locked { path }
        }
        DatabaseError::RepairAborted | DatabaseError::Storage(StorageError::Corrupted(_)) => {
            StoreError::Damaged {
                path,
                source: cause(error),
            }
        }
        DatabaseError::UpgradeRequired(version) => StoreError::Older {
            path,
            what: format!("file format version {version}"),
        },
        DatabaseError::Storage(StorageError::Io(e)) if damage(&e) => StoreError::Damaged {
            path,
            source: cause(e),
        },
        DatabaseError::Storage(StorageError::Io(e)) => StoreError::Open {
            path,
            source: cause(e),
        },
        other => StoreError::Open {
            path,
            source: cause(other),
        },
    }
}

fn check_schema(path: &Path, found: u16) -> Result<(), StoreError> {
    if found < SCHEMA_OLDEST {
        return Err(StoreError::Older {
            path: path.to_owned(),
            what: format!("schema version {found}"),
        });
    }
    if found > SCHEMA_VERSION {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: SCHEMA_VERSION,
        });
    }
    Ok(())
}

fn builder(check: bool) -> redb::Builder {
    let mut builder = Database::builder();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(check);
    builder
}

/// Makes the file if there is none, and refuses what is no file with a database in it before
/// anything is opened for writing: an empty file would become a new database.
fn look(path: &Path) -> Result<(), StoreError> {
    let damaged = |what: &str| {
        Err(StoreError::Damaged {
            path: path.to_owned(),
            source: remark(what),
        })
    };
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => create(path),
        Err(e) => Err(StoreError::Open {
            path: path.to_owned(),
            source: cause(e),
        }),
        Ok(found) if found.is_dir() => damaged("it is a directory"),
        Ok(found) if found.is_file() && found.len() == 0 => damaged("it is empty"),
        Ok(_) => Ok(()),
    }
}

/// Makes a database beside `path` and renames it there, so that `path` is never half a database.
fn create(path: &Path) -> Result<(), StoreError> {
    let failed = |source: Cause| StoreError::Create {
        path: path.to_owned(),
        source,
    };
    let io = |e: io::Error| failed(cause(e));
    let directory = File::open(parent(path)).map_err(io)?;
    match directory.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::Locked {
                path: path.to_owned(),
            });
        }
        Err(TryLockError::Error(e)) => return Err(io(e)),
    }
    if path.exists() {
        return Ok(());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let unfinished = PathBuf::from(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(io)?;
    let database = ReservedFile::new(file, &Arc::default())
        .and_then(|backend| builder(false).create_with_backend(backend))
        .map_err(|e| failed(cause(e)))?;
    initialise(&database).map_err(failed)?;
    drop(database);
    File::open(&unfinished)
        .and_then(|f| f.sync_all())
        .map_err(io)?;
    fs::rename(&unfinished, path).map_err(io)?;
    directory.sync_all().map_err(io)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes the row that describes a new file.
pub(crate) fn initialise(database: &Database) -> Result<(), Cause> {
    let mut bytes = [0; 4];
    berth_sys::rustix::rand::getrandom(
        &mut bytes[..],
        berth_sys::rustix::rand::GetRandomFlags::empty(),
    )
    .map_err(cause)?;
    let meta = Meta {
        schema: SCHEMA_VERSION,
        install_id: InstallId::from_bytes(bytes),
        created: Timestamp::now(),
    };
    let txn = database.begin_write().map_err(cause)?;
    WriteTxn::new(&txn, None)
        .put(&META, META_KEY, &meta)
        .map_err(cause)?;
    txn.commit().map_err(cause)
}
