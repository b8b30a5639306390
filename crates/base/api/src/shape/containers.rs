//! Answers about containers.

use serde_json::{Map, Value, json};

use super::{below, fill, object, remove};
use crate::version::ApiVersion;

/// How many digits of an id stand for it among aliases.
const SHORT_ID_DIGITS: usize = 12;

/// Networks that are there without anybody making them.
const PREDEFINED_NETWORKS: [&str; 3] = ["bridge", "host", "none"];

/// `GET /containers/{id}/json`.
pub fn container_inspect(answer: &mut Value, version: ApiVersion) {
    let short_id = answer
        .get("Id")
        .and_then(Value::as_str)
        .and_then(|id| id.get(..SHORT_ID_DIGITS));
    let short_id = short_id.map(str::to_owned);
    if let Some(settings) = object(answer, "NetworkSettings") {
        if below(version, 52) {
            add_default_network(settings);
        }
        endpoints(settings, version, short_id.as_deref());
    }
    if below(version, 52)
        && let Some(config) = object(answer, "Config")
    {
        fill(config, json!({ "OnBuild": null }));
    }
    if below(version, 42)
        && let Some(host_config) = object(answer, "HostConfig")
    {
        fill(
            host_config,
            json!({ "KernelMemory": 0, "KernelMemoryTCP": 0 }),
        );
    }
    if below(version, 25)
        && let Some(state) = object(answer, "State")
    {
        hide_removing(state, "Status");
    }
    if let Some(answer) = answer.as_object_mut() {
        if below(version, 52) {
            remove(answer, &["Storage"]);
        }
        if below(version, 48) {
            remove(answer, &["ImageManifestDescriptor"]);
        }
    }
}

/// One entry of `GET /containers/json`.
pub fn container_summary(answer: &mut Value, version: ApiVersion) {
    if let Some(settings) = object(answer, "NetworkSettings") {
        endpoints(settings, version, None);
    }
    if below(version, 46)
        && let Some(host_config) = object(answer, "HostConfig")
    {
        remove(host_config, &["Annotations"]);
    }
    if let Some(answer) = answer.as_object_mut() {
        if below(version, 52) {
            remove(answer, &["Health"]);
        }
        if below(version, 48) {
            remove(answer, &["ImageManifestDescriptor"]);
        }
        if below(version, 25) {
            hide_removing(answer, "State");
        }
    }
}

/// `POST /containers/{id}/wait`.
pub fn wait(answer: &mut Value, version: ApiVersion) {
    if below(version, 34)
        && let Some(answer) = answer.as_object_mut()
    {
        remove(answer, &["Error"]);
    }
}

/// Before 1.52 the endpoint in the network `bridge` stood a second time beside the list of all.
fn add_default_network(settings: &mut Map<String, Value>) {
    let bridge = settings
        .get("Networks")
        .and_then(|networks| networks.get("bridge"))
        .cloned();
    let fact = |key: &str, none: Value| {
        bridge
            .as_ref()
            .and_then(|bridge| bridge.get(key))
            .cloned()
            .unwrap_or(none)
    };
    let defaults = json!({
        "Bridge": "",
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": fact("EndpointID", json!("")),
        "Gateway": fact("Gateway", json!("")),
        "GlobalIPv6Address": fact("GlobalIPv6Address", json!("")),
        "GlobalIPv6PrefixLen": fact("GlobalIPv6PrefixLen", json!(0)),
        "IPAddress": fact("IPAddress", json!("")),
        "IPPrefixLen": fact("IPPrefixLen", json!(0)),
        "IPv6Gateway": fact("IPv6Gateway", json!("")),
        "MacAddress": fact("MacAddress", json!("")),
    });
    fill(settings, defaults);
}

/// The endpoints of a container. Before 1.45 its short id was among the aliases in networks that
/// users made; since then it is among the DNS names only.
fn endpoints(settings: &mut Map<String, Value>, version: ApiVersion, short_id: Option<&str>) {
    let Some(networks) = settings.get_mut("Networks").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, endpoint) in networks {
        let Some(endpoint) = endpoint.as_object_mut() else {
            continue;
        };
        if below(version, 48) {
            remove(endpoint, &["GwPriority"]);
        }
        if below(version, 44) {
            remove(endpoint, &["DNSNames"]);
        }
        if let Some(id) = short_id
            && below(version, 45)
            && !PREDEFINED_NETWORKS.contains(&name.as_str())
        {
            add_alias(endpoint, id);
        }
    }
}

fn add_alias(endpoint: &mut Map<String, Value>, alias: &str) {
    let aliases = endpoint.entry("Aliases").or_insert(Value::Null);
    if let Some(list) = aliases.as_array_mut() {
        if !list.iter().any(|other| other == alias) {
            list.push(json!(alias));
        }
    } else {
        *aliases = json!([alias]);
    }
}

/// Before 1.25 a container that was being removed passed for one that had exited.
fn hide_removing(object: &mut Map<String, Value>, key: &str) {
    if let Some(state) = object.get_mut(key)
        && state == "removing"
    {
        *state = json!("exited");
    }
}
