//! From a request to its handler: the version prefix, the table of routes, the common headers.

use std::time::{Duration, Instant};

use berth_api::berth::TIMINGS_HEADER;
use berth_api::system::header;
use berth_api::version::{ApiVersion, NEWEST};
use berth_types::Caller;
use berth_types::task::{Wait, waiting};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::containers::ContainersApi;
use super::error::{ApiError, ApiResult};
use super::exec::ExecApi;
use super::files::FilesApi;
use super::images::ImagesApi;
use super::life::LifeApi;
use super::memory;
use super::networks::NetworksApi;
use super::reply;
use super::system::SystemApi;
use super::tasks;
use crate::http::{Body, Query};

/// Largest JSON body in bytes.
const BODY_MAX: usize = 4 << 20;
/// Patience with a client that sends one.
const BODY_WITHIN: Duration = Duration::from_secs(60);

/// One request, taken apart.
pub struct Call {
    /// Who asks.
    pub caller: Caller,
    /// The version of the API that the client speaks.
    pub version: ApiVersion,
    /// Query parameters.
    pub query: Query,
    /// The request, with its body.
    pub request: Request<Incoming>,
    /// Its JSON body where that was read already.
    early: Option<Vec<u8>>,
}

impl Call {
    /// The JSON body, whole.
    pub async fn body(mut self) -> Result<Vec<u8>, ApiError> {
        self.take_body().await
    }

    /// The JSON body, whole, out of a request that goes on to be a stream.
    pub async fn take_body(&mut self) -> Result<Vec<u8>, ApiError> {
        if let Some(body) = self.early.take() {
            return Ok(body);
        }
        let (named, json) = content_type(self.request.headers());
        let body = self.request.body_mut();
        let limited = Limited::new(body, BODY_MAX).collect();
        let limited = tokio::time::timeout(BODY_WITHIN, limited);
        let read = waiting(Wait::ClientToSend, Some(BODY_WITHIN), limited).await;
        let read = read.map_err(|_| {
            ApiError::invalid(format!(
                "request body did not come within {} seconds",
                BODY_WITHIN.as_secs()
            ))
        })?;
        let bytes = read.map_err(|error| {
            if error.is::<LengthLimitError>() {
                ApiError::invalid(format!("request body is larger than {BODY_MAX} bytes"))
            } else {
                ApiError::invalid("request body ended early")
            }
        })?;
        let bytes = bytes.to_bytes();
        if !json && !bytes.is_empty() {
            return Err(ApiError::invalid(format!(
                "unsupported Content-Type header ({named}): must be 'application/json'"
            )));
        }
        Ok(bytes.to_vec())
    }
}

/// The type of a body, and whether it is JSON.
fn content_type(headers: &HeaderMap) -> (String, bool) {
    let named = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let named = named.unwrap_or("").to_owned();
    let kind = named.split(';').next().map(str::trim);
    let json = kind == Some("application/json");
    (named, json)
}

/// All routers of the API.
#[derive(Clone)]
pub struct Api {
    /// Containers.
    pub containers: ContainersApi,
    /// Further processes in them.
    pub exec: ExecApi,
    /// Files of containers.
    pub files: FilesApi,
    /// Images.
    pub images: ImagesApi,
    /// Networks.
    pub networks: NetworksApi,
    /// The further verbs of containers, and events.
    pub life: LifeApi,
    /// The engine itself.
    pub system: SystemApi,
}

impl Api {
    /// Answers one request.
    pub async fn handle(self, caller: Caller, request: Request<Incoming>) -> Response<Body> {
        let line = format!("{} {}", request.method(), request.uri());
        // A start says more, and says it itself.
        let asked = request.headers().contains_key(TIMINGS_HEADER);
        let timed = (asked && request.method() == Method::GET).then(Instant::now);
        let answer = self.dispatch(caller, request).await;
        let mut response = answer.unwrap_or_else(ApiError::into_response);
        if let Some(begun) = timed {
            reply::timed(&mut response, begun, Vec::new());
        }
        tracing::debug!("{line}: {}", response.status().as_u16());
        common_headers(response.headers_mut());
        response
    }

    async fn dispatch(&self, caller: Caller, request: Request<Incoming>) -> ApiResult {
        let path = percent_decode_str(request.uri().path())
            .decode_utf8_lossy()
            .into_owned();
        let (version, path) = split_version(&path)?;
        let path = path.to_owned();
        let query = Query::parse(request.uri().query().unwrap_or(""));
        let method = request.method().clone();
        let mut call = Call {
            caller,
            version,
            query,
            request,
            early: None,
        };
        // Before anything is refused: a connection that is closed over a body that is still on its
        // way breaks under the client, which then never reads why.
        if content_type(call.request.headers()).1 {
            call.early = Some(call.take_body().await?);
        }
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        self.route(&method, &parts, call).await
    }

