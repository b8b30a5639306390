//! What the service and every actor share: the index of who is there, and the two writes of a
//! container's life that several places make.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use berth_image::Images;
use berth_network::Networks;
use berth_shim::Launcher;
use berth_storage::Storage;
use berth_store::{Db, WriteError, WriteTxn, failpoint};
use berth_types::task::{self, Wait};
use berth_types::{ContainerId, chain};
use tokio::sync::watch;

use crate::actor::Handle;
use crate::behind::Behind;
use crate::boot::Search;
use crate::create::HostCapacity;
use crate::error::ContainerError;
use crate::exec::Execs;
use crate::files::busy::Busy;
use crate::files::reader::Readers;
use crate::filters::Filters;
use crate::machine;
use crate::parents::{self, Parents};
use crate::record::Record;
use crate::spec::HostFacts;
use crate::stats::Machine;
use crate::tables;
use crate::threads::Threads;

/// How often the files of a removed container are deleted again, where that failed, before it is
/// left to the next engine; and the first pause before, every further one being twice as long.
const COLLECT_RETRIES: u32 = 6;
const COLLECT_PAUSE: Duration = Duration::from_secs(1);

/// What the containers stand on.
pub struct Deps {
    /// The metadata database.
    pub db: Db,
    /// Bytes on disk.
    pub storage: Storage,
    /// Images.
    pub images: Images,
    /// Networks.
    pub networks: Networks,
    /// Who starts monitors.
    pub launcher: Arc<dyn Launcher>,
    /// `EXEC_ROOT`.
    pub exec_root: PathBuf,
    /// What the host adds to a container.
    pub facts: HostFacts,
    /// What the host can give.
    pub capacity: HostCapacity,
}

/// State that the service and every actor share.
pub(crate) struct Shared {
    pub db: Db,
    pub storage: Storage,
    pub images: Images,
    pub networks: Networks,
    /// Id of the default network, once it was asked for.
    pub bridge_id: OnceLock<Option<String>>,
    /// Shut while the boot sweeps the network: what comes on it then would be taken off again.
    pub gate: RwLock<()>,
    pub launcher: Arc<dyn Launcher>,
    pub exec_root: PathBuf,
    pub facts: HostFacts,
    pub capacity: HostCapacity,
    pub filters: Filters,
    pub execs: Execs,
    /// What is made for containers whose groups lie elsewhere.
    pub parents: Parents,
    /// Threads for what may hang.
    pub threads: Threads,
    /// Processes that look at what may hang.
    pub readers: Readers,
    /// Who writes into containers from outside.
    pub files: Busy,
    /// Who stops and thaws containers: a commit must not thaw what a person has paused meanwhile.
    pub freezer: Busy,
    pub index: RwLock<Index>,
    /// What samples of all containers share.
    pub machine: Machine,
    /// What removals leave for after their replies.
    pub behind: Arc<Behind>,
    /// How far the containers' tasks are with looking for their runs.
    pub search: watch::Sender<Search>,
    /// Whether the boot has swept: before that nothing is started, so that what it finds without
    /// an owner is nobody's.
    swept: watch::Sender<bool>,
    /// The machine goes down: nothing is started any more.
    pub closing: AtomicBool,
}

/// Who is there, by id and by name.
#[derive(Default)]
pub(crate) struct Index {
    pub by_id: HashMap<ContainerId, Handle>,
    pub by_name: BTreeMap<String, ContainerId>,
    /// Rows that could not be read, and why; their files are left alone.
    pub damaged: Vec<(Option<ContainerId>, String)>,
}

impl Index {
    /// Takes a name off a container. Since that was committed, the name may have become
    /// another's: then it stays that one's.
    pub(crate) fn forget_name(&mut self, name: &str, id: ContainerId) {
        if self.by_name.get(name) == Some(&id) {
            self.by_name.remove(name);
        }
    }
}

