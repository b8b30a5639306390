//! A container as it is persisted: one row, written whole.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use berth_network::{Endpoint, PortRequest};
use berth_types::launch::ProcessIdentity;
use berth_types::{ContainerId, Digest, LayerId, Scope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::forms::Forms;

/// One container. Readers get it as an immutable snapshot; only the container's actor writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Identity.
    pub id: ContainerId,
    /// Name without a slash, unique within the owner's scope.
    pub name: String,
    /// Who owns it.
    pub owner: Scope,
    /// When it was created.
    pub created: Timestamp,
    /// Image id.
    pub image: Digest,
    /// Who owns the image.
    pub image_owner: Scope,
    /// The image as the request named it.
    pub image_name: String,
    /// The image's layers, bottom first.
    pub layers: Vec<LayerId>,
    /// What runs.
    pub settings: Settings,
    /// How it is isolated and limited.
    pub host: HostSettings,
    /// Where it is in its life.
    pub state: State,
    /// What fronts have made of this snapshot.
    #[serde(skip)]
    pub forms: Forms,
}

impl Record {
    /// The program and its arguments.
    pub fn command(&self) -> Vec<String> {
        let entrypoint = self.settings.entrypoint.iter().flatten();
        entrypoint
            .chain(self.settings.cmd.iter().flatten())
            .cloned()
            .collect()
    }
}

/// What runs in a container: the image's defaults and the request, merged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Host name.
    pub hostname: String,
    /// Domain name.
    pub domainname: String,
    /// `user[:group]`, empty for root.
    pub user: String,
    /// Environment as `NAME=value`, without what the engine adds.
    pub env: Vec<String>,
    /// Program that `cmd` is given to.
    pub entrypoint: Option<Vec<String>>,
    /// Command, or arguments of the entry point.
    pub cmd: Option<Vec<String>>,
    /// Working directory, empty for `/`.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Ports that the image says it serves.
    pub exposed_ports: Vec<String>,
    /// Which streams the creating client attaches: input, output, errors.
    pub attach: [bool; 3],
    /// Keep standard input open.
    pub open_stdin: bool,
    /// Close it behind the first client that was attached to it.
    pub stdin_once: bool,
    /// Standard input and output are a terminal.
    pub tty: bool,
    /// Signal that asks the program to end; empty for `SIGTERM`.
    pub stop_signal: String,
    /// Seconds between that signal and SIGKILL; absent for the default of 10; -1 for ever.
    pub stop_timeout: Option<i64>,
}

/// How a container is isolated from its host and limited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSettings {
    /// The network.
    pub network: Network,
    /// Ports to publish.
    pub ports: Vec<PortRequest>,
    /// Publish every exposed port, on this address of the host.
    pub publish_all: Option<Ipv4Addr>,
    /// The hardware address that was asked for.
    pub mac: Option<[u8; 6]>,
    /// Directories and files of the host inside the container.
    pub binds: Vec<Bind>,
    /// Memory file systems: mount point and options.
    pub tmpfs: BTreeMap<String, String>,
    /// Removed as soon as it exits.
    pub auto_remove: bool,
    /// Started again when it ends.
    pub restart: RestartPolicy,
    /// All rights of the host's root.
    pub privileged: bool,
    /// Capabilities added to the default set, as given.
    pub cap_add: Vec<String>,
    /// Capabilities taken from it, as given.
    pub cap_drop: Vec<String>,
    /// Security options, as given.
    pub security_opt: Vec<String>,
    /// Root file system is read-only.
    pub readonly_rootfs: bool,
    /// Limits.
    pub limits: Limits,
    /// Rules for devices beside the default ones, as given: `c 42:* rmw`.
    pub device_rules: Vec<String>,
    /// Device nodes of the host.
    pub devices: Vec<DeviceMapping>,
    /// Where its control group lies, as given: a path, or with systemd the name of a slice; empty
    /// for the engine's own place.
    pub cgroup_parent: String,
    /// Resource limits by name, without `RLIMIT_`: soft and hard.
    pub ulimits: Vec<(String, i64, i64)>,
    /// Supplementary groups.
    pub group_add: Vec<String>,
    /// Adjustment of the OOM killer's score.
    pub oom_score_adj: i32,
    /// Size of `/dev/shm` in bytes; 0 for 64 MiB.
    pub shm_size: u64,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Shares the host's view of control groups.
    pub host_cgroupns: bool,
    /// Shares the host's process ids.
    pub host_pid: bool,
    /// Shares the host's IPC.
    pub host_ipc: bool,
    /// Shares the host's host name.
    pub host_uts: bool,
    /// Extra lines of `/etc/hosts`, as `name:address`.
    pub extra_hosts: Vec<String>,
    /// Name servers, search domains and options that replace the host's.
    pub dns: Vec<String>,
    /// See `dns`.
    pub dns_search: Vec<String>,
    /// See `dns`.
    pub dns_options: Vec<String>,
    /// Log driver.
    pub log: Log,
    /// Masked paths; absent for the default list.
    pub masked_paths: Option<Vec<String>>,
    /// Read-only paths; absent for the default list.
    pub readonly_paths: Option<Vec<String>>,
    /// Size of the console at start, rows and columns, as the client said.
    pub console_size: [u16; 2],
    /// Free-form facts.
    pub annotations: BTreeMap<String, String>,
}

/// Whether a container is started again when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// No.
    #[default]
    No,
    /// Whatever the reason, and when the engine starts.
    Always,
    /// The same, unless a person stopped it.
    UnlessStopped,
    /// When it failed.
    OnFailure {
        /// Tries before it is given up; 0 for no end.
        max: u32,
    },
}

