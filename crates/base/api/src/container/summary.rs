//! `GET /containers/json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::mount::MountPoint;
use crate::image::OciDescriptor;
use crate::network::{NetworkSettingsSummary, PortSummary};

/// `ContainerSummary`: one entry of a list of containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerSummary {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Names, each with its leading `/`.
    pub names: Vec<String>,
    /// The image as the user named it, or its id where that name now means another.
    pub image: String,
    /// Id of the image.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// The platform's manifest in a multi-platform image store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_manifest_descriptor: Option<OciDescriptor>,
    /// Program and arguments in one line.
    pub command: String,
    /// When it was made, seconds since the epoch.
    pub created: i64,
    /// Ports.
    pub ports: Vec<PortSummary>,
    /// Bytes written, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    /// Bytes of image and written layer, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// As the state's `Status`.
    pub state: String,
    /// The state for people, such as `Up 5 minutes`.
    pub status: String,
    /// A part of the host half.
    pub host_config: HostConfigSummary,
    /// Networks.
    pub network_settings: NetworkSettingsSummary,
    /// Mounts.
    pub mounts: Vec<MountPoint>,
    /// Health, where a check is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSummary>,
}

/// The part of the host half that a list carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HostConfigSummary {
    /// The network mode.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network_mode: String,
    /// The annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The health of an entry in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthSummary {
    /// `none`, `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: i64,
}
