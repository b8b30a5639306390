//! Who holds which layer.
//!
//! An owner is an opaque text that begins with the kind of thing that holds: `image:…`,
//! `container:…`, `layer:…`. Claims are taken and given up inside the transaction that makes or
//! removes the holder.

use berth_store::{Row, StoreError, WriteTxn};
use berth_types::LayerId;

use crate::error::StorageError;
use crate::record::{CLAIMS, Held, LAYERS};

/// Takes a claim; taking it twice is taking it once.
///
/// # Errors
/// There is no such layer, or the store fails.
pub fn hold(txn: &mut WriteTxn<'_>, layer: LayerId, owner: &str) -> Result<(), StorageError> {
    if txn.get(&LAYERS, &layer)?.is_none() {
        return Err(StorageError::NoLayer(layer));
    }
    Ok(txn.put(&CLAIMS, &(layer, owner.to_owned()), &Held {})?)
}

/// Gives a claim up; tells whether there was one.
///
/// # Errors
/// The store fails.
pub fn release(txn: &mut WriteTxn<'_>, layer: LayerId, owner: &str) -> Result<bool, StoreError> {
    txn.remove(&CLAIMS, &(layer, owner.to_owned()))
}

/// The owners that hold `layer`, in order. A damaged row holds as well: it is not known who.
///
/// # Errors
/// The store fails.
pub fn owners(txn: &WriteTxn<'_>, layer: LayerId) -> Result<Vec<String>, StoreError> {
    let rows = txn.scan_prefix(&CLAIMS, &layer)?;
    Ok(rows
        .into_iter()
        .map(|row| match row {
            Row::Whole((_, owner), Held {})
            | Row::Damaged {
                key: Some((_, owner)),
                ..
            } => owner,
            Row::Damaged { key: None, .. } => "an unknown owner".to_owned(),
        })
        .collect())
}
