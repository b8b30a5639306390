//! `/containers`.

use std::sync::Arc;
use std::time::Instant;

use berth_api::berth::{OWNER_QUERY, TIMINGS_HEADER, TimingPhase};
use berth_api::container::{ContainerCreateRequest, ContainerCreateResponse, WaitResponse};
use berth_api::version::NEWEST;
use berth_api::{Filters, decode, shape};
use berth_container::{Containers, Filter, Record, Report, WaitCondition};
use berth_image::Images;
use berth_types::{ErrorKind, Scope, task};
use bytes::Bytes;
use hyper::{Response, StatusCode};

use super::attach;
use super::convert::{self, ImageNames, Listed};
use super::error::{ApiError, ApiResult};
use super::logs;
use super::reply;
use super::router::Call;
use super::terminals;
use crate::config::Config;
use crate::http::{Body, channel, full};

/// Entries of a list that are made before others have a turn.
const AT_ONCE: usize = 64;

/// The containers router.
#[derive(Clone)]
pub struct ContainersApi {
    /// The containers.
    pub containers: Containers,
    /// Their images.
    pub images: Images,
    /// What the engine was started with.
    pub config: Arc<Config>,
}

impl ContainersApi {
    pub(super) async fn create(&self, call: Call) -> ApiResult {
        let name = call
            .query
            .text("name")
            .map(|n| n.trim_start_matches('/').to_owned());
        if let Some(platform) = call.query.text("platform") {
            convert::check_platform(platform)?;
        }
        let owner = owner(&call)?;
        let (caller, version) = (call.caller.clone(), call.version);
        let body = call.body().await?;
        if body.is_empty() {
            return Err(ApiError::invalid(
                "invalid JSON: got EOF while reading request body",
            ));
        }
        let mut wire: ContainerCreateRequest = decode::from_slice(&body)?;
        if version < NEWEST {
            shape::container_create(&mut wire, version);
        }
        if wire.config.image.is_empty() {
            return Err(ApiError::invalid(
                "no image specified: name one in \"Image\"",
            ));
        }
        // A container that lends its network is known by its id from here on.
        if let Some(lender) = wire.host_config.network_mode.strip_prefix("container:") {
            let id = self.containers.get(&caller, lender)?.id;
            wire.host_config.network_mode = format!("container:{id}");
        }
        self.containers
            .check(&caller, &wire.config.image, name.as_deref())?;
        let sources = convert::mounts::expected(&wire.host_config);
        let mut request = convert::create_request(name, wire, version, &self.config)?;
        request.owner = owner;
        self.containers.expect_sources(sources).await?;
        let created = self.containers.create(&caller, request).await?;
        let answer = ContainerCreateResponse {
            id: created.id.to_string(),
            warnings: created.warnings,
        };
        Ok(reply::json(StatusCode::CREATED, &answer))
    }

    pub(super) async fn start(&self, call: Call, id: &str) -> ApiResult {
        for key in ["checkpoint", "checkpoint-dir"] {
            if call.query.text(key).is_some() {
                return Err(ApiError::not_built(format!("start with {key}")));
            }
        }
        let timed = call.request.headers().contains_key(TIMINGS_HEADER);
        let begun = Instant::now();
        let report = self.containers.start(&call.caller, id).await?;
        let mut response = done(&report);
        if timed && !report.unchanged {
            let phases = report.phases.into_iter();
            let phases = phases.map(|p| TimingPhase {
                name: p.name,
                us: p.us,
            });
            reply::timed(&mut response, begun, phases.collect());
        }
        Ok(response)
    }

    pub(super) async fn stop(&self, call: &Call, id: &str) -> ApiResult {
        let timeout = match call.query.text("t") {
            Some(text) => Some(text.parse().map_err(|_| {
                ApiError::invalid(format!(
                    "invalid timeout {text:?}: expected seconds, -1 for ever"
                ))
            })?),
            None => None,
        };
        let signal = call.query.text("signal");
        Ok(done(
            &self
                .containers
                .stop(&call.caller, id, timeout, signal)
                .await?,
        ))
    }

    pub(super) async fn kill(&self, call: &Call, id: &str) -> ApiResult {
        let signal = call.query.get("signal").unwrap_or("");
        self.containers.kill(&call.caller, id, signal).await?;
        Ok(reply::bare(StatusCode::NO_CONTENT))
    }

    pub(super) async fn remove(&self, call: &Call, id: &str) -> ApiResult {
        if call.query.switch("link") {
            return Err(ApiError::not_built("removing a link"));
        }
        let force = call.query.switch("force");
        self.containers.remove(&call.caller, id, force).await?;
        Ok(reply::bare(StatusCode::NO_CONTENT))
    }

