//! What every way to an image ends with: layers held while it is made, and the one commit that
//! makes it known.

use std::sync::Arc;

use berth_storage::{Layer, claims};
use berth_store::{WriteError, WriteTxn};
use berth_sys::rustix::rand::{GetRandomFlags, getrandom};
use berth_types::{ImageReference, LayerId};

use crate::error::ImageError;
use crate::events;
use crate::record::{IMAGES, IMPORTER, Image, REFERENCES, ReferenceRow};
use crate::service::Inner;

/// Layers that an operation claims while it lasts. What is not published is given up when this
/// is dropped; after a crash, the next start gives it up.
pub(crate) struct Hold<'a> {
    inner: &'a Arc<Inner>,
    holder: String,
    layers: Vec<LayerId>,
}

impl<'a> Hold<'a> {
    /// Holds nothing yet.
    pub fn new(inner: &'a Arc<Inner>) -> Result<Self, ImageError> {
        let mut bytes = [0; 8];
        getrandom(&mut bytes[..], GetRandomFlags::empty())
            .map_err(|e| ImageError::Random(e.into()))?;
        let holder = format!("{IMPORTER}{:016x}", u64::from_ne_bytes(bytes));
        Ok(Self {
            inner,
            holder,
            layers: Vec::new(),
        })
    }

    /// Takes a layer that is there.
    pub fn take(&mut self, id: LayerId) -> Result<Option<Layer>, ImageError> {
        let layer = self.inner.storage.claim_layer(&self.holder, id)?;
        if layer.is_some() {
            self.layers.push(id);
        }
        Ok(layer)
    }

    /// Makes a layer from an archive.
    pub fn ingest(
        &mut self,
        archive: std::os::fd::OwnedFd,
        parent: Option<LayerId>,
    ) -> Result<Layer, ImageError> {
        let storage = &self.inner.storage;
        let layer = storage.ingest_layer(&self.holder, archive, parent)?;
        self.layers.push(layer.id);
        Ok(layer)
    }

    /// Writes the image and its references, and shows it to readers, with an event `action` and
    /// one for each reference; the layers go over to the image. An image that is there already
    /// stays as it is.
    pub fn publish(
        mut self,
        image: Arc<Image>,
        references: Vec<ImageReference>,
        action: &'static str,
    ) -> Result<Arc<Image>, ImageError> {
        let (inner, written) = (Arc::clone(self.inner), Arc::clone(&image));
        let (layers, holder) = (std::mem::take(&mut self.layers), self.holder.clone());
        let held = layers.clone();
        let published = self.inner.db.write(move |txn: &mut WriteTxn<'_>| {
            txn.claim_room()?;
            if let Some(top) = written.top() {
                claims::hold(txn, top, &written.claimant())?;
            }
            for layer in &held {
                claims::release(txn, *layer, &holder)?;
            }
            if txn.get(&IMAGES, &written.key())?.is_none() {
                txn.put(&IMAGES, &written.key(), &written.row())?;
            }
            for reference in &references {
                put_reference(txn, &written, reference)?;
            }
            txn.on_commit(Box::new(move || {
                let key = (written.owner.clone(), written.id);
                inner.update(|index| {
                    // One that was there keeps what is known of it.
                    let shown = index.images.get(&key).unwrap_or(&written);
                    let (shown, first) = (Arc::clone(shown), index.clone());
                    let names = references.iter().cloned().map(Some);
                    [None]
                        .into_iter()
                        .chain(names)
                        .fold(first, |index, name| index.with(Arc::clone(&shown), name))
                });
                events::publish(&inner.db, &written, action, &written.id.to_string());
                for reference in &references {
                    events::publish(&inner.db, &written, "tag", &reference.to_string());
                }
            }));
            Ok::<_, ImageError>(())
        });
        if let Err(error) = published.map_err(WriteError::flatten) {
            self.layers = layers;
            return Err(error);
        }
        Ok(image)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if self.layers.is_empty() {
            return;
        }
        let layers = std::mem::take(&mut self.layers);
        let holder = self.holder.clone();
        let given_up = layers.into_iter().map(|id| (id, holder.clone())).collect();
        // If that fails, the next start does it.
        let retired = self
            .inner
            .storage
            .retire(move |_| Ok::<_, ImageError>(((), given_up)));
        match retired {
            Ok(((), retired)) => self.inner.storage.discard(retired),
            Err(error) => {
                let error = error.flatten();
                tracing::debug!(%error, "layers of an operation that failed stay until the next start");
            }
        }
    }
}

/// Lets a reference of the image's scope point to it.
pub(crate) fn put_reference(
    txn: &mut WriteTxn<'_>,
    image: &Image,
    reference: &ImageReference,
) -> Result<(), ImageError> {
    let key = (image.owner.name().to_owned(), reference.to_string());
    let row = ReferenceRow {
        owner: image.owner.clone(),
        image: image.id,
    };
    Ok(txn.put(&REFERENCES, &key, &row)?)
}
