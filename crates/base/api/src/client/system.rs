//! The engine as a whole: what happens on it, and what takes up its space.

use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use super::Client;
use super::error::ClientError;
use super::streams::JsonStream;
use super::url::Query;
use crate::container::ContainerSummary;
use crate::disk::{DiskUsage, Usage};
use crate::events::EventMessage;
use crate::filters::Filters;
use crate::image::ImageSummary;
use crate::version::ApiVersion;

/// Since this version disk usage is told in totals.
const TOTALS_SINCE: ApiVersion = ApiVersion::new(1, 52);

/// States in which a container is in use.
const ACTIVE: [&str; 3] = ["running", "paused", "restarting"];

impl Client {
    /// `GET /events`: what happened since a point in time and what happens until another; both in
    /// seconds since the epoch with a fraction. Without `until` it goes on and on.
    pub async fn events(
        &self,
        since: Option<&str>,
        until: Option<&str>,
        filters: &Filters,
    ) -> Result<JsonStream<EventMessage>, ClientError> {
        let mut query = Query::default();
        query.put_some("since", since);
        query.put_some("until", until);
        query.put_some("filters", filters.to_query().as_deref());
        let answer = self
            .call(Method::GET, &query.after("/events"))
            .send()
            .await?;
        Ok(JsonStream::new(answer))
    }

    /// `GET /system/df`, with every object.
    pub async fn disk_usage(&self) -> Result<DiskUsage, ClientError> {
        let mut query = Query::default();
        if self.version_used() >= TOTALS_SINCE {
            query.put_switch("verbose", true);
            return self
                .call(Method::GET, &query.after("/system/df"))
                .json()
                .await;
        }
        let lists: Lists = self.call(Method::GET, "/system/df").json().await?;
        Ok(lists.totals())
    }
}

/// The answer of engines that only give lists.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Lists {
    layers_size: i64,
    images: Option<Vec<ImageSummary>>,
    containers: Option<Vec<ContainerSummary>>,
    volumes: Option<Vec<Value>>,
    build_cache: Option<Vec<Value>>,
}

impl Lists {
    fn totals(self) -> DiskUsage {
        DiskUsage {
            image_usage: Some(images(self.layers_size, self.images.unwrap_or_default())),
            container_usage: Some(containers(self.containers.unwrap_or_default())),
            volume_usage: Some(volumes(self.volumes.unwrap_or_default())),
            build_cache_usage: Some(cache(self.build_cache.unwrap_or_default())),
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Images that containers have need what they do not share; everything else can go.
fn images(layers_size: i64, items: Vec<ImageSummary>) -> Usage<ImageSummary> {
    let active = items.iter().filter(|image| image.containers > 0);
    let needed: i64 = active
        .clone()
        .filter(|image| image.size != -1 && image.shared_size != -1)
        .map(|image| image.size - image.shared_size)
        .sum();
    Usage {
        active_count: count(active.count()),
        total_count: count(items.len()),
        reclaimable: layers_size - needed,
        total_size: layers_size,
        items,
    }
}

fn containers(items: Vec<ContainerSummary>) -> Usage<ContainerSummary> {
    let size = |container: &ContainerSummary| container.size_rw.unwrap_or(0);
    let active = |container: &&ContainerSummary| ACTIVE.contains(&container.state.as_str());
    Usage {
        active_count: count(items.iter().filter(active).count()),
        total_count: count(items.len()),
        reclaimable: items.iter().filter(|c| !active(c)).map(size).sum(),
        total_size: items.iter().map(size).sum(),
        items,
    }
}

fn volumes(items: Vec<Value>) -> Usage<Value> {
    let number = |volume: &Value, name: &str| {
        let number = volume.pointer(&format!("/UsageData/{name}"));
        number.and_then(Value::as_i64).unwrap_or(-1)
    };
    let size = |volume: &Value| number(volume, "Size").max(0);
    let active = |volume: &&Value| number(volume, "RefCount") > 0;
    Usage {
        active_count: count(items.iter().filter(active).count()),
        total_count: count(items.len()),
        reclaimable: items.iter().filter(|v| !active(v)).map(size).sum(),
        total_size: items.iter().map(size).sum(),
        items,
    }
}

fn cache(items: Vec<Value>) -> Usage<Value> {
    let flag = |item: &Value, name: &str| item.get(name) == Some(&Value::Bool(true));
    let own = |item: &&Value| !flag(item, "Shared");
    let size = |item: &Value| item.get("Size").and_then(Value::as_i64).unwrap_or(0);
    let idle = |item: &&Value| !flag(item, "InUse");
    Usage {
        active_count: count(items.iter().filter(|i| flag(i, "InUse")).count()),
        total_count: count(items.len()),
        reclaimable: items.iter().filter(own).filter(idle).map(size).sum(),
        total_size: items.iter().filter(own).map(size).sum(),
        items,
    }
}
