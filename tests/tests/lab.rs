//! The main job: a box for every name of a list, and none when the list is done.

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use berth_testkit::{Engine, Output, wait_until};
use berth_tests::{IMAGE, inspect};
use serde_json::Value;

fn list(engine: &Engine, text: &str) -> String {
    let path = engine.scratch().join("class.txt");
    fs::write(&path, text).expect("the directory is ours");
    path.to_string_lossy().into_owned()
}

fn allocate(engine: &Engine, list: &str) -> Output {
    engine.berth(&["lab", "allocate", list, "--image", IMAGE])
}

fn boxes(engine: &Engine) -> Vec<(String, String)> {
    let listed = engine.docker(&["ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}"]);
    let mut boxes: Vec<_> = listed
        .lines()
        .iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, id)| (name.to_owned(), id.to_owned()))
        .collect();
    boxes.sort();
    boxes
}

#[test]
fn every_name_gets_one_running_box() {
    let engine = Engine::with_busybox();
    let before = engine.census();
    let names = list(&engine, "# the class\nuser1\n\nuser2\nuser3\n");
    let table = allocate(&engine, &names);
    for name in ["user1", "user2", "user3"] {
        assert!(
            table
                .ok()
                .lines()
                .any(|line| line.split_whitespace().next() == Some(name)),
            "{name} is not in the table: {table}"
        );
        assert_eq!(inspect(&engine, name, "{{.State.Running}}"), "true");
        assert!(
            inspect(&engine, name, "{{json .Config.Labels}}").contains(name),
            "{name} is not labelled"
        );
    }
    let first = boxes(&engine);
    assert_eq!(first.len(), 3, "{first:?}");

    // The same again changes nothing; a longer list adds.
    allocate(&engine, &names).ok();
    assert_eq!(boxes(&engine), first);
    let longer = list(&engine, "user1\nuser2\nuser3\nuser4\n");
    allocate(&engine, &longer).ok();
    let second = boxes(&engine);
    assert_eq!(second.len(), 4);
    assert!(
        first.iter().all(|known| second.contains(known)),
        "{first:?} {second:?}"
    );

    engine.berth(&["lab", "deallocate", &longer]).ok();
    assert!(engine.docker(&["ps", "--all", "--quiet"]).text().is_empty());
    engine.berth(&["lab", "deallocate", &longer]).ok();
    engine.assert_unchanged_since(&before);
}

#[test]
fn a_box_that_was_stopped_or_removed_is_put_right() {
    let engine = Engine::with_busybox();
    let names = list(&engine, "user1\nuser2\n");
    allocate(&engine, &names).ok();
    engine.docker(&["kill", "user1"]).ok();
    engine.docker(&["rm", "--force", "user2"]).ok();
    allocate(&engine, &names).ok();
    let names: Vec<_> = boxes(&engine).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["user1", "user2"]);
}

#[test]
fn deallocating_leaves_other_containers_alone() {
    let engine = Engine::with_busybox();
    // Somebody's own container that happens to have a name of the list.
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            "user2",
            "--network",
            "none",
            IMAGE,
            "sleep",
            "1000",
        ])
        .ok();
    let names = list(&engine, "user1\nuser2\n");
    let allocated = allocate(&engine, &names);
    assert_ne!(
        allocated.status, 0,
        "a foreign container became a box: {allocated}"
    );
    assert!(allocated.stderr.contains("user2"), "{allocated}");
    let done = engine.berth(&["lab", "deallocate", &names]);
    assert_eq!(
        inspect(&engine, "user2", "{{.State.Running}}"),
        "true",
        "{done}"
    );
}

#[test]
fn lists_with_mistakes_change_nothing() {
    let engine = Engine::with_busybox();
    let before = engine.census();
    for (text, part) in [
        ("user1\nuser/2\n", "user/2"),
        ("user1\nuser1\n", "user1"),
        ("../etc\n", "../etc"),
    ] {
        let refused = allocate(&engine, &list(&engine, text));
        assert_ne!(refused.status, 0, "{text:?}: {refused}");
        assert!(refused.stderr.contains(part), "{text:?}: {refused}");
    }
    let refused = allocate(&engine, "/no/such/list");
    assert_ne!(refused.status, 0, "{refused}");
    assert!(refused.stderr.contains("/no/such/list"), "{refused}");
    let names = list(&engine, "user1\n");
    let refused = engine.berth(&["lab", "allocate", &names, "--image", "nosuch:image"]);
    assert_ne!(refused.status, 0, "{refused}");
    assert!(refused.stderr.contains("nosuch:image"), "{refused}");
    engine.assert_unchanged_since(&before);
}

/// What `lab status --json` says of each box: its state.
fn states(engine: &Engine) -> BTreeMap<String, String> {
    let rows = engine.berth(&["lab", "status", "--json"]).json();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = rows.as_array().expect("a list").iter();
    rows.map(|row| (text(row, "name"), text(row, "state")))
        .collect()
}

