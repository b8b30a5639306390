//! Images on the wire.

use berth_api::Filters;
use berth_api::container::Empty;
use berth_api::image::{
    DriverData, ImageConfig, ImageInspect, ImageMetadata, ImageSummary, RootFs,
};
use berth_image::{Filter, Image, Images, Listed};
use berth_storage::Storage;
use berth_types::{Caller, ImageReference};

use crate::rest::error::ApiError;

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

/// Reads the filters of an image list.
pub fn image_filter(
    filters: &Filters,
    caller: &Caller,
    images: &Images,
) -> Result<Filter, ApiError> {
    filters.accept(&KEYS)?;
    for key in ["label!", "until"] {
        if filters.contains(key) {
            return Err(ApiError::not_built(format!("the image filter {key:?}")));
        }
    }
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
        before: bound("before")?,
        since: bound("since")?,
    })
}
