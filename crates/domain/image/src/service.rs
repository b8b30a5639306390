//! The verbs of images. Those that write block: async callers use a blocking thread.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};

use berth_storage::{Finding, Storage};
use berth_store::{Db, Row, StoreError, WriteTxn};
use berth_types::{Caller, Digest, ImageReference, Scope};

use crate::error::ImageError;
use crate::fsck;
use crate::hello::{self, BuiltIn};
use crate::import::{self, ImportOptions};
use crate::index::Index;
use crate::list::{self, Filter, Listed};
use crate::record::{CLAIMANT, IMAGES, IMPORTER, Image, PINS, Pinned, REFERENCES, claimant};

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

    /// Shows an image to readers. Called in the order of the commits, by the one writer.
    pub fn add(&self, image: Arc<Image>, reference: Option<ImageReference>) {
        let next = Arc::new(self.index().with(image, reference));
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
