//! The storage's verbs. Each blocks: async callers use a blocking thread.

use std::collections::HashSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use berth_store::{Db, WriteError, WriteTxn};
use berth_types::{ContainerId, InstallId, LayerId};
use berth_unpack::{Budget, Unpacker};

use crate::error::StorageError;
use crate::fsck::{self, Finding};
use crate::layout::{Paths, Root};
use crate::record::Layer;
use crate::retire::{self, Claim, Retired};
use crate::snapshots::{self, Snapshot};
use crate::streams::LayerStream;
use crate::tree::{Small, Usage};
use crate::{identity, layers, streams, sweep, workspace};

/// The bytes below one data root; clones are the same one.
#[derive(Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub root: Root,
    pub db: Db,
    pub unpacker: Unpacker,
    /// Held while a layer's directory and row come into being or go, so that they do together.
    pub publishing: Mutex<()>,
    /// Temporary names in use by this process, which are nobody's leftovers.
    pub unfinished: Mutex<HashSet<String>>,
}

impl Storage {
    /// Opens the data root at `path`, makes its directories where they are missing, finishes the
    /// removals that were begun and removes what was half made. What cannot be removed is logged
    /// and shows in [`Storage::fsck`].
    ///
    /// # Errors
    /// The root belongs to another database or to a newer state of it, or it or the database does not work.
    pub fn open(path: &Path, db: Db, unpacker: Unpacker) -> Result<Self, StorageError> {
        let root = Root::open(path, &db)?;
        let publishing = Mutex::new(());
        let unfinished = Mutex::new(HashSet::new());
        let inner = Inner {
            root,
            db,
            unpacker,
            publishing,
            unfinished,
        };
        sweep::leftovers(&inner)?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Before the database is opened, which makes a missing one: refuses a data root that has
    /// lost its own.
    ///
    /// # Errors
    /// [`StorageError::NoDatabase`], or the root cannot be read.
    pub fn expect_database(root: &Path, database: &Path) -> Result<(), StorageError> {
        identity::expect_database(root, database)
    }

    /// Refuses a root that does not belong to the database with this identity and this many commits,
    /// and touches nothing.
    ///
    /// # Errors
    /// The root is another's or unmarked, knows a later commit, or cannot be read.
    pub fn expect_root(
        root: &Path,
        install_id: InstallId,
        commits: u64,
    ) -> Result<(), StorageError> {
        identity::compare(root, install_id, commits).map(drop)
    }

    /// Where things are.
    pub fn paths(&self) -> &Paths {
        &self.inner.root.paths
    }

    /// Who unpacks archives here.
    pub fn unpacker(&self) -> &Unpacker {
        &self.inner.unpacker
    }

    /// Unpacks one archive, a tar in any of the usual compressions, as a layer upon `parent`, and
    /// lets `owner` claim it (see [`crate::claims`]). The same layer upon the same parent is
    /// kept once.
    ///
    /// # Errors
    /// The archive is refused, the parent is not there or too high, the disk is full, ...;
    /// nothing is left behind then.
    pub fn ingest_layer(
        &self,
        owner: &str,
        archive: OwnedFd,
        parent: Option<LayerId>,
    ) -> Result<Layer, StorageError> {
        layers::ingest(&self.inner, owner, archive, parent)
    }

    /// One layer.
    ///
    /// # Errors
    /// There is none, or its row is damaged.
    pub fn layer(&self, id: LayerId) -> Result<Layer, StorageError> {
        layers::find(&self.inner, id)
    }

    /// The layers from the lowest up to `top`.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn chain(&self, top: LayerId) -> Result<Vec<Layer>, StorageError> {
        layers::chain(&self.inner, top)
    }

    /// Removes a layer that nobody claims, and those below it that then nobody claims.
    ///
    /// # Errors
    /// [`StorageError::LayerInUse`], or the removal failed; it is finished at the next start then.
    pub fn remove_layer(&self, id: LayerId) -> Result<(), StorageError> {
        layers::remove(&self.inner, id)
    }

    /// Lets `owner` claim a layer if it is there.
    ///
    /// # Errors
    /// The store fails.
    pub fn claim_layer(&self, owner: &str, id: LayerId) -> Result<Option<Layer>, StorageError> {
        retire::claim(&self.inner, owner, id)
    }