#[test]
fn status_tells_of_every_box_and_all_goes_with_all() {
    let engine = Engine::with_busybox();
    let before = engine.census();
    let names = list(&engine, "user1\nuser2\nuser3");
    let made = engine
        .berth(&["lab", "allocate", &names, "--image", IMAGE, "--json"])
        .json();
    assert_eq!(made.as_array().map(Vec::len), Some(3), "{made}");
    engine.docker(&["stop", "user2"]).ok();
    engine.docker(&["pause", "user3"]).ok();
    let expected = [
        ("user1", "running"),
        ("user2", "exited"),
        ("user3", "paused"),
    ];
    let expected = expected.map(|(name, state)| (name.to_owned(), state.to_owned()));
    assert_eq!(states(&engine), BTreeMap::from(expected));
    let table = engine.berth(&["lab", "status"]);
    let user1 = table.lines().into_iter().find(|l| l.starts_with("user1"));
    let user1 = user1.expect("user1 has a row").to_owned();
    assert!(user1.contains("/ 512MiB") && user1.contains('%'), "{table}");

    // Another lab and somebody's own container are not touched by the removal of this one.
    engine
        .berth(&[
            "lab",
            "allocate",
            "--lab",
            "other",
            "--image",
            IMAGE,
            &list(&engine, "ann1\n"),
        ])
        .ok();
    let command = ["run", "-d", "--name", "own", IMAGE, "sleep", "1000"];
    engine.docker(&command).ok();
    engine
        .berth(&["lab", "deallocate", "--all", "--lab", "class"])
        .ok();
    assert_eq!(states(&engine).into_keys().collect::<Vec<_>>(), ["ann1"]);
    engine.berth(&["lab", "deallocate", "--all"]).ok();
    assert!(states(&engine).is_empty());
    assert_eq!(
        engine.docker(&["ps", "--format", "{{.Names}}"]).text(),
        "own"
    );
    engine.docker(&["rm", "--force", "own"]).ok();
    engine.assert_unchanged_since(&before);
}

#[test]
fn boxes_live_on_without_their_engine_and_come_back_with_it() {
    let mut engine = Engine::with_busybox();
    let names = list(&engine, "user1\nuser2\nuser3\n");
    allocate(&engine, &names).ok();
    let command = ["exec", "user1", "/bin/sh", "-c", "echo kept > /kept"];
    engine.docker(&command).ok();
    engine.docker(&["stop", "user3"]).ok();
    let pid = |engine: &Engine, name| inspect(engine, name, "{{.State.Pid}}");
    let (first, second) = (pid(&engine, "user1"), pid(&engine, "user2"));
    engine.kill9();
    // One box ends while nobody looks: as after a loss of power.
    let pid2: i32 = second.parse().expect("a process id");
    engine
        .in_namespaces("kill", &["-9", &pid2.to_string()])
        .ok();
    engine.start_again();
    assert_eq!(pid(&engine, "user1"), first, "a box that ran was disturbed");
    wait_until("the second box is back", Duration::from_secs(20), || {
        (states(&engine).get("user2")? == "running").then_some(())
    });
    assert_eq!(states(&engine)["user3"], "exited", "stopped by hand");
    let kept = engine.docker(&["exec", "user1", "cat", "/kept"]);
    assert_eq!(kept.text(), "kept");
    engine.berth(&["lab", "deallocate", "--all"]).ok();
}

/// Kills in the test below.
const KILLS: u64 = 20;

#[test]
fn a_class_converges_however_often_its_engine_is_killed() {
    let mut engine = Engine::with_busybox();
    let text: Vec<String> = (1..=12).map(|seat| format!("user{seat}")).collect();
    let names = list(&engine, &text.join("\n"));
    let seed = u64::from(std::process::id());
    for round in 0..KILLS {
        // A simple generator is enough to spread the instants; the seed is printed on failure.
        let noise = (seed + round).wrapping_mul(6_364_136_223_846_793_005) >> 33;
        let instant = Duration::from_millis(5 + noise % 450);
        let allocating = round % 2 == 0;
        let command = match allocating {
            true => &["lab", "allocate", &names, "--image", IMAGE][..],
            false => &["lab", "deallocate", &names],
        };
        let class = engine.berth_beside(command);
        // Nobody ever sends: the instant is all that is waited for.
        let (_sender, nothing) = mpsc::channel::<()>();
        let _ = nothing.recv_timeout(instant);
        engine.kill9();
        drop(class.finish());
        engine.start_again();
        let context = format!("seed {seed}, round {round}, {instant:?}");
        let again = engine.berth(command);
        assert_eq!(again.status, 0, "{context}: {again}");
        let running = states(&engine);
        let expected = if allocating { text.len() } else { 0 };
        assert_eq!(running.len(), expected, "{context}: {running:?}");
        assert!(
            running.values().all(|state| state == "running"),
            "{context}: {running:?}"
        );
        engine.assert_consistent();
    }
    assert!(engine.docker(&["ps", "--all", "--quiet"]).text().is_empty());
    wait_until("only the engine is left", Duration::from_secs(20), || {
        let processes = engine.processes().into_iter();
        let others = processes.filter(|(_, line)| line != "berth-shim spare");
        (others.count() == 1).then_some(())
    });
}
