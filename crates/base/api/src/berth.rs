//! Wire types of Berth's own, which Docker's API does not have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Request header of `POST /containers/{id}/start`, and of whatever is read with `GET`, by which a
/// client asks for [`Timings`]; the answer carries them as JSON in a header of the same name.
pub const TIMINGS_HEADER: &str = "berth-timings";

/// Query parameter of `POST /containers/create` by which the administrator says who owns the new
/// container: `lab:NAME` for a lab. Others' containers are not there for an owner.
pub const OWNER_QUERY: &str = "berth-owner";

/// Path of the consistency check, below the version prefix: `GET /berth/fsck`.
pub const FSCK_PATH: &str = "/berth/fsck";

/// Path of the list of what is in flight, below the version prefix: `GET /berth/debug/tasks`.
pub const TASKS_PATH: &str = "/berth/debug/tasks";

/// Path of [`Memory`], below the version prefix: `GET /berth/debug/memory`.
pub const MEMORY_PATH: &str = "/berth/debug/memory";

/// What the path of an API socket has behind it to make that of the socket which answers
/// `GET /berth/debug/tasks`, and nothing else, when the engine itself does not.
pub const LANE_SUFFIX: &str = ".debug";

/// Path of the list of terminals, below the version prefix: `GET /berth/terminals`. Its query is
/// `filters`, as of `GET /containers/json`.
pub const TERMINALS_PATH: &str = "/berth/terminals";

/// Query parameters of `POST /containers/{id}/attach` that only Berth has. `screen=1` begins with
/// what the terminal shows now; `role=watch` is a client that the program never waits for;
/// `announce=TEXT` is what the others on the terminal are told.
pub const ATTACH_PARAMETERS: [&str; 3] = ["screen", "role", "announce"];

/// Longest `announce` of [`ATTACH_PARAMETERS`] in bytes.
pub const ANNOUNCE_MAX: usize = 200;

/// One terminal in the answer to `GET /berth/terminals`: that of a container that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TerminalSummary {
    /// The container, 64 hexadecimal digits.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
    /// When a client last typed, RFC 3339; Go's zero time for not in this run.
    pub last_input: String,
    /// When a program last wrote; likewise.
    pub last_output: String,
    /// Clients that may type.
    pub typing: u32,
    /// Clients that only look.
    pub watching: u32,
}

/// What `GET /berth/fsck` found: whether disk, kernel and database agree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FsckReport {
    /// Whether there is no finding.
    pub clean: bool,
    /// Every disagreement, in a stable order.
    pub findings: Vec<FsckFinding>,
    /// How many rows each table of the database has.
    pub rows: BTreeMap<String, u64>,
}

/// One disagreement between what is recorded and what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FsckFinding {
    /// The sort of disagreement, one word for programs, such as `orphan-cgroup`.
    pub kind: String,
    /// The id, path or name it is about.
    pub subject: String,
    /// What is wrong with it and what to do.
    pub message: String,
}

/// What `GET /berth/debug/tasks` shows: everything that the engine does at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tasks {
    /// Oldest first.
    pub tasks: Vec<TaskSummary>,
    /// How many more there are, beyond the number that is kept in a list.
    pub unlisted: u64,
}

/// One request, or one thing that the engine does for a request or by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskSummary {
    /// Its number, from 1, in this life of the engine.
    pub id: u64,
    /// The number of what caused it, which may be over; 0 for nothing in the list's memory.
    pub parent: u64,
    /// What is done, one word: `request`, `start`, `commit`, `delete`, ….
    pub kind: String,
    /// What it is done to: a container's short id, an image, a request's line.
    pub subject: String,
    /// Microseconds since it began.
    pub age_us: u64,
    /// What it waits for, `nothing` where it works.
    pub waits_for: String,
    /// For how many microseconds already.
    pub waited_us: u64,
    /// For how many microseconds more at most; none where the wait has no limit by its nature.
    pub left_us: Option<u64>,
}

/// What `GET /berth/debug/memory` shows: the engine's own memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Bytes that are allocated, modulo 4 GiB: what of it grows with the number of things done is
    /// a leak.
    pub live: u64,
    /// Bytes in memory that are no file's: with them what the allocator keeps, and stacks.
    pub held: u64,
    /// How many pieces of work this life of the engine has begun.
    pub tasks: u64,
}

/// Where the time of one request went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timings {
    /// From the arrival of the request to the answer, in microseconds.
    pub total_us: u64,
    /// The phases in the order in which they began; they may leave gaps.
    pub phases: Vec<TimingPhase>,
}

/// One phase of a start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimingPhase {
    /// What was done.
    pub name: String,
    /// How long it took, in microseconds.
    pub us: u64,
}
