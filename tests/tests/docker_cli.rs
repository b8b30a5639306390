//! The stock docker CLI through the life of containers.

use std::fs;

use berth_testkit::Engine;
use berth_tests::{IDLE, IMAGE, detached, inspect, run, script};

#[test]
fn create_start_wait_remove() {
    let engine = Engine::with_busybox();
    let empty = engine.census();
    let id = engine.docker(&[
        "create",
        "--name",
        "one",
        "--network",
        "none",
        IMAGE,
        "/bin/sh",
        "-c",
        "echo out; echo err >&2; exit 3",
    ]);
    let id = id.text();
    assert_eq!(id.len(), 64, "{id}");
    assert_eq!(
        inspect(&engine, "one", "{{.State.Status}} {{.Id}} {{.Name}}"),
        format!("created {id} /one")
    );
    assert!(engine.docker(&["ps", "--quiet"]).text().is_empty());
    assert_eq!(engine.docker(&["start", "one"]).text(), "one");
    assert_eq!(engine.docker(&["wait", "one"]).text(), "3");
    assert_eq!(
        inspect(
            &engine,
            "one",
            "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}"
        ),
        "exited 3 0"
    );
    let logs = engine.docker(&["logs", "one"]);
    assert_eq!((logs.ok(), logs.stderr.as_str()), ("out\n", "err\n"));
    // A second start runs it again and appends to its log.
    engine.docker(&["start", "one"]).ok();
    assert_eq!(engine.docker(&["wait", "one"]).text(), "3");
    assert_eq!(engine.docker(&["logs", "one"]).ok(), "out\nout\n");
    assert_eq!(engine.docker(&["rm", "one"]).text(), "one");
    assert!(engine.docker(&["ps", "--all", "--quiet"]).text().is_empty());
    engine.assert_unchanged_since(&empty);
}

#[test]
fn run_passes_output_and_status_through() {
    let engine = Engine::with_busybox();
    let said = script(&engine, &[], "echo out; echo err >&2; exit 42");
    assert_eq!(
        (said.status, said.stdout.as_str(), said.stderr.as_str()),
        (42, "out\n", "err\n")
    );
    let said = script(
        &engine,
        &[],
        "kill -KILL $$; sleep 100 & kill -KILL $!; wait $!",
    );
    assert_eq!(said.status, 137, "{said}");
    let said = script(
        &engine,
        &[],
        "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done",
    );
    assert_eq!(said.ok().lines().count(), 20000);
    assert_eq!(said.ok().lines().last(), Some("19999"));
    assert!(
        engine.docker(&["ps", "--all", "--quiet"]).text().is_empty(),
        "--rm leaves nothing"
    );
}

#[test]
fn ps_filters() {
    let engine = Engine::with_busybox();
    detached(&engine, "alpha", &["--label", "class=one"], IDLE);
    detached(&engine, "beta", &["--label", "class=two"], "exit 7");
    engine.docker(&["wait", "beta"]).ok();
    engine
        .docker(&[
            "create",
            "--name",
            "gamma",
            "--network",
            "none",
            "--label",
            "class=two",
            IMAGE,
        ])
        .ok();
    let alpha = inspect(&engine, "alpha", "{{.Id}}");
    for (flags, expected) in [
        (&[][..], &["alpha"][..]),
        (&["-a"], &["gamma", "beta", "alpha"]),
        (&["-l"], &["gamma"]),
        (&["-n", "2"], &["gamma", "beta"]),
        (&["-a", "--filter", "name=et"], &["beta"]),
        (&["--filter", "status=exited"], &["beta"]),
        (
            &["--filter", "status=created", "--filter", "status=running"],
            &["gamma", "alpha"],
        ),
        (
            &["-a", "--filter", "label=class"],
            &["gamma", "beta", "alpha"],
        ),
        (&["-a", "--filter", "label=class=two"], &["gamma", "beta"]),
        (
            &[
                "-a",
                "--filter",
                "label=class=two",
                "--filter",
                "status=exited",
            ],
            &["beta"],
        ),
        (&["-a", "--filter", "exited=7"], &["beta"]),
        (
            &["-a", "--filter", &format!("id={}", &alpha[..10])],
            &["alpha"],
        ),
        (
            &["-a", "--filter", "ancestor=busybox:test"],
            &["gamma", "beta", "alpha"],
        ),
        (&["-a", "--filter", "ancestor=other"], &[]),
        (&["-a", "--filter", "before=beta"], &["alpha"]),
        (&["-a", "--filter", "since=alpha"], &["gamma", "beta"]),
    ] {
        let listed = engine.docker(&[&["ps", "--format", "{{.Names}}"][..], flags].concat());
        assert_eq!(listed.lines(), expected, "ps {flags:?}");
    }
    assert_eq!(engine.docker(&["ps", "-q", "--no-trunc"]).text(), alpha);
    let row = engine.docker(&[
        "ps",
        "-a",
        "--format",
        "{{.Names}}|{{.Image}}|{{.Status}}",
        "--filter",
        "name=beta",
    ]);
    assert!(
        row.text().starts_with("beta|busybox:test|Exited (7) "),
        "{row}"
    );
}

