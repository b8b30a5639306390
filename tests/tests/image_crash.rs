//! The engine is killed while an image is made or removed: what was acknowledged stays, the rest
//! happened wholly or not at all, and nothing is left.

use berth_testkit::Engine;
use berth_tests::detached;

/// An image's life, after which everything is as before.
const STEPS: [&[&str]; 4] = [
    &["commit", "box", "made:1"],
    &["tag", "made:1", "made:2"],
    &["rmi", "made:1"],
    &["rmi", "made:2"],
];

fn names(engine: &Engine) -> Vec<String> {
    let list = engine.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", "made"]);
    let mut names: Vec<String> = list.lines().into_iter().map(str::to_owned).collect();
    names.sort();
    names
}

fn kill_at(failpoint: &str) {
    let mut engine = Engine::with_busybox();
    let count = "echo x > /file; while :; do echo x; sleep 0.02; done";
    detached(&engine, "box", &[], count);
    engine.terminate();
    engine.set_env("BERTH_FAILPOINT", Some(failpoint));
    engine.start_again();
    let done = STEPS
        .iter()
        .take_while(|step| engine.docker(step).status == 0)
        .count();
    assert_eq!(
        engine.wait_for_end(),
        128 + 9,
        "{failpoint} was not reached"
    );
    engine.set_env("BERTH_FAILPOINT", None);
    engine.start_again();

    let now = names(&engine);
    let allowed: [&[&str]; 2] = match done {
        0 => [&[], &["made:1"]],
        1 => [&["made:1"], &["made:1", "made:2"]],
        2 => [&["made:1", "made:2"], &["made:2"]],
        // The last name may have been taken off behind which the reply got lost.
        _ => [&["made:2"], &[]],
    };
    assert!(
        allowed.contains(&&now.iter().map(String::as_str).collect::<Vec<_>>()[..]),
        "{done}: {now:?}"
    );
    engine.assert_consistent();
    // Nobody stands still for a copy that nobody makes any more.
    let lines = |engine: &Engine| engine.docker(&["logs", "box"]).stdout.lines().count();
    let before = lines(&engine);
    berth_testkit::wait_until(
        "the container goes on",
        std::time::Duration::from_secs(20),
        || (lines(&engine) > before).then_some(()),
    );
    for name in now {
        engine.docker(&["rmi", &name]).ok();
    }
    for step in STEPS {
        engine.docker(step).ok();
    }
    engine.assert_consistent();
    engine.docker(&["rm", "--force", "box"]).ok();
}

macro_rules! failpoints {
    ($($name:ident => $failpoint:literal,)*) => {
        $(#[test] fn $name() { kill_at($failpoint); })*

        #[test]
        fn none_is_forgotten() {
            let tested = [$($failpoint),*];
            let elsewhere = |name: &str| name.starts_with("image.import.") || name.starts_with("image.load.");
            let all = berth_image::FAILPOINTS.iter().chain(berth_container::COMMIT_FAILPOINTS);
            for name in all {
                let plain = |t: &&str| t.split(':').next() == Some(name);
                assert!(elsewhere(name) || tested.iter().any(plain), "{name} has no test");
            }
        }
    };
}

failpoints! {
    killed_while_the_container_stands_still => "commit.frozen",
    killed_with_a_layer_and_no_image => "image.commit.after-ingest",
    killed_before_a_commit_is_answered => "image.commit.after-commit",
    killed_before_a_removal => "image.remove.before-commit:2",
    killed_when_the_image_is_gone => "image.remove.after-commit:2",
    killed_between_layer_and_directory => "storage.retire.after-commit",
    killed_before_the_files_are_deleted => "storage.retire.after-rename",
}
