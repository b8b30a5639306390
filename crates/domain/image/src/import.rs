//! `docker import`: one archive becomes an image of one layer.
//!
//! ```text
//! check everything that can be checked without the archive
//! layer, claimed by the import      storage, one commit
//! image, its claim, its reference   one commit; the import's claim goes with it
//! index, then the answer
//! ```
//!
//! A crash in between leaves a layer that only an import claims, and no import survives a
//! crash: the next start gives the claim up and the layer goes.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use berth_storage::{Layer, claims};
use berth_store::{WriteError, WriteTxn, failpoint};
use berth_sys::rustix::rand::{GetRandomFlags, getrandom};
use berth_types::oci::ImageDefaults;
use berth_types::{Caller, ImageReference, Timestamp};

use crate::changes;
use crate::config::{self, Platform};
use crate::error::ImageError;
use crate::record::{IMAGES, IMPORTER, Image, REFERENCES, ReferenceRow, digest_of};
use crate::service::Inner;

/// The comment that Docker gives to an image whose archive came with the request.
const COMMENT: &str = "Imported from -";

/// How an archive becomes an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The name it gets; without a tag it is `latest`. Nothing leaves it dangling.
    pub reference: Option<ImageReference>,
    /// The comment in its history; nothing or empty is Docker's default.
    pub message: Option<String>,
    /// Dockerfile instructions for its configuration, in order.
    pub changes: Vec<String>,
    /// `linux/arm64/v8` and the like; nothing is this machine.
    pub platform: Option<String>,
    /// When the image is made.
    pub now: Timestamp,
}

pub(crate) fn import(
    inner: &Arc<Inner>,
    caller: &Caller,
    archive: OwnedFd,
    is_whole: impl FnOnce() -> bool,
    options: ImportOptions,
) -> Result<Arc<Image>, ImageError> {
    let reference = match options.reference {
        Some(reference) if reference.digest().is_some() => {
            return Err(ImageError::DigestReference(reference.to_string()));
        }
        reference => reference.map(ImageReference::or_latest),
    };
    let platform = Platform::parse(options.platform.as_deref())?;
    let mut defaults = ImageDefaults::default();
    changes::apply(&options.changes, &mut defaults)?;

    let importer = importer()?;
    let layer = inner.storage.ingest_layer(&importer, archive, None)?;
    failpoint::hit("image.import.after-ingest");
    let comment = options.message.filter(|message| !message.is_empty());
    let comment = comment.as_deref().unwrap_or(COMMENT);
    let whole = if is_whole() {
        Ok(())
    } else {
        Err(ImageError::Interrupted)
    };
    let made = whole
        .and_then(|()| config::document(platform, defaults, layer.diff_id, comment, options.now))
        .and_then(|document| image(caller, document, &layer, options.now))
        .and_then(|image| publish(inner, Arc::new(image), reference, &layer, importer.clone()));
    if made.is_err() {
        abandon(inner, &layer, importer);
    }
    made
}

/// A name for the claim of this import.
fn importer() -> Result<String, ImageError> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes[..], GetRandomFlags::empty()).map_err(|e| ImageError::Random(e.into()))?;
    Ok(format!("{IMPORTER}{:016x}", u64::from_ne_bytes(bytes)))
}

fn image(
    caller: &Caller,
    document: String,
    layer: &Layer,
    added: Timestamp,
) -> Result<Image, ImageError> {
    let id = digest_of(&document);
    let config = serde_json::from_str(&document).map_err(ImageError::Encode)?;
    Ok(Image {
        id,
        owner: caller.scope.clone(),
        document,
        config,
        layers: vec![layer.id],
        size: layer.bytes,
        created: added,
        added,
    })
}

/// Writes the image and what belongs to it, and shows it to readers.
fn publish(
    inner: &Arc<Inner>,
    image: Arc<Image>,
    reference: Option<ImageReference>,
    layer: &Layer,
    importer: String,
) -> Result<Arc<Image>, ImageError> {
    let (shown, layer) = (Arc::clone(inner), layer.id);
    let written = Arc::clone(&image);
    inner
        .db
        .write(move |txn: &mut WriteTxn<'_>| {
            claims::hold(txn, layer, &written.claimant())?;
            claims::release(txn, layer, &importer)?;
            txn.put(&IMAGES, &written.key(), &written.row())?;
            if let Some(reference) = &reference {
                let key = (written.owner.name().to_owned(), reference.to_string());
                let row = ReferenceRow {
                    owner: written.owner.clone(),
                    image: written.id,
                };
                txn.put(&REFERENCES, &key, &row)?;
            }
            txn.on_commit(Box::new(move || shown.add(written, reference)));
            Ok::<_, ImageError>(())
        })
        .map_err(WriteError::flatten)?;
    failpoint::hit("image.import.after-commit");
    Ok(image)
}

/// Gives up the layer of an import that failed. If that fails too, the next start does it.
fn abandon(inner: &Inner, layer: &Layer, importer: String) {
    let id = layer.id;
    let released = inner
        .db
        .write(move |txn| claims::release(txn, id, &importer));
    // Others may have the same layer: then it stays.
    if released.is_ok() && inner.storage.remove_layer(id).is_err() {
        tracing::debug!(layer = %id, "the layer of a failed import stays");
    }
}
