//! Devices and per-device limits of a container.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::nil;

/// `DeviceMapping`: a device node of the host that appears in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceMapping {
    /// Path on the host.
    pub path_on_host: String,
    /// Path inside.
    pub path_in_container: String,
    /// Any of `r`, `w`, `m`.
    pub cgroup_permissions: String,
}

/// `DeviceRequest`: devices that a device driver (a GPU's, or CDI) is to add.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceRequest {
    /// Name of the driver.
    pub driver: String,
    /// How many; −1 for all.
    pub count: i64,
    /// The devices by id.
    #[serde(rename = "DeviceIDs", serialize_with = "nil::list")]
    pub device_ids: Vec<String>,
    /// Sets of capabilities, any one of which will do.
    #[serde(serialize_with = "nil::list")]
    pub capabilities: Vec<Vec<String>>,
    /// Options for the driver.
    #[serde(serialize_with = "nil::map")]
    pub options: BTreeMap<String, String>,
}

/// `ThrottleDevice`: a rate limit on one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ThrottleDevice {
    /// Path of the device on the host.
    pub path: String,
    /// Bytes or operations per second.
    pub rate: u64,
}

/// A block-I/O weight for one device (entry of `BlkioWeightDevice`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WeightDevice {
    /// Path of the device on the host.
    pub path: String,
    /// Relative weight, 10 to 1000.
    pub weight: u16,
}

/// A resource limit of the container's processes (entry of `Ulimits`; `setrlimit(2)`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ulimit {
    /// Lower-case name without `RLIMIT_`, such as `nofile`.
    pub name: String,
    /// Soft limit; −1 for none.
    pub soft: i64,
    /// Hard limit; −1 for none.
    pub hard: i64,
}
