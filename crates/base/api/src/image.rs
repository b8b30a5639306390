//! Images: what list and inspect answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::container::{Empty, HealthConfig};
use crate::decode::words;
use crate::nil;

/// `ImageSummary`: one entry of `GET /images/json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageSummary {
    /// `sha256:` and 64 hexadecimal digits.
    pub id: String,
    /// Id of the image it was built from by the old builder; mostly empty.
    pub parent_id: String,
    /// `name:tag` of every reference.
    pub repo_tags: Vec<String>,
    /// `name@digest` of every reference.
    pub repo_digests: Vec<String>,
    /// When it was made, seconds since the epoch.
    pub created: i64,
    /// Bytes of all layers, unpacked.
    pub size: i64,
    /// Bytes shared with other images; −1 where not computed.
    pub shared_size: i64,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Containers made from it; −1 where not computed.
    pub containers: i64,
    /// The manifests of a multi-platform image, where asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Value>,
    /// The image's own descriptor in a multi-platform image store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<OciDescriptor>,
}

impl Default for ImageSummary {
    /// An image of which nothing is computed.
    fn default() -> Self {
        Self {
            id: String::new(),
            parent_id: String::new(),
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            created: 0,
            size: 0,
            shared_size: -1,
            labels: BTreeMap::new(),
            containers: -1,
            manifests: Vec::new(),
            descriptor: None,
        }
    }
}

/// `ImageInspect`: `GET /images/{name}/json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageInspect {
    /// `sha256:` and 64 hexadecimal digits.
    pub id: String,
    /// The image's own descriptor in a multi-platform image store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<OciDescriptor>,
    /// The manifests of a multi-platform image, where asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Value>,
    /// Who made it, where that is known for certain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Value>,
    /// `name:tag` of every reference.
    pub repo_tags: Vec<String>,
    /// `name@digest` of every reference.
    pub repo_digests: Vec<String>,
    /// Comment of its last step.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// When it was made, RFC 3339; left out where the image does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Author.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// What containers start from.
    pub config: ImageConfig,
    /// Architecture in Go's words, such as `amd64`.
    pub architecture: String,
    /// Variant of the architecture.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// `linux`.
    pub os: String,
    /// Windows only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Bytes of all layers, unpacked.
    pub size: i64,
    /// What the storage driver says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_driver: Option<DriverData>,
    /// Its layers.
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    /// What this engine knows of it.
    pub metadata: ImageMetadata,
}

/// `ImageConfig`: what containers start from; every field is left out when not set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageConfig {
    /// `user[:group]`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports its program listens on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Environment, `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Arguments or command.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// Health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    /// Whether the command is already escaped (Windows).
    #[serde(skip_serializing_if = "nil::is_false")]
    pub args_escaped: bool,
    /// Paths that become anonymous volumes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Entry point.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    /// `ONBUILD` instructions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks its containers to stop.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Shell for the shell form of instructions.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub shell: Option<Vec<String>>,
}

/// The layers of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Digests of the unpacked layers, lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

/// What this engine knows of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageMetadata {
    /// When it was last tagged here, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_tag_time: Option<String>,
}

/// `DriverData`: what a storage driver says about a root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DriverData {
    /// Name of the driver.
    pub name: String,
    /// Its own words, such as `UpperDir`.
    pub data: BTreeMap<String, String>,
}

/// `Storage`: what a snapshotter says about a root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Storage {
    /// The root file system.
    #[serde(rename = "RootFS", skip_serializing_if = "Option::is_none")]
    pub root_fs: Option<RootFsStorage>,
}

/// `RootFSStorage`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RootFsStorage {
    /// Its snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<RootFsSnapshot>,
}

/// `RootFSStorageSnapshot`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RootFsSnapshot {
    /// Name of the snapshotter.
    pub name: String,
}

/// `OCIDescriptor`: a pointer to content by digest (OCI image-spec, `descriptor.md`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OciDescriptor {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content.
    pub digest: String,
    /// Size of the content in bytes.
    pub size: i64,
    /// Other places to fetch it from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The platform the content is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<OciPlatform>,
    /// Type of the artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// `OCIPlatform`: a platform an image is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OciPlatform {
    /// Architecture in Go's words.
    pub architecture: String,
    /// Operating system in Go's words.
    pub os: String,
    /// Version of the operating system.
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Needed features of the operating system.
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Variant of the architecture.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// `HistoryResponseItem`: one step of `GET /images/{name}/history`, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HistoryItem {
    /// Id of the image that the step made, `<missing>` where it has none of its own.
    pub id: String,
    /// When, seconds since the epoch.
    pub created: i64,
    /// The command.
    pub created_by: String,
    /// References to the image; none for the steps below it.
    #[serde(deserialize_with = "words")]
    pub tags: Option<Vec<String>>,
    /// Bytes of the layer, unpacked; 0 where the step made none.
    pub size: i64,
    /// A remark.
    pub comment: String,
}

/// `ImageDeleteResponseItem`: one thing that `DELETE /images/{name}` did; one field is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageDeleteItem {
    /// The reference that was taken off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untagged: Option<String>,
    /// The image or layer that was removed, `sha256:` and its digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
}

impl ImageDeleteItem {
    /// A reference was taken off.
    pub fn untagged(reference: impl Into<String>) -> Self {
        Self {
            untagged: Some(reference.into()),
            deleted: None,
        }
    }

    /// An image or a layer was removed.
    pub fn deleted(id: impl Into<String>) -> Self {
        Self {
            untagged: None,
            deleted: Some(id.into()),
        }
    }
}

/// `ImagePruneResponse`: the answer of `POST /images/prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImagePruneAnswer {
    /// What was done; `null` for nothing.
    pub images_deleted: Option<Vec<ImageDeleteItem>>,
    /// Bytes of the layers that were removed.
    pub space_reclaimed: u64,
}

/// `IDResponse`: the answer of `POST /commit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CommitAnswer {
    /// The new image's id.
    pub id: String,
}
