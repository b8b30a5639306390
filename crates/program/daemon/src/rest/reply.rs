//! Ordinary answers.

use std::time::Instant;

use berth_api::berth::{TIMINGS_HEADER, TimingPhase, Timings};
use berth_api::shape::Shape;
use berth_api::version::{ApiVersion, NEWEST};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::http::{Body, empty, full};

/// A JSON document.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Wire types have text keys and no floats, so they always serialise.
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    json_text(status, bytes)
}

/// A JSON document that is there as bytes.
pub fn json_text(status: StatusCode, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON document with status 200.
pub fn ok(value: &impl Serialize) -> Response<Body> {
    json(StatusCode::OK, value)
}

/// A status and nothing else.
pub fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

/// A streamed body.
pub fn stream(body: Body, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A text.
pub fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Says in the answer how long it took since `begun`.
pub fn timed(response: &mut Response<Body>, begun: Instant, phases: Vec<TimingPhase>) {
    let timings = Timings {
        total_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        phases,
    };
    let text = serde_json::to_string(&timings).unwrap_or_default();
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(TIMINGS_HEADER, value);
    }
}

/// A JSON document in the shape that a client of `version` expects.
pub fn shaped(value: &impl Serialize, version: ApiVersion, shape: Shape) -> Response<Body> {
    if version >= NEWEST {
        return ok(value);
    }
    ok(&reshape(value, version, shape))
}

/// A list of such documents.
pub fn shaped_list(list: &[impl Serialize], version: ApiVersion, shape: Shape) -> Response<Body> {
    if version >= NEWEST {
        return ok(&list);
    }
    let reshaped: Vec<Value> = list
        .iter()
        .map(|item| reshape(item, version, shape))
        .collect();
    ok(&reshaped)
}

fn reshape(value: &impl Serialize, version: ApiVersion, shape: Shape) -> Value {
    // As above: wire types always serialise.
    let mut value = serde_json::to_value(value).unwrap_or_default();
    shape(&mut value, version);
    value
}
