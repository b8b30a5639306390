//! The API without a CLI in between: versions, headers, statuses, and answers to what is not
//! built. Shapes are in `schema.rs`.

use berth_testkit::{Engine, Response};
use berth_tests::IMAGE;
use serde_json::json;

#[track_caller]
fn message(response: &Response) -> String {
    response.json()["message"]
        .as_str()
        .unwrap_or_else(|| panic!("no message: {response:?}"))
        .to_owned()
}

#[test]
fn versions_are_negotiated() {
    let engine = Engine::start();
    for method in ["GET", "HEAD"] {
        let ping = engine.request(method, "/_ping", None);
        assert_eq!(ping.status, 200);
        assert_eq!(
            ping.body,
            if method == "GET" {
                b"OK".to_vec()
            } else {
                Vec::new()
            }
        );
        for name in [
            "api-version",
            "builder-version",
            "docker-experimental",
            "ostype",
            "server",
            "cache-control",
        ] {
            assert!(
                ping.header(name).is_some(),
                "{method} /_ping has no {name}: {ping:?}"
            );
        }
    }
    let newest = engine.request("GET", "/version", None).json()["ApiVersion"]
        .as_str()
        .expect("a version")
        .to_owned();
    let minor: u32 = newest
        .strip_prefix("1.")
        .and_then(|minor| minor.parse().ok())
        .expect("1.N");
    for minor in 24..=minor {
        for path in ["/version", "/info", "/containers/json", "/images/json"] {
            let response = engine.request("GET", &format!("/v1.{minor}{path}"), None);
            assert_eq!(response.status, 200, "1.{minor} {path}: {response:?}");
        }
    }
    let old = engine.request("GET", "/v1.23/info", None);
    assert_eq!(old.status, 400);
    assert!(
        message(&old)
            .contains("client version 1.23 is too old. Minimum supported API version is 1.24"),
        "{old:?}"
    );
    let new = engine.request("GET", &format!("/v1.{}/info", minor + 1), None);
    assert_eq!(new.status, 400);
    assert!(message(&new).contains("is too new"), "{new:?}");
}

#[test]
fn statuses_of_refusals() {
    let engine = Engine::with_busybox();
    engine
        .docker(&["create", "--name", "taken", "--network", "none", IMAGE])
        .ok();
    let create = |body: serde_json::Value, query: &str| {
        engine.request("POST", &format!("/containers/create{query}"), Some(&body))
    };
    for (response, status) in [
        (
            create(
                json!({"Image": "nosuch:image", "HostConfig": {"NetworkMode": "none"}}),
                "",
            ),
            404,
        ),
        (
            create(
                json!({"Image": IMAGE, "HostConfig": {"NetworkMode": "none"}}),
                "?name=taken",
            ),
            409,
        ),
        (
            create(
                json!({"Image": IMAGE, "HostConfig": {"Memory": 1, "NetworkMode": "none"}}),
                "",
            ),
            400,
        ),
        (
            create(json!({"Image": IMAGE, "Env": "not a list"}), ""),
            400,
        ),
        (create(json!(["not an object"]), ""), 400),
        (
            engine.request("GET", "/containers/json?filters=%7B", None),
            400,
        ),
        (
            engine.request("GET", "/containers/json?limit=many", None),
            400,
        ),
        (
            engine.request("POST", "/containers/taken/wait?condition=nosuch", None),
            400,
        ),
        (engine.request("GET", "/containers/taken/logs", None), 400),
        (engine.request("POST", "/containers/taken/kill", None), 409),
        (engine.request("GET", "/no/such/page", None), 404),
        (engine.request("PUT", "/version", None), 404),
    ] {
        assert_eq!(response.status, status, "{response:?}");
        assert!(!message(&response).is_empty());
    }
    assert_eq!(
        engine
            .request("POST", "/containers/taken/stop", None)
            .status,
        304
    );
    assert_eq!(
        message(&engine.request("GET", "/no/such/page", None)),
        "page not found"
    );
}

#[test]
fn what_is_not_built_says_so() {
    let engine = Engine::with_busybox();
    engine
        .docker(&["create", "--name", "one", "--network", "none", IMAGE])
        .ok();
    for (method, path) in [
        ("GET", "/volumes"),
        ("POST", "/networks/create"),
        ("POST", "/build"),
        ("POST", "/images/create?fromImage=busybox&tag=latest"),
    ] {
        let response = engine.request(method, path, None);
        assert_eq!(response.status, 501, "{method} {path}: {response:?}");
        assert!(
            message(&response).len() > 20,
            "{method} {path}: no sentence: {response:?}"
        );
    }
}

#[test]
fn names_may_be_null_and_of_any_case() {
    let engine = Engine::with_busybox();
    let body = json!({"image": IMAGE, "CMD": ["sleep", "1000"], "Env": null, "Labels": null, "HostConfig": {"networkmode": "none", "Binds": null}, "NoSuchField": 1});
    let created = engine.request("POST", "/containers/create?name=loose", Some(&body));
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(
        engine
            .request("POST", "/containers/loose/start", None)
            .status,
        204
    );
    assert_eq!(
        engine
            .request("POST", "/containers/loose/start", None)
            .status,
        304
    );
    assert_eq!(
        engine
            .request("POST", "/containers/loose/kill", None)
            .status,
        204
    );
    let waited = engine.request("POST", "/containers/loose/wait", None);
    assert_eq!(waited.json()["StatusCode"], 137, "{waited:?}");
}