    /// Gives up what a domain claims together with why: in one commit `change` removes the
    /// holders' rows and answers with their claims, and the layers that nobody claims any more
    /// lose their rows. Their names are free afterwards; [`Storage::discard`] deletes the files.
    ///
    /// # Errors
    /// What `change` answers, or the store fails.
    pub fn retire<T, E>(
        &self,
        change: impl FnOnce(&mut WriteTxn<'_>) -> Result<(T, Vec<Claim>), E> + Send + 'static,
    ) -> Result<(T, Retired), WriteError<E>>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        retire::retire(&self.inner, change)
    }

    /// Deletes the files of retired layers. What cannot be deleted is logged, and tried again at
    /// the next start.
    pub fn discard(&self, retired: Retired) {
        retire::discard(&self.inner, retired);
    }

    /// The exact tar stream that a layer was unpacked from.
    ///
    /// # Errors
    /// There is no such layer, or its journal cannot be read.
    pub fn layer_stream(&self, id: LayerId) -> Result<LayerStream, StorageError> {
        streams::open(&self.inner, id)
    }

    /// Unpacks an archive that is no layer into a directory that lasts as long as `work` does.
    ///
    /// # Errors
    /// The archive is refused, the disk is full, or what `work` answers.
    pub fn with_unpacked<T, E: From<StorageError>>(
        &self,
        archive: OwnedFd,
        budget: &Budget,
        work: impl FnOnce(BorrowedFd<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        workspace::with_unpacked(&self.inner, archive, budget, work)
    }

    /// A container's own files, opened: the overlay's upper directory.
    ///
    /// # Errors
    /// [`StorageError::NoSnapshot`], or the file system fails.
    pub fn open_upper(&self, id: ContainerId) -> Result<OwnedFd, StorageError> {
        snapshots::open_upper(&self.inner, id)
    }

    /// For a domain at start: gives up the claims of owners that `is_gone` knows to be gone, and
    /// removes the layers that nobody claims any more. Other domains' owners are left to them.
    ///
    /// # Errors
    /// The store fails.
    pub fn drop_claims(
        &self,
        is_gone: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<(), StorageError> {
        layers::drop_claims(&self.inner, is_gone)
    }

    /// Within the transaction that creates a container: records that it will have a snapshot upon
    /// `top`, and claims `top` for it. Nothing is made yet.
    ///
    /// # Errors
    /// There is no such layer.
    pub fn reserve(
        txn: &mut WriteTxn<'_>,
        id: ContainerId,
        top: Option<LayerId>,
    ) -> Result<(), StorageError> {
        snapshots::reserve(txn, id, top)
    }

    /// Makes the directories of a reserved snapshot, where they are not there yet, and tells where
    /// everything is.
    ///
    /// # Errors
    /// [`StorageError::NoSnapshot`] if it is not reserved or already condemned; the disk is full.
    pub fn prepare(&self, id: ContainerId) -> Result<Snapshot, StorageError> {
        snapshots::prepare(&self.inner, id)
    }

    /// Makes the directory of a container's log and exit record, if it is not there.
    ///
    /// # Errors
    /// The file system fails.
    pub fn make_state(&self, id: ContainerId) -> Result<PathBuf, StorageError> {
        snapshots::make_state(&self.inner, id)
    }

    /// Within the transaction that removes a container: gives its snapshot and its claim up and
    /// records that its directories are garbage. Idempotent.
    ///
    /// # Errors
    /// The store fails.
    pub fn condemn(txn: &mut WriteTxn<'_>, id: ContainerId) -> Result<(), StorageError> {
        snapshots::condemn(txn, id)
    }

    /// Removes the directories of a condemned container: snapshot, log and exit record. Their
    /// names are free at once. Idempotent; what fails is tried again at the next start.
    ///
    /// # Errors
    /// Something could not be removed. Everything else has been.
    pub fn collect(&self, id: ContainerId) -> Result<(), StorageError> {
        snapshots::collect(&self.inner, id)
    }

    /// Whether a container's files, its logs among them, are no more than `most`. What cannot be
    /// looked at counts as more.
    pub fn is_small(&self, id: ContainerId, most: Small) -> bool {
        snapshots::is_small(&self.inner, id, most)
    }

    /// What a container's own files take; all zero before it was prepared.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn usage(&self, id: ContainerId) -> Result<Usage, StorageError> {
        snapshots::usage(&self.inner, id)
    }

    /// Compares rows and directories, and changes nothing. Empty is well.
    ///
    /// # Errors
    /// The database or a directory cannot be read.
    pub fn fsck(&self) -> Result<Vec<Finding>, StorageError> {
        fsck::check(&self.inner)
    }
}
