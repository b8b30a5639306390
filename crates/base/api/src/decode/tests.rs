//! Leniency where Go is lenient, and refusals with a place where it is not.

use proptest::prelude::*;
use serde_json::json;

use super::{DecodeError, VALUES_MAX, from_slice, from_text};
use crate::container::{ContainerCreateRequest, HostConfig};
use crate::image::ImageInspect;

fn create(body: &str) -> ContainerCreateRequest {
    from_text(body).unwrap()
}

fn refusal(body: &str) -> String {
    from_text::<ContainerCreateRequest>(body)
        .unwrap_err()
        .to_string()
}

#[test]
fn keys_of_structs_match_in_any_case_and_keys_of_maps_stay() {
    let request = create(
        r#"{
            "IMAGE": "debian", "env": ["A=b"], "lAbElS": {"Com.Example.A": "x", "com.example.a": "y"},
            "exposedports": {"80/TCP": {}},
            "hostconfig": {
                "memory": 7, "blkiodevicereadiops": [{"PATH": "/dev/sda", "rate": 1}],
                "LogConfig": {"type": "json-file", "config": {"Max-Size": "1m"}},
                "PORTBINDINGS": {"80/Tcp": [{"hostip": "::1", "HOSTPORT": "8080"}]},
                "Sysctls": {"net.IPv4.x": "1"}, "Tmpfs": {"/Run": "rw"},
                "Annotations": {"K": "v"}, "StorageOpt": {"Size": "1"}
            },
            "NetworkingConfig": {"EndpointsConfig": {
                "MyNet": {"aliases": ["x"], "driveropts": {"Com.X": "1"}, "ipamconfig": {"ipv4address": "10.0.0.2"}}
            }}
        }"#,
    );
    assert_eq!(request.config.image, "debian");
    assert_eq!(request.config.env, ["A=b"]);
    assert_eq!(
        request.config.labels.keys().collect::<Vec<_>>(),
        ["Com.Example.A", "com.example.a"]
    );
    assert!(request.config.exposed_ports.contains_key("80/TCP"));
    let host = &request.host_config;
    assert_eq!(host.memory, 7);
    assert_eq!(host.blkio_device_read_iops[0].path, "/dev/sda");
    assert_eq!(host.log_config.driver, "json-file");
    assert_eq!(host.log_config.config["Max-Size"], "1m");
    assert_eq!(
        host.port_bindings["80/Tcp"].as_ref().unwrap()[0].host_port,
        "8080"
    );
    assert_eq!(host.sysctls["net.IPv4.x"], "1");
    assert_eq!(host.tmpfs["/Run"], "rw");
    assert_eq!(host.annotations["K"], "v");
    assert_eq!(host.storage_opt["Size"], "1");
    let endpoint = &request.networking_config.endpoints_config["MyNet"];
    assert_eq!(endpoint.aliases, ["x"]);
    assert_eq!(endpoint.driver_opts["Com.X"], "1");
    assert_eq!(
        endpoint.ipam_config.as_ref().unwrap().ipv4_address,
        "10.0.0.2"
    );
}

#[test]
fn null_is_absent_at_every_depth() {
    let request = create(
        r#"{
            "Image": null, "Tty": null, "Env": null, "Cmd": null, "Labels": {"a": null},
            "Volumes": {"/data": null}, "Healthcheck": null, "StopTimeout": null,
            "HostConfig": {
                "Binds": null, "Memory": null, "LogConfig": null, "PidsLimit": null,
                "ConsoleSize": null, "CapAdd": [null, "SYS_TIME"], "MaskedPaths": null,
                "PortBindings": {"80/tcp": null, "81/tcp": [null]}
            },
            "NetworkingConfig": {"EndpointsConfig": {"net": null}}
        }"#,
    );
    assert_eq!(request.config.image, "");
    assert_eq!(request.config.cmd, None);
    assert_eq!(request.config.labels["a"], "");
    assert!(request.config.volumes.contains_key("/data"));
    assert_eq!(request.host_config.cap_add, ["", "SYS_TIME"]);
    assert_eq!(request.host_config.port_bindings["80/tcp"], None);
    assert_eq!(
        request.host_config.port_bindings["81/tcp"]
            .as_ref()
            .unwrap()
            .len(),
        1
    );
    assert!(
        request
            .networking_config
            .endpoints_config
            .contains_key("net")
    );
    assert_eq!(create("null"), ContainerCreateRequest::default());
    assert_eq!(
        create("{\"HostConfig\":null}"),
        ContainerCreateRequest::default()
    );
}

