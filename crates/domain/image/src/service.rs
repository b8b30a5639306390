//! The verbs of images. Those that write block: async callers use a blocking thread.

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};

use berth_storage::{Finding, Storage};
use berth_store::{Db, Row, StoreError, WriteTxn};
use berth_types::{Caller, Digest, ImageReference, LayerId, Scope};

use crate::archive::{self, LoadOptions, LoadStep, Loaded};
use crate::commit::{self, CommitOptions};
use crate::error::ImageError;
use crate::hello::{self, BuiltIn};
use crate::history::{self, Step};
use crate::import::{self, ImportOptions};
use crate::index::Index;
use crate::list::{self, Filter, Listed};
use crate::prune::{self, PruneFilter};
use crate::record::{CLAIMANT, IMAGES, IMPORTER, Image, PINS, Pinned, REFERENCES, claimant};
use crate::remove::{self, Removal, User};
use crate::{fsck, tag};

/// All images of one data root; clones are the same ones.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub db: Db,
    pub storage: Storage,
    /// Replaced as a whole; the lock is held only to copy or to replace the pointer.
    index: RwLock<Arc<Index>>,
}

impl Inner {
    pub fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows a change to readers. Called in the order of the commits, by the one writer.
    pub fn update(&self, change: impl FnOnce(&Index) -> Index) {
        let next = Arc::new(change(&self.index()));
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

impl Images {
    /// Reads all images. A damaged one is logged and left alone, and shows in [`Images::fsck`].
    /// What unfinished imports left behind is removed.
    ///
    /// # Errors
    /// The database cannot be read or written.
    pub fn open(db: Db, storage: Storage) -> Result<Self, ImageError> {
        let (index, holders) = load(&db)?;
        storage.drop_claims(move |owner| {
            let is_image = owner.starts_with(CLAIMANT);
            let is_lost = holders
                .as_ref()
                .is_some_and(|holders| !holders.contains(owner));
            owner.starts_with(IMPORTER) || (is_image && is_lost)
        })?;
        let index = RwLock::new(Arc::new(index));
        Ok(Self {
            inner: Arc::new(Inner { db, storage, index }),
        })
    }

    /// Makes an image of one layer from an archive, a tar in any of the usual compressions. A
    /// reference that pointed elsewhere is moved.
    ///
    /// `is_whole` is asked when the archive is at its end: false where its sender went away, since
    /// an archive that breaks off between two files looks like a shorter one.
    ///
    /// # Errors
    /// The options or the archive are wrong, a change is not supported, or the machine fails;
    /// nothing is left behind then.
    pub fn import(
        &self,
        caller: &Caller,
        archive: OwnedFd,
        is_whole: impl FnOnce() -> bool,
        options: ImportOptions,
    ) -> Result<Arc<Image>, ImageError> {
        import::import(&self.inner, caller, archive, is_whole, options)
    }

    /// Whether the engine carries an image of this name itself.
    pub fn carries(&self, reference: &ImageReference) -> bool {
        hello::is_built_in(reference)
    }

    /// The image of this name that the engine carries, under that name; see [`Images::carries`].
    ///
    /// # Errors
    /// [`ImageError::NotFound`] for any other name, or what an import may fail with.
    pub fn provide(
        &self,
        caller: &Caller,
        reference: ImageReference,
    ) -> Result<BuiltIn, ImageError> {
        hello::provide(&self.inner, caller, reference)
    }

    /// Makes an image of a container's files: `archive`, a layer, upon the layers `below` of its
    /// image, which is `parent` where that still exists. `is_whole` is asked when the archive is
    /// at its end, as with [`Images::import`].
    ///
    /// # Errors
    /// The options or the archive are wrong, or the machine fails; nothing is left behind then.
    pub fn commit(
        &self,
        caller: &Caller,
        below: &[LayerId],
        parent: Option<&Image>,
        archive: OwnedFd,
        is_whole: impl FnOnce() -> Result<(), ImageError>,
        options: CommitOptions,
    ) -> Result<Arc<Image>, ImageError> {
        commit::commit(
            &self.inner,
            caller,
            below,
            parent,
            archive,
            is_whole,
            options,
        )
    }

    /// Gives the image that `name` means another name, which it takes from whoever has it. The
    /// answer is that name, with its tag.
    ///
    /// # Errors
    /// There is no such image, or the reference has a digest.
    pub fn tag(
        &self,
        caller: &Caller,
        name: &str,
        reference: ImageReference,
    ) -> Result<ImageReference, ImageError> {
        tag::tag(&self.inner, self.resolve(caller, name)?, reference)
    }

    /// How an image came to be, the newest step first.
    ///
    /// # Errors
    /// One of its layers is not there.
    pub fn history(&self, image: &Image) -> Result<Vec<Step>, ImageError> {
        let chain = match image.top() {
            Some(top) => self.inner.storage.chain(top)?,
            None => Vec::new(),
        };
        let sizes: Vec<u64> = chain.iter().map(|layer| layer.bytes).collect();
        Ok(history::steps(&image.config.history, &sizes))
    }

    /// Writes the images that the names mean to what `open` makes of the archive's length, with
    /// all that is needed to load them elsewhere. It takes as long as the reader does.
    ///
    /// # Errors
    /// There is no such image; then `open` is not called. Or a layer cannot be read, or the
    /// writer fails; then less than the length was written.
    pub fn save<W: Write>(
        &self,
        caller: &Caller,
        names: &[String],
        open: impl FnOnce(u64) -> W,
    ) -> Result<(), ImageError> {
        archive::save(&self.inner, caller, names, open)
    }

    /// Loads all images of an archive as [`Images::save`], other engines and OCI tools write it,
    /// in any of the usual compressions. `tell` hears of every layer.
    ///
    /// # Errors
    /// The archive is wrong, holds images for other machines, or the machine fails. Images before
    /// the one that failed are loaded.
    pub fn load(
        &self,
        caller: &Caller,
        archive: OwnedFd,
        is_whole: impl FnOnce() -> bool,
        options: &LoadOptions,
        tell: impl FnMut(LoadStep),
    ) -> Result<Vec<Loaded>, ImageError> {
        archive::load(&self.inner, caller, archive, is_whole, options, tell)
    }

    /// Takes a name off an image, and removes the image with its last name; an id takes all names
    /// off. `users` tells which containers were made from an image; those that run always keep it.
    /// The files of the layers are left to [`Images::collect`].
    ///
    /// # Errors
    /// [`ImageError::Conflict`] when it is in use or has several names, by Docker's rules.
    pub fn remove(
        &self,
        caller: &Caller,
        name: &str,
        force: bool,
        users: impl FnOnce(&Image) -> Vec<User>,
    ) -> Result<Removal, ImageError> {
        remove::remove(&self.inner, caller, name, force, users)
    }

    /// Removes the images that the filter lets through and no container was made from.
    ///
    /// # Errors
    /// The database fails. What was removed by then is collected at the next start.
    pub fn prune(
        &self,
        caller: &Caller,
        filter: &PruneFilter,
        users: impl Fn(&Image) -> Vec<User>,
    ) -> Result<Vec<Removal>, ImageError> {
        prune::prune(&self.inner, caller, filter, users)
    }

    /// Deletes the files of what was removed; takes as long as that takes.
    pub fn collect(&self, removal: Removal) {
        self.inner.storage.discard(removal.retired);
    }

    /// The image with this id in a scope, whoever asks.
    pub fn by_id(&self, owner: &Scope, id: Digest) -> Option<Arc<Image>> {
        let key = (owner.clone(), id);
        self.inner.index().images.get(&key).cloned()
    }

    /// The image that `name` means: an id, a reference, or the beginning of an id.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::Ambiguous`], or the name is none.
    pub fn resolve(&self, caller: &Caller, name: &str) -> Result<Arc<Image>, ImageError> {
        self.inner.index().resolve(caller, name)
    }

    /// The names of an image, in order.
    pub fn references(&self, image: &Image) -> Vec<ImageReference> {
        self.inner.index().references_of(image)
    }

    /// The images that the caller sees and the filter lets through, the newest first.
    pub fn list(&self, caller: &Caller, filter: &Filter) -> Vec<Listed> {
        list::list(&self.inner.index(), caller, filter)
    }

    /// Within a transaction: keeps an image from being removed as long as `owner` has it pinned.
    ///
    /// # Errors
    /// The image is gone by now, or the store fails.
    pub fn pin(txn: &mut WriteTxn<'_>, image: &Image, owner: &str) -> Result<(), ImageError> {
        let (scope, id) = image.key();
        if txn.get(&IMAGES, &(scope.clone(), id))?.is_none() {
            return Err(ImageError::Gone(id));
        }
        Ok(txn.put(&PINS, &(scope, id, owner.to_owned()), &Pinned {})?)
    }

    /// Within a transaction: gives a pin up; tells whether there was one. `scope` is the image's.
    ///
    /// # Errors
    /// The store fails.
    pub fn unpin(
        txn: &mut WriteTxn<'_>,
        scope: &Scope,
        id: Digest,
        owner: &str,
    ) -> Result<bool, StoreError> {
        txn.remove(&PINS, &(scope.name().to_owned(), id, owner.to_owned()))
    }

    /// Compares rows with each other and with the layers, and changes nothing. Empty is well.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn fsck(&self) -> Result<Vec<Finding>, ImageError> {
        fsck::check(&self.inner)
    }
}

/// The index, and the owners of claims that images hold; no owners where a row's key cannot be
/// read, because then nobody knows whose claim is whose.
fn load(db: &Db) -> Result<(Index, Option<HashSet<String>>), StoreError> {
    let (images, references) =
        db.read(|txn| Ok::<_, StoreError>((txn.scan(&IMAGES)?, txn.scan(&REFERENCES)?)))?;
    let mut index = Index::default();
    let mut holders = Some(HashSet::new());
    for row in images {
        let (key, image) = match row {
            Row::Whole((scope, id), row) => (Some((scope, id)), Image::from_row(id, row)),
            Row::Damaged { key, reason, .. } => (key, Err(reason)),
        };
        match (&key, &mut holders) {
            (Some((scope, id)), Some(holders)) => drop(holders.insert(claimant(scope, id))),
            _ => holders = None,
        }
        match image {
            Ok(image) => index = index.with(Arc::new(image), None),
            Err(reason) => {
                let id = key.map(|(_, id)| id.to_string()).unwrap_or_default();
                tracing::error!(image = id, reason, "an image is damaged and left out");
            }
        }
    }
    for row in references {
        match row {
            Row::Whole((_, name), row) => {
                let Ok(reference) = name.parse::<ImageReference>() else {
                    continue;
                };
                if index.images.contains_key(&(row.owner.clone(), row.image)) {
                    index.references.insert((row.owner, reference), row.image);
                }
            }
            Row::Damaged { hex, reason, .. } => {
                tracing::error!(row = hex, reason, "a reference is damaged and left out");
            }
        }
    }
    Ok((index, holders))
}
