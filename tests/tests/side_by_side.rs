//! Several engines on one machine, each with its own roots and socket.

use berth_testkit::{Engine, EngineBuilder};
use berth_tests::{detached, inspect, script};

/// Runs forever and starts nothing, so that a census of processes stays the same.
const STILL: &str = "exec sleep 1000";

#[test]
fn two_engines_do_not_know_each_other() {
    let (first, second) = (Engine::with_busybox(), Engine::with_busybox());
    let ids = [
        detached(&first, "same", &[], STILL),
        detached(&second, "same", &[], STILL),
    ];
    assert_ne!(ids[0], ids[1]);
    for (engine, id) in [&first, &second].into_iter().zip(&ids) {
        assert_eq!(engine.docker(&["ps", "--quiet", "--no-trunc"]).text(), id);
        assert_eq!(
            engine
                .docker(&["info", "--format", "{{.Containers}}"])
                .text(),
            "1"
        );
    }
    let identities = [&first, &second].map(|engine| {
        engine
            .docker(&["info", "--format", "{{.ID}}"])
            .text()
            .to_owned()
    });
    assert_ne!(identities[0], identities[1]);
    second
        .docker(&["inspect", &ids[0]])
        .fails(1, &["no such object"]);

    // The end of one, however it comes, is nothing to the other.
    let undisturbed = second.census();
    drop(first);
    assert_eq!(inspect(&second, "same", "{{.State.Running}}"), "true");
    second.assert_unchanged_since(&undisturbed);
    assert_eq!(script(&second, &[], "echo alive").text(), "alive");
}

#[test]
fn one_data_root_serves_one_engine() {
    let engine = Engine::with_busybox();
    let root = engine.data_root();
    let refused = EngineBuilder::new().data_root(&root).refused();
    assert_ne!(refused.status, 0, "{refused}");
    assert!(
        refused.stderr.contains(&*root.to_string_lossy()),
        "the log names the root: {refused}"
    );
    assert_eq!(script(&engine, &[], "echo alive").text(), "alive");
}

#[test]
fn an_engine_that_ends_leaves_its_containers_running() {
    let mut engine = Engine::with_busybox();
    let id = detached(
        &engine,
        "stays",
        &[],
        "echo before; trap 'exit 9' TERM; while :; do sleep 1 & wait $!; done",
    );
    let process = inspect(&engine, "stays", "{{.State.Pid}}");
    engine.terminate();
    assert!(
        engine
            .processes()
            .iter()
            .any(|(found, _)| found.to_string() == process),
        "it died with its engine"
    );
    engine.start_again();
    assert_eq!(
        inspect(
            &engine,
            "stays",
            "{{.Id}} {{.State.Pid}} {{.State.Running}}"
        ),
        format!("{id} {process} true")
    );
    assert_eq!(engine.docker(&["logs", "stays"]).ok(), "before\n");
    engine.docker(&["stop", "stays"]).ok();
    assert_eq!(inspect(&engine, "stays", "{{.State.ExitCode}}"), "9");
}
