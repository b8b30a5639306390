//! `GET /containers/{id}/stats`: what a container uses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `ContainerStatsResponse`: one sample. Of a container that does not run only the id, the name
/// and the system are filled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStats {
    /// The container's id.
    pub id: String,
    /// Its name, with the leading `/`.
    pub name: String,
    /// `linux`.
    pub os_type: String,
    /// When the sample was taken, RFC 3339; Go's zero time for no sample.
    pub read: String,
    /// Processor time.
    pub cpu_stats: CpuStats,
    /// Memory.
    pub memory_stats: MemoryStats,
    /// Traffic by interface; absent where the container shares another's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<BTreeMap<String, NetworkStats>>,
    /// Processes.
    pub pids_stats: PidsStats,
    /// Block devices.
    pub blkio_stats: BlkioStats,
    /// Windows only.
    pub num_procs: u32,
    /// Windows only.
    pub storage_stats: BTreeMap<String, u64>,
    /// When the sample before was taken, RFC 3339; Go's zero time for no sample.
    pub preread: String,
    /// Processor time of the sample before.
    pub precpu_stats: CpuStats,
}

/// `ContainerCPUStats`: processor time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuStats {
    /// The container's.
    pub cpu_usage: CpuUsage,
    /// The whole machine's, nanoseconds.
    #[serde(skip_serializing_if = "none")]
    pub system_cpu_usage: u64,
    /// Processors of the machine.
    #[serde(skip_serializing_if = "no_count")]
    pub online_cpus: u32,
    /// What the limit held back.
    pub throttling_data: ThrottlingData,
}

/// `ContainerCPUUsage`: processor time of a container, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    /// Altogether.
    pub total_usage: u64,
    /// By processor; control groups of version 1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_usage: Vec<u64>,
    /// In the kernel.
    pub usage_in_kernelmode: u64,
    /// Outside of it.
    pub usage_in_usermode: u64,
}

/// `ContainerThrottlingData`: what the processor limit held back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottlingData {
    /// Periods in which the container ran.
    pub periods: u64,
    /// Of these, periods in which it was held back.
    pub throttled_periods: u64,
    /// For how long, nanoseconds.
    pub throttled_time: u64,
}

/// `ContainerMemoryStats`: memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    /// In use, the page cache among it.
    #[serde(skip_serializing_if = "none")]
    pub usage: u64,
    /// Most ever in use; control groups of version 1 only.
    #[serde(skip_serializing_if = "none")]
    pub max_usage: u64,
    /// The lines of `memory.stat`; their names differ between the versions of control groups.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stats: BTreeMap<String, u64>,
    /// How often the limit was hit; control groups of version 1 only.
    #[serde(skip_serializing_if = "none")]
    pub failcnt: u64,
    /// The limit; the machine's memory where there is none.
    #[serde(skip_serializing_if = "none")]
    pub limit: u64,
}

/// `ContainerPidsStats`: processes and threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    /// How many there are.
    #[serde(skip_serializing_if = "none")]
    pub current: u64,
    /// How many there may be; 0 for no limit.
    #[serde(skip_serializing_if = "none")]
    pub limit: u64,
}

/// `ContainerBlkioStats`: block devices. An absent list was not
/// measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioStats {
    /// Bytes.
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations; control groups of version 1 only.
    pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
    /// Never measured here; clients expect the name.
    pub io_queue_recursive: Option<Vec<BlkioEntry>>,
    /// Never measured here; clients expect the name.
    pub io_service_time_recursive: Option<Vec<BlkioEntry>>,
    /// Never measured here; clients expect the name.
    pub io_wait_time_recursive: Option<Vec<BlkioEntry>>,
    /// Never measured here; clients expect the name.
    pub io_merged_recursive: Option<Vec<BlkioEntry>>,
    /// Never measured here; clients expect the name.
    pub io_time_recursive: Option<Vec<BlkioEntry>>,
    /// Never measured here; clients expect the name.
    pub sectors_recursive: Option<Vec<BlkioEntry>>,
}

/// `ContainerBlkioStatEntry`: one number of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioEntry {
    /// Major device number.
    pub major: u64,
    /// Minor device number.
    pub minor: u64,
    /// `read`, `write`, and what else the kernel counts.
    pub op: String,
    /// Bytes or operations.
    pub value: u64,
}

/// `ContainerNetworkStats`: traffic of one interface, seen from inside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStats {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Errors in receiving.
    pub rx_errors: u64,
    /// Packets dropped in receiving.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Errors in sending.
    pub tx_errors: u64,
    /// Packets dropped in sending.
    pub tx_dropped: u64,
}

fn none(number: &u64) -> bool {
    *number == 0
}

fn no_count(number: &u32) -> bool {
    *number == 0
}
