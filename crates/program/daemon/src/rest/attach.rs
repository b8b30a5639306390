//! `/containers/{id}/attach` and `/containers/{id}/resize`: clients at a container's streams.

use std::sync::Arc;

use berth_api::berth::ANNOUNCE_MAX;
use berth_api::exec::ResizeQuery;
use berth_container::{Containers, Log, Record};
use berth_shim::{AttachWant, Role};
use berth_types::keys::DetachKeys;
use berth_types::oci::ConsoleSize;
use hyper::StatusCode;

use super::error::{ApiError, ApiResult};
use super::logs;
use super::reply;
use super::router::Call;
use crate::http::Query;
use crate::http::hijack::{self, Session};

/// Attaches a client. Errors are plain text, as clients expect them where they asked for a stream.
pub(super) async fn attach(containers: &Containers, call: Call, id: &str) -> ApiResult {
    join(containers, call, id)
        .await
        .map_err(ApiError::into_plain)
}

async fn join(containers: &Containers, call: Call, id: &str) -> ApiResult {
    let keys = detach_keys(call.query.get("detachKeys").unwrap_or(""))?;
    let record = containers.get(&call.caller, id)?;
    let want = want(&call.query, &record)?;
    let terminal = record.settings.tty;
    let mut session = Session {
        terminal,
        keys: (terminal && want.stdin).then_some(keys),
        ..Session::default()
    };
    if call.query.switch("logs") && record.host.log != Log::None {
        session.past = logs::past(containers, &call, &record).await?;
    }
    if call.query.switch("stream") {
        let streams = containers.attach(&call.caller, id, want).await?;
        session.streams = Some(hijack::ready(streams));
        if terminal {
            let (containers, record) = (containers.clone(), Arc::clone(&record));
            session.left = Some(Box::new(move || containers.left(&record)));
        }
    }
    Ok(hijack::begin(call.request, session, call.version))
}

/// What the client asks for; `screen`, `role` and `announce` are Berth's own and of terminals only.
fn want(query: &Query, record: &Record) -> Result<AttachWant, ApiError> {
    let asked = |key| query.switch(key);
    let mut want = AttachWant::new(
        asked("stdin") && record.settings.open_stdin,
        asked("stdout"),
        asked("stderr"),
    );
    want.screen = asked("screen");
    want.role = match query.text("role") {
        None | Some("follow") => Role::Follow,
        Some("watch") => Role::Watch,
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "invalid role {other:?}: expected follow or watch"
            )));
        }
    };
    if let Some(text) = query.text("announce") {
        if text.len() > ANNOUNCE_MAX || text.chars().any(char::is_control) {
            return Err(ApiError::invalid(format!(
                "invalid announce: at most {ANNOUNCE_MAX} bytes without control characters"
            )));
        }
        want.announce = text.to_owned();
    }
    if record.settings.tty {
        // A terminal has one output.
        want.stdout |= want.stderr;
        want.stderr = false;
    } else if want.screen || want.role == Role::Watch || !want.announce.is_empty() {
        return Err(ApiError::invalid(format!(
            "container {} has no terminal (it was made without -t): screen, role and announce need one",
            record.name
        )));
    }
    Ok(want)
}

/// Sets the size of a container's terminal.
pub(super) async fn resize(containers: &Containers, call: &Call, id: &str) -> ApiResult {
    let size = size(&call.query)?;
    containers.resize(&call.caller, id, size).await?;
    Ok(reply::bare(StatusCode::OK))
}

/// The size that `h` and `w` give.
pub(super) fn size(query: &Query) -> Result<ConsoleSize, ApiError> {
    let size = ResizeQuery::parse(query.get("h"), query.get("w")).map_err(ApiError::invalid)?;
    Ok(ConsoleSize {
        height: size.height,
        width: size.width,
    })
}

/// Reads the keys by which a client leaves a terminal.
pub(super) fn detach_keys(text: &str) -> Result<DetachKeys, ApiError> {
    DetachKeys::parse(text).map_err(|e| ApiError::invalid(e.to_string()))
}
