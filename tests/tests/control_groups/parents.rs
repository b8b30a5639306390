//! `--cgroup-parent` of one container, with the driver `cgroupfs`: where its group lies in every
//! tree, who shares it, and what is left when the last one has gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use berth_testkit::{Engine, wait_until};
use serde_json::{Value, json};

use super::{LIMIT, begin, exec, file, get, groups, is_unified, post, state};

/// The group of a process in the trees that limit something; the same in all.
#[track_caller]
fn group(pid: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let lines = text
        .lines()
        .filter(|l| is_unified() || !l.starts_with("0::"));
    let mut found: Vec<&str> = lines.filter_map(|l| l.splitn(3, ':').nth(2)).collect();
    found.dedup();
    assert_eq!(found.len(), 1, "{text}");
    found.concat()
}

/// The directories of a group that has no process yet, in every tree.
fn directories(like: &str, path: &str) -> BTreeSet<PathBuf> {
    let own = group(like);
    let all = groups(like).into_iter().filter(|dir| dir.is_dir());
    let tops = all.filter_map(|dir| {
        let text = dir.to_str()?.strip_suffix(own.as_str())?;
        Some(PathBuf::from(format!("{text}{path}")))
    });
    tops.collect()
}

fn in_parent(parent: &str) -> Value {
    json!({"NetworkMode": "none", "CgroupParent": parent, "Memory": 64 << 20, "PidsLimit": 50})
}

#[track_caller]
fn remove(engine: &Engine, name: &str) {
    let gone = engine.request("DELETE", &format!("/containers/{name}?force=1"), None);
    assert_eq!(gone.status, 204, "{name}: {gone:?}");
}

#[track_caller]
fn assert_there(list: &BTreeSet<PathBuf>, there: bool) {
    assert!(!list.is_empty());
    for directory in list {
        assert_eq!(directory.is_dir(), there, "{}", directory.display());
    }
}

#[test]
fn a_group_lies_where_it_was_asked_for() {
    let mut engine = Engine::with_busybox();
    let before = engine.census();
    let host = json!({"NetworkMode": "none"});
    begin(&engine, "plain", host, "sleep 1000");
    let plain = state(&engine, "plain")["Pid"].to_string();
    let id = |name: &str| {
        let shown = get(&engine, &format!("/containers/{name}/json"));
        shown["Id"].as_str().expect("an id").to_owned()
    };
    // `/berth-test-X/INSTALL-ID/CONTAINER-ID`
    let usual = group(&plain);
    let own = Path::new(&usual).parent().expect("the engine's");
    let test = own.parent().expect("the test's").display().to_string();
    let own = own.display().to_string();
    for (parent, where_) in [
        ("/../jobs", "leads upwards"),
        ("/system.slice/x", "systemd"),
        (usual.as_str(), "a container's own"),
        ("/somebody/01234567", "another engine's"),
    ] {
        let body = json!({"Image": super::IMAGE, "Cmd": ["true"], "HostConfig": in_parent(parent)});
        let said = post(&engine, "/containers/create", &body, 400);
        let message = said["message"].as_str().unwrap_or_default();
        assert!(message.contains(where_), "{parent}: {said}");
    }

    // Somebody's, and a level below it that is not there yet, with two containers in it.
    let foreign = directories(&plain, &format!("{test}/somebody"));
    let level = directories(&plain, &format!("{test}/somebody/jobs"));
    for directory in &foreign {
        fs::create_dir_all(directory).expect("below the test's own group");
    }
    let parent = format!("{test}/somebody/jobs");
    for name in ["one", "two"] {
        begin(&engine, name, in_parent(&parent), "sleep 1000");
        let pid = state(&engine, name)["Pid"].to_string();
        assert_eq!(group(&pid), format!("{parent}/{}", id(name)));
        let limit = file(&pid, "memory.limit_in_bytes", "memory.max");
        assert_eq!(limit, (64 << 20).to_string());
        assert_eq!(file(&pid, "pids.max", "pids.max"), "50");
        assert_eq!(group(&exec(&engine, name, "sleep 1000").1), group(&pid));
    }
    // A relative one is below the engine's own group.
    begin(&engine, "inner", in_parent("deep/er"), "sleep 1000");
    let inner = state(&engine, "inner")["Pid"].to_string();
    assert_eq!(group(&inner), format!("{own}/deep/er/{}", id("inner")));
    let shown = get(&engine, "/containers/inner/json");
    assert_eq!(shown["HostConfig"]["CgroupParent"], "deep/er");

    engine.kill9();
    engine.start_again();
    for name in ["one", "inner"] {
        let path = |verb: &str| format!("/containers/{name}/{verb}");
        post(&engine, &path("pause"), &Value::Null, 204);
        post(&engine, &path("unpause"), &Value::Null, 204);
    }
    engine.assert_consistent();
    let deep = directories(&plain, &format!("{own}/deep"));
    assert_there(&deep, true);
    remove(&engine, "inner");
    assert_there(&deep, false);
    remove(&engine, "one");
    assert_there(&level, true);
    remove(&engine, "two");
    assert_there(&level, false);
    assert_there(&foreign, true);
    for directory in &foreign {
        fs::remove_dir(directory).expect("nothing is in it");
    }
    remove(&engine, "plain");
    wait_until("no group is left", LIMIT, || {
        let difference = before.difference(&engine.census());
        let mut groups = difference.iter().filter(|line| line.contains(" cgroup "));
        groups.next().is_none().then_some(())
    });
    engine.assert_consistent();
}
