//! Answers about the engine.

use serde_json::{Map, Value, json};

use super::{below, fill, object, remove};
use crate::version::ApiVersion;

/// `GET /version`.
pub fn version(answer: &mut Value, version: ApiVersion) {
    let Some(answer) = answer.as_object_mut() else {
        return;
    };
    if below(version, 35) {
        remove(answer, &["Platform", "Components"]);
    }
    if below(version, 25) {
        remove(answer, &["MinAPIVersion"]);
    }
}

/// `GET /info`.
pub fn info(answer: &mut Value, version: ApiVersion) {
    if below(version, 49) {
        for commit in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
            if let Some(commit) = object(answer, commit) {
                let id = commit.get("ID").cloned().unwrap_or(json!(""));
                fill(commit, json!({ "Expected": id }));
            }
        }
        if let Some(registries) = object(answer, "RegistryConfig") {
            let lists = json!({
                "AllowNondistributableArtifactsCIDRs": null,
                "AllowNondistributableArtifactsHostnames": null,
            });
            fill(registries, lists);
        }
    }
    if below(version, 44)
        && let Some(runtimes) = object(answer, "Runtimes")
    {
        runtimes
            .values_mut()
            .filter_map(Value::as_object_mut)
            .for_each(|runtime| {
                remove(runtime, &["status"]);
            });
    }
    if let Some(answer) = answer.as_object_mut() {
        top_level(answer, version);
    }
}

fn top_level(answer: &mut Map<String, Value>, version: ApiVersion) {
    if below(version, 53) {
        remove(answer, &["NRI"]);
    }
    if below(version, 50) {
        remove(answer, &["DiscoveredDevices"]);
        fill(
            answer,
            json!({ "BridgeNfIptables": false, "BridgeNfIp6tables": false }),
        );
    }
    if below(version, 49) {
        remove(answer, &["FirewallBackend"]);
    }
    if below(version, 46) {
        remove(answer, &["Containerd"]);
    }
    if below(version, 44) {
        remove(answer, &["CDISpecDirs"]);
    }
    if below(version, 42) {
        fill(
            answer,
            json!({ "KernelMemory": false, "KernelMemoryTCP": false }),
        );
    }
    if below(version, 39) {
        for key in ["KernelVersion", "OperatingSystem"] {
            if answer.get(key).is_some_and(|value| value == "") {
                answer.insert(key.to_owned(), json!("<unknown>"));
            }
        }
    }
    if below(version, 25) {
        fill(answer, json!({ "ExecutionDriver": "<not supported>" }));
        bare_security_options(answer);
    }
}

/// Before 1.25 a security option was its bare name: `name=seccomp,profile=builtin` was `seccomp`.
fn bare_security_options(answer: &mut Map<String, Value>) {
    let Some(Value::Array(options)) = answer.get_mut("SecurityOptions") else {
        return;
    };
    for option in options {
        let name = option.as_str().and_then(|text| {
            text.split(',')
                .find_map(|part| part.strip_prefix("name="))
                .map(str::to_owned)
        });
        if let Some(name) = name {
            *option = json!(name);
        }
    }
}
