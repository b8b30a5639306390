//! `POST /containers/{id}/wait`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `ContainerWaitResponse`: how the container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WaitResponse {
    /// The exit status: the program's own, or 128 plus the signal.
    pub status_code: i64,
    /// Why waiting itself failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitError>,
}

/// `ContainerWaitExitError`: why waiting failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WaitError {
    /// The sentence to show.
    pub message: String,
}

/// What a wait waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum WaitCondition {
    /// The container does not run now, or has stopped.
    #[default]
    NotRunning,
    /// The next exit, even if the container does not run now.
    NextExit,
    /// The container is removed.
    Removed,
}

/// A condition that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid condition: {0:?}")]
pub struct WaitConditionError(pub String);

impl FromStr for WaitCondition {
    type Err = WaitConditionError;

    /// Reads the query parameter `condition`; empty is the default.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            other => Err(WaitConditionError(other.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for WaitCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRunning => "not-running",
            Self::NextExit => "next-exit",
            Self::Removed => "removed",
        })
    }
}
