//! The store in a simulation: a disk in memory that forgets what was not synced and fails when
//! told to, and a writer without a thread. For tests of this crate and of those above it.
//!
//! With [`Disk::open_here`] nothing happens but on the thread of the caller, so that what happens
//! is the same every time: [`Db::write_async`] is served by [`Service::run`], a task of the
//! caller's runtime, and [`Db::write`] at once.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, StorageBackend};
use tokio::sync::mpsc;

use crate::Db;
use crate::engine::{Engine, initialise};
use crate::error::{StoreError, cause};
use crate::writer::{BATCH_MAX, Job, Writer};

/// What a power cut can tear apart.
const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Default)]
struct State {
    /// What is on the platter.
    synced: Vec<u8>,
    /// What is on its way there, in order.
    pending: Vec<Change>,
    /// What a reader sees.
    current: Vec<u8>,
    /// Changes and syncs that still work; then `failures` of them fail.
    healthy: u64,
    failures: u64,
}

/// A disk with one file on it; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap_or(usize::MAX);
            let end = start + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(data);
        }
        Change::Length(length) => bytes.resize(usize::try_from(*length).unwrap_or(usize::MAX), 0),
    }
}

impl Disk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::holding(Vec::new())
    }

    /// A disk with the file that this one shows a reader.
    pub fn copy(&self) -> Self {
        Self::holding(self.state().current.clone())
    }

    fn holding(bytes: Vec<u8>) -> Self {
        let state = State {
            synced: bytes.clone(),
            current: bytes,
            healthy: u64::MAX,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After `healthy` more changes and syncs, `failures` of them fail.
    pub fn fail(&self, healthy: u64, failures: u64) {
        let mut state = self.state();
        state.healthy = healthy;
        state.failures = failures;
    }

    /// The disk after a power cut: what was synced, and of the rest the sectors that `keep`
    /// chooses.
    pub fn after_power_cut(&self, mut keep: impl FnMut() -> bool) -> Self {
        let state = self.state();
        let mut bytes = state.synced.clone();
        for change in &state.pending {
            match change {
                Change::Length(_) => {
                    if keep() {
                        apply(&mut bytes, change);
                    }
                }
                Change::Write(offset, data) => {
                    for (i, sector) in data.chunks(SECTOR).enumerate() {
                        if keep() {
                            let at = offset + (i * SECTOR) as u64;
                            apply(&mut bytes, &Change::Write(at, sector.to_vec()));
                        }
                    }
                }
            }
        }
        Self::holding(bytes)
    }

    /// Opens the database on this disk, and makes it on an empty one.
    ///
    /// # Errors
    /// What is on the disk is no database, or the disk fails.
    pub fn open(&self) -> Result<Db, StoreError> {
        Db::start(self.engine()?)
    }

    /// As [`Disk::open`], without a thread: see the module.
    ///
    /// # Errors
    /// What is on the disk is no database, or the disk fails.
    pub fn open_here(&self) -> Result<(Db, Service), StoreError> {
        let (db, writer, jobs) = Db::start_here(self.engine()?)?;
        Ok((db, Service { writer, jobs }))
    }

    fn engine(&self) -> Result<Engine, StoreError> {
        let path = Path::new("meta.db");
        if self.state().current.is_empty() {
            let failed = |source| StoreError::Create {
                path: path.to_owned(),
                source,
            };
            let database = self.database(false).map_err(|e| failed(cause(e)))?;
            initialise(&database).map_err(failed)?;
        }
        let disk = self.clone();
        let opener = Box::new(move |check| disk.database(check));
        Engine::open(path, opener)
    }

    fn database(&self, check: bool) -> Result<Database, redb::DatabaseError> {
        Database::builder()
            .set_cache_size(1 << 20)
            .set_check_integrity_on_open(check)
            .create_with_backend(self.clone())
    }
}

/// Serves the operations of a database without a thread.
pub struct Service {
    writer: Arc<Mutex<Writer>>,
    jobs: mpsc::Receiver<Box<dyn Job>>,
}

impl Service {
    /// Commits what waits until the last handle of the database is dropped. Before each commit
    /// `pace` says how long the disk takes.
    pub async fn run<F: Future<Output = ()>>(mut self, mut pace: impl FnMut() -> F) {
        while let Some(first) = self.jobs.recv().await {
            pace().await;
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX {
                let Ok(next) = self.jobs.try_recv() else {
                    break;
                };
                batch.push(next);
            }
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.serve(batch);
        }
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        if self.healthy > 0 {
            self.healthy -= 1;
            return Ok(());
        }
        if self.failures > 0 {
            self.failures -= 1;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        self.step()?;
        apply(&mut self.current, &change);
        self.pending.push(change);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = state.current.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.state().change(Change::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let state = &mut *state;
        for change in state.pending.drain(..) {
            apply(&mut state.synced, &change);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.state().change(Change::Write(offset, data.to_vec()))
    }
}
