//! Layers that go together with what held them.
//!
//! ```text
//! ── lock ──
//! holders' rows, claims, layers' rows   one commit
//! removing-<chain>-x/                   renames; the names are free
//! ── unlock ──
//! the files                             behind the reply, or at the next start
//! ```

use berth_store::{WriteError, WriteTxn, failpoint};
use berth_types::LayerId;
use berth_types::task::{Wait, lock};

use crate::claims;
use crate::error::StorageError;
use crate::layers;
use crate::layout::exists;
use crate::record::{LAYERS, Layer};
use crate::service::Inner;

/// A claim: the layer, and the owner as it named itself.
pub type Claim = (LayerId, String);

/// Layers without rows, whose files are still to be deleted; see
/// [`crate::Storage::discard`].
#[derive(Debug, Default)]
#[must_use = "the files stay until the next start unless they are discarded"]
pub struct Retired {
    /// The layers, each before the one below it.
    pub layers: Vec<Layer>,
    names: Vec<String>,
}

pub(crate) fn claim(
    inner: &Inner,
    owner: &str,
    id: LayerId,
) -> Result<Option<Layer>, StorageError> {
    let owner = owner.to_owned();
    inner
        .db
        .write(move |txn| {
            let layer = txn.get(&LAYERS, &id)?;
            if layer.is_some() {
                claims::hold(txn, id, &owner)?;
            }
            Ok(layer)
        })
        .map_err(WriteError::flatten)
}

pub(crate) fn retire<T, E>(
    inner: &Inner,
    change: impl FnOnce(&mut WriteTxn<'_>) -> Result<(T, Vec<Claim>), E> + Send + 'static,
) -> Result<(T, Retired), WriteError<E>>
where
    T: Send + 'static,
    E: From<StorageError> + Send + 'static,
{
    let guard = lock(&inner.publishing, Wait::Layers);
    let (value, gone) = inner.db.write(move |txn| {
        let (value, given_up) = change(txn)?;
        let gone = give_up(txn, given_up)?;
        Ok::<_, E>((value, gone))
    })?;
    if !gone.is_empty() {
        failpoint::hit("storage.retire.after-commit");
    }
    let mut retired = Retired::default();
    for layer in gone {
        if let Some(name) = take_name(inner, layer.id) {
            retired.names.push(name);
        }
        retired.layers.push(layer);
    }
    drop(guard);
    if !retired.names.is_empty() {
        failpoint::hit("storage.retire.after-rename");
    }
    Ok((value, retired))
}

/// Releases the claims and forgets the layers that are free then.
fn give_up(txn: &mut WriteTxn<'_>, given_up: Vec<Claim>) -> Result<Vec<Layer>, StorageError> {
    let mut gone = Vec::new();
    for (id, owner) in given_up {
        claims::release(txn, id, &owner)?;
        let mut next = Some(id);
        while let Some(id) = next {
            let Some(layer) = txn.get(&LAYERS, &id)? else {
                break;
            };
            if !claims::owners(txn, id)?.is_empty() {
                break;
            }
            next = layers::forget(txn, id)?;
            gone.push(layer);
        }
    }
    Ok(gone)
}

/// Moves a layer's directory out of the way. What cannot be moved the next start removes.
fn take_name(inner: &Inner, id: LayerId) -> Option<String> {
    let name = id.to_string();
    if !exists(&inner.root.overlay, &name).unwrap_or(true) {
        return None;
    }
    match layers::move_away(inner, &name) {
        Ok(away) => Some(away),
        // On a full disk there may be no room for another name. Who waits for the lock finds
        // this one free all the same.
        Err(error) if error.is_full() => {
            layers::discard(inner, &name);
            None
        }
        Err(error) => {
            tracing::warn!(layer = name, %error, "the directory of a removed layer stays");
            None
        }
    }
}

pub(crate) fn discard(inner: &Inner, retired: Retired) {
    for name in retired.names {
        layers::discard(inner, &name);
    }
}
