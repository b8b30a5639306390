//! `POST /commit`: a container's files as a new image.

use berth_api::container::ContainerConfig;
use berth_api::decode;
use berth_api::image::CommitAnswer;
use berth_api::query::parse_bool;
use berth_container::CommitRequest;
use hyper::StatusCode;

use super::containers::ContainersApi;
use super::convert;
use super::error::{ApiError, ApiResult};
use super::images::reference;
use super::reply;
use super::router::Call;

impl ContainersApi {
    pub(super) async fn commit(&self, call: Call) -> ApiResult {
        let query = &call.query;
        let Some(container) = query.text("container").map(str::to_owned) else {
            return Err(ApiError::invalid("name the container in \"container\""));
        };
        let reference = match query.text("repo") {
            Some(repo) => Some(reference(repo, query.text("tag"))?),
            None => None,
        };
        let text = |key: &str| query.text(key).unwrap_or_default().to_owned();
        let mut request = CommitRequest {
            reference,
            author: text("author"),
            comment: text("comment"),
            pause: query.text("pause").is_none_or(|p| parse_bool(Some(p))),
            config: None,
            changes: query.all("changes"),
        };
        let caller = call.caller.clone();
        let body = call.body().await?;
        if !body.is_empty() {
            let wire: Option<ContainerConfig> = decode::from_slice(&body)?;
            request.config = wire.map(convert::commit_config);
        }
        let image = self.containers.commit(&caller, &container, request).await?;
        let answer = CommitAnswer {
            id: image.id.to_string(),
        };
        Ok(reply::json(StatusCode::CREATED, &answer))
    }
}
