//! `GET /info`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::nil;

/// `SystemInfo`: the engine, its host and what is on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Info {
    /// Id of this engine, kept across restarts.
    #[serde(rename = "ID")]
    pub id: String,
    /// All containers.
    pub containers: i64,
    /// Running ones.
    pub containers_running: i64,
    /// Paused ones.
    pub containers_paused: i64,
    /// Stopped ones.
    pub containers_stopped: i64,
    /// All images.
    pub images: i64,
    /// Storage driver.
    pub driver: String,
    /// Facts about the storage driver, name and value.
    pub driver_status: Vec<[String; 2]>,
    /// Data root.
    pub docker_root_dir: String,
    /// Drivers by sort.
    pub plugins: PluginsInfo,
    /// Whether memory can be limited.
    pub memory_limit: bool,
    /// Whether swap can be limited.
    pub swap_limit: bool,
    /// Whether a CPU period can be set. Docker spells it `CpuCfsPeriod`.
    pub cpu_cfs_period: bool,
    /// Whether a CPU quota can be set.
    pub cpu_cfs_quota: bool,
    /// Whether CPU weights can be set.
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    /// Whether CPUs can be chosen.
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    /// Whether processes can be limited.
    pub pids_limit: bool,
    /// Whether the OOM killer can be disabled.
    pub oom_kill_disable: bool,
    /// Whether the host forwards IPv4.
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    /// Whether debug output is on.
    pub debug: bool,
    /// Open files of the engine.
    #[serde(rename = "NFd")]
    pub open_files: i64,
    /// Tasks of the engine. Docker counts goroutines and names it so.
    #[serde(rename = "NGoroutines")]
    pub tasks: i64,
    /// Present time, RFC 3339.
    pub system_time: String,
    /// Default log driver.
    pub logging_driver: String,
    /// `cgroupfs`, `systemd` or `none`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroup_version: String,
    /// Clients that read events.
    #[serde(rename = "NEventsListener")]
    pub events_listeners: i64,
    /// Version of the kernel.
    pub kernel_version: String,
    /// Name of the host's distribution.
    pub operating_system: String,
    /// Version of the host's distribution.
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    /// `linux`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// Architecture as `uname -m` says.
    pub architecture: String,
    /// CPUs.
    #[serde(rename = "NCPU")]
    pub cpus: i64,
    /// Memory in bytes.
    pub mem_total: i64,
    /// The registry that short names mean.
    pub index_server_address: String,
    /// Settings of registries.
    pub registry_config: RegistryServiceConfig,
    /// Resources for swarm, as their own description has them.
    #[serde(serialize_with = "nil::list")]
    pub generic_resources: Vec<Value>,
    /// Proxy for HTTP.
    pub http_proxy: String,
    /// Proxy for HTTPS.
    pub https_proxy: String,
    /// Hosts without proxy.
    pub no_proxy: String,
    /// Host name.
    pub name: String,
    /// Labels of the engine.
    pub labels: Vec<String>,
    /// Whether experimental features are on.
    pub experimental_build: bool,
    /// Version of the engine.
    pub server_version: String,
    /// Runtimes by name.
    pub runtimes: BTreeMap<String, Runtime>,
    /// Name of the default runtime.
    pub default_runtime: String,
    /// State of swarm mode.
    pub swarm: SwarmInfo,
    /// Whether containers outlive the engine.
    pub live_restore_enabled: bool,
    /// Windows only.
    pub isolation: String,
    /// Name of the init program.
    pub init_binary: String,
    /// Commit of containerd.
    pub containerd_commit: Commit,
    /// Commit of the default runtime.
    pub runc_commit: Commit,
    /// Commit of the init program.
    pub init_commit: Commit,
    /// `name=…[,key=value]` of what confines containers.
    pub security_options: Vec<String>,
    /// Licence of the product.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub product_license: String,
    /// Pools that networks take their addresses from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_address_pools: Vec<AddressPool>,
    /// What filters packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firewall_backend: Option<FirewallInfo>,
    /// Devices that drivers found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub discovered_devices: Vec<DeviceInfo>,
    /// The node resource interface, where enabled.
    #[serde(rename = "NRI", skip_serializing_if = "Option::is_none")]
    pub nri: Option<NriInfo>,
    /// What is not as it should be.
    pub warnings: Vec<String>,
    /// Directories with descriptions of devices (CDI).
    #[serde(rename = "CDISpecDirs")]
    pub cdi_spec_dirs: Vec<String>,
    /// Where containerd is, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containerd: Option<ContainerdInfo>,
}