    // A request takes the memory of the largest of these for as long as it lasts: the two that are
    // larger than the others by far are boxed.
    async fn route(&self, method: &Method, parts: &[&str], call: Call) -> ApiResult {
        match (method.as_str(), parts) {
            ("GET" | "HEAD", ["_ping"]) => Ok(self.system.ping(method)),
            ("GET", ["version"]) => self.system.version(&call),
            ("GET", ["info"]) => self.system.info(&call).await,
            ("GET", ["berth", "fsck"]) => self.system.fsck(&call).await,
            ("GET", ["berth", "debug", "tasks"]) => Ok(tasks::answer(&call.caller.scope)),
            ("GET", ["berth", "debug", "memory"]) => memory::answer(&call.caller.scope),
            ("GET", ["berth", "terminals"]) => self.containers.terminals(&call).await,
            ("OPTIONS", _) => Ok(reply::bare(StatusCode::OK)),

            ("GET", ["containers", "json"]) => self.containers.list(&call).await,
            ("POST", ["containers", "create"]) => Box::pin(self.containers.create(call)).await,
            ("GET", ["containers", id, "json"]) => self.containers.inspect(&call, id).await,
            ("GET", ["containers", id, "logs"]) => self.containers.logs(&call, id).await,
            ("POST", ["containers", id, "start"]) => self.containers.start(call, id).await,
            ("POST", ["containers", id, "stop"]) => self.containers.stop(&call, id).await,
            ("POST", ["containers", id, "kill"]) => self.containers.kill(&call, id).await,
            ("POST", ["containers", id, "wait"]) => self.containers.wait(&call, id),
            ("POST", ["containers", id, "attach"]) => self.containers.attach(call, id).await,
            ("POST", ["containers", id, "resize"]) => self.containers.resize(&call, id).await,
            ("POST", ["containers", id, "exec"]) => self.exec.create(call, id).await,
            ("POST", ["containers", "prune"]) => self.life.prune(&call).await,
            ("POST", ["containers", id, "pause"]) => self.life.pause(&call, id).await,
            ("POST", ["containers", id, "unpause"]) => self.life.unpause(&call, id).await,
            ("POST", ["containers", id, "restart"]) => self.life.restart(&call, id).await,
            ("POST", ["containers", id, "rename"]) => self.life.rename(&call, id).await,
            ("POST", ["containers", id, "update"]) => self.life.update(call, id).await,
            ("GET", ["containers", id, "stats"]) => self.life.stats(&call, id).await,
            ("GET", ["containers", id, "top"]) => self.life.top(&call, id).await,
            ("GET", ["events"]) => self.life.happenings(&call),
            ("GET", ["system", "df"]) => self.life.disk_usage(&call).await,
            ("DELETE", ["containers", id]) => self.containers.remove(&call, id).await,

            ("POST", ["exec", id, "start"]) => self.exec.start(call, id).await,
            ("POST", ["exec", id, "resize"]) => self.exec.resize(&call, id).await,
            ("GET", ["exec", id, "json"]) => self.exec.inspect(&call, id),

            ("HEAD", ["containers", id, "archive"]) => self.files.stat(&call, id).await,
            ("GET", ["containers", id, "archive"]) => self.files.read(&call, id).await,
            ("PUT", ["containers", id, "archive"]) => self.files.write(call, id).await,
            ("GET", ["containers", id, "changes"]) => self.files.changes(&call, id).await,
            ("GET", ["containers", id, "export"]) => self.files.export(&call, id).await,

            ("GET", ["images", "json"]) => self.images.list(&call),
            ("POST", ["images", "create"]) => self.images.create(call).await,
            ("GET", ["images", name @ .., "json"]) if !name.is_empty() => {
                self.images.inspect(&call, &name.join("/"))
            }
            ("GET", ["images", name @ .., "history"]) if !name.is_empty() => {
                self.images.history(&call, &name.join("/")).await
            }
            ("POST", ["images", name @ .., "tag"]) if !name.is_empty() => {
                self.images.tag(&call, &name.join("/")).await
            }
            ("POST", ["images", "prune"]) => self.images.prune(&call).await,
            ("DELETE", ["images", name @ ..]) if !name.is_empty() => {
                self.images.remove(&call, &name.join("/")).await
            }
            ("POST", ["images", "load"]) => self.images.load(call).await,
            ("GET", ["images", "get"]) => {
                let names = call.query.all("names");
                self.images.save(&call, names).await
            }
            ("GET", ["images", name @ .., "get"]) if !name.is_empty() => {
                self.images.save(&call, vec![name.join("/")]).await
            }
            ("POST", ["commit"]) => Box::pin(self.containers.commit(call)).await,

            ("GET", ["networks"]) => self.networks.list(&call),
            ("GET", ["networks", id]) => self.networks.inspect(&call, id),
            _ => Err(not_there(method, parts)),
        }
    }
}

