//! The life of containers between start and removal, and what they use.

use berth_api::disk::ContainersPruneResponse;
use berth_api::top::TopResponse;
use berth_api::update::{ContainerUpdateRequest, ContainerUpdateResponse};
use berth_api::{Filters, decode, shape};
use berth_container::{Containers, Record};
use berth_image::Images;
use berth_storage::Storage;
use berth_store::{Event, EventKind, Events};
use berth_types::{ErrorKind, Timestamp, task};
use hyper::StatusCode;

use super::error::{ApiError, ApiResult};
use super::moment::until;
use super::router::Call;
use super::{convert, events, reply, stats};
use crate::across::{self, Sort};

/// What `docker top` asks `ps` for unless it is told otherwise.
const PS_ARGUMENTS: &str = "-ef";

/// The router of the further verbs.
#[derive(Clone)]
pub struct LifeApi {
    /// The containers.
    pub containers: Containers,
    /// Their images, for the disk usage.
    pub images: Images,
    /// The layers, for the same.
    pub storage: Storage,
    /// What happens.
    pub events: Events,
}

impl LifeApi {
    pub(super) async fn pause(&self, call: &Call, id: &str) -> ApiResult {
        self.containers.pause(&call.caller, id).await?;
        Ok(reply::bare(StatusCode::NO_CONTENT))
    }

    pub(super) async fn unpause(&self, call: &Call, id: &str) -> ApiResult {
        self.containers.unpause(&call.caller, id).await?;
        Ok(reply::bare(StatusCode::NO_CONTENT))
    }

    pub(super) async fn restart(&self, call: &Call, id: &str) -> ApiResult {
        let timeout = match call.query.text("t") {
            Some(text) => Some(text.parse().map_err(|_| {
                ApiError::invalid(format!(
                    "invalid timeout {text:?}: expected seconds, -1 for ever"
                ))
            })?),
            None => None,
        };
        let signal = call.query.text("signal");
        let restarted = self.containers.restart(&call.caller, id, timeout, signal);
        restarted.await?;
        Ok(reply::bare(StatusCode::NO_CONTENT))
    }

    pub(super) async fn rename(&self, call: &Call, id: &str) -> ApiResult {
        let name = call.query.get("name").unwrap_or("");
        self.containers.rename(&call.caller, id, name).await?;
        Ok(reply::bare(StatusCode::NO_CONTENT))
    }

    pub(super) async fn update(&self, call: Call, id: &str) -> ApiResult {
        let caller = call.caller.clone();
        let body = call.body().await?;
        let wire: ContainerUpdateRequest = decode::from_slice(&body)?;
        let change = convert::change(wire)?;
        let warnings = self.containers.update(&caller, id, change).await?;
        Ok(reply::ok(&ContainerUpdateResponse { warnings }))
    }

    pub(super) async fn stats(&self, call: &Call, id: &str) -> ApiResult {
        stats::answer(&self.containers, call, id).await
    }

    pub(super) async fn top(&self, call: &Call, id: &str) -> ApiResult {
        let arguments = call.query.text("ps_args").unwrap_or(PS_ARGUMENTS);
        let table = self.containers.top(&call.caller, id, arguments).await?;
        Ok(reply::ok(&TopResponse {
            titles: table.titles,
            processes: table.rows,
        }))
    }

    pub(super) async fn prune(&self, call: &Call) -> ApiResult {
        let filters = Filters::from_query(call.query.get("filters"))?;
        filters.accept(&["label", "label!", "until"])?;
        let now = Timestamp::now();
        let before = match filters.values("until").collect::<Vec<_>>()[..] {
            [] => None,
            [one] => Some(until(one, now)?),
            _ => return Err(ApiError::invalid("more than one until filter specified")),
        };
        let fits = |record: &Record| {
            let has = |term: &str| match term.split_once('=') {
                Some((key, value)) => record.settings.labels.get(key).is_some_and(|v| v == value),
                None => record.settings.labels.contains_key(term),
            };
            before.is_none_or(|before| record.created < before)
                && filters.values("label").all(has)
                && !filters.values("label!").any(has)
        };
        let pruned = self.containers.prune(&call.caller, fits).await;
        self.events.publish(Event {
            kind: EventKind::Container,
            action: "prune".to_owned(),
            id: String::new(),
            attributes: [("reclaimed".to_owned(), pruned.bytes.to_string())].into(),
            owner: call.caller.scope.clone(),
            time: Timestamp::now(),
        });
        Ok(reply::ok(&ContainersPruneResponse {
            containers_deleted: pruned.ids,
            space_reclaimed: pruned.bytes,
        }))
    }

    pub(super) fn happenings(&self, call: &Call) -> ApiResult {
        events::stream(&self.events, call)
    }

    pub(super) async fn disk_usage(&self, call: &Call) -> ApiResult {
        let mut sorts = Vec::new();
        for word in call.query.all("type") {
            let sort = Sort::by_word(&word)
                .ok_or_else(|| ApiError::invalid(format!("unknown object type: {word}")))?;
            sorts.push(sort);
        }
        if sorts.is_empty() {
            sorts.extend(Sort::ALL);
        }
        let verbose = call.query.switch("verbose");
        let (caller, version) = (call.caller.clone(), call.version);
        let this = self.clone();
        let count = move || {
            across::disk_usage(
                &caller,
                &this.containers,
                &this.images,
                &this.storage,
                &sorts,
            )
        };
        let usage = tokio::task::spawn_blocking(task::blocking(count)).await;
        let usage =
            usage.map_err(|_| ApiError::new(ErrorKind::Internal, "the count was interrupted"))?;
        // Wire types always serialise.
        let mut value = serde_json::to_value(usage).unwrap_or_default();
        shape::disk_usage(&mut value, version, verbose);
        Ok(reply::ok(&value))
    }
}
