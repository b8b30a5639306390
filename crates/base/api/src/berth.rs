//! Wire types of Berth's own, which Docker's API does not have.

use serde::{Deserialize, Serialize};

/// Request header of `POST /containers/{id}/start` by which a client asks for [`Timings`]; the
/// answer carries them as JSON in a header of the same name.
pub const TIMINGS_HEADER: &str = "berth-timings";

/// Query parameter of `POST /containers/create` by which the administrator says who owns the new
/// container: `lab:NAME` for a lab. Others' containers are not there for an owner.
pub const OWNER_QUERY: &str = "berth-owner";

/// Path of the consistency check, below the version prefix: `GET /berth/fsck`.
pub const FSCK_PATH: &str = "/berth/fsck";

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

/// Where the time of one start went.
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
