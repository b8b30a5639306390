//! Rows, as they are kept, and the image as it is used.

use berth_store::Table;
use berth_types::oci::ImageConfig;
use berth_types::{Digest, LayerId, Scope, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::document;

/// An image; it never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// SHA-256 of [`Image::document`].
    pub id: Digest,
    /// Whose it is.
    pub owner: Scope,
    /// The configuration as it was written or received, byte for byte.
    pub document: String,
    /// What the document says.
    pub config: ImageConfig,
    /// Its layers, from the lowest up.
    pub layers: Vec<LayerId>,
    /// Bytes of the regular files of all layers.
    pub size: u64,
    /// When the image was made, by its own document; [`Timestamp::NEVER`] if it does not say.
    pub created: Timestamp,
    /// When it came here.
    pub added: Timestamp,
}

impl Image {
    /// The topmost layer, which snapshots are made upon.
    pub fn top(&self) -> Option<LayerId> {
        self.layers.last().copied()
    }

    /// How the image names itself in its claim on its topmost layer.
    pub(crate) fn claimant(&self) -> String {
        claimant(self.owner.name(), &self.id)
    }

    /// The key of the image's row.
    pub(crate) fn key(&self) -> ImageKey {
        (self.owner.name().to_owned(), self.id)
    }

    pub(crate) fn row(&self) -> ImageRow {
        ImageRow {
            owner: self.owner.clone(),
            document: self.document.clone(),
            layers: self.layers.clone(),
            size: self.size,
            added: self.added,
        }
    }

    /// Reads a row; says what is wrong with it otherwise.
    pub(crate) fn from_row(id: Digest, row: ImageRow) -> Result<Self, String> {
        if digest_of(&row.document) != id {
            return Err(
                "its configuration is not the one that its id was computed from".to_owned(),
            );
        }
        let config = document::parse(&row.document)
            .map_err(|e| format!("its configuration cannot be read: {e}"))?;
        let created = config.created.as_deref().and_then(|text| text.parse().ok());
        Ok(Self {
            id,
            owner: row.owner,
            config,
            document: row.document,
            layers: row.layers,
            size: row.size,
            created: created.unwrap_or(Timestamp::NEVER),
            added: row.added,
        })
    }
}

/// The digest of a configuration document.
pub(crate) fn digest_of(document: &str) -> Digest {
    Digest::from_sha256(sha2::Sha256::digest(document.as_bytes()).into())
}

/// The prefix of the owners of claims that images take.
pub(crate) const CLAIMANT: &str = "image:";
/// The prefix of the owners of claims that imports, commits and the like take while they last.
pub(crate) const IMPORTER: &str = "import:";

pub(crate) fn claimant(scope: &str, id: &Digest) -> String {
    format!("{CLAIMANT}{}:{scope}", id.hex())
}

/// Scope and id.
pub(crate) type ImageKey = (String, Digest);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRow {
    pub owner: Scope,
    pub document: String,
    pub layers: Vec<LayerId>,
    pub size: u64,
    pub added: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReferenceRow {
    pub owner: Scope,
    pub image: Digest,
}

/// A pin's row: its key says all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pinned {}

pub(crate) const IMAGES: Table<ImageKey, ImageRow> = Table::new("image.images", 1);
/// Scope and reference, in the form that [`berth_types::ImageReference`] displays.
pub(crate) const REFERENCES: Table<(String, String), ReferenceRow> =
    Table::new("image.references", 1);
/// Scope, image and who pins it.
pub(crate) const PINS: Table<(String, Digest, String), Pinned> = Table::new("image.pins", 1);
