//! The same answer and request at several versions.

use serde_json::{Value, json};

use super::{
    Shape, container_create, container_inspect, container_summary, image_inspect, image_summary,
    info, list, version, wait,
};
use crate::container::{
    ContainerConfig, ContainerCreateRequest, ContainerInspect, ContainerSummary, HealthConfig,
    Mount, VolumeOptions,
};
use crate::image::{ImageInspect, ImageSummary, OciDescriptor};
use crate::network::EndpointSettings;
use crate::system::{Info, NriInfo, Runtime, Version};
use crate::version::{ApiVersion, NEWEST};

fn at(text: &str) -> ApiVersion {
    text.parse().unwrap()
}

/// The answer as the given version has it.
fn shaped(answer: &impl serde::Serialize, shape: Shape, version: &str) -> Value {
    let mut value = serde_json::to_value(answer).unwrap();
    shape(&mut value, at(version));
    value
}

/// Asserts which keys the object has at a version and which it has not.
fn keys(object: &Value, there: &[&str], gone: &[&str], version: &str) {
    for key in there {
        assert!(object.get(key).is_some(), "{key} is missing in {version}");
    }
    for key in gone {
        assert!(object.get(key).is_none(), "{key} is there in {version}");
    }
}

fn inspected() -> ContainerInspect {
    let mut answer = ContainerInspect {
        id: "0123456789abcdef".repeat(4),
        ..Default::default()
    };
    answer.state.status = "removing".to_owned();
    answer.image_manifest_descriptor = Some(OciDescriptor::default());
    answer.storage = Some(crate::image::Storage::default());
    let endpoint = |address: &str| EndpointSettings {
        ip_address: address.to_owned(),
        ip_prefix_len: 16,
        aliases: vec!["web".to_owned()],
        ..Default::default()
    };
    answer
        .network_settings
        .networks
        .insert("bridge".to_owned(), endpoint("172.17.0.2"));
    answer
        .network_settings
        .networks
        .insert("mine".to_owned(), endpoint("172.18.0.2"));
    answer
}

#[test]
fn the_newest_version_is_left_alone() {
    let shapes: [(Value, Shape); 6] = [
        (
            serde_json::to_value(inspected()).unwrap(),
            container_inspect,
        ),
        (
            serde_json::to_value(ContainerSummary::default()).unwrap(),
            container_summary,
        ),
        (
            serde_json::to_value(ImageInspect::default()).unwrap(),
            image_inspect,
        ),
        (
            serde_json::to_value(ImageSummary::default()).unwrap(),
            image_summary,
        ),
        (serde_json::to_value(Info::default()).unwrap(), info),
        (serde_json::to_value(Version::default()).unwrap(), version),
    ];
    for (answer, shape) in shapes {
        let mut after = answer.clone();
        shape(&mut after, NEWEST);
        assert_eq!(after, answer);
    }
}

#[test]
fn the_default_network_stands_twice_before_1_52() {
    let new = shaped(&inspected(), container_inspect, "1.52");
    keys(
        &new["NetworkSettings"],
        &["Networks"],
        &["IPAddress", "Bridge", "MacAddress"],
        "1.52",
    );
    let old = shaped(&inspected(), container_inspect, "1.51");
    let settings = &old["NetworkSettings"];
    assert_eq!(
        (&settings["IPAddress"], &settings["IPPrefixLen"]),
        (&json!("172.17.0.2"), &json!(16))
    );
    assert_eq!(settings["SecondaryIPAddresses"], json!(null));
    assert_eq!(settings["HairpinMode"], json!(false));
    assert_eq!(old["Config"]["OnBuild"], json!(null));
    let mut bare = inspected();
    bare.network_settings.networks.clear();
    assert_eq!(
        shaped(&bare, container_inspect, "1.41")["NetworkSettings"]["IPAddress"],
        json!("")
    );
}

