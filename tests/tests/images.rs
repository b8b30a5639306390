//! Images by hand: commit, tag, history, removal, prune, through the stock client.

use std::time::Duration;

use berth_testkit::validate::{response, validate};
use berth_testkit::{Engine, wait_until};
use berth_tests::{IMAGE, detached, inspect};
use serde_json::Value;

/// What the trainer does in the container whose files become the training image.
const LESSON: &str = "
    echo welcome > /etc/motd
    mkdir -p /srv/task; echo one > /srv/task/a; chown 1000:1000 /srv/task/a; chmod 4750 /srv/task/a
    ln /srv/task/a /srv/task/b; ln -s /etc/passwd /srv/task/link
    rm /etc/not-executable
    rm -r /var/tmp; mkdir /var/tmp; echo new > /var/tmp/only
    dd if=/dev/zero of=/srv/sparse bs=1 count=0 seek=1M 2>/dev/null
";

#[track_caller]
fn run(engine: &Engine, image: &str, script: &str) -> String {
    let head = ["run", "--rm", "--network", "none", image, "/bin/sh", "-c"];
    engine
        .docker(&[&head[..], &[script]].concat())
        .text()
        .to_owned()
}

/// Makes an image `name` of `base` and one layer more, a file of this content.
#[track_caller]
fn grown(engine: &Engine, base: &str, name: &str, content: &str) -> String {
    let script = format!("echo {content} > /grown");
    let list = [
        "create",
        "--network",
        "none",
        base,
        "/bin/sh",
        "-c",
        &script,
    ];
    let id = engine.docker(&list).text().to_owned();
    engine.docker(&["start", "--attach", &id]).ok();
    let image = engine.docker(&["commit", &id, name]).text().to_owned();
    engine.docker(&["rm", &id]).ok();
    image
}

#[track_caller]
fn valid(engine: &Engine, method: &str, path: &str, template: &str) -> Value {
    let answer = engine.request(method, path, None);
    let definition = response(method, template, 200).expect("it is described");
    let value = answer.json();
    assert_eq!(answer.status, 200, "{value:#}");
    let violations = validate(definition, &value);
    assert!(violations.is_empty(), "{violations:#?}\n{value:#}");
    value
}

#[test]
fn a_training_image_is_made_by_hand() {
    let engine = Engine::with_busybox();
    let script = format!("mkdir /opt; echo base > /opt/base; {}", "true");
    engine
        .docker(&[
            "run",
            "--name",
            "base",
            "--network",
            "none",
            IMAGE,
            "/bin/sh",
            "-c",
            &script,
        ])
        .ok();
    engine.docker(&["commit", "base", "base:1"]).ok();
    let lesson = format!("{LESSON}\nrm -r /opt; mkdir /opt; echo fresh > /opt/fresh");
    let head = [
        "run",
        "--name",
        "trainer",
        "--network",
        "none",
        "--env",
        "A=1",
    ];
    let tail = ["--label", "l=v", "base:1", "/bin/sh", "-c", &lesson];
    engine.docker(&[&head[..], &tail].concat()).ok();
    let made = engine.docker(&[
        "commit",
        "--author",
        "A Trainer <t@example.org>",
        "--message",
        "lesson one",
        "--change",
        "CMD [\"cat\", \"/etc/motd\"]",
        "--change",
        "ENV B=$A-2",
        "--change",
        "EXPOSE 80",
        "trainer",
        "training:1",
    ]);
    let id = made.text().to_owned();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");

    // The container may go; its files stay.
    engine.docker(&["rm", "trainer", "base"]).ok();
    let said = engine.docker(&["run", "--rm", "--network", "none", "training:1"]);
    assert_eq!(said.text(), "welcome");
    assert_eq!(
        run(
            &engine,
            "training:1",
            "stat -c '%a %u %h' /srv/task/a; cat /srv/task/b; readlink /srv/task/link;
             ls /etc/not-executable 2>/dev/null; ls /var/tmp /opt; stat -c %s /srv/sparse; echo $A $B",
        )
        .lines()
        .collect::<Vec<_>>(),
        [
            "4750 1000 2",
            "one",
            "/etc/passwd",
            "/opt:",
            "fresh",
            "",
            "/var/tmp:",
            "only",
            "1048576",
            "1 1-2"
        ]
    );
    let field = |template| inspect(&engine, "training:1", template);
    assert_eq!(
        field("{{.Author}}|{{.Comment}}"),
        "A Trainer <t@example.org>|lesson one"
    );
    assert_eq!(field("{{json .Config.ExposedPorts}}"), "{\"80/tcp\":{}}");
    assert_eq!(field("{{.Config.Labels.l}}"), "v");
    assert_eq!(field("{{len .RootFS.Layers}}"), "3");
    assert_eq!(field("{{.Id}}"), id);

    let history = valid(
        &engine,
        "GET",
        "/images/training:1/history",
        "/images/{name}/history",
    );
    assert_eq!(history.as_array().map(Vec::len), Some(3));
    assert_eq!(history[0]["Id"], id.as_str());
    assert_eq!(history[0]["Tags"], serde_json::json!(["training:1"]));
    assert_eq!(history[0]["Comment"], "lesson one");
    assert_eq!(history[1]["Id"], "<missing>");
    let shown = engine.docker(&["history", "--quiet", "training:1"]);
    assert_eq!(shown.lines().len(), 3);
    engine.assert_consistent();
}

