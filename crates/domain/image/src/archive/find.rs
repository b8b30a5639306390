//! The images in an unpacked archive, which a stranger made.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{BorrowedFd, OwnedFd};

use berth_storage::DEPTH_MAX;
use berth_sys::rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use berth_sys::rustix::io::Errno;
use berth_types::{Digest, ImageReference};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{BLOBS, FULL_NAME, INDEX, MANIFEST_LIST, REF_NAME};
use crate::config::Platform;
use crate::document::DOCUMENT_MAX;
use crate::error::ImageError;
use crate::record::digest_of;

/// Images in one archive at most.
const IMAGES_MAX: usize = 1000;
/// Indexes within each other at most: the layout's own, and an image's.
const NESTED_MAX: u32 = 2;

/// One image of the archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Path of its configuration.
    pub config: String,
    /// The configuration's digest, where the archive says it.
    pub id: Option<Digest>,
    /// Paths of its layers, from the lowest up.
    pub layers: Vec<String>,
    /// Its names.
    pub names: Vec<ImageReference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct IndexDocument {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct ManifestDocument {
    config: Descriptor,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    platform: Option<DescribedPlatform>,
}

#[derive(Deserialize)]
struct DescribedPlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// The images, by Docker's index where there is one, else by OCI's.
pub(super) fn images(top: BorrowedFd<'_>) -> Result<Vec<Found>, ImageError> {
    let found = match open(top, "manifest.json") {
        Ok(file) => listed(&text(file, "manifest.json")?)?,
        Err(Errno::NOENT) => match open(top, "index.json") {
            Ok(file) => indexed(top, &text(file, "index.json")?)?,
            Err(Errno::NOENT) => {
                return Err(ImageError::Archive(
                    "the archive holds no saved images: it has neither manifest.json nor index.json (import takes root file systems)".to_owned(),
                ));
            }
            Err(errno) => return Err(unreadable("index.json", errno)),
        },
        Err(errno) => return Err(unreadable("manifest.json", errno)),
    };
    if found.len() > IMAGES_MAX {
        return wrong(format!("the archive holds more than {IMAGES_MAX} images"));
    }
    if found.iter().any(|f| f.layers.len() > DEPTH_MAX as usize) {
        return wrong(format!(
            "an image of the archive has more than {DEPTH_MAX} layers"
        ));
    }
    Ok(found)
}

/// By `manifest.json`.
fn listed(text: &str) -> Result<Vec<Found>, ImageError> {
    let list: Vec<ListEntry> = parse(text, "manifest.json")?;
    let found = list.into_iter().map(|entry| {
        let names = entry.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| reference(name));
        let last = entry.config.rsplit('/').next().unwrap_or_default();
        let id = format!("sha256:{}", last.trim_end_matches(".json")).parse();
        Ok(Found {
            id: id.ok(),
            config: entry.config,
            layers: entry.layers.unwrap_or_default(),
            names: names.collect::<Result<_, _>>()?,
        })
    });
    found.collect()
}

/// By `index.json`. Of an image for several platforms it is the one for this machine.
fn indexed(top: BorrowedFd<'_>, text: &str) -> Result<Vec<Found>, ImageError> {
    let index: IndexDocument = parse(text, "index.json")?;
    let mut found: Vec<Found> = Vec::new();
    for entry in index.manifests.unwrap_or_default() {
        let annotations = entry.annotations.clone().unwrap_or_default();
        let Some(mut image) = manifest(top, &entry, 1)? else {
            return wrong(format!(
                "the archive has no image for linux/{} in {}",
                Platform::parse(None)?.architecture,
                entry.digest
            ));
        };
        let name = match (annotations.get(FULL_NAME), annotations.get(REF_NAME)) {
            (Some(whole), _) => Some(reference(whole)?),
            // Just a tag names no image.
            (None, Some(name)) if name.contains([':', '/']) => Some(reference(name)?),
            _ => None,
        };
        match found.iter_mut().find(|known| known.config == image.config) {
            Some(known) => known.names.extend(name),
            None => {
                image.names.extend(name);
                found.push(image);
            }
        }
        if found.len() > IMAGES_MAX {
            break;
        }
    }
    Ok(found)
}