#[test]
fn an_inspected_container_grows_older() {
    let see = |version| shaped(&inspected(), container_inspect, version);
    keys(
        &see("1.48"),
        &["ImageManifestDescriptor"],
        &["Storage"],
        "1.48",
    );
    keys(
        &see("1.47"),
        &[],
        &["ImageManifestDescriptor", "Storage"],
        "1.47",
    );
    let endpoint = |version, name: &str| see(version)["NetworkSettings"]["Networks"][name].clone();
    keys(
        &endpoint("1.48", "mine"),
        &["GwPriority", "DNSNames"],
        &[],
        "1.48",
    );
    keys(
        &endpoint("1.44", "mine"),
        &["DNSNames"],
        &["GwPriority"],
        "1.44",
    );
    keys(
        &endpoint("1.43", "mine"),
        &["Aliases"],
        &["GwPriority", "DNSNames"],
        "1.43",
    );
    assert_eq!(endpoint("1.45", "mine")["Aliases"], json!(["web"]));
    assert_eq!(
        endpoint("1.44", "mine")["Aliases"],
        json!(["web", "0123456789ab"])
    );
    assert_eq!(endpoint("1.44", "bridge")["Aliases"], json!(["web"]));
    keys(
        &see("1.42")["HostConfig"],
        &[],
        &["KernelMemory", "KernelMemoryTCP"],
        "1.42",
    );
    assert_eq!(see("1.41")["HostConfig"]["KernelMemory"], json!(0));
    assert_eq!(see("1.25")["State"]["Status"], json!("removing"));
    assert_eq!(see("1.24")["State"]["Status"], json!("exited"));
}

#[test]
fn a_listed_container_grows_older() {
    let mut entry = ContainerSummary {
        state: "removing".to_owned(),
        health: Some(Default::default()),
        ..Default::default()
    };
    entry
        .host_config
        .annotations
        .insert("a".to_owned(), "b".to_owned());
    let see = |version| shaped(&entry, container_summary, version);
    keys(&see("1.52"), &["Health"], &[], "1.52");
    keys(&see("1.51"), &[], &["Health"], "1.51");
    keys(&see("1.46")["HostConfig"], &["Annotations"], &[], "1.46");
    keys(&see("1.45")["HostConfig"], &[], &["Annotations"], "1.45");
    assert_eq!(see("1.24")["State"], json!("exited"));
    let mut all = json!([entry, entry]);
    list(&mut all, at("1.51"), container_summary);
    keys(&all[1], &[], &["Health"], "1.51");
}

#[test]
fn images_grow_older() {
    let entry = ImageSummary {
        size: 9,
        containers: 2,
        manifests: vec![json!({})],
        descriptor: Some(OciDescriptor::default()),
        ..Default::default()
    };
    let see = |version| shaped(&entry, image_summary, version);
    assert_eq!(
        (
            see("1.51")["Containers"].clone(),
            see("1.50")["Containers"].clone()
        ),
        (json!(2), json!(-1))
    );
    keys(
        &see("1.48"),
        &["Descriptor", "Manifests"],
        &["VirtualSize"],
        "1.48",
    );
    keys(&see("1.47"), &["Manifests"], &["Descriptor"], "1.47");
    keys(&see("1.46"), &[], &["Manifests"], "1.46");
    assert_eq!(see("1.43")["VirtualSize"], json!(9));
    assert_eq!(see("1.43")["RepoTags"], json!([]));
    assert_eq!(see("1.42")["RepoTags"], json!(["<none>:<none>"]));
    assert_eq!(see("1.42")["RepoDigests"], json!(["<none>@<none>"]));
}

