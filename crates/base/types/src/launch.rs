//! What crosses the seam between the engine, the monitor and the runtime: plain data only.

use serde::{Deserialize, Serialize};

use crate::{ContainerId, Timestamp, oci};

/// Version of the monitor's handshake and of every frame behind it. A monitor and an engine of
/// different versions say so and leave each other alone.
pub const PROTOCOL_VERSION: u16 = 1;

/// Version of [`ExitRecord`].
pub const EXIT_RECORD_VERSION: u16 = 1;

/// Everything a monitor needs to know to start and keep one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// The container.
    pub id: ContainerId,
    /// What to run.
    pub bundle: Bundle,
    /// Where output goes.
    pub log: LogTarget,
    /// What standard input is connected to.
    pub stdin: Stdin,
    /// Whether an exit record must survive a power cut. False for a container that is removed
    /// when it exits: after a power cut it is gone anyway.
    pub durable_exit: bool,
}

/// A container as the runtime starts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// The OCI runtime specification. `process.user` is overridden by `user` where that is given.
    pub spec: oci::Spec,
    /// How the root file system is put together.
    pub rootfs: Rootfs,
    /// A user that is still a name and is looked up in the container's own `/etc/passwd` and
    /// `/etc/group`: `user`, `user:group`, numbers or names; empty for root.
    pub user: String,
    /// Supplementary groups to add, numbers or names (`--group-add`).
    pub groups: Vec<String>,
    /// Whether a missing working directory is made.
    pub make_cwd: bool,
}

/// A further process in a container that runs (`docker exec`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Its identity: 64 hexadecimal digits that the engine minted.
    pub id: String,
    /// What runs, and with which rights. `user` is overridden by the one below.
    pub process: oci::Process,
    /// As [`Bundle::user`].
    pub user: String,
    /// As [`Bundle::groups`].
    pub groups: Vec<String>,
    /// What its standard input is connected to; without meaning for a terminal that takes input.
    pub stdin: Stdin,
}

/// How the root file system is put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// An overlay, mounted by the container's init in its own mount namespace.
    Overlay {
        /// Read-only layers, topmost first; absolute directories.
        lower: Vec<String>,
        /// The writable layer.
        upper: String,
        /// The overlay's work directory, on the same file system as `upper`.
        work: String,
        /// Skip syncing on unmount: the layer dies with the container.
        volatile: bool,
    },
    /// A directory as it is.
    Directory(String),
}

/// Where the output of a container goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTarget {
    /// Nowhere.
    None,
    /// `<id>-json.log` in the container's directory, one JSON object a line, rotated.
    JsonFile {
        /// Bytes after which a file is rotated.
        max_size: u64,
        /// Number of files kept, the one being written included; at least 1.
        max_files: u32,
    },
}

/// What standard input of a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// A pipe that attached clients write to. With `once` it is closed when the first client
    /// that sent input closes its side; otherwise it stays open for the next.
    Pipe {
        /// Close after the first attached client.
        once: bool,
    },
}

/// A process as `/proc` knows it, safe against reuse of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id in the host's namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_time: u64,
}

/// One timed phase of a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// What was done, a few words.
    pub name: String,
    /// Microseconds it took.
    pub us: u64,
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The container's init.
    pub init: ProcessIdentity,
    /// When its program was executed.
    pub at: Timestamp,
    /// Where the time of the start went, in the monitor and in the container's init.
    pub phases: Vec<Phase>,
}

/// Why a container did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// Which sort, for the exit code and the status.
    pub kind: StartFailureKind,
    /// A whole sentence: what failed, on what, and what to do.
    pub message: String,
}

/// The sorts of failed starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFailureKind {
    /// The program is not there: exit code 127.
    CommandNotFound,
    /// The program cannot be executed: exit code 126.
    NotExecutable,
    /// The user or group is not in the container's files.
    UnknownUser,
    /// A mount's source or target does not fit: exit code 127.
    BadMount,
    /// The kernel refuses a limit.
    BadLimit,
    /// A failure of ours or of the machine: exit code 128.
    Internal,
}

/// How a container ended. The monitor writes it to `exit.json` before it tells anyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// [`EXIT_RECORD_VERSION`].
    pub version: u16,
    /// Exit code as a shell counts: 128 + signal for a killed program.
    pub code: i32,
    /// Whether the kernel killed a process of the container for want of memory.
    pub oom_killed: bool,
    /// When the init ended.
    pub at: Timestamp,
    /// A sentence, where the exit was not the program's own doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
