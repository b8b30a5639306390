//! Disk space: `GET /system/df`, and what `POST /containers/prune` gave back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::container::ContainerSummary;
use crate::image::ImageSummary;
use crate::nil;

/// `SystemDataUsageResponse`: what takes up space, by sort; a sort that was not asked for is
/// absent. Clients below 1.52 get the lists only, see [`crate::shape::disk_usage`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DiskUsage {
    /// Images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_usage: Option<Usage<ImageSummary>>,
    /// Containers: what they wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_usage: Option<Usage<ContainerSummary>>,
    /// Volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_usage: Option<Usage<Value>>,
    /// What builds left for the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_cache_usage: Option<Usage<Value>>,
}

/// `ImagesDiskUsage`, `ContainersDiskUsage` and so on: one sort of objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Usage<T> {
    /// Objects in use.
    pub active_count: i64,
    /// Objects altogether.
    pub total_count: i64,
    /// Bytes that removing the others would give back.
    pub reclaimable: i64,
    /// Bytes in use.
    pub total_size: i64,
    /// The objects; in an answer only where `verbose` was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<T>,
}

impl<T> Default for Usage<T> {
    fn default() -> Self {
        Self {
            active_count: 0,
            total_count: 0,
            reclaimable: 0,
            total_size: 0,
            items: Vec::new(),
        }
    }
}

/// `ContainerPruneResponse`: what a prune removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainersPruneResponse {
    /// Ids of the containers removed.
    #[serde(serialize_with = "nil::list")]
    pub containers_deleted: Vec<String>,
    /// Bytes given back.
    pub space_reclaimed: u64,
}
