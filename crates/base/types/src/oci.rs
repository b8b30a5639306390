//! The parts of two OCI documents that Berth reads and writes: the runtime specification's
//! `config.json` (v1.2) and the image specification's configuration (v1.1).
//!
//! Hand-written and not the `oci-spec` crate, because the monitor links this module and is
//! budgeted at a tenth of a MiB: see `docs/decisions/`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `config.json` of the runtime specification.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Version of the runtime specification, `1.2.0`.
    pub oci_version: String,
    /// What is executed, and with which rights.
    pub process: Process,
    /// The root file system.
    pub root: Root,
    /// Host name inside the UTS namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// NIS domain name inside the UTS namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// Mounts above the root file system, in order.
    pub mounts: Vec<Mount>,
    /// Linux's own part.
    pub linux: Linux,
    /// Free-form facts about the container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// `process`: the program and its rights.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Whether standard input and output are a terminal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
    /// Initial size of the terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Numeric user; see [`crate::launch::Bundle::user`] for one that is still a name.
    pub user: User,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Environment as `NAME=value`.
    pub env: Vec<String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// Capability sets by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// `PR_SET_NO_NEW_PRIVS`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privileges: bool,
    /// `/proc/PID/oom_score_adj`, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
}

/// Size of a terminal in character cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// Numeric identity of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// Capability sets, each a list of `CAP_*` names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Bounding set.
    pub bounding: Vec<String>,
    /// Effective set.
    pub effective: Vec<String>,
    /// Permitted set.
    pub permitted: Vec<String>,
    /// Inheritable set; empty by default (CVE-2022-29162).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<String>,
    /// Ambient set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<String>,
}

/// One resource limit (`setrlimit(2)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Name, `RLIMIT_NOFILE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Soft limit; `u64::MAX` is no limit.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is no limit.
    pub hard: u64,
}

/// `root`: the root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// Directory; empty where [`crate::launch::Rootfs`] mounts it.
    pub path: String,
    /// Whether it is mounted read-only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
}

/// One mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Mount point inside the container, absolute.
    pub destination: String,
    /// File system type, or `bind`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Source path or device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Options as in `mount(8)`: flags, propagation and file system data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// `linux`: namespaces, control groups, masks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// Namespaces to make or join; one that is not listed is shared with the monitor.
    pub namespaces: Vec<Namespace>,
    /// Control group, absolute below the hierarchy's mount point.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroups_path: String,
    /// Limits.
    pub resources: Resources,
    /// Extra device nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Kernel parameters of the container's own namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// Propagation of the root mount: `private`, `slave`, `shared` and their `r` forms.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rootfs_propagation: String,
    /// Paths that read as empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<String>,
    /// Paths that cannot be written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<String>,
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Which one.
    #[serde(rename = "type")]
    pub kind: NamespaceKind,
    /// A namespace file to join; none makes a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The kinds of namespaces, `namespaces(7)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// Process ids.
    Pid,
    /// Network stack.
    Network,
    /// Mount points.
    Mount,
    /// System V IPC and POSIX queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// User and group ids.
    User,
    /// The view of control groups.
    Cgroup,
    /// Boot and monotonic clocks.
    Time,
}

/// Limits of a control group. An absent value leaves the kernel's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Device rules, later ones win; empty means all devices are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceRule>,
    /// Memory.
    pub memory: Memory,
    /// Processor time.
    pub cpu: Cpu,
    /// Number of processes.
    pub pids: Pids,
}

/// Memory limits, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// Hard limit; -1 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Soft limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<i64>,
    /// Limit of memory and swap together; -1 for no limit on swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
}

/// Processor limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu {
    /// Relative weight on the cgroup v1 scale, 2 to 262144, 1024 is one share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Microseconds of CPU time per period; -1 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Length of the period in microseconds, 1000 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// Processors, as in `0-2,4`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpus: String,
    /// Memory nodes, as in `0-1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mems: String,
}

/// Limit on the number of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pids {
    /// Largest number of tasks; -1 or absent for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// One rule of the device controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRule {
    /// Whether the rule allows or denies.
    pub allow: bool,
    /// `a` for all, `c` or `b`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<char>,
    /// Major number; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    /// Minor number; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

/// One device node to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Path inside the container.
    pub path: String,
    /// `c`, `b` or `p`.
    #[serde(rename = "type")]
    pub kind: char,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub file_mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The image specification's configuration document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Processor, by its Go name.
    pub architecture: String,
    /// Variant of the processor.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Operating system, `linux`.
    pub os: String,
    /// Defaults for containers.
    pub config: ImageDefaults,
    /// The layers, bottom first.
    pub rootfs: ImageRootfs,
    /// How each layer was made.
    pub history: Vec<History>,
    /// What Docker calls the image's comment.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// `config` of an image: defaults for the containers that are made from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageDefaults {
    /// User, `name[:group]` or numbers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that the image says it serves, `80/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Environment as `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Program that arguments are given to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Default command, or default arguments of the entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that want a volume.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the program to end, `SIGTERM` or `15`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// How its health is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// Instructions for builds upon this image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// What runs the shell form of instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// A health check. Times are nanoseconds; 0 is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthCheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", …]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// How long one may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// How long failures do not count after a start.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two checks in that time.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// The empty object, which the image specification uses as a set's value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// `rootfs` of an image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageRootfs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed layers, bottom first.
    pub diff_ids: Vec<String>,
}

/// One step of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Who.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// A remark.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}
