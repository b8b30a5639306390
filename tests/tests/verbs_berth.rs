//! The verbs of `berth` against an engine that runs: what they print, and what it does.

use std::fs;
use std::time::Duration;

use berth_testkit::{Engine, wait_until};
use berth_tests::{IDLE, IMAGE, detached, inspect};

#[test]
fn the_life_of_a_container() {
    let engine = Engine::with_busybox();
    let id = detached(&engine, "box", &[], IDLE);
    for (arguments, said) in [
        (&["rename", "box", "web"][..], ""),
        (&["pause", "web"], "web\n"),
        (&["unpause", "web"], "web\n"),
        (&["update", "--pids-limit", "77", "web"], "web\n"),
        (&["restart", "-t", "5", "web"], "web\n"),
    ] {
        let output = engine.berth(arguments);
        assert_eq!(output.ok(), said, "{output}");
    }
    assert_eq!(inspect(&engine, "web", "{{.HostConfig.PidsLimit}}"), "77");

    let top = engine.berth(&["top", "web"]);
    assert!(
        top.ok().starts_with("UID ") && top.ok().contains("/bin/sh -c"),
        "{top}"
    );
    let stats = engine.berth(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"]);
    let pids = stats
        .ok()
        .trim()
        .strip_prefix("web ")
        .and_then(|n| n.parse::<u32>().ok());
    assert!(pids.is_some_and(|n| n > 0), "{stats}");
    // The end is a whole second, so what has just happened comes a little later.
    wait_until("all events", Duration::from_secs(30), || {
        let events = engine.berth(&["events", "--since", "10m", "--until", "0s"]);
        ["create", "start", "rename", "pause", "unpause", "restart"]
            .iter()
            .all(|action| events.ok().contains(&format!(" container {action} {id}")))
            .then_some(())
    });
    let df = engine.berth(&["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]);
    assert!(df.ok().contains("Images 1\nContainers 1\n"), "{df}");

    engine.berth(&["stop", "-t", "5", "web"]).ok();
    let pruned = engine.berth(&["container", "prune", "-f"]);
    assert!(
        pruned
            .ok()
            .starts_with(&format!("Deleted Containers:\n{id}\n")),
        "{pruned}"
    );
}

#[test]
fn files_go_in_and_out() {
    let engine = Engine::with_busybox();
    let script = format!("echo changed > /etc/new; rm /etc/not-executable; echo done; {IDLE}");
    detached(&engine, "box", &[], &script);
    wait_until("the changes", Duration::from_secs(30), || {
        (engine.berth(&["logs", "box"]).stdout == "done\n").then_some(())
    });
    let diff = engine.berth(&["diff", "box"]);
    let changes = ["A /etc/new\n", "D /etc/not-executable\n"];
    assert!(changes.iter().all(|c| diff.ok().contains(c)), "{diff}");

    let scratch = engine.scratch();
    let path = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    engine.berth(&["cp", "box:/etc/new", &path("new")]).ok();
    assert_eq!(fs::read_to_string(path("new")).unwrap(), "changed\n");
    fs::create_dir_all(scratch.join("tree/sub")).unwrap();
    fs::write(scratch.join("tree/sub/file"), "mine\n").unwrap();
    engine.berth(&["cp", &path("tree"), "box:/tmp"]).ok();
    engine
        .berth(&["cp", &(path("tree") + "/."), "box:/var/tmp"])
        .ok();
    engine
        .berth(&["cp", &path("tree/sub/file"), "box:/tmp/other"])
        .ok();
    for inside in ["/tmp/tree/sub/file", "/var/tmp/sub/file", "/tmp/other"] {
        let from = format!("box:{inside}");
        engine.berth(&["cp", &from, &path("read")]).ok();
        assert_eq!(fs::read_to_string(path("read")).unwrap(), "mine\n");
        fs::write(path("read"), "to be replaced").unwrap();
    }
    engine.berth(&["cp", "box:/tmp/tree", &path("back")]).ok();
    engine
        .berth(&["cp", "box:/tmp/tree/.", &path("inner")])
        .ok();
    for name in ["back/sub/file", "inner/sub/file"] {
        assert_eq!(fs::read_to_string(scratch.join(name)).unwrap(), "mine\n");
    }
    let nothing = engine.berth(&["cp", "box:/nothing", &path("nothing")]);
    assert_eq!(nothing.status, 1);
    assert!(
        nothing.stderr.contains("Could not find the file /nothing"),
        "{nothing}"
    );

    engine
        .berth(&["export", "-o", &path("box.tar"), "box"])
        .ok();
    let imported = engine.berth(&["import", &path("box.tar"), "whole"]);
    assert!(imported.ok().starts_with("sha256:"), "{imported}");
}

#[test]
fn images_are_made_by_hand() {
    let engine = Engine::with_busybox();
    detached(
        &engine,
        "box",
        &[],
        &format!("echo changed > /etc/new; echo done; {IDLE}"),
    );
    wait_until("the change", Duration::from_secs(30), || {
        (engine.berth(&["logs", "box"]).stdout == "done\n").then_some(())
    });
    let change = "CMD [\"cat\", \"/etc/new\"]";
    let made = engine.berth(&["commit", "-m", "by hand", "-c", change, "box", "made:1"]);
    assert!(made.ok().starts_with("sha256:"), "{made}");
    engine.berth(&["tag", "made:1", "made:2"]).ok();
    let history = engine.berth(&["history", "--format", "{{.Comment}}", "made:2"]);
    assert!(history.ok().starts_with("by hand\n"), "{history}");
    let run = engine.berth(&["run", "--rm", "--network", "none", "made:2"]);
    assert_eq!(run.ok(), "changed\n");
    let archive = engine.scratch().join("made.tar");
    let archive = archive.to_str().unwrap();
    engine
        .berth(&["save", "-o", archive, "made:1", "made:2"])
        .ok();
    let removed = engine.berth(&["rmi", "made:1", "made:2"]);
    assert!(
        removed
            .ok()
            .starts_with("Untagged: made:1\nUntagged: made:2\nDeleted: "),
        "{removed}"
    );
    let loaded = engine.berth(&["load", "-i", archive]);
    assert!(loaded.ok().contains("Loaded image: made:1"), "{loaded}");
    let pruned = engine.berth(&["image", "prune", "-af"]);
    assert!(pruned.ok().contains("untagged: made:1\n"), "{pruned}");
    let left = engine.berth(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(left.ok().trim(), IMAGE);
}