    /// The headers go out at once, the body when the wait is over: `docker run` does not start
    /// the container before it has them.
    pub(super) fn wait(&self, call: &Call, id: &str) -> ApiResult {
        let condition = match call.query.text("condition") {
            None | Some("not-running") => WaitCondition::NotRunning,
            Some("next-exit") => WaitCondition::NextExit,
            Some("removed") => WaitCondition::Removed,
            Some(other) => {
                return Err(ApiError::invalid(format!("invalid condition: {other:?}")));
            }
        };
        let over = self.containers.wait(&call.caller, id, condition)?;
        let (sender, body) = channel();
        tokio::spawn(task::here(async move {
            tokio::select! {
                record = over => {
                    let mut bytes = serde_json::to_vec(&waited(&record)).unwrap_or_default();
                    bytes.push(b'\n');
                    // A client that is gone does not need the answer.
                    let _ = sender.send(Bytes::from(bytes)).await;
                }
                () = sender.closed() => {}
            }
        }));
        Ok(reply::stream(body, "application/json"))
    }

    pub(super) async fn attach(&self, call: Call, id: &str) -> ApiResult {
        attach::attach(&self.containers, call, id).await
    }

    pub(super) async fn resize(&self, call: &Call, id: &str) -> ApiResult {
        attach::resize(&self.containers, call, id).await
    }

    pub(super) async fn terminals(&self, call: &Call) -> ApiResult {
        terminals::list(&self.containers, &self.images, call).await
    }

    pub(super) async fn logs(&self, call: &Call, id: &str) -> ApiResult {
        logs::stream(&self.containers, call, id).await
    }

    pub(super) async fn inspect(&self, call: &Call, id: &str) -> ApiResult {
        let record = self.containers.get(&call.caller, id)?;
        let size = call.query.switch("size");
        let containers = self.containers.clone();
        let wire = counted(size, move || convert::inspect(&record, &containers, size)).await?;
        Ok(reply::shaped(&wire, call.version, shape::container_inspect))
    }

    pub(super) async fn list(&self, call: &Call) -> ApiResult {
        let filters = Filters::from_query(call.query.get("filters"))?;
        let filter = Filter::new(filters.to_map()).map_err(|e| ApiError::invalid(e.to_string()))?;
        let limit = match call.query.text("limit") {
            Some(text) => text.parse::<i64>().map_err(|_| {
                ApiError::invalid(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
            })?,
            None => 0,
        };
        let limit = usize::try_from(limit).unwrap_or(0);
        let all = call.query.switch("all") || limit > 0 || filter.implies_all();
        let images = &self.images;
        let ancestor = |record: &Record, name: &str| {
            images
                .resolve(&call.caller, name)
                .is_ok_and(|image| image.id == record.image)
        };
        let mut list = filter.apply(self.containers.all(&call.caller), ancestor);
        if !all {
            list.retain(|r| r.state.phase.is_active());
        }
        if limit > 0 {
            list.truncate(limit);
        }
        let now = berth_types::Timestamp::now();
        let mut names = ImageNames::new(&self.images, &call.caller);
        let containers = self.containers.clone();
        if call.query.switch("size") {
            let each =
                move |r: &Arc<Record>| convert::summary(r, &containers, &mut names, now, true);
            let list = counted(true, move || -> Vec<_> { list.iter().map(each).collect() });
            let list = list.await?;
            let shape = shape::container_summary;
            return Ok(reply::shaped_list(&list, call.version, shape));
        }
        let mut listed = Listed::new(&containers, names, call.version, now);
        let mut made = 0;
        for (at, record) in list.iter().enumerate() {
            made += usize::from(!listed.push(record));
            if at == 0 {
                listed.expect(list.len(), record);
            }
            if made >= AT_ONCE {
                made = 0;
                // A long list that is not ready yet holds no other request up.
                tokio::task::yield_now().await;
            }
        }
        Ok(reply::json_text(StatusCode::OK, listed.finish()))
    }
}

/// Makes an answer: where sizes are `asked` for, on a thread that may block, for counting walks
/// through whole directories.
async fn counted<T: Send + 'static>(
    asked: bool,
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    if !asked {
        return Ok(make());
    }
    let made = tokio::task::spawn_blocking(task::blocking(make)).await;
    made.map_err(|_| ApiError::new(ErrorKind::Internal, "the count was interrupted"))
}

/// Who a new container shall belong to, where the request says so.
fn owner(call: &Call) -> Result<Option<Scope>, ApiError> {
    let Some(name) = call.query.text(OWNER_QUERY) else {
        return Ok(None);
    };
    let owner = Scope::parse(name).ok_or_else(|| {
        ApiError::invalid(format!(
            "invalid owner {name:?}: expected `root`, or `lab:` and the name of a lab"
        ))
    })?;
    if call.caller.scope.is_root() || call.caller.scope == owner {
        return Ok(Some(owner));
    }
    Err(ApiError::new(
        ErrorKind::Forbidden,
        format!("only the administrator makes containers for others, such as {name:?}"),
    ))
}

fn done(report: &Report) -> Response<Body> {
    let status = if report.unchanged {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::NO_CONTENT
    };
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn waited(record: &Record) -> WaitResponse {
    WaitResponse {
        status_code: i64::from(record.state.exit_code),
        error: None,
    }
}