impl Shared {
    pub(crate) fn new(deps: Deps) -> Self {
        Self {
            db: deps.db,
            storage: deps.storage,
            images: deps.images,
            networks: deps.networks,
            bridge_id: OnceLock::new(),
            gate: RwLock::default(),
            launcher: deps.launcher,
            exec_root: deps.exec_root,
            parents: Parents::below(&deps.facts.cgroup_parent),
            facts: deps.facts,
            capacity: deps.capacity,
            filters: Filters::default(),
            execs: Execs::default(),
            threads: Threads::default(),
            readers: Readers::default(),
            files: Busy::default(),
            freezer: Busy::default(),
            index: RwLock::default(),
            machine: Machine::default(),
            behind: Arc::default(),
            search: watch::Sender::default(),
            swept: watch::Sender::new(false),
            closing: AtomicBool::new(false),
        }
    }

    /// Resolves when the boot has swept.
    pub(crate) async fn swept(&self) {
        // The sender lives as long as `self`.
        let _ = self.swept.subscribe().wait_for(|done| *done).await;
    }

    /// The boot has swept.
    pub(crate) fn set_swept(&self) {
        self.swept.send_replace(true);
    }

    /// Where a run announces itself.
    pub(crate) fn runtime_dir(&self, id: ContainerId) -> PathBuf {
        self.exec_root.join("containers").join(id.to_string())
    }

    /// Where the groups are written down that are made for containers with parents of their own.
    pub(crate) fn parent_notes(&self) -> PathBuf {
        parents::notes(&self.exec_root)
    }

    pub(crate) fn read_index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write_index(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a container durably.
    pub(crate) async fn commit(&self, record: &Record) -> Result<(), ContainerError> {
        failpoint::hit("commit.before");
        let row = record.clone();
        let id = record.id;
        let put = move |txn: &mut WriteTxn<'_>| -> Result<(), ContainerError> {
            Ok(txn.put(&tables::CONTAINERS, &id, &row)?)
        };
        self.db
            .write_async(put)
            .await
            .map_err(WriteError::flatten)?;
        failpoint::hit("commit.after");
        Ok(())
    }

    /// Removes a container: row, name and claims go in one commit, in exchange for a garbage row;
    /// the files follow, behind the reply where they are few.
    pub(crate) async fn remove(self: &Arc<Self>, record: &Record) -> Result<(), ContainerError> {
        failpoint::hit("remove.before-commit");
        let (id, image, image_owner) = (record.id, record.image, record.image_owner.clone());
        let name = record.name.clone();
        let condemn = move |txn: &mut WriteTxn<'_>| -> Result<(), ContainerError> {
            txn.remove(&tables::CONTAINERS, &id)?;
            if txn.get(&tables::NAMES, &name)? == Some(id) {
                txn.remove(&tables::NAMES, &name)?;
            }
            Images::unpin(txn, &image_owner, image, &id.to_string())?;
            Ok(Storage::condemn(txn, id)?)
        };
        // Looked at while the commit is under way.
        let (small, condemned) = tokio::join!(self.is_small(id), self.db.write_async(condemn));
        condemned.map_err(WriteError::flatten)?;
        failpoint::hit("remove.committed");
        {
            let mut index = self.write_index();
            index.by_id.remove(&id);
            index.forget_name(&record.name, id);
        }
        self.execs.forget(id);
        let (storage, again) = (self.storage.clone(), Arc::clone(self));
        let collect = move || match storage.collect(id) {
            Ok(()) => failpoint::hit("remove.collected"),
            Err(error) => {
                tracing::warn!(%id, error = %chain(&error), "files not deleted; that is tried again");
                let again = async move { again.collect_again(id).await };
                machine::spawn(task::begin("delete-again", id).run(again));
            }
        };
        self.behind.leave(id, small, collect).await;
        Ok(())
    }

    /// Deletes the files of a removed container that a failing disk kept from being deleted.
    async fn collect_again(&self, id: ContainerId) {
        for retry in 0..COLLECT_RETRIES {
            let pause = COLLECT_PAUSE * 2_u32.pow(retry);
            task::waiting(Wait::Turn, Some(pause), tokio::time::sleep(pause)).await;
            let storage = self.storage.clone();
            let collect = task::blocking(move || storage.collect(id));
            if let Ok(Ok(())) = machine::blocking(collect).await {
                return;
            }
        }
    }
}
