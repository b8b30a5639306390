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