#[test]
fn an_inspected_image_grows_older() {
    let mut image = ImageInspect {
        size: 9,
        identity: Some(json!({})),
        ..Default::default()
    };
    image.config.cmd = Some(vec!["sh".to_owned()]);
    let see = |version| shaped(&image, image_inspect, version);
    keys(
        &see("1.53"),
        &["Identity"],
        &["Parent", "Container", "VirtualSize"],
        "1.53",
    );
    assert_eq!(see("1.52")["Config"], json!({"Cmd": ["sh"]}));
    keys(
        &see("1.51"),
        &["Parent", "Comment", "Author", "DockerVersion"],
        &["Identity"],
        "1.51",
    );
    keys(
        &see("1.51")["Config"],
        &["User", "Env", "Labels"],
        &["Hostname"],
        "1.51",
    );
    keys(
        &see("1.49")["Config"],
        &["Hostname", "Tty", "Image"],
        &[],
        "1.49",
    );
    assert_eq!(see("1.49")["Config"]["Cmd"], json!(["sh"]));
    keys(&see("1.45"), &[], &["Container", "ContainerConfig"], "1.45");
    assert_eq!(see("1.44")["ContainerConfig"]["AttachStdin"], json!(false));
    keys(
        &see("1.44"),
        &["Container"],
        &["VirtualSize", "Created"],
        "1.44",
    );
    assert_eq!(see("1.43")["VirtualSize"], json!(9));
    assert_eq!(see("1.43")["Created"], json!("0001-01-01T00:00:00Z"));
}

#[test]
fn info_grows_older() {
    let mut answer = Info {
        nri: Some(NriInfo::default()),
        firewall_backend: Some(Default::default()),
        containerd: Some(Default::default()),
        security_options: vec!["name=seccomp,profile=builtin".to_owned(), "odd".to_owned()],
        ..Default::default()
    };
    answer.runc_commit.id = "abc".to_owned();
    let runtime = Runtime {
        status: [("a".to_owned(), "b".to_owned())].into(),
        ..Default::default()
    };
    answer.runtimes.insert("berth".to_owned(), runtime);
    let see = |version| shaped(&answer, info, version);
    keys(
        &see("1.53"),
        &["NRI", "FirewallBackend"],
        &["BridgeNfIptables"],
        "1.53",
    );
    keys(&see("1.52"), &["FirewallBackend"], &["NRI"], "1.52");
    keys(
        &see("1.49"),
        &["BridgeNfIptables", "BridgeNfIp6tables"],
        &[],
        "1.49",
    );
    keys(&see("1.49")["RuncCommit"], &["ID"], &["Expected"], "1.49");
    assert_eq!(see("1.48")["RuncCommit"]["Expected"], json!("abc"));
    keys(
        &see("1.48")["RegistryConfig"],
        &["AllowNondistributableArtifactsCIDRs"],
        &[],
        "1.48",
    );
    keys(&see("1.48"), &["Containerd"], &["FirewallBackend"], "1.48");
    keys(&see("1.45"), &["CDISpecDirs"], &["Containerd"], "1.45");
    keys(&see("1.44")["Runtimes"]["berth"], &["status"], &[], "1.44");
    keys(
        &see("1.43")["Runtimes"]["berth"],
        &["path"],
        &["status"],
        "1.43",
    );
    keys(&see("1.42"), &[], &["CDISpecDirs", "KernelMemory"], "1.42");
    assert_eq!(see("1.41")["KernelMemory"], json!(false));
    assert_eq!(see("1.39")["KernelVersion"], json!(""));
    assert_eq!(see("1.38")["KernelVersion"], json!("<unknown>"));
    assert_eq!(
        see("1.25")["SecurityOptions"][0],
        json!("name=seccomp,profile=builtin")
    );
    assert_eq!(see("1.24")["SecurityOptions"], json!(["seccomp", "odd"]));
}

#[test]
fn version_and_wait_grow_older() {
    let answer = Version {
        components: vec![Default::default()],
        ..Default::default()
    };
    keys(
        &shaped(&answer, version, "1.35"),
        &["Platform", "Components"],
        &[],
        "1.35",
    );
    keys(
        &shaped(&answer, version, "1.34"),
        &["MinAPIVersion"],
        &["Platform", "Components"],
        "1.34",
    );
    keys(
        &shaped(&answer, version, "1.24"),
        &["Version"],
        &["MinAPIVersion"],
        "1.24",
    );
    let ended = json!({"StatusCode": 1, "Error": {"Message": "x"}});
    keys(&shaped(&ended, wait, "1.34"), &["Error"], &[], "1.34");
    assert_eq!(shaped(&ended, wait, "1.33"), json!({"StatusCode": 1}));
}

