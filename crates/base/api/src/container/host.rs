//! `HostConfig`: what of a container depends on its host. Every field of the newest API stands
//! here, so that the engine can refuse what it has not built instead of overlooking it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::device::{DeviceMapping, DeviceRequest, ThrottleDevice, Ulimit, WeightDevice};
use super::mount::Mount;
use crate::network::PortMap;
use crate::nil;

/// `HostConfig`, with the fields of `Resources` in it as they are on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HostConfig {
    /// Bind mounts and named volumes, `source:target[:options]`.
    #[serde(serialize_with = "nil::list")]
    pub binds: Vec<String>,
    /// File the client wrote the id to.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// Where output goes.
    pub log_config: LogConfig,
    /// `bridge`, `host`, `none`, `container:<id>` or a network's name; empty for the default.
    pub network_mode: String,
    /// Ports to publish.
    pub port_bindings: PortMap,
    /// What to do after an exit.
    pub restart_policy: RestartPolicy,
    /// Whether the container is removed when it has exited.
    pub auto_remove: bool,
    /// Driver of the volumes in `binds`.
    pub volume_driver: String,
    /// Containers whose mounts are taken over, `container[:ro]`.
    #[serde(serialize_with = "nil::list")]
    pub volumes_from: Vec<String>,
    /// Mounts in the long form.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// First size of the terminal, height and width in characters.
    pub console_size: [u32; 2],
    /// Annotations passed to the runtime.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Capabilities to add.
    #[serde(serialize_with = "nil::list")]
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    #[serde(serialize_with = "nil::list")]
    pub cap_drop: Vec<String>,
    /// `private` or `host`; empty for the engine's default.
    pub cgroupns_mode: String,
    /// Addresses of DNS servers.
    pub dns: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Lines for `/etc/hosts`, `name:address`.
    #[serde(serialize_with = "nil::list")]
    pub extra_hosts: Vec<String>,
    /// Further groups of the process.
    #[serde(serialize_with = "nil::list")]
    pub group_add: Vec<String>,
    /// `none`, `private`, `shareable`, `host` or `container:<id>`; empty for the default.
    pub ipc_mode: String,
    /// A cgroup to join.
    pub cgroup: String,
    /// Links to other containers.
    #[serde(serialize_with = "nil::list")]
    pub links: Vec<String>,
    /// Preference of the kernel's OOM killer, −1000 to 1000.
    pub oom_score_adj: i64,
    /// `host` or `container:<id>`; empty for a private namespace.
    pub pid_mode: String,
    /// Whether the container may do almost everything the host may.
    pub privileged: bool,
    /// Whether every exposed port is published.
    pub publish_all_ports: bool,
    /// Whether the root file system cannot be written.
    pub readonly_rootfs: bool,
    /// `seccomp=…`, `apparmor=…`, `label=…`, `no-new-privileges`, `systempaths=unconfined`.
    #[serde(serialize_with = "nil::list")]
    pub security_opt: Vec<String>,
    /// Options of the storage driver for this container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_opt: BTreeMap<String, String>,
    /// Tmpfs mounts: path to options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    /// `host` or empty.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// `host` or empty.
    pub userns_mode: String,
    /// Size of /dev/shm in bytes; 0 for 64 MiB.
    pub shm_size: i64,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Name of the runtime; empty for the default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runtime: String,
    /// Windows only.
    pub isolation: String,
    /// Relative CPU weight; 0 for the kernel's 1024.
    pub cpu_shares: i64,
    /// Memory limit in bytes; 0 for none.
    pub memory: i64,
    /// CPU quota in billionths of a CPU; 0 for none.
    pub nano_cpus: i64,
    /// Cgroup below which the container's is made.
    pub cgroup_parent: String,
    /// Relative block-I/O weight, 10 to 1000; 0 for none.
    pub blkio_weight: u16,
    /// Weights per device.
    pub blkio_weight_device: Vec<WeightDevice>,
    /// Read limits per device, bytes per second.
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    /// Write limits per device, bytes per second.
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    /// Read limits per device, operations per second.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    /// Write limits per device, operations per second.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    /// CFS period in microseconds; 0 for the kernel's.
    pub cpu_period: i64,
    /// CFS quota in microseconds per period; 0 for none.
    pub cpu_quota: i64,
    /// Real-time period in microseconds.
    pub cpu_realtime_period: i64,
    /// Real-time runtime in microseconds.
    pub cpu_realtime_runtime: i64,
    /// CPUs, as in `0-3,7`.
    pub cpuset_cpus: String,
    /// Memory nodes, as in `0,1`.
    pub cpuset_mems: String,
    /// Device nodes of the host.
    pub devices: Vec<DeviceMapping>,
    /// Device rules, `type major:minor access`.
    #[serde(serialize_with = "nil::list")]
    pub device_cgroup_rules: Vec<String>,
    /// Devices from drivers.
    #[serde(serialize_with = "nil::list")]
    pub device_requests: Vec<DeviceRequest>,
    /// Soft memory limit in bytes.
    pub memory_reservation: i64,
    /// Memory and swap together in bytes; −1 for unlimited swap, 0 for twice the memory.
    pub memory_swap: i64,
    /// 0 to 100; `None` for the kernel's.
    pub memory_swappiness: Option<i64>,
    /// Whether the OOM killer leaves the container alone.
    pub oom_kill_disable: Option<bool>,
    /// Limit on processes and threads; `None`, 0 and −1 for none.
    pub pids_limit: Option<i64>,
    /// Resource limits of the processes.
    pub ulimits: Vec<Ulimit>,
    /// Windows only.
    pub cpu_count: i64,
    /// Windows only.
    pub cpu_percent: i64,
    /// Windows only.
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: u64,
    /// Windows only.
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: u64,
    /// Whether an init process reaps inside; `None` for the engine's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Paths that read as nothing; `None` for the engine's list, empty for none.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that cannot be written; `None` for the engine's list, empty for none.
    pub readonly_paths: Option<Vec<String>>,
    /// Kernel memory limit in bytes: read from clients below API 1.42 only.
    #[serde(skip_serializing_if = "zero")]
    pub kernel_memory: i64,
    /// Kernel TCP buffer limit in bytes: read from clients below API 1.52 only.
    #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "zero")]
    pub kernel_memory_tcp: i64,
}

fn zero(value: &i64) -> bool {
    *value == 0
}

/// Where a container's output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LogConfig {
    /// Name of the log driver; empty for the engine's default.
    #[serde(rename = "Type")]
    pub driver: String,
    /// Options of the driver.
    pub config: BTreeMap<String, String>,
}

/// `RestartPolicy`: what to do after an exit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped`, `on-failure`; empty for `no`.
    pub name: String,
    /// For `on-failure`: tries before giving up; 0 for no end.
    pub maximum_retry_count: i64,
}