#[test]
fn a_commit_stops_what_runs_and_changes_nothing_of_it() {
    let engine = Engine::with_busybox();
    let count = "i=0; while :; do i=$((i+1)); echo $i > /n; cp /n /m; done";
    detached(&engine, "busy", &[], count);
    wait_until("it counts", Duration::from_secs(20), || {
        (engine.docker(&["commit", "busy", "probe"]).status == 0).then_some(())
    });
    let numbers = run(&engine, "probe", "cat /n /m 2>/dev/null; echo");
    assert!(!numbers.is_empty());
    assert_eq!(inspect(&engine, "busy", "{{.State.Status}}"), "running");
    engine
        .docker(&["commit", "--pause=false", "busy", "probe:2"])
        .ok();
    engine.docker(&["rm", "--force", "busy"]).ok();
    engine
        .docker(&["commit", "busy", "x"])
        .fails(1, &["No such container: busy"]);
    engine.assert_consistent();
}

#[test]
fn a_pause_during_a_commit_outlives_it() {
    let engine = Engine::with_busybox();
    let script = "dd if=/dev/zero of=/big bs=1M count=60 2>/dev/null
                  while :; do echo on; usleep 10000; done";
    detached(&engine, "busy", &[], script);
    let lines = || engine.docker(&["logs", "busy"]).stdout.lines().count();
    wait_until("it counts", Duration::from_secs(20), || {
        (lines() > 0).then_some(())
    });
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| engine.docker(&["commit", "busy", "probe"]));
        // Refused as long as the commit has it stand still.
        wait_until("it is paused", Duration::from_secs(60), || {
            let paused = engine.docker(&["pause", "busy"]);
            let refused = paused.stderr.contains("stands still for a commit");
            assert!(paused.status == 0 || refused, "{paused}");
            (!refused).then_some(())
        });
        commit.join().unwrap().ok();
    });
    assert_eq!(inspect(&engine, "busy", "{{.State.Status}}"), "paused");
    let still = lines();
    assert_eq!((lines(), lines(), lines()), (still, still, still));
    engine.docker(&["rm", "--force", "busy"]).ok();
    engine.assert_consistent();
}

