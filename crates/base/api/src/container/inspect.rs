//! `GET /containers/{id}/json`.

use serde::{Deserialize, Serialize};

use super::config::ContainerConfig;
use super::host::HostConfig;
use super::mount::MountPoint;
use crate::image::{DriverData, OciDescriptor, Storage};
use crate::network::NetworkSettings;
use crate::nil;

/// `ContainerInspectResponse`: everything about one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerInspect {
    /// 64 hexadecimal digits.
    pub id: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it is doing.
    pub state: ContainerState,
    /// Id of the image.
    pub image: String,
    /// The container's `resolv.conf` on the host.
    pub resolv_conf_path: String,
    /// The container's `hostname` on the host.
    pub hostname_path: String,
    /// The container's `hosts` on the host.
    pub hosts_path: String,
    /// The log on the host; empty where the log driver writes no file.
    pub log_path: String,
    /// The name, with its leading `/`.
    pub name: String,
    /// Restarts by the restart policy.
    pub restart_count: i64,
    /// Name of the storage driver.
    pub driver: String,
    /// `linux`.
    pub platform: String,
    /// The platform's manifest in a multi-platform image store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_manifest_descriptor: Option<OciDescriptor>,
    /// SELinux label of mounts.
    pub mount_label: String,
    /// SELinux label of the process.
    pub process_label: String,
    /// AppArmor profile.
    pub app_armor_profile: String,
    /// Running execs.
    #[serde(rename = "ExecIDs", serialize_with = "nil::list")]
    pub exec_ids: Vec<String>,
    /// The half that depends on the host.
    pub host_config: HostConfig,
    /// What the storage driver says about the root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_driver: Option<DriverData>,
    /// What the snapshotter says about the root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Bytes written, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    /// Bytes of image and written layer, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    /// Mounts.
    pub mounts: Vec<MountPoint>,
    /// The portable half.
    pub config: ContainerConfig,
    /// Network.
    pub network_settings: NetworkSettings,
}

/// `ContainerState`: what a container is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerState {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub status: String,
    /// Whether it runs (true also while paused or restarting).
    pub running: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it waits for its next try.
    pub restarting: bool,
    /// Whether the kernel killed a process of it for memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Whether its removal failed half-way.
    pub dead: bool,
    /// The init process on the host; 0 when not running.
    pub pid: i64,
    /// Status of the last exit.
    pub exit_code: i64,
    /// Why the last start failed; empty otherwise.
    pub error: String,
    /// Last start, RFC 3339; Go's zero time for never.
    pub started_at: String,
    /// Last exit, RFC 3339; Go's zero time for never.
    pub finished_at: String,
    /// Health, where a check is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// `Health`: results of the health check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Health {
    /// `none`, `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: i64,
    /// The last five results, oldest first.
    #[serde(serialize_with = "nil::list")]
    pub log: Vec<HealthcheckResult>,
}

/// `HealthcheckResult`: one run of the health check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthcheckResult {
    /// When it began, RFC 3339.
    pub start: String,
    /// When it ended, RFC 3339.
    pub end: String,
    /// 0 healthy, 1 unhealthy, 2 reserved; −1 when it hung.
    pub exit_code: i64,
    /// What it printed, shortened.
    pub output: String,
}
