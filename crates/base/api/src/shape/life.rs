//! Answers about what happened and what is in use.

use serde_json::{Map, Value, json};

use super::{below, containers, images, remove};
use crate::version::ApiVersion;

/// One line of `GET /events`. Before 1.52 an event about a container or an image said a part of
/// itself a second time, in three fields of its own.
pub fn event(answer: &mut Value, version: ApiVersion) {
    if !below(version, 52) {
        return;
    }
    let text = |pointer: &str| answer.pointer(pointer).cloned();
    let kind = text("/Type");
    let mut old = Map::new();
    if kind == Some(json!("container")) || kind == Some(json!("image")) {
        old.extend(text("/Action").map(|action| ("status".to_owned(), action)));
        old.extend(text("/Actor/ID").map(|id| ("id".to_owned(), id)));
    }
    if kind == Some(json!("container")) {
        let from = text("/Actor/Attributes/image").filter(|image| image != "");
        old.extend(from.map(|image| ("from".to_owned(), image)));
    }
    if let Some(answer) = answer.as_object_mut() {
        old.append(answer);
        *answer = old;
    }
}

/// `GET /system/df`, made with all its items. Before 1.52 the answer was four lists and the size
/// of all layers. Since then it is totals, with the items where `verbose` asks for them; without
/// it the old fields are still there beside the new ones, for clients that name no version.
pub fn disk_usage(answer: &mut Value, version: ApiVersion, verbose: bool) {
    let legacy = below(version, 52);
    let Some(answer) = answer.as_object_mut() else {
        return;
    };
    let mut old = Map::new();
    let layers = answer.get("ImageUsage").and_then(|u| u.get("TotalSize"));
    if let Some(size) = layers.cloned() {
        old.insert("LayersSize".to_owned(), size);
    }
    for (list, usage) in [
        ("Images", "ImageUsage"),
        ("Containers", "ContainerUsage"),
        ("Volumes", "VolumeUsage"),
        ("BuildCache", "BuildCacheUsage"),
    ] {
        let mut items = match answer.get_mut(usage).and_then(Value::as_object_mut) {
            Some(usage) => {
                let items = usage.get("Items").cloned().unwrap_or_else(|| json!([]));
                if !verbose {
                    remove(usage, &["Items"]);
                }
                items
            }
            None => Value::Null,
        };
        match list {
            "Images" => super::list(&mut items, version, images::image_summary),
            "Containers" => super::list(&mut items, version, containers::container_summary),
            _ => {}
        }
        old.insert(list.to_owned(), items);
    }
    if below(version, 42) {
        old.insert("BuilderSize".to_owned(), json!(0));
    }
    if legacy {
        *answer = old;
    } else if !verbose {
        answer.append(&mut old);
    }
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
