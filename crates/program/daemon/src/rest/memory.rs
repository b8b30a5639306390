//! `GET /berth/debug/memory`: what the engine's own memory is. Who looks for a leak compares what
//! lives, not what is mapped.

use berth_api::berth::Memory;
use berth_sys::memory;
use berth_types::{ErrorKind, Scope, task};

use super::error::{ApiError, ApiResult};
use super::reply;

/// For the administrator alone.
pub(super) fn answer(scope: &Scope) -> ApiResult {
    if !scope.is_root() {
        return Err(ApiError::new(
            ErrorKind::Forbidden,
            "only the administrator may look at the engine's memory",
        ));
    }
    let held = memory::held().map_err(|error| {
        ApiError::new(
            ErrorKind::Internal,
            format!("cannot read /proc/self/statm: {error}"),
        )
    })?;
    Ok(reply::ok(&Memory {
        live: memory::live(),
        held,
        tasks: task::begun(),
    }))
}