#[test]
fn unset_and_empty_stay_apart_where_it_matters() {
    let unset = create("{}");
    let empty = create(r#"{"Cmd":[],"Entrypoint":[""],"HostConfig":{"MaskedPaths":[]}}"#);
    assert_eq!((unset.config.cmd, unset.config.entrypoint), (None, None));
    assert_eq!(empty.config.cmd, Some(vec![]));
    assert_eq!(empty.config.entrypoint, Some(vec![String::new()]));
    assert_eq!(unset.host_config.masked_paths, None);
    assert_eq!(empty.host_config.masked_paths, Some(vec![]));
}

#[test]
fn a_command_may_be_one_word() {
    let request = create(r#"{"cmd":"top","Entrypoint":["/bin/sh","-c"]}"#);
    assert_eq!(request.config.cmd.unwrap(), ["top"]);
    assert_eq!(request.config.entrypoint.unwrap(), ["/bin/sh", "-c"]);
    assert_eq!(
        refusal(r#"{"Cmd":7}"#),
        "invalid JSON: Cmd: expected a list of strings or a string, found a whole number"
    );
}

#[test]
fn of_a_key_given_twice_the_last_that_says_something_counts() {
    assert_eq!(create(r#"{"Image":"a","image":"b"}"#).config.image, "b");
    assert_eq!(create(r#"{"image":"b","Image":"a"}"#).config.image, "a");
    assert_eq!(
        create(r#"{"Image":"a","Image":"c","IMAGE":null}"#)
            .config
            .image,
        "c"
    );
    assert_eq!(
        create(r#"{"Labels":{"k":"1","k":"2"}}"#).config.labels["k"],
        "2"
    );
}

#[test]
fn unknown_keys_are_passed_over() {
    let request =
        create(r#"{"Image":"a","Future":{"deep":[1,{"x":null}]},"HostConfig":{"New":1.5}}"#);
    assert_eq!(request.config.image, "a");
}

#[test]
fn arrays_of_fixed_length_are_filled_and_cut_as_in_go() {
    for (text, size) in [
        ("[24,80]", [24, 80]),
        ("[24]", [24, 0]),
        ("[]", [0, 0]),
        ("[1,2,3]", [1, 2]),
    ] {
        let host: HostConfig = from_text(&format!("{{\"ConsoleSize\":{text}}}")).unwrap();
        assert_eq!(host.console_size, size, "{text}");
    }
}

#[test]
fn wrong_types_are_refused_with_their_place() {
    for (body, message) in [
        (
            r#"{"HostConfig":{"Memory":"1g"}}"#,
            "HostConfig.Memory: expected a whole number, found a string",
        ),
        (
            r#"{"hostconfig":{"memory":1.5}}"#,
            "HostConfig.Memory: expected a whole number, found a number with a fraction",
        ),
        (
            r#"{"HostConfig":{"Memory":99999999999999999999}}"#,
            "HostConfig.Memory: expected a whole number, found a number with a fraction",
        ),
        (
            r#"{"Env":["a",1]}"#,
            "Env[1]: expected a string, found a whole number",
        ),
        (r#"{"Env":"a"}"#, "Env: expected a list, found a string"),
        (
            r#"{"Tty":"true"}"#,
            "Tty: expected a boolean, found a string",
        ),
        (
            r#"{"Labels":{"a.b":1}}"#,
            "Labels.a.b: expected a string, found a whole number",
        ),
        (
            r#"{"Labels":[]}"#,
            "Labels: expected an object, found a list",
        ),
        (
            r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":80}]}}}"#,
            "HostConfig.PortBindings.80/tcp[0].HostPort: expected a string, found a whole number",
        ),
        (
            r#"{"HostConfig":[]}"#,
            "HostConfig: expected an object, found a list",
        ),
        (r#"[]"#, "expected an object, found a list"),
    ] {
        assert_eq!(refusal(body), format!("invalid JSON: {message}"), "{body}");
    }
    let overflow = refusal(r#"{"HostConfig":{"BlkioWeight":70000}}"#);
    assert!(
        overflow.starts_with("invalid JSON: HostConfig.BlkioWeight: "),
        "{overflow}"
    );
}

#[test]
fn what_is_not_one_document_is_refused() {
    assert_eq!(from_slice::<HostConfig>(b" \n"), Err(DecodeError::Empty));
    for body in [
        "{} {}",
        "{}x",
        "{",
        "{\"a\"}",
        "\u{feff}{}",
        "{\"Image\":\"\\ud800\"}",
        "NaN",
    ] {
        assert!(
            matches!(from_text::<HostConfig>(body), Err(DecodeError::Syntax(_))),
            "{body}"
        );
    }
    assert!(from_slice::<HostConfig>(b"{\"Cgroup\":\"\xff\"}").is_err());
    let deep = "[".repeat(100_000);
    assert!(matches!(
        from_text::<HostConfig>(&deep),
        Err(DecodeError::Syntax(_))
    ));
}

#[test]
fn the_number_of_values_is_bounded() {
    let many = |count: usize| format!("{{\"Future\":[{}0]}}", "0,".repeat(count - 1));
    assert!(from_text::<HostConfig>(&many(VALUES_MAX - 2)).is_ok());
    let refused = from_text::<HostConfig>(&many(VALUES_MAX - 1))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("more than 262144 values"), "{refused}");
}

#[test]
fn long_keys_do_not_come_back_whole() {
    let key = "é".repeat(10_000);
    let message = refusal(&format!("{{\"Labels\":{{\"{key}\":1}}}}"));
    assert!(message.len() < 200, "{}", message.len());
}

#[test]
fn nothing_becomes_null_that_docker_writes_as_a_list_and_the_other_way_round() {
    let host = serde_json::to_value(HostConfig::default()).unwrap();
    for key in [
        "Binds",
        "CapAdd",
        "CapDrop",
        "Links",
        "PidsLimit",
        "MemorySwappiness",
        "MaskedPaths",
    ] {
        assert!(host[key].is_null() && host.get(key).is_some(), "{key}");
    }
    for key in ["Dns", "Devices", "Ulimits", "BlkioDeviceReadIOps"] {
        assert_eq!(host[key], json!([]), "{key}");
    }
    for key in [
        "Init",
        "Sysctls",
        "Tmpfs",
        "Annotations",
        "Mounts",
        "KernelMemory",
    ] {
        assert!(host.get(key).is_none(), "{key}");
    }
    assert_eq!(host["PortBindings"], json!({}));
    let image = serde_json::to_value(ImageInspect::default()).unwrap();
    assert_eq!(
        (&image["RepoTags"], &image["Config"]),
        (&json!([]), &json!({}))
    );
}

/// Any JSON value of a modest size.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        "[a-zA-Z/:]{0,6}".prop_map(|value| json!(value)),
    ];
    let key = prop_oneof![
        Just("HostConfig".to_owned()),
        Just("cmd".to_owned()),
        Just("Labels".to_owned()),
        Just("PortBindings".to_owned()),
        Just("ConsoleSize".to_owned()),
        "[a-zA-Z]{0,4}",
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|list| json!(list)),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|entries| json!(entries.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_is_too_much(value in any_json()) {
        let _ = from_slice::<ContainerCreateRequest>(&serde_json::to_vec(&value).unwrap());
    }

    #[test]
    fn what_is_written_is_read_again(
        memory in any::<i64>(), cmd in any::<Option<Vec<String>>>(), env in any::<Vec<String>>(),
        labels in any::<std::collections::BTreeMap<String, String>>(), upper in any::<bool>(),
    ) {
        let mut request = ContainerCreateRequest::default();
        request.host_config.memory = memory;
        request.config.cmd = cmd;
        request.config.env = env;
        request.config.labels = labels;
        let mut body = serde_json::to_string(&request).unwrap();
        if upper {
            body = body.replacen("\"HostConfig\"", "\"HOSTCONFIG\"", 1);
        }
        prop_assert_eq!(from_text::<ContainerCreateRequest>(&body).unwrap(), request);
    }
}
