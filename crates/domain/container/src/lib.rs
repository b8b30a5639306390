//! Container life: record, state machine, launch specification, logs.
//!
//! [`Containers`] has the verbs. Under it every container has one task (`actor`) that steps a
//! pure state machine (`lifecycle`), carries out what it decides (`effects`) and publishes an
//! immutable [`Record`]; readers look at that and wait for nobody. What is stored is decided in
//! pure code too: `create` merges a request with its image, `spec` turns a record into what the
//! monitor starts. Further processes in a container (`exec`) are kept in memory only: they belong
//! to its monitor, and live and die with it.
//!
//! The order of every change is: record the intent, act, record the outcome, announce. The intent
//! to start is the container's directory below the exec root, because it has to live exactly as
//! long as the kernel's objects do; the intent to remove is a garbage row that takes the record's
//! place in one commit.

mod actor;
mod behind;
mod boot;
mod closing;
mod create;
mod devices;
mod effects;
mod error;
mod events;
mod exec;
mod execution;
mod files;
mod filters;
mod find;
mod forms;
mod fsck;
mod groups;
mod hostfiles;
mod images;
mod inflight;
mod lifecycle;
mod limits;
mod list;
mod logs;
mod machine;
mod names;
mod network;
mod parents;
mod process;
mod record;
mod restart;
mod scopes;
mod seccomp;
mod service;
mod shared;
mod signal;
#[cfg(test)]
mod sim;
mod sources;
mod spec;
mod stats;
mod tables;
mod terminals;
mod threads;
mod top;
mod unrecorded;
mod update;
mod verbs;

pub use actor::Report;
pub use behind::SMALL;
pub use boot::BootReport;
pub use closing::Closed;
pub use create::{CreateRequest, HostCapacity};
pub use error::ContainerError;
pub use exec::{EXECS_MAX, Exec, ExecSettings, ExecState};
pub use files::reader::{NAME as READER, main as reader};
pub use files::{ChangeKind, CopyIn, Exported, FileChange, Files, FilesError, Outgoing, PathFacts};
pub use forms::{Form, Forms};
pub use fsck::Finding;
pub use hostfiles::HOST_GATEWAY;
pub use images::CommitRequest;
pub use lifecycle::EXIT_UNKNOWN;
pub use limits::MEMORY_MIN;
pub use list::{Filter, FilterError};
pub use logs::{LogOptions, LogReader, LogRecord};
pub use network::{exposed, parse_exposed};
pub use parents::{leave_own_group, make_own_group};
pub use record::{
    Bind, DeviceMapping, HostSettings, LOG_MAX_FILES, LOG_MAX_SIZE, Limits, Log, Network, Phase,
    Record, RestartPolicy, Restarts, Settings, State,
};
pub use scopes::Scopes;
pub use service::{Containers, Created, STOP_TIMEOUT, WaitCondition};
pub use shared::Deps;
pub use signal::parse as parse_signal;
pub use spec::{HostFacts, SHM_SIZE, default_paths};
pub use stats::{Sample, Traffic};
pub use terminals::Terminal;
pub use threads::POOL_THREADS;
pub use top::Processes;
pub use update::Change;
pub use verbs::Pruned;

/// The places in this crate where a test may end the process; see [`berth_store::failpoint`].
pub const FAILPOINTS: &[&str] = &[
    "create.begin",
    "create.committed",
    "create.prepared",
    "start.begin",
    "start.intent",
    "start.attached",
    "start.launched",
    "commit.before",
    "commit.after",
    "remove.before-commit",
    "remove.committed",
    "remove.collected",
];

/// Those that the start and the end of a container pass whose group has a parent of its own.
pub const PARENT_FAILPOINTS: &[&str] =
    &["start.group", "parent.noted", "parent.made", "parent.left"];

/// Those of them that making an image of a container passes.
pub const COMMIT_FAILPOINTS: &[&str] = &["commit.frozen"];