#[test]
fn names_come_and_go() {
    let engine = Engine::with_busybox();
    let id = inspect(&engine, IMAGE, "{{.Id}}");
    engine.docker(&["tag", IMAGE, "other/name:2"]).ok();
    engine.docker(&["tag", &id[7..19], "third"]).ok();
    engine
        .docker(&["tag", IMAGE, "Bad:1"])
        .fails(1, &["must be lowercase"]);
    engine
        .docker(&["tag", "missing", "x"])
        .fails(1, &["No such image: missing:latest"]);
    let tags = || inspect(&engine, &id, "{{join .RepoTags \" \"}}");
    assert_eq!(tags(), "busybox:test third:latest other/name:2");

    engine.docker(&["rmi", &id]).fails(
        1,
        &["(must be forced) - image is referenced in multiple repositories"],
    );
    let untagged = engine.docker(&["rmi", "third"]);
    assert_eq!(untagged.text(), "Untagged: third:latest");
    // A name moves to another image; the old one stays, dangling if it was its last.
    let grown_id = grown(&engine, IMAGE, "other/name:2", "x");
    assert_eq!(tags(), "busybox:test");
    assert_eq!(inspect(&engine, "other/name:2", "{{.Id}}"), grown_id);

    let user = detached(&engine, "user", &[], "exec sleep 1000");
    let (user, short) = (&user[..12], &id[7..19]);
    engine.docker(&["rmi", IMAGE]).fails(
        1,
        &[&format!(
            "conflict: unable to remove repository reference \"{IMAGE}\" (must force) - container {user} is using its referenced image {short}"
        )],
    );
    engine.docker(&["rmi", "--force", &id]).fails(
        1,
        &[&format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {user}"
        )],
    );
    engine.docker(&["kill", "user"]).ok();
    engine.docker(&["rmi", &id]).fails(
        1,
        &[&format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container {user}"
        )],
    );
    // The container outlives its image.
    let gone = engine.docker(&["rmi", "--force", IMAGE]);
    assert_eq!(
        gone.lines(),
        [format!("Untagged: {IMAGE}"), format!("Deleted: {id}")]
    );
    engine.assert_consistent();
    engine.docker(&["start", "user"]).ok();
    let kept = engine.docker(&["commit", "user", "kept"]).text().to_owned();
    assert_eq!(inspect(&engine, &kept, "{{len .RootFS.Layers}}"), "2");
    engine.docker(&["rm", "--force", "user"]).ok();
    engine.assert_consistent();
}

#[test]
fn the_last_name_takes_the_layers_that_nobody_shares() {
    let engine = Engine::with_busybox();
    let layers = || {
        let path = engine.data_root().join("overlay2");
        std::fs::read_dir(path).map_or(0, Iterator::count)
    };
    let before = layers();
    let one = grown(&engine, IMAGE, "one", "1");
    grown(&engine, IMAGE, "two", "2");
    engine.assert_consistent();
    assert_eq!(layers(), before + 2);
    let size: u64 = inspect(&engine, "one", "{{.Size}}").parse().unwrap();
    let base: u64 = inspect(&engine, IMAGE, "{{.Size}}").parse().unwrap();
    assert!((2..100).contains(&(size - base)), "{size} {base}");
    let gone = engine.docker(&["rmi", "one"]);
    let gone = gone.lines();
    assert_eq!(
        gone[..2],
        ["Untagged: one:latest".to_owned(), format!("Deleted: {one}")]
    );
    assert!(
        gone.len() == 3 && gone[2].starts_with("Deleted: sha256:"),
        "{gone:?}"
    );
    engine.docker(&["rmi", IMAGE]).ok();
    engine.assert_consistent();
    assert_eq!(layers(), before + 1, "the base is shared by the other");
    assert_eq!(run(&engine, "two", "cat /grown"), "2");

    // Dangling images, and images without containers.
    grown(&engine, "two", "two", "3");
    let pruned = engine.docker(&["image", "prune", "--force"]);
    assert_eq!(
        pruned.text().matches("deleted: sha256:").count(),
        1,
        "{pruned:?}"
    );
    assert!(
        pruned.text().contains("Total reclaimed space: "),
        "{pruned:?}"
    );
    assert_eq!(run(&engine, "two", "cat /grown"), "3");
    let young = ["image", "prune", "--all", "--force", "--filter", "until=1h"];
    assert_eq!(engine.docker(&young).text(), "Total reclaimed space: 0B");
    let answer = valid(
        &engine,
        "POST",
        "/images/prune?filters=%7B%22dangling%22:%5B%22false%22%5D%7D",
        "/images/prune",
    );
    assert!(answer["SpaceReclaimed"].as_u64() > Some(1000), "{answer:#}");
    assert_eq!(engine.docker(&["images", "--quiet"]).text(), "");
    engine.assert_consistent();
    assert_eq!(layers(), 0);
}
