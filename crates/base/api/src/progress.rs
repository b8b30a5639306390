//! The messages of progress streams (import, pull, push, load, build).
//!
//! A stream is a row of JSON objects, each ended by `\r\n`. A failure before the first byte is an
//! HTTP status; after it, a message with `errorDetail` and `error` under status 200.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One message of a progress stream. A message sets the few fields it is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProgressMessage {
    /// Text to print as it is (builds).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The layer or object that `status` is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is happening, or the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How far it got, as numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// How far it got, already drawn; for clients that do not draw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The failure that ended the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// The message of `error_detail` again, for old clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// A result for programs, such as the digest that was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<Value>,
}

impl ProgressMessage {
    /// A line of status about nothing in particular.
    pub fn status(status: impl Into<String>) -> Self {
        Self {
            status: Some(status.into()),
            ..Self::default()
        }
    }

    /// The message that ends a failed stream.
    pub fn failure(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            error: Some(message.clone()),
            error_detail: Some(ErrorDetail { code: 0, message }),
            ..Self::default()
        }
    }

    /// The sentence of the failure, where this message is one.
    pub fn failed(&self) -> Option<&str> {
        self.error_detail
            .as_ref()
            .map(|e| e.message.as_str())
            .or(self.error.as_deref())
    }

    /// The message as it stands in a stream, with its `\r\n`.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.extend_from_slice(b"\r\n");
        line
    }
}

/// `ProgressDetail`: bytes done of bytes in all; an unknown number is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    /// Bytes done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<i64>,
    /// Bytes in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
}

/// `ErrorDetail`: the failure that ended a progress stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// A number some failures carry, 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: i64,
    /// The sentence to show.
    pub message: String,
}

fn is_zero(code: &i64) -> bool {
    *code == 0
}