#[test]
fn logs_follow_tail_and_timestamps() {
    let engine = Engine::with_busybox();
    let shared = engine.scratch();
    let volume = format!("{}:/sync", shared.display());
    let waiting = "echo one; until [ -e /sync/go ]; do sleep 0.1; done; echo two; echo three >&2";
    detached(&engine, "talker", &["-v", &volume], waiting);
    let mut follower = engine.docker_beside(&["logs", "--follow", "talker"]);
    assert_eq!(follower.next_line().as_deref(), Some("one"));
    assert!(!follower.has_ended(), "following ends with the container");
    fs::write(shared.join("go"), "").expect("the directory is ours");
    assert_eq!(follower.next_line().as_deref(), Some("two"));
    let followed = follower.finish();
    assert_eq!((followed.ok(), followed.stderr.as_str()), ("", "three\n"));

    let tail = engine.docker(&["logs", "--tail", "2", "talker"]);
    assert_eq!((tail.ok(), tail.stderr.as_str()), ("two\n", "three\n"));
    assert_eq!(engine.docker(&["logs", "--tail", "0", "talker"]).ok(), "");
    let stamped = engine.docker(&["logs", "--timestamps", "talker"]);
    for (line, expected) in stamped.lines().iter().zip(["one", "two"]) {
        let (stamp, rest) = line.split_once(' ').expect("a time and a text");
        assert_eq!(rest, expected);
        // Nanoseconds of fixed width, so that lines sort.
        assert!(
            stamp.len() == 30 && stamp.ends_with('Z') && stamp.as_bytes()[10] == b'T',
            "{stamp}"
        );
    }
}

#[test]
fn stop_asks_first_and_kill_does_not() {
    let engine = Engine::with_busybox();
    let polite = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 1 & wait $!; done";
    detached(&engine, "polite", &[], polite);
    let mut follower = engine.docker_beside(&["logs", "--follow", "polite"]);
    assert_eq!(follower.next_line().as_deref(), Some("ready"));
    assert_eq!(engine.docker(&["stop", "polite"]).text(), "polite");
    assert_eq!(inspect(&engine, "polite", "{{.State.ExitCode}}"), "5");
    assert_eq!(follower.finish().ok(), "bye\n");
    engine.docker(&["stop", "polite"]).ok();

    // Signals without a handler do nothing to a namespace's first process.
    detached(&engine, "deaf", &[], "sleep 1000");
    engine.docker(&["stop", "-t", "1", "deaf"]).ok();
    assert_eq!(
        inspect(&engine, "deaf", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 137"
    );

    let listening = "trap 'echo hup' HUP; echo ready; while :; do sleep 1 & wait $!; done";
    detached(&engine, "victim", &[], listening);
    let mut follower = engine.docker_beside(&["logs", "--follow", "victim"]);
    assert_eq!(follower.next_line().as_deref(), Some("ready"));
    engine.docker(&["kill", "--signal", "HUP", "victim"]).ok();
    assert_eq!(follower.next_line().as_deref(), Some("hup"));
    assert_eq!(engine.docker(&["kill", "victim"]).text(), "victim");
    assert_eq!(engine.docker(&["wait", "victim"]).text(), "137");
    engine
        .docker(&["kill", "victim"])
        .fails(1, &["victim", "is not running"]);
}

#[test]
fn removing_a_running_container_needs_force() {
    let engine = Engine::with_busybox();
    let before = engine.census();
    detached(&engine, "busy", &[], IDLE);
    let refused = engine.docker(&["rm", "busy"]);
    refused.fails(1, &["busy", "running"]);
    assert_eq!(engine.docker(&["rm", "--force", "busy"]).text(), "busy");
    engine
        .docker(&["inspect", "busy"])
        .fails(1, &["no such object: busy"]);
    engine.assert_unchanged_since(&before);
}

#[test]
fn inspect_tells_what_was_asked_for() {
    let engine = Engine::with_busybox();
    let flags = [
        "--name",
        "told",
        "-e",
        "A=1",
        "-w",
        "/tmp",
        "-u",
        "app",
        "-m",
        "64m",
        "--label",
        "a=b",
        "--network",
        "none",
    ];
    engine
        .docker(&[&["create"][..], &flags, &[IMAGE, "echo", "x"]].concat())
        .ok();
    let told = engine.docker(&["inspect", "told"]).json();
    let told = &told[0];
    for (path, expected) in [
        ("/Name", serde_json::json!("/told")),
        ("/Path", serde_json::json!("echo")),
        ("/Args", serde_json::json!(["x"])),
        ("/State/Status", serde_json::json!("created")),
        ("/State/Running", serde_json::json!(false)),
        ("/Config/User", serde_json::json!("app")),
        ("/Config/WorkingDir", serde_json::json!("/tmp")),
        ("/Config/Labels", serde_json::json!({"a": "b"})),
        ("/Config/Image", serde_json::json!(IMAGE)),
        ("/HostConfig/Memory", serde_json::json!(64 << 20)),
        ("/HostConfig/NetworkMode", serde_json::json!("none")),
    ] {
        assert_eq!(told.pointer(path), Some(&expected), "{path} in {told}");
    }
    let environment = told["Config"]["Env"].as_array().expect("a list");
    assert!(
        environment.contains(&serde_json::json!("A=1")),
        "{environment:?}"
    );
    // A unique beginning of the id is a name as good as any.
    let id = told["Id"].as_str().expect("a text");
    assert_eq!(inspect(&engine, &id[..12], "{{.Name}}"), "/told");
    assert_eq!(run(&engine, &[], &["true"]).status, 0);
}
