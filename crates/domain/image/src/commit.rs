//! An image from the files of a container.
//!
//! ```text
//! layer, claimed by the operation         storage, one commit
//! image, its claim, its reference         one commit; the operation's claim goes with it
//! index, events, then the answer
//! ```

use std::os::fd::OwnedFd;
use std::sync::Arc;

use berth_store::failpoint;
use berth_types::oci::{History, ImageConfig, ImageDefaults, ImageRootfs};
use berth_types::{Caller, ImageReference, LayerId, Timestamp};

use crate::changes;
use crate::config::Platform;
use crate::document;
use crate::error::ImageError;
use crate::publish::Hold;
use crate::record::{Image, digest_of};
use crate::service::Inner;

/// SHA-256 of a tar stream without entries, by which Docker knows a step that changed nothing.
const EMPTY_TAR: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// How a container becomes an image.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitOptions {
    /// The name it gets; nothing leaves it dangling.
    pub reference: Option<ImageReference>,
    /// Who made it.
    pub author: String,
    /// A remark.
    pub comment: String,
    /// The command that the container ran, for the history.
    pub created_by: String,
    /// What containers of it start from.
    pub config: ImageDefaults,
    /// When the image is made.
    pub now: Timestamp,
}

/// Applies Dockerfile instructions to a configuration; for [`CommitOptions::config`].
///
/// # Errors
/// The first instruction that is wrong.
pub fn apply_changes(changes: &[String], config: &mut ImageDefaults) -> Result<(), ImageError> {
    changes::apply(changes, config)
}

pub(crate) fn commit(
    inner: &Arc<Inner>,
    caller: &Caller,
    below: &[LayerId],
    parent: Option<&Image>,
    archive: OwnedFd,
    is_whole: impl FnOnce() -> Result<(), ImageError>,
    options: CommitOptions,
) -> Result<Arc<Image>, ImageError> {
    let reference = match options.reference.clone() {
        Some(reference) if reference.digest().is_some() => {
            return Err(ImageError::DigestReference(reference.to_string()));
        }
        reference => reference.map(ImageReference::or_latest),
    };
    let mut chain = match below.last() {
        Some(top) => inner.storage.chain(*top)?,
        None => Vec::new(),
    };
    let mut hold = Hold::new(inner)?;
    let layer = hold.ingest(archive, below.last().copied())?;
    failpoint::hit("image.commit.after-ingest");
    is_whole()?;
    let (added, is_empty) = (layer.id, layer.diff_id.to_string() == EMPTY_TAR);
    if is_empty {
        // The image must hold its topmost layer when the empty one goes.
        if let Some(top) = below.last() {
            hold.take(*top)?;
        }
    } else {
        chain.push(layer);
    }
    let diff_ids = chain
        .iter()
        .map(|layer| layer.diff_id.to_string())
        .collect();
    let now = options.now;
    let document = new_document(parent, diff_ids, is_empty, options)?;
    let config = document::parse(&document).map_err(ImageError::Encode)?;
    let image = Image {
        id: digest_of(&document),
        owner: caller.scope.clone(),
        document,
        config,
        layers: chain.iter().map(|layer| layer.id).collect(),
        size: chain.iter().map(|layer| layer.bytes).sum(),
        created: now,
        added: now,
    };
    let image = hold.publish(Arc::new(image), reference.into_iter().collect(), "create")?;
    failpoint::hit("image.commit.after-commit");
    if is_empty && let Err(error) = inner.storage.remove_layer(added) {
        tracing::debug!(%error, "another image has the empty layer too");
    }
    Ok(image)
}

/// The document of the new image: its parent's platform and history, and one step more.
fn new_document(
    parent: Option<&Image>,
    diff_ids: Vec<String>,
    is_empty: bool,
    options: CommitOptions,
) -> Result<String, ImageError> {
    let created = Some(options.now.to_string());
    let mut history = parent.map_or_else(Vec::new, |parent| parent.config.history.clone());
    // Every layer has its step, also those of a parent that did not tell or is gone.
    let told = history.iter().filter(|step| !step.empty_layer).count();
    let below = diff_ids.len() - usize::from(!is_empty);
    let untold = below.saturating_sub(told);
    history.splice(0..0, std::iter::repeat_n(History::default(), untold));
    history.push(History {
        created: created.clone(),
        created_by: options.created_by,
        author: options.author.clone(),
        comment: options.comment.clone(),
        empty_layer: is_empty,
    });
    let host = Platform::parse(None)?;
    let image = ImageConfig {
        created,
        author: options.author,
        architecture: parent.map_or(host.architecture, |p| p.config.architecture.clone()),
        variant: parent.map_or(host.variant, |p| p.config.variant.clone()),
        os: "linux".to_owned(),
        config: options.config,
        rootfs: ImageRootfs {
            kind: "layers".to_owned(),
            diff_ids,
        },
        history,
        comment: options.comment,
    };
    serde_json::to_string(&image).map_err(ImageError::Encode)
}
