//! Answers about networks.

use serde_json::Value;

use super::{below, remove};
use crate::version::ApiVersion;

/// `GET /networks/{id}`.
pub fn network_inspect(answer: &mut Value, version: ApiVersion) {
    if let Some(answer) = answer.as_object_mut()
        && below(version, 52)
    {
        remove(answer, &["Status"]);
    }
}
