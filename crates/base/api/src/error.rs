//! The body of every answer that is an error.

use serde::{Deserialize, Serialize};

/// `ErrorResponse`: one sentence for the person who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorResponse {
    /// What failed, on what, and what to do about it.
    pub message: String,
}

impl ErrorResponse {
    /// An error body with this sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}
