//! `POST /containers/{id}/update`: new limits and a new restart policy for a container.

use serde::{Deserialize, Serialize};

use crate::container::{
    DeviceMapping, DeviceRequest, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};

/// What is to change. A field that is zero, empty or absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerUpdateRequest {
    /// Relative CPU weight.
    pub cpu_shares: i64,
    /// Memory limit in bytes.
    pub memory: i64,
    /// CPU quota in billionths of a CPU.
    pub nano_cpus: i64,
    /// Cgroup below which the container's is made; cannot be changed.
    pub cgroup_parent: String,
    /// Relative block-I/O weight.
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
    /// CFS period in microseconds.
    pub cpu_period: i64,
    /// CFS quota in microseconds per period; −1 for none.
    pub cpu_quota: i64,
    /// Real-time period in microseconds.
    pub cpu_realtime_period: i64,
    /// Real-time runtime in microseconds.
    pub cpu_realtime_runtime: i64,
    /// CPUs, as in `0-3,7`.
    pub cpuset_cpus: String,
    /// Memory nodes, as in `0,1`.
    pub cpuset_mems: String,
    /// Device nodes of the host; cannot be changed.
    pub devices: Vec<DeviceMapping>,
    /// Device rules; cannot be changed.
    pub device_cgroup_rules: Vec<String>,
    /// Devices from drivers; cannot be changed.
    pub device_requests: Vec<DeviceRequest>,
    /// Soft memory limit in bytes.
    pub memory_reservation: i64,
    /// Memory and swap together in bytes; −1 for unlimited swap.
    pub memory_swap: i64,
    /// 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// Whether the OOM killer leaves the container alone.
    pub oom_kill_disable: Option<bool>,
    /// Limit on processes and threads; 0 and −1 for none.
    pub pids_limit: Option<i64>,
    /// Resource limits of the processes; cannot be changed.
    pub ulimits: Vec<Ulimit>,
    /// What to do after an exit; an empty name keeps what there is.
    pub restart_policy: RestartPolicy,
}

/// `ContainerUpdateResponse`: it is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerUpdateResponse {
    /// What was not done as asked.
    pub warnings: Vec<String>,
}
