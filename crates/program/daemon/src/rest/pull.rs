//! `docker pull`. Registries are not built; the one image that the engine carries is served here.

use berth_api::{ProgressDetail, ProgressMessage};
use berth_image::BuiltIn;
use berth_types::{ErrorKind, ImageReference, task};

use super::convert;
use super::error::{ApiError, ApiResult};
use super::images::{ImagesApi, turn};
use super::reply;
use super::router::Call;
use crate::http::full;

/// Digits of a layer's digest that a progress line shows.
const SHORT: usize = 12;

/// Answers `POST /images/create?fromImage=`.
pub(super) async fn pull(api: &ImagesApi, call: &Call, name: &str) -> ApiResult {
    let tag = call.query.text("tag");
    let reference = asked_for(name, tag).filter(|reference| api.images.carries(reference));
    let Some(reference) = reference else {
        let separator = if tag.is_some_and(|tag| tag.contains(':')) {
            "@"
        } else {
            ":"
        };
        let tag = tag.map(|t| format!("{separator}{t}")).unwrap_or_default();
        return Err(ApiError::not_built(format!(
            "pulling {name}{tag} from a registry (import an image instead)"
        )));
    };
    if let Some(platform) = call.query.text("platform") {
        convert::check_platform(platform)?;
    }
    let _place = turn(&api.imports).await?;
    let (images, caller) = (api.images.clone(), call.caller.clone());
    let provide = task::blocking(move || images.provide(&caller, reference));
    let provided = tokio::task::spawn_blocking(provide).await;
    let provided =
        provided.map_err(|_| ApiError::new(ErrorKind::Internal, "the pull was interrupted"))??;
    let lines: Vec<u8> = messages(&provided)
        .iter()
        .flat_map(ProgressMessage::to_line)
        .collect();
    Ok(reply::stream(full(lines), "application/json"))
}

/// The image that a client means; `None` where the text is no name, or a digest is its tag.
fn asked_for(name: &str, tag: Option<&str>) -> Option<ImageReference> {
    let reference: ImageReference = name.parse().ok()?;
    match tag {
        Some(tag) => reference.with_tag(tag).ok(),
        None => Some(reference),
    }
}

/// What a registry's client shows of a pull, and where the image really came from.
fn messages(provided: &BuiltIn) -> Vec<ProgressMessage> {
    let reference = &provided.reference;
    let about = |id: &str, status: &str| ProgressMessage {
        id: Some(id.to_owned()),
        progress_detail: Some(ProgressDetail::default()),
        ..ProgressMessage::status(status)
    };
    let mut messages = vec![ProgressMessage {
        id: reference.tag().map(str::to_owned),
        ..ProgressMessage::status(format!("Pulling from {}", reference.path()))
    }];
    for layer in &provided.image.config.rootfs.diff_ids {
        let digits = layer.strip_prefix("sha256:").unwrap_or(layer);
        let id: String = digits.chars().take(SHORT).collect();
        if provided.is_new {
            messages.push(about(&id, "Pulling fs layer"));
            messages.push(about(&id, "Download complete"));
            messages.push(about(&id, "Pull complete"));
        } else {
            messages.push(about(&id, "Already exists"));
        }
    }
    let result = if provided.is_new {
        "Downloaded newer image for"
    } else {
        "Image is up to date for"
    };
    for line in [
        "Note: the engine carries this image itself; no registry was asked".to_owned(),
        format!("Digest: {}", provided.image.id),
        format!("Status: {result} {reference}"),
    ] {
        messages.push(ProgressMessage::status(line));
    }
    messages
}