/// `PluginsInfo`: drivers by sort.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PluginsInfo {
    /// Volume drivers.
    pub volume: Vec<String>,
    /// Network drivers.
    pub network: Vec<String>,
    /// Authorization plugins.
    #[serde(serialize_with = "nil::list")]
    pub authorization: Vec<String>,
    /// Log drivers.
    pub log: Vec<String>,
}

/// `RegistryServiceConfig`: settings of registries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RegistryServiceConfig {
    /// Address ranges whose registries may speak plain HTTP.
    #[serde(rename = "InsecureRegistryCIDRs")]
    pub insecure_registry_cidrs: Vec<String>,
    /// Registries by name.
    pub index_configs: BTreeMap<String, IndexInfo>,
    /// Mirrors of the default registry.
    #[serde(serialize_with = "nil::list")]
    pub mirrors: Vec<String>,
}

/// `IndexInfo`: one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IndexInfo {
    /// Its name.
    pub name: String,
    /// Its mirrors.
    pub mirrors: Vec<String>,
    /// Whether it must speak HTTPS.
    pub secure: bool,
    /// Whether it is the default registry.
    pub official: bool,
}

/// `Runtime`: one runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Runtime {
    /// Name or path of its program.
    pub path: String,
    /// Arguments it always gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runtime_args: Vec<String>,
    /// Facts about it, such as its features.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status: BTreeMap<String, String>,
}

/// `Commit`: what a program was built from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Commit {
    /// The commit.
    #[serde(rename = "ID")]
    pub id: String,
}

/// `SwarmInfo`: state of swarm mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SwarmInfo {
    /// Id of this node.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Address of this node.
    pub node_addr: String,
    /// `inactive`, `pending`, `active`, `error` or `locked`.
    pub local_node_state: String,
    /// Whether this node is a manager.
    pub control_available: bool,
    /// Why the node failed.
    pub error: String,
    /// The managers.
    #[serde(serialize_with = "nil::list")]
    pub remote_managers: Vec<PeerNode>,
    /// Nodes in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i64>,
    /// Managers in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managers: Option<i64>,
    /// The cluster, as its own description has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Value>,
}

impl Default for SwarmInfo {
    /// A node that is in no swarm.
    fn default() -> Self {
        Self {
            node_id: String::new(),
            node_addr: String::new(),
            local_node_state: "inactive".to_owned(),
            control_available: false,
            error: String::new(),
            remote_managers: Vec::new(),
            nodes: None,
            managers: None,
            cluster: None,
        }
    }
}

/// `PeerNode`: one manager of a swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PeerNode {
    /// Its id.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Its address and port.
    pub addr: String,
}

/// A pool that networks take their addresses from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AddressPool {
    /// Prefix of the pool.
    pub base: String,
    /// Prefix length of each network in bits.
    pub size: i64,
}

/// `FirewallInfo`: what filters packets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FirewallInfo {
    /// Name of the back end.
    pub driver: String,
    /// Facts about it, name and value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub info: Vec<[String; 2]>,
}

/// `DeviceInfo`: one device that a driver found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceInfo {
    /// The driver.
    pub source: String,
    /// The device's id in the driver's words.
    #[serde(rename = "ID")]
    pub id: String,
}

/// `NRIInfo`: the node resource interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NriInfo {
    /// Facts about it, name and value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub info: Vec<[String; 2]>,
}

/// `ContainerdInfo`: where containerd is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerdInfo {
    /// Its socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// The namespaces of it that the engine uses.
    pub namespaces: ContainerdNamespaces,
}

/// The namespaces of containerd that an engine uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerdNamespaces {
    /// For containers.
    pub containers: String,
    /// For plugins.
    pub plugins: String,
}
