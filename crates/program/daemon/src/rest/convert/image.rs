//! Images on the wire.

use berth_api::Filters;
use berth_api::container::{Empty, HealthConfig};
use berth_api::image::{
    DriverData, HistoryItem, ImageConfig, ImageDeleteItem, ImageInspect, ImageMetadata,
    ImageSummary, RootFs,
};
use berth_image::{Filter, Image, Images, Listed, PruneFilter, Removal, Step};
use berth_storage::Storage;
use berth_types::oci::HealthCheck;
use berth_types::{Caller, ImageReference, Timestamp};

use crate::rest::error::ApiError;
use crate::rest::moment::until;

/// The keys that Docker knows.
const KEYS: [&str; 7] = [
    "before",
    "dangling",
    "label",
    "label!",
    "reference",
    "since",
    "until",
];

/// An image as the list shows it.
pub fn image_summary(listed: &Listed) -> ImageSummary {
    let image = &listed.image;
    ImageSummary {
        id: image.id.to_string(),
        repo_tags: listed.references.iter().map(ToString::to_string).collect(),
        created: image.created.as_seconds(),
        size: i64::try_from(image.size).unwrap_or(i64::MAX),
        labels: image.config.config.labels.clone(),
        ..ImageSummary::default()
    }
}

/// An image as inspect shows it.
pub fn image_inspect(
    image: &Image,
    references: &[ImageReference],
    storage: &Storage,
) -> ImageInspect {
    let config = &image.config;
    let defaults = &config.config;
    let set = |map: &std::collections::BTreeMap<String, berth_types::oci::Empty>| {
        map.keys().map(|key| (key.clone(), Empty {})).collect()
    };
    let dir = |layer| storage.paths().layer(layer).to_string_lossy().into_owned();
    ImageInspect {
        id: image.id.to_string(),
        repo_tags: references.iter().map(ToString::to_string).collect(),
        comment: config.comment.clone(),
        created: config.created.clone(),
        author: config.author.clone(),
        config: ImageConfig {
            user: defaults.user.clone(),
            exposed_ports: set(&defaults.exposed_ports),
            env: defaults.env.clone(),
            cmd: defaults.cmd.clone(),
            volumes: set(&defaults.volumes),
            working_dir: defaults.working_dir.clone(),
            entrypoint: defaults.entrypoint.clone(),
            labels: defaults.labels.clone(),
            stop_signal: defaults.stop_signal.clone(),
            healthcheck: defaults.healthcheck.clone().map(health),
            on_build: defaults.on_build.clone(),
            shell: defaults.shell.clone(),
            ..ImageConfig::default()
        },
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: config.os.clone(),
        size: i64::try_from(image.size).unwrap_or(i64::MAX),
        graph_driver: Some(DriverData {
            name: "overlay2".to_owned(),
            data: image
                .top()
                .map(|top| ("UpperDir".to_owned(), dir(top)))
                .into_iter()
                .collect(),
        }),
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: config.rootfs.diff_ids.clone(),
        },
        metadata: ImageMetadata {
            last_tag_time: Some(image.added.to_string()),
        },
        ..ImageInspect::default()
    }
}

fn health(check: HealthCheck) -> HealthConfig {
    HealthConfig {
        test: check.test,
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

/// Reads the filters of a prune. Without a word about them, only dangling images go.
pub fn image_prune_filter(filters: &Filters, now: Timestamp) -> Result<PruneFilter, ApiError> {
    filters.accept(&["dangling", "label", "label!", "until"])?;
    let all = |key: &str| filters.values(key).map(str::to_owned).collect();
    Ok(PruneFilter {
        dangling: filters.switch("dangling")?.unwrap_or(true),
        until: match filters.values("until").next() {
            Some(text) => Some(until(text, now)?),
            None => None,
        },
        labels: all("label"),
        without_labels: all("label!"),
    })
}

/// A step of an image's history; only the newest has the image's id and names.
pub fn history_item(step: &Step, of: Option<(&Image, &[ImageReference])>) -> HistoryItem {
    let (id, tags) = match of {
        Some((image, names)) => (
            image.id.to_string(),
            names.iter().map(ToString::to_string).collect(),
        ),
        None => ("<missing>".to_owned(), Vec::new()),
    };
    HistoryItem {
        id,
        created: if step.created.is_set() {
            step.created.as_seconds()
        } else {
            0
        },
        created_by: step.created_by.clone(),
        tags: Some(tags),
        size: i64::try_from(step.bytes).unwrap_or(i64::MAX),
        comment: step.comment.clone(),
    }
}

/// What a removal did, in Docker's order: names, the image, its layers.
pub fn removal_items(removal: &Removal) -> Vec<ImageDeleteItem> {
    let names = removal
        .untagged
        .iter()
        .map(|r| ImageDeleteItem::untagged(r.to_string()));
    let image = removal
        .deleted
        .iter()
        .map(|id| ImageDeleteItem::deleted(id.to_string()));
    let layers = removal.retired.layers.iter().map(|l| l.chain_id());
    names
        .chain(image)
        .chain(layers.map(|id| ImageDeleteItem::deleted(id.to_string())))
        .collect()
}

/// Reads the filters of an image list.
pub fn image_filter(
    filters: &Filters,
    caller: &Caller,
    images: &Images,
) -> Result<Filter, ApiError> {
    filters.accept(&KEYS)?;
    let bound = |key: &str| match filters.values(key).next() {
        Some(name) => images
            .resolve(caller, name)
            .map(|image| Some(image.created)),
        None => Ok(None),
    };
    let all = |key: &str| filters.values(key).map(str::to_owned).collect();
    Ok(Filter {
        dangling: filters.switch("dangling")?,
        references: all("reference"),
        labels: all("label"),
        without_labels: all("label!"),
        until: match filters.values("until").next() {
            Some(text) => Some(until(text, Timestamp::now())?),
            None => None,
        },
        before: bound("before")?,
        since: bound("since")?,
    })
}
