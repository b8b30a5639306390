//! The answers, byte for byte as they come over the socket, against the API description.

use berth_testkit::Engine;
use berth_testkit::validate::{response, validate};
use serde_json::{Value, json};

/// Asks and checks the answer against the description's definition for that status.
#[track_caller]
fn check(
    engine: &Engine,
    method: &str,
    path: &str,
    template: &str,
    body: Option<&Value>,
    status: u16,
) -> Value {
    let answer = engine.request(method, path, body);
    assert_eq!(
        answer.status,
        status,
        "{method} {path}: {}",
        String::from_utf8_lossy(&answer.body)
    );
    for (name, value) in [
        ("Ostype", "linux"),
        ("Api-Version", "1.56"),
        ("Docker-Experimental", "false"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{method} {path}");
    }
    let definition = response(method, template, status);
    let definition =
        definition.unwrap_or_else(|| panic!("{method} {template} {status} is not described"));
    let value = answer.json();
    let violations = validate(definition, &value);
    assert!(
        violations.is_empty(),
        "{method} {path}: {violations:#?}\n{value:#}"
    );
    value
}

#[test]
fn answers_are_valid_against_the_description() {
    let engine = Engine::with_busybox();
    let get = |path: &str, template: &str| check(&engine, "GET", path, template, None, 200);
    get("/version", "/version");
    get("/info", "/info");
    get("/images/json", "/images/json");
    get("/networks", "/networks");
    get("/networks/none", "/networks/{id}");
    get("/images/busybox:test/json", "/images/{name}/json");

    let body = json!({
        "Image": "busybox:test", "Cmd": ["sleep", "1000"], "Labels": {"a": "b"},
        "HostConfig": {"NetworkMode": "none", "Memory": 67_108_864, "Binds": ["/tmp:/t:ro"],
            "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "CapAdd": ["NET_ADMIN"]}
    });
    let create = "/containers/create";
    let made = check(
        &engine,
        "POST",
        "/containers/create?name=one",
        create,
        Some(&body),
        201,
    );
    let id = made["Id"].as_str().unwrap();
    assert_eq!(id.len(), 64);
    check(
        &engine,
        "POST",
        "/containers/create?name=one",
        create,
        Some(&body),
        409,
    );
    let unknown = json!({"Image": "no/such"});
    check(&engine, "POST", create, create, Some(&unknown), 404);

    get("/containers/one/json", "/containers/{id}/json");
    assert_eq!(
        engine.request("POST", "/containers/one/start", None).status,
        204
    );
    assert_eq!(
        engine.request("POST", "/containers/one/start", None).status,
        304
    );
    get("/containers/json?size=1", "/containers/json");
    get(
        &format!("/containers/{id}/json?size=1"),
        "/containers/{id}/json",
    );
    assert_eq!(
        engine
            .request("POST", "/containers/one/stop?t=0", None)
            .status,
        204
    );
    assert_eq!(
        engine.request("POST", "/containers/one/stop", None).status,
        304
    );
    get("/containers/json?all=1", "/containers/json");
    check(
        &engine,
        "POST",
        "/containers/one/wait",
        "/containers/{id}/wait",
        None,
        200,
    );
    check(
        &engine,
        "GET",
        "/containers/two/json",
        "/containers/{id}/json",
        None,
        404,
    );
    check(
        &engine,
        "POST",
        "/containers/one/kill",
        "/containers/{id}/kill",
        None,
        409,
    );
}

#[test]
fn every_version_is_served_and_others_are_refused() {
    let engine = Engine::start();
    for minor in 24..=56 {
        for path in ["version", "info", "images/json", "containers/json"] {
            let answer = engine.request("GET", &format!("/v1.{minor}/{path}"), None);
            assert_eq!(answer.status, 200, "v1.{minor}/{path}");
        }
    }
    for (path, part) in [
        (
            "/v1.23/info",
            "client version 1.23 is too old. Minimum supported API version is 1.24",
        ),
        (
            "/v1.99/info",
            "client version 1.99 is too new. Maximum supported API version is 1.56",
        ),
    ] {
        let answer = engine.request("GET", path, None);
        assert_eq!(answer.status, 400);
        assert!(
            answer.json()["message"].as_str().unwrap().contains(part),
            "{path}"
        );
    }
}

#[test]
fn what_is_not_there_and_what_is_not_built_differ() {
    let engine = Engine::start();
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("POST", "/info", 404),
        ("POST", "/build", 501),
        ("GET", "/containers/x/checkpoints", 501),
        ("GET", "/volumes", 501),
        ("POST", "/networks/create", 501),
        ("GET", "/swarm", 503),
    ] {
        let answer = engine.request(method, path, None);
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(!answer.json()["message"].as_str().unwrap().is_empty());
    }
    let ping = engine.request("GET", "/_ping", None);
    assert_eq!(ping.body, b"OK");
    assert_eq!(ping.header("Swarm"), Some("inactive"));
    assert_eq!(engine.request("HEAD", "/_ping", None).body, b"");
}
