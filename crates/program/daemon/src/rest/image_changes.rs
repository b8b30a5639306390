//! `/images`: names, history, and removal.

use berth_api::Filters;
use berth_api::image::ImagePruneAnswer;
use berth_container::SMALL;
use berth_image::Removal;
use berth_types::{Timestamp, task};
use hyper::StatusCode;

use super::convert;
use super::error::{ApiError, ApiResult};
use super::images::{ImagesApi, internal, reference};
use super::reply;
use super::router::Call;

impl ImagesApi {
    pub(super) async fn history(&self, call: &Call, name: &str) -> ApiResult {
        if let Some(platform) = call.query.text("platform") {
            check_platform(platform)?;
        }
        let image = self.images.resolve(&call.caller, name)?;
        let names = self.images.references(&image);
        let steps = {
            let (images, image) = (self.images.clone(), image.clone());
            blocking(move || images.history(&image)).await??
        };
        let newest = std::iter::once(Some((&*image, &names[..])));
        let items: Vec<_> = steps
            .iter()
            .zip(newest.chain(std::iter::repeat(None)))
            .map(|(step, of)| convert::history_item(step, of))
            .collect();
        Ok(reply::ok(&items))
    }

    pub(super) async fn tag(&self, call: &Call, name: &str) -> ApiResult {
        let Some(repo) = call.query.text("repo") else {
            return Err(ApiError::invalid(
                "repository name must have at least one component",
            ));
        };
        let reference = reference(repo, call.query.text("tag"))?;
        let (images, caller, name) = (self.images.clone(), call.caller.clone(), name.to_owned());
        blocking(move || images.tag(&caller, &name, reference)).await??;
        Ok(reply::bare(StatusCode::CREATED))
    }

    pub(super) async fn remove(&self, call: &Call, name: &str) -> ApiResult {
        if !call.query.all("platforms").is_empty() {
            return Err(ApiError::not_built("removing one platform of an image"));
        }
        // Parents are no images of their own here, so there is nothing that `noprune` would keep.
        let force = call.query.switch("force");
        let (this, caller, name) = (self.clone(), call.caller.clone(), name.to_owned());
        let removal = blocking(move || {
            let users = |image: &_| this.containers.users_of(image);
            this.images.remove(&caller, &name, force, users)
        });
        let removal = removal.await??;
        let items = convert::removal_items(&removal);
        self.collect(vec![removal]).await;
        Ok(reply::ok(&items))
    }

    pub(super) async fn prune(&self, call: &Call) -> ApiResult {
        let filters = Filters::from_query(call.query.get("filters"))?;
        let filter = convert::image_prune_filter(&filters, Timestamp::now())?;
        let (this, caller) = (self.clone(), call.caller.clone());
        let removals = blocking(move || {
            let users = |image: &_| this.containers.users_of(image);
            this.images.prune(&caller, &filter, users)
        });
        let removals = removals.await??;
        let items: Vec<_> = removals.iter().flat_map(convert::removal_items).collect();
        let answer = ImagePruneAnswer {
            images_deleted: (!items.is_empty()).then_some(items),
            space_reclaimed: removals.iter().map(Removal::bytes).sum(),
        };
        self.collect(removals).await;
        Ok(reply::ok(&answer))
    }

    /// Deletes files, behind the reply where they are few. What the engine does not get to, its
    /// next start does.
    async fn collect(&self, removals: Vec<Removal>) {
        let layers = || removals.iter().flat_map(|r| &r.retired.layers);
        let bytes: u64 = layers().map(|layer| layer.bytes).sum();
        let inodes: u64 = layers().map(|layer| layer.inodes).sum();
        let Some(first) = removals.iter().find_map(|removal| removal.deleted) else {
            return;
        };
        let images = self.images.clone();
        let collect = move || {
            for removal in removals {
                images.collect(removal);
            }
        };
        let small = bytes <= SMALL.bytes && inodes <= SMALL.inodes;
        let subject = first.to_string();
        self.containers.delete_behind(subject, small, collect).await;
    }
}

/// Runs what blocks on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(task::blocking(work))
        .await
        .map_err(|_| internal("the request was interrupted"))
}

/// Clients send a platform as a JSON object or as text; there is one here.
pub(super) fn check_platform(platform: &str) -> Result<(), ApiError> {
    let Ok(wire) = serde_json::from_str::<berth_api::image::OciPlatform>(platform) else {
        return convert::check_platform(platform);
    };
    convert::check_platform(&format!("{}/{}", wire.os, wire.architecture))
}