/// A request that uses something of many versions, as a client of `version` means it.
fn requested(version: &str) -> ContainerCreateRequest {
    let mut request = ContainerCreateRequest {
        config: ContainerConfig {
            mac_address: "02:00:00:00:00:01".to_owned(),
            healthcheck: Some(HealthConfig {
                start_interval: 5,
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let host = &mut request.host_config;
    host.auto_remove = true;
    host.kernel_memory = 1;
    host.kernel_memory_tcp = 1;
    host.annotations.insert("a".to_owned(), "b".to_owned());
    host.cgroupns_mode = "host".to_owned();
    host.mounts = vec![
        Mount {
            kind: "bind".to_owned(),
            read_only: true,
            ..Default::default()
        },
        Mount {
            volume_options: Some(VolumeOptions {
                subpath: "x".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        },
    ];
    let endpoint = EndpointSettings {
        gw_priority: 3,
        ..Default::default()
    };
    request
        .networking_config
        .endpoints_config
        .insert("mine".to_owned(), endpoint);
    container_create(&mut request, at(version));
    request
}

#[test]
fn a_request_forgets_what_its_version_did_not_have() {
    let host = |version| requested(version).host_config;
    assert_eq!(
        (
            host("1.52").kernel_memory_tcp,
            host("1.51").kernel_memory_tcp
        ),
        (0, 1)
    );
    assert_eq!(
        (host("1.42").kernel_memory, host("1.41").kernel_memory),
        (0, 1)
    );
    assert_eq!(
        (
            host("1.43").annotations.len(),
            host("1.42").annotations.len()
        ),
        (1, 0)
    );
    assert_eq!(
        (
            host("1.41").cgroupns_mode.as_str(),
            host("1.40").cgroupns_mode.as_str()
        ),
        ("host", "")
    );
    assert_eq!(
        (
            host("1.40").ipc_mode.as_str(),
            host("1.39").ipc_mode.as_str()
        ),
        ("", "shareable")
    );
    assert_eq!(
        (host("1.25").auto_remove, host("1.24").auto_remove),
        (true, false)
    );
    assert_eq!(host("1.44").mounts[0].bind_options, None);
    assert!(
        host("1.43").mounts[0]
            .bind_options
            .as_ref()
            .unwrap()
            .read_only_non_recursive
    );
    let subpath = |version| {
        host(version).mounts[1]
            .volume_options
            .clone()
            .unwrap()
            .subpath
    };
    assert_eq!(
        (subpath("1.45"), subpath("1.44")),
        ("x".to_owned(), String::new())
    );
    let grace = |version| {
        requested(version)
            .config
            .healthcheck
            .unwrap()
            .start_interval
    };
    assert_eq!((grace("1.44"), grace("1.43")), (5, 0));
    let priority =
        |version| requested(version).networking_config.endpoints_config["mine"].gw_priority;
    assert_eq!((priority("1.48"), priority("1.47")), (3, 0));
}

#[test]
fn a_containers_mac_address_becomes_an_endpoints() {
    let endpoints = |version| requested(version).networking_config.endpoints_config;
    assert!(!endpoints("1.52").contains_key("bridge"));
    assert_eq!(endpoints("1.51")["bridge"].mac_address, "02:00:00:00:00:01");
    assert_eq!(requested("1.24").config.mac_address, "");
    let mut request = ContainerCreateRequest::default();
    request.config.mac_address = "02:00:00:00:00:01".to_owned();
    request.host_config.network_mode = "none".to_owned();
    container_create(&mut request, at("1.40"));
    assert!(request.networking_config.endpoints_config.is_empty());
}