/// Routes of Docker's API that are not built: method and path, `*` for one part and `**` for
/// some.
const NOT_BUILT: &[(&str, &str)] = &[
    ("GET", "containers/*/attach/ws"),
    ("GET", "containers/*/checkpoints"),
    ("POST", "containers/*/checkpoints"),
    ("DELETE", "containers/*/checkpoints/*"),
    ("POST", "build"),
    ("POST", "build/prune"),
    ("POST", "build/cancel"),
    ("GET", "images/**/attestations"),
    ("POST", "images/**/push"),
    ("GET", "images/search"),
    ("POST", "auth"),
    ("GET", "volumes"),
    ("POST", "volumes/create"),
    ("POST", "volumes/prune"),
    ("GET", "volumes/*"),
    ("PUT", "volumes/*"),
    ("DELETE", "volumes/*"),
    ("POST", "networks/create"),
    ("POST", "networks/prune"),
    ("DELETE", "networks/*"),
    ("POST", "networks/*/connect"),
    ("POST", "networks/*/disconnect"),
    ("GET", "distribution/**/json"),
    ("POST", "session"),
    ("POST", "grpc"),
];

/// Groups of Docker's API that exist for swarm and for plugins, whatever follows.
const SWARM: [&str; 8] = [
    "swarm", "nodes", "services", "tasks", "secrets", "configs", "plugins", "debug",
];

fn not_there(method: &Method, parts: &[&str]) -> ApiError {
    let path = parts.join("/");
    let known = NOT_BUILT
        .iter()
        .any(|(m, pattern)| *m == method.as_str() && matches(pattern, parts));
    match parts.first() {
        Some(&group @ ("plugins" | "debug")) => ApiError::not_built(format!("{method} /{group}")),
        Some(group) if SWARM.contains(group) => ApiError::new(
            berth_types::ErrorKind::Unavailable,
            "This node is not a swarm manager: Berth has no swarm.",
        ),
        _ if known => ApiError::not_built(format!("{method} /{path}")),
        _ => ApiError::no_such_page(),
    }
}

fn matches(pattern: &str, parts: &[&str]) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    match pattern.iter().position(|p| *p == "**") {
        None => {
            pattern.len() == parts.len()
                && pattern
                    .iter()
                    .zip(parts)
                    .all(|(p, part)| *p == "*" || p == part)
        }
        Some(at) => {
            let (head, tail) = (&pattern[..at], &pattern[at + 1..]);
            parts.len() > head.len() + tail.len()
                && parts.starts_with(head)
                && parts.ends_with(tail)
        }
    }
}

fn split_version(path: &str) -> Result<(ApiVersion, &str), ApiError> {
    let rest = path.trim_start_matches('/');
    let (first, tail) = rest.split_once('/').unwrap_or((rest, ""));
    let numbered = first
        .strip_prefix('v')
        .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()));
    if !numbered {
        return Ok((NEWEST, path));
    }
    let version = ApiVersion::of_request(first).map_err(|e| ApiError::invalid(e.to_string()))?;
    Ok((version, tail))
}

pub(super) fn common_headers(headers: &mut HeaderMap) {
    let server = concat!("Docker/", env!("CARGO_PKG_VERSION"), " (linux; Berth)");
    headers.insert(header::SERVER, HeaderValue::from_static(server));
    headers.insert(header::OS_TYPE, HeaderValue::from_static("linux"));
    headers.insert(header::EXPERIMENTAL, HeaderValue::from_static("false"));
    if let Ok(newest) = HeaderValue::from_str(&NEWEST.to_string()) {
        headers.insert(header::API_VERSION, newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_off_the_path() {
        let split = |p| split_version(p).map(|(v, rest)| (v.to_string(), rest.to_owned()));
        assert_eq!(
            split("/v1.41/info").unwrap(),
            ("1.41".into(), "info".into())
        );
        assert_eq!(split("/info").unwrap().1, "/info");
        assert_eq!(split("/version").unwrap().1, "/version");
        assert!(split("/v1.2/info").is_err());
        assert!(split("/v9.9/info").is_err());
    }

    #[test]
    fn what_is_not_built_says_so_and_the_rest_is_not_found() {
        let status = |method: Method, path: &str| {
            let parts: Vec<&str> = path.split('/').collect();
            not_there(&method, &parts).into_response().status().as_u16()
        };
        assert_eq!(status(Method::GET, "containers/x/checkpoints"), 501);
        assert_eq!(status(Method::POST, "images/a/b/c/push"), 501);
        assert_eq!(status(Method::GET, "volumes"), 501);
        assert_eq!(status(Method::GET, "services"), 503);
        assert_eq!(status(Method::GET, "plugins"), 501);
        assert_eq!(status(Method::POST, "containers/json"), 404);
        assert_eq!(status(Method::GET, "nothing/here"), 404);
    }
}
