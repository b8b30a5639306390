//! Mounts: as asked for (`Mount`) and as they are (`MountPoint`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::nil;

/// `Mount`: one mount of a create request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`, `image`, `cluster` or `npipe`.
    #[serde(rename = "Type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Host path, volume name or image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Path inside.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Whether it cannot be written.
    #[serde(skip_serializing_if = "nil::is_false")]
    pub read_only: bool,
    /// `default`, `consistent`, `cached` or `delegated` (of no effect on Linux).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consistency: String,
    /// For type `bind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    /// For type `volume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    /// For type `image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_options: Option<ImageOptions>,
    /// For type `tmpfs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
}

/// Options of a bind mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BindOptions {
    /// `private`, `rprivate`, `shared`, `rshared`, `slave` or `rslave`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub propagation: String,
    /// Whether mounts below the source are left out.
    #[serde(skip_serializing_if = "nil::is_false")]
    pub non_recursive: bool,
    /// Whether a missing source is made as a directory.
    #[serde(skip_serializing_if = "nil::is_false")]
    pub create_mountpoint: bool,
    /// Whether a read-only mount leaves the mounts below it writable.
    #[serde(skip_serializing_if = "nil::is_false")]
    pub read_only_non_recursive: bool,
    /// Whether to fail where a read-only mount cannot be made so all the way down.
    #[serde(skip_serializing_if = "nil::is_false")]
    pub read_only_force_recursive: bool,
}

/// Options of a volume mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeOptions {
    /// Whether a fresh volume stays empty instead of taking the image's files.
    #[serde(skip_serializing_if = "nil::is_false")]
    pub no_copy: bool,
    /// Labels of a volume that is made for this mount.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Path inside the volume that is mounted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// Driver of a volume that is made for this mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<VolumeDriverConfig>,
}

/// The driver of a volume that is made for a mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeDriverConfig {
    /// Name of the driver.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Options for the driver.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// Options of an image mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageOptions {
    /// Path inside the image that is mounted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
}

/// Options of a tmpfs mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TmpfsOptions {
    /// Size limit in bytes; 0 for the kernel's.
    #[serde(skip_serializing_if = "zero")]
    pub size_bytes: i64,
    /// Permission bits of its root; 0 for 1777.
    #[serde(skip_serializing_if = "zero_mode")]
    pub mode: u32,
    /// Further mount options: `["noexec"]` or `["key", "value"]` each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Vec<String>>,
}

fn zero(value: &i64) -> bool {
    *value == 0
}

fn zero_mode(value: &u32) -> bool {
    *value == 0
}

/// `MountPoint`: one mount of an existing container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MountPoint {
    /// As [`Mount::kind`].
    #[serde(rename = "Type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The volume's name, for volumes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it is on the host; empty for tmpfs.
    pub source: String,
    /// Path inside.
    pub destination: String,
    /// The volume's driver, for volumes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Options as the user wrote them, such as `ro,z`.
    pub mode: String,
    /// Whether it can be written.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// Mount propagation; empty where it has no meaning.
    pub propagation: String,
}
