//! Answers about images.

use serde_json::{Map, Value, json};

use super::{below, fill, object, remove};
use crate::version::ApiVersion;

/// One entry of `GET /images/json`.
pub fn image_summary(answer: &mut Value, version: ApiVersion) {
    let Some(answer) = answer.as_object_mut() else {
        return;
    };
    if below(version, 51) {
        answer.insert("Containers".to_owned(), json!(-1));
    }
    if below(version, 48) {
        remove(answer, &["Descriptor"]);
    }
    if below(version, 47) {
        remove(answer, &["Manifests"]);
    }
    if below(version, 44) {
        add_virtual_size(answer);
    }
    if below(version, 43) {
        name_the_nameless(answer, "RepoTags", "<none>:<none>");
        name_the_nameless(answer, "RepoDigests", "<none>@<none>");
    }
}

/// `GET /images/{name}/json`.
pub fn image_inspect(answer: &mut Value, version: ApiVersion) {
    if let Some(config) = object(answer, "Config") {
        if below(version, 52) {
            fill(config, unset_image_fields());
        }
        if below(version, 50) {
            fill(config, unset_container_fields());
        }
    }
    let Some(answer) = answer.as_object_mut() else {
        return;
    };
    if below(version, 53) {
        remove(answer, &["Identity"]);
    }
    if below(version, 52) {
        fill(
            answer,
            json!({ "Parent": "", "Comment": "", "DockerVersion": "", "Author": "" }),
        );
    }
    if below(version, 48) {
        remove(answer, &["Descriptor", "Manifests"]);
    }
    if below(version, 45) {
        let mut config = Map::new();
        fill(&mut config, unset_container_fields());
        fill(&mut config, unset_image_fields());
        fill(
            answer,
            json!({ "Container": "", "ContainerConfig": config }),
        );
    }
    if below(version, 44) {
        add_virtual_size(answer);
        fill(answer, json!({ "Created": "0001-01-01T00:00:00Z" }));
    }
}

/// Fields of an image's configuration that were there before 1.52 even when not set.
fn unset_image_fields() -> Value {
    json!({
        "User": "",
        "Env": null,
        "Cmd": null,
        "Volumes": null,
        "WorkingDir": "",
        "Entrypoint": null,
        "OnBuild": null,
        "Labels": null,
    })
}

/// Fields that were there before 1.50 because an image's configuration was written with a
/// container's type. They were always empty.
fn unset_container_fields() -> Value {
    json!({
        "Hostname": "",
        "Domainname": "",
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "Tty": false,
        "OpenStdin": false,
        "StdinOnce": false,
        "Image": "",
    })
}

/// Before 1.44 the size was there twice.
fn add_virtual_size(answer: &mut Map<String, Value>) {
    let size = answer.get("Size").cloned().unwrap_or(json!(0));
    fill(answer, json!({ "VirtualSize": size }));
}

/// Before 1.43 an image without references had one that said so.
fn name_the_nameless(answer: &mut Map<String, Value>, key: &str, name: &str) {
    if let Some(Value::Array(names)) = answer.get_mut(key)
        && names.is_empty()
    {
        names.push(json!(name));
    }
}
