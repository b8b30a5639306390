//! The main job: a box for every name of a list, and none when the list is done.

use std::fs;

use berth_testkit::{Engine, Output};
use berth_tests::{IMAGE, inspect};

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
