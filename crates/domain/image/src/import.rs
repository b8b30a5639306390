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

use berth_storage::Layer;
use berth_store::failpoint;
use berth_types::oci::ImageDefaults;
use berth_types::{Caller, ImageReference, Timestamp};

use crate::changes;
use crate::config::{self, Platform};
use crate::document;
use crate::error::ImageError;
use crate::publish::Hold;
use crate::record::{Image, digest_of};
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

    let mut hold = Hold::new(inner)?;
    let layer = hold.ingest(archive, None)?;
    failpoint::hit("image.import.after-ingest");
    let comment = options.message.filter(|message| !message.is_empty());
    let comment = comment.as_deref().unwrap_or(COMMENT);
    if !is_whole() {
        return Err(ImageError::Interrupted);
    }
    let document = config::document(platform, defaults, layer.diff_id, comment, options.now)?;
    let image = Arc::new(image(caller, document, &layer, options.now)?);
    let image = hold.publish(image, reference.into_iter().collect(), "import")?;
    failpoint::hit("image.import.after-commit");
    Ok(image)
}

fn image(
    caller: &Caller,
    document: String,
    layer: &Layer,
    added: Timestamp,
) -> Result<Image, ImageError> {
    let id = digest_of(&document);
    let config = document::parse(&document).map_err(ImageError::Encode)?;
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
