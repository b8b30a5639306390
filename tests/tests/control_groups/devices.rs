//! What a container may do with devices: Docker's default rules, nodes of the host, rules of its
//! own, and everything for a privileged one. Still so after limits were changed and the engine was
//! killed.

use berth_testkit::Engine;
use serde_json::{Value, json};

use super::{begin, get, inside, post};

/// `may '<' FILE`: whether the device rules allow the opening. The kernel asks them before it asks
/// whether there is such a device, so that any number will do, and what is refused otherwise has
/// another error.
const MAY: &str = r#"
    may() { (eval ": $1 $2") 2> /said && return 0; ! grep -q 'Operation not permitted' /said; }
    [ -b /disk ] || mknod /disk b 8 0 || exit 90
    [ -c /strange ] || mknod /strange c 240 1 || exit 91
    [ -c /memory ] || mknod /memory c 1 1 || exit 92
"#;

/// The default: any node can be made, few can be used.
const DEFAULT: &str = r"
    for name in null zero full random urandom tty ptmx; do
        may '<' /dev/$name || exit 10
        may '>' /dev/$name || exit 11
    done
    [ $(head -c 4 /dev/zero | wc -c) = 4 ] || exit 12
    for node in /disk /strange /memory; do
        may '<' $node && exit 13
        may '>' $node && exit 14
    done
    rm /disk && mknod /disk b 8 16 || exit 15
    may '<' /disk && exit 16
    exit 0";

/// A node for reading, a rule for writing, and a rule for all minor numbers of block devices.
const GIVEN: &str = r"
    [ $(stat -c %t:%T /dev/given/tuner) = a:e5 ] || exit 20
    may '<' /dev/given/tuner || exit 21
    may '>' /dev/given/tuner && exit 22
    may '<>' /dev/given/tuner && exit 23
    may '>' /strange || exit 24
    may '<' /strange && exit 25
    may '<>' /disk || exit 26
    may '<' /memory && exit 27
    exit 0";

const PRIVILEGED: &str = r"
    [ -c /dev/given/tuner ] || exit 30
    for node in /disk /strange /dev/given/tuner; do
        may '<' $node || exit 31
        may '<>' $node || exit 32
    done
    exit 0";

#[track_caller]
fn check(engine: &Engine, when: &str) {
    for (name, script) in [
        ("default", DEFAULT),
        ("given", GIVEN),
        ("privileged", PRIVILEGED),
    ] {
        let code = inside(engine, name, &format!("{MAY}{script}"));
        assert_eq!(code, 0, "{name}, {when}");
    }
}

#[test]
fn devices_are_what_was_given() {
    let mut engine = Engine::with_busybox();
    // Whoever may open the node may use it: it asks for no capability.
    let node = json!([{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/given/tuner",
        "CgroupPermissions": "r"}]);
    let rules = json!(["c 240:* w", "b 8:* rw"]);
    let given = json!({"NetworkMode": "none", "Devices": node, "DeviceCgroupRules": rules});
    begin(&engine, "given", given, "sleep 1000");
    begin(
        &engine,
        "default",
        json!({"NetworkMode": "none"}),
        "sleep 1000",
    );
    let all = json!({"NetworkMode": "none", "Privileged": true, "Devices": node});
    begin(&engine, "privileged", all, "sleep 1000");
    check(&engine, "from the start");
    let shown = get(&engine, "/containers/given/json");
    assert_eq!(shown["HostConfig"]["Devices"], node);
    assert_eq!(shown["HostConfig"]["DeviceCgroupRules"], rules);

    for name in ["default", "given", "privileged"] {
        let change = json!({"PidsLimit": 60, "Memory": 64 << 20, "MemorySwap": -1});
        post(&engine, &format!("/containers/{name}/update"), &change, 200);
    }
    engine.kill9();
    engine.start_again();
    check(&engine, "after an update and a kill of the engine");

    let missing = json!({"PathOnHost": "/dev/no-such", "PathInContainer": "/dev/x"});
    let host = json!({"NetworkMode": "none", "Devices": [missing]});
    let body = json!({"Image": super::IMAGE, "Cmd": ["true"], "HostConfig": host});
    post(&engine, "/containers/create?name=missing", &body, 201);
    let refused = post(&engine, "/containers/missing/start", &Value::Null, 400);
    assert_eq!(
        refused["message"],
        "error gathering device information while adding custom device \"/dev/no-such\": no such file or directory"
    );
    for name in ["default", "given", "privileged", "missing"] {
        let gone = engine.request("DELETE", &format!("/containers/{name}?force=1"), None);
        assert_eq!(gone.status, 204, "{name}: {gone:?}");
    }
    engine.assert_consistent();
}
