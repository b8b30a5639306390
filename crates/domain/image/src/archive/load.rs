//! Reading images from an archive.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use berth_storage::{Budget, Devices, chain_id};
use berth_store::failpoint;
use berth_types::{Caller, Digest, ImageReference, LayerId, Timestamp};

use super::find::{self, Found, unreadable, wrong};
use crate::config::Platform;
use crate::document;
use crate::error::ImageError;
use crate::publish::Hold;
use crate::record::{Image, digest_of};
use crate::service::Inner;

/// Files in the outer archive at most: a thousand images with all their layers and more.
const FILES_MAX: u64 = 200_000;

/// How images are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// When they come here.
    pub now: Timestamp,
}

/// What a load tells on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadStep {
    /// A layer is here that was not; its length unpacked, in bytes.
    Layer(Digest, u64),
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The image.
    pub image: Arc<Image>,
    /// The names it came with.
    pub names: Vec<ImageReference>,
}

pub(crate) fn load(
    inner: &Arc<Inner>,
    caller: &Caller,
    archive: OwnedFd,
    is_whole: impl FnOnce() -> bool,
    options: &LoadOptions,
    mut tell: impl FnMut(LoadStep),
) -> Result<Vec<Loaded>, ImageError> {
    let budget = Budget {
        inodes: FILES_MAX,
        devices: Devices::Refuse,
        ..Budget::default()
    };
    inner.storage.with_unpacked(archive, &budget, |top| {
        if !is_whole() {
            return Err(ImageError::Interrupted);
        }
        let found = find::images(top)?;
        // What is wrong with any of them is said before the first is loaded. They are read again
        // then, one at a time: together they may be large.
        for found in &found {
            read(top, found)?;
        }
        let mut loaded = Vec::new();
        for found in found {
            let (document, diff_ids) = read(top, &found)?;
            let one = One {
                top,
                caller,
                document,
                diff_ids,
                found,
            };
            loaded.push(one.load(inner, options, &mut tell)?);
        }
        Ok(loaded)
    })
}

/// The configuration of an image, checked, and what its layers are to be.
fn read(top: BorrowedFd<'_>, found: &Found) -> Result<(String, Vec<Digest>), ImageError> {
    let path = &found.config;
    let file = find::open(top, path).map_err(|errno| unreadable(path, errno))?;
    let document = find::text(file, path)?;
    if found.id.is_some_and(|id| id != digest_of(&document)) {
        return wrong(format!("{path} is not what its digest says: it is damaged"));
    }
    let config = document::parse(&document)
        .map_err(|error| ImageError::Archive(format!("{path} of the archive is wrong: {error}")))?;
    let host = Platform::parse(None)?;
    let name = found
        .names
        .first()
        .map_or(path.clone(), ToString::to_string);
    if config.os != "linux" || config.architecture != host.architecture {
        return wrong(format!(
            "image {name} is for {}/{}, and this engine runs linux/{}: load one for that platform",
            config.os, config.architecture, host.architecture
        ));
    }
    let ids = &config.rootfs.diff_ids;
    if ids.len() != found.layers.len() {
        return wrong(format!(
            "image {name} has {} layers by its configuration and {} in the archive",
            ids.len(),
            found.layers.len()
        ));
    }
    let ids = ids.iter().map(|id| {
        id.parse::<Digest>()
            .map_err(|_| ImageError::Archive(format!("{id:?} in {path} is no sha256 digest")))
    });
    Ok((document, ids.collect::<Result<_, _>>()?))
}

/// One image on its way.
struct One<'a> {
    top: BorrowedFd<'a>,
    caller: &'a Caller,
    document: String,
    diff_ids: Vec<Digest>,
    found: Found,
}

impl One<'_> {
    fn load(
        self,
        inner: &Arc<Inner>,
        options: &LoadOptions,
        tell: &mut impl FnMut(LoadStep),
    ) -> Result<Loaded, ImageError> {
        let mut hold = Hold::new(inner)?;
        let mut layers: Vec<LayerId> = Vec::new();
        let (mut below, mut size) = (None, 0);
        for (diff_id, path) in self.diff_ids.iter().zip(&self.found.layers) {
            let chain = chain_id(below.as_ref(), diff_id);
            let layer = match hold.take(LayerId::from_bytes(*chain.as_bytes()))? {
                Some(layer) => layer,
                None => {
                    let file =
                        find::open(self.top, path).map_err(|errno| unreadable(path, errno))?;
                    let layer = hold.ingest(file, layers.last().copied())?;
                    if layer.diff_id != *diff_id {
                        return wrong(format!(
                            "layer {path} is {}, and its image says {diff_id}: it is damaged",
                            layer.diff_id
                        ));
                    }
                    tell(LoadStep::Layer(layer.diff_id, layer.bytes));
                    layer
                }
            };
            size += layer.bytes;
            layers.push(layer.id);
            below = Some(chain);
        }
        failpoint::hit("image.load.after-ingest");
        let config = document::parse(&self.document).map_err(ImageError::Encode)?;
        let created = config.created.as_deref().and_then(|text| text.parse().ok());
        let image = Image {
            id: digest_of(&self.document),
            owner: self.caller.scope.clone(),
            document: self.document,
            config,
            layers,
            size,
            created: created.unwrap_or(Timestamp::NEVER),
            added: options.now,
        };
        let names = self.found.names;
        let image = hold.publish(Arc::new(image), names.clone(), "load")?;
        failpoint::hit("image.load.after-commit");
        Ok(Loaded { image, names })
    }
}