/// Which network a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A network namespace of its own with nothing but the loopback.
    #[default]
    None,
    /// The host's network.
    Host,
    /// The engine's default network: a bridge.
    Bridge,
    /// The network namespace of another container.
    Container(ContainerId),
}

impl Network {
    /// The network's name on the API.
    pub fn name(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Host => "host".to_owned(),
            Self::Bridge => "bridge".to_owned(),
            Self::Container(id) => format!("container:{id}"),
        }
    }

    /// What makes the network, in the API's word; empty for another container's.
    pub fn driver(self) -> &'static str {
        match self {
            Self::None => "null",
            Self::Host => "host",
            Self::Bridge => "bridge",
            Self::Container(_) => "",
        }
    }

    /// Whether the container's network namespace is made for it.
    pub fn is_own(self) -> bool {
        matches!(self, Self::None | Self::Bridge)
    }
}

/// One bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Absolute path on the host.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Cannot be written.
    pub read_only: bool,
    /// `private`, `slave`, `shared` or their `r` forms; empty for `rprivate`.
    pub propagation: String,
    /// Without the mounts below the source.
    pub flat: bool,
    /// The text of `-v`, where it came by that; absent for `--mount`.
    pub short: Option<String>,
}

/// A device node of the host, or all below a directory of it, inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// Absolute path on the host.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

/// Limits, as the request gave them; 0 or absent is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: i64,
    /// Memory and swap in bytes; -1 for unlimited swap.
    pub memory_swap: i64,
    /// Soft memory limit in bytes.
    pub memory_reservation: i64,
    /// CPUs in units of a thousand millionth.
    pub nano_cpus: i64,
    /// Relative CPU weight.
    pub cpu_shares: i64,
    /// CPU period in microseconds.
    pub cpu_period: i64,
    /// CPU time per period in microseconds.
    pub cpu_quota: i64,
    /// Processors.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Number of processes; 0, -1 or absent for none.
    pub pids: Option<i64>,
}

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// Nowhere.
    None,
    /// Rotated files of JSON lines.
    JsonFile {
        /// Bytes after which a file is rotated.
        max_size: u64,
        /// Files kept.
        max_files: u32,
        /// The options as given.
        options: BTreeMap<String, String>,
    },
}

/// Bytes of one log file unless the request says otherwise. Docker keeps an unbounded file; a
/// full disk is the most reported trouble with it (moby#27957, #40207).
pub const LOG_MAX_SIZE: u64 = 32 << 20;
/// Log files kept unless the request says otherwise.
pub const LOG_MAX_FILES: u32 = 3;

impl Default for Log {
    fn default() -> Self {
        Self::JsonFile {
            max_size: LOG_MAX_SIZE,
            max_files: LOG_MAX_FILES,
            options: BTreeMap::new(),
        }
    }
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The phase.
    pub phase: Phase,
    /// When the program was last started.
    pub started_at: Timestamp,
    /// When it last ended.
    pub finished_at: Timestamp,
    /// Exit code of the last run, or of a start that failed; while it runs, of the run before.
    pub exit_code: i32,
    /// Why the last start failed, or why the container ended where it was not its own doing.
    pub error: String,
    /// The kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// How many it killed in this run, as far as that was told.
    #[serde(default)]
    pub oom_kills: u64,
    /// The container's init, while it runs.
    pub init: Option<ProcessIdentity>,
    /// Its monitor, while it runs.
    pub monitor: Option<ProcessIdentity>,
    /// Its place on the network, while it runs. Kept in its runtime directory, not in the row.
    #[serde(skip)]
    pub endpoint: Option<Endpoint>,
    /// What its restarts need to know.
    #[serde(default)]
    pub restart: Restarts,
}

/// What the restarts of a container need to know, also after the engine was killed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restarts {
    /// Restarts by the policy since a person started it.
    pub count: u32,
    /// The newest pause before a restart, milliseconds.
    pub pause_ms: u64,
    /// When the next start is due, while it waits for one.
    pub due: Option<Timestamp>,
    /// A person asked it to end or sent it a signal; forgotten when it is started.
    pub manually_stopped: bool,
    /// This run is not followed by another, whatever the policy says.
    pub cancelled: bool,
    /// A person asked for a restart: this run is followed by another, whatever the policy says.
    pub asked: bool,
}

impl State {
    /// A container that never ran.
    pub fn created() -> Self {
        Self {
            phase: Phase::Created,
            started_at: Timestamp::NEVER,
            finished_at: Timestamp::NEVER,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            oom_kills: 0,
            init: None,
            monitor: None,
            endpoint: None,
            restart: Restarts::default(),
        }
    }
}

/// The phases of a container's life. `Starting`, `Removing` and `Removed` are never persisted: the intent to start
/// is the container's directory below the exec root, and lives and dies with the kernel's
/// objects; the intent to remove is the row in the garbage table that replaces the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Never ran, or never got as far.
    Created,
    /// A launch is under way.
    Starting,
    /// Its program runs.
    Running,
    /// Its program is frozen.
    Paused,
    /// Its program ended and is started again when [`Restarts::due`] has come.
    Restarting,
    /// Its program ended.
    Exited,
    /// Being removed.
    Removing,
    /// Gone.
    Removed,
}

impl Phase {
    /// Whether its program is there, running or frozen.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether its program is there or on its way: what a list shows that is not asked for all.
    pub fn is_active(self) -> bool {
        self.is_live() || matches!(self, Self::Starting | Self::Restarting)
    }

    /// The word on the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created | Self::Starting => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing | Self::Removed => "removing",
        }
    }
}
