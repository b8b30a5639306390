//! Another name for an image.

use std::sync::Arc;

use berth_store::{WriteError, WriteTxn};
use berth_types::ImageReference;

use crate::error::ImageError;
use crate::events;
use crate::publish::put_reference;
use crate::record::{IMAGES, Image};
use crate::service::Inner;

/// Lets a reference point to the image, in one commit with whatever it pointed to before. The
/// reference belongs to the scope of the image.
pub(crate) fn tag(
    inner: &Arc<Inner>,
    image: Arc<Image>,
    reference: ImageReference,
) -> Result<ImageReference, ImageError> {
    if reference.digest().is_some() {
        return Err(ImageError::TagDigest);
    }
    let reference = reference.or_latest();
    let (shown, name) = (Arc::clone(inner), reference.clone());
    inner
        .db
        .write(move |txn: &mut WriteTxn<'_>| {
            if txn.get(&IMAGES, &image.key())?.is_none() {
                return Err(ImageError::Gone(image.id));
            }
            txn.claim_room()?;
            put_reference(txn, &image, &name)?;
            txn.on_commit(Box::new(move || {
                let text = name.to_string();
                shown.update(|index| index.with(Arc::clone(&image), Some(name)));
                events::publish(&shown.db, &image, "tag", &text);
            }));
            Ok(())
        })
        .map_err(WriteError::flatten)?;
    Ok(reference)
}