/// What a descriptor points to, if there is anything for this machine in it.
fn manifest(
    top: BorrowedFd<'_>,
    entry: &Descriptor,
    depth: u32,
) -> Result<Option<Found>, ImageError> {
    let (path, digest) = blob(&entry.digest)?;
    let file = open(top, &path).map_err(|errno| unreadable(&path, errno))?;
    let text = text(file, &path)?;
    if digest_of(&text) != digest {
        return wrong(format!("{path} is not what its digest says: it is damaged"));
    }
    if entry.media_type == INDEX || entry.media_type == MANIFEST_LIST {
        if depth >= NESTED_MAX {
            return wrong(format!(
                "{path} is an index within an index within an index"
            ));
        }
        let index: IndexDocument = parse(&text, &path)?;
        let host = Platform::parse(None)?;
        let entries = index.manifests.unwrap_or_default();
        let ours = entries.iter().find(|entry| {
            let platform = entry.platform.as_ref();
            platform.is_none_or(|p| p.os == "linux" && p.architecture == host.architecture)
        });
        return match ours {
            Some(entry) => manifest(top, entry, depth + 1),
            None => Ok(None),
        };
    }
    let manifest: ManifestDocument = parse(&text, &path)?;
    let (config, id) = blob(&manifest.config.digest)?;
    let layers = manifest.layers.unwrap_or_default();
    let layers = layers.iter().map(|layer| Ok(blob(&layer.digest)?.0));
    Ok(Some(Found {
        config,
        id: Some(id),
        layers: layers.collect::<Result<_, ImageError>>()?,
        names: Vec::new(),
    }))
}

fn blob(digest: &str) -> Result<(String, Digest), ImageError> {
    match digest.parse::<Digest>() {
        Ok(digest) => Ok((format!("{BLOBS}{}", digest.hex()), digest)),
        Err(_) => wrong(format!("{digest:?} in the archive is no sha256 digest")),
    }
}

fn reference(name: &str) -> Result<ImageReference, ImageError> {
    let reference = name.parse::<ImageReference>()?;
    if reference.digest().is_some() {
        return Err(ImageError::DigestReference(name.to_owned()));
    }
    Ok(reference.or_latest())
}

/// Opens a regular file of the archive. Links lead wherever they lead in it and not out of it.
pub(super) fn open(top: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = loop {
        match openat2(top, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            result => break result?,
        }
    };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok(file)
}

/// A document, which is not long.
pub(super) fn text(file: OwnedFd, path: &str) -> Result<String, ImageError> {
    let mut text = String::new();
    let read = File::from(file)
        .take(DOCUMENT_MAX + 1)
        .read_to_string(&mut text);
    if let Err(error) = read {
        return wrong(format!("{path} of the archive cannot be read: {error}"));
    }
    if text.len() as u64 > DOCUMENT_MAX {
        return wrong(format!(
            "{path} of the archive has more than {DOCUMENT_MAX} bytes"
        ));
    }
    Ok(text)
}

fn parse<T: DeserializeOwned>(text: &str, path: &str) -> Result<T, ImageError> {
    serde_json::from_str(text)
        .map_err(|error| ImageError::Archive(format!("{path} of the archive is wrong: {error}")))
}

pub(super) fn unreadable(path: &str, errno: Errno) -> ImageError {
    match errno {
        Errno::NOENT => ImageError::Archive(format!("the archive lacks {path:?}, which it names")),
        Errno::INVAL | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::XDEV => {
            ImageError::Archive(format!("{path:?} of the archive is no regular file"))
        }
        errno => ImageError::Io {
            operation: format!("open {path:?} of the archive"),
            source: errno.into(),
        },
    }
}

pub(super) fn wrong<T>(message: String) -> Result<T, ImageError> {
    Err(ImageError::Archive(message))
}
