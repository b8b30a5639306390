//! `GET /berth/debug/tasks`: what is in flight. The answer is made of atomics and copies: it waits
//! for no thread, no database and no lock that work holds.

use berth_api::berth::{TASKS_PATH, TaskSummary, Tasks};
use berth_types::Scope;
use berth_types::task::{self, InFlight};
use hyper::{Method, Response, StatusCode};

use super::reply;
use super::router::common_headers;
use crate::http::{Body, empty};

/// What a caller of this scope may see.
pub(super) fn answer(scope: &Scope) -> Response<Body> {
    let (list, unlisted) = task::list(scope);
    reply::ok(&Tasks {
        tasks: list.iter().map(summary).collect(),
        unlisted: u64::try_from(unlisted).unwrap_or(u64::MAX),
    })
}

/// The whole of the API that the lane beside a socket has.
pub fn alone(method: &Method, path: &str) -> Response<Body> {
    let mut response = match path {
        "/_ping" if method == Method::HEAD => Response::new(empty()),
        "/_ping" => reply::text(StatusCode::OK, "OK".to_owned()),
        // Behind whatever version.
        _ if path.ends_with(TASKS_PATH) => answer(&Scope::root()),
        _ => reply::bare(StatusCode::NOT_FOUND),
    };
    common_headers(response.headers_mut());
    response
}

fn summary(task: &InFlight) -> TaskSummary {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    TaskSummary {
        id: task.number,
        parent: task.parent.unwrap_or(0),
        kind: task.kind.to_owned(),
        subject: task.subject.to_string(),
        age_us: micros(task.age),
        waits_for: task.wait.words().to_owned(),
        waited_us: micros(task.waited),
        left_us: task.left.map(micros),
    }
}
