//! The engine, a monitor or the workload is killed; what was acknowledged stays, what was half
//! made is finished or swept, and nothing is left.

use std::fs;
use std::time::Duration;

use berth_store::{Db, Table, WriteTxn};
use berth_testkit::{Engine, wait_until};
use berth_types::ContainerId;

/// A hung test ends after this.
const LIMIT: Duration = Duration::from_secs(60);

/// The steps of a container's life, through the stock client.
const STEPS: [&[&str]; 4] = [
    &[
        "create",
        "--name",
        "victim",
        "--publish",
        "8080:80",
        "busybox:test",
        "sleep",
        "1000",
    ],
    &["start", "victim"],
    &["stop", "-t", "0", "victim"],
    &["rm", "victim"],
];

#[track_caller]
fn assert_clean(engine: &Engine) {
    let report = engine.request("GET", "/berth/fsck", None).json();
    assert_eq!(report["clean"], true, "fsck: {report:#}\n{}", engine.log());
}

fn state(engine: &Engine, name: &str) -> Option<String> {
    let output = engine.docker(&["inspect", "--format", "{{.State.Status}}", name]);
    (output.status == 0).then(|| output.text().to_owned())
}

/// Kills the engine at `failpoint` on the way through all steps.
fn kill_at(failpoint: &str) {
    let mut engine = Engine::with_network();
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            "keeper",
            "--publish",
            "8081:80",
            "busybox:test",
            "sleep",
            "1000",
        ])
        .ok();
    let keeper = identity(&engine);
    engine.terminate();
    engine.set_env("BERTH_FAILPOINT", Some(failpoint));
    engine.start_again();

    let done = STEPS
        .iter()
        .take_while(|step| engine.docker(step).status == 0)
        .count();
    let status = engine.wait_for_end();
    assert_eq!(
        status,
        128 + 9,
        "{failpoint} was not reached; {done} steps were done"
    );
    engine.set_env("BERTH_FAILPOINT", None);
    engine.start_again();

    // What was acknowledged is there; the step that was cut off happened wholly or not at all.
    let now = state(&engine, "victim");
    let allowed: &[Option<&str>] = match done {
        0 => &[None, Some("created")],
        1 => &[Some("created"), Some("running")],
        2 => &[Some("running"), Some("exited")],
        3 => &[Some("exited"), None],
        _ => &[None],
    };
    assert!(
        allowed.contains(&now.as_deref()),
        "after {done} steps and {failpoint}: {now:?}"
    );
    assert_eq!(state(&engine, "keeper").as_deref(), Some("running"));
    assert_eq!(
        identity(&engine),
        keeper,
        "the keeper is the same process at the same address"
    );
    settle(&engine);

    // The name is usable either way.
    if now.is_some() {
        engine.docker(&["rm", "-f", "victim"]).ok();
    }
    STEPS
        .iter()
        .for_each(|step| drop(engine.docker(step).ok().trim().to_owned()));
    settle(&engine);
}

/// The keeper's process, its address and its ports.
fn identity(engine: &Engine) -> String {
    let template =
        "{{.State.Pid}} {{.NetworkSettings.Networks.bridge.IPAddress}} {{.NetworkSettings.Ports}}";
    let shown = engine.docker(&["inspect", "--format", template, "keeper"]);
    shown.text().to_owned()
}

/// Waits for what may follow a reply, then checks.
#[track_caller]
fn settle(engine: &Engine) {
    let clean =
        || (engine.request("GET", "/berth/fsck", None).json()["clean"] == true).then_some(());
    let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until("the engine is clean", Duration::from_secs(10), clean);
    }));
    if waited.is_err() {
        assert_clean(engine);
    }
}

/// One test for each failpoint, so that they run side by side.
macro_rules! failpoints {
    ($($name:ident => $failpoint:literal,)*) => {
        $(#[test] fn $name() { kill_at($failpoint); })*

        /// Every failpoint of a container's life has its test.
        #[test]
        fn none_is_forgotten() {
            let tested = [$($failpoint),*];
            let plain = |name: &str| tested.iter().any(|t| t.split('#').next() == Some(name));
            for name in berth_container::FAILPOINTS {
                assert!(plain(name), "{name} has no test");
            }
        }
    };
}

failpoints! {
    killed_before_a_create => "create.begin",
    killed_between_row_and_directories => "create.committed",
    killed_before_a_create_is_answered => "create.prepared",
    killed_before_a_start => "start.begin",
    killed_after_the_intent_to_start => "start.intent",
    killed_when_the_network_is_there => "start.attached",
    killed_when_the_container_runs_unrecorded => "start.launched",
    killed_before_a_commit => "commit.before",
    killed_after_a_commit => "commit.after",
    killed_before_a_removal => "remove.before-commit",
    killed_after_a_removal_was_committed => "remove.committed",
    killed_after_a_removal_was_cleaned_up => "remove.collected",
}

/// A container that counts, a line every 20 ms.
const COUNTER: &str = "i=0; while true; do echo $i; i=$((i+1)); sleep 0.02; done";

#[test]
fn containers_and_their_output_outlive_the_engine() {
    let mut engine = Engine::with_busybox();
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            "counter",
            "--network",
            "none",
            "busybox:test",
            "sh",
            "-c",
            COUNTER,
        ])
        .ok();
    let count = |engine: &Engine| engine.docker(&["logs", "counter"]).stdout.lines().count();
    wait_until("it counts", LIMIT, || (count(&engine) > 5).then_some(()));
    let log = fs::read_dir(engine.data_root().join("containers"))
        .unwrap()
        .flatten()
        .find_map(|dir| {
            let name = format!("{}-json.log", dir.file_name().to_string_lossy());
            Some(dir.path().join(name)).filter(|path| path.exists())
        });
    let log = log.expect("the container has a log file");
    engine.kill9();
    let lines = || fs::read_to_string(&log).unwrap().lines().count();
    let before = lines();
    wait_until("it counts without an engine", LIMIT, || {
        (lines() > before + 5).then_some(())
    });
    engine.start_again();
    let text = engine.docker(&["logs", "counter"]).stdout.clone();
    let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.len() > before + 5);
    assert!(
        numbers.iter().enumerate().all(|(at, n)| at == *n),
        "no line is lost or doubled: {numbers:?}"
    );
    engine.docker(&["stop", "-t", "0", "counter"]).ok();
    assert_eq!(engine.docker(&["wait", "counter"]).ok().trim(), "137");
    assert_clean(&engine);
}

#[test]
fn an_exit_without_an_engine_is_not_lost() {
    let mut engine = Engine::with_busybox();
    let script = "while [ ! -e /go/now ]; do sleep 0.02; done; exit 7";
    let dir = engine.scratch().join("go");
    fs::create_dir_all(&dir).unwrap();
    let bind = format!("{}:/go", dir.display());
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            "box",
            "--network",
            "none",
            "-v",
            &bind,
            "busybox:test",
            "sh",
            "-c",
            script,
        ])
        .ok();
    engine.kill9();
    fs::write(dir.join("now"), "").unwrap();
    let state_dir = engine.data_root().join("containers");
    wait_until("the exit is recorded", LIMIT, || {
        fs::read_dir(&state_dir)
            .unwrap()
            .flatten()
            .any(|d| d.path().join("exit.json").exists())
            .then_some(())
    });
    engine.start_again();
    assert_eq!(engine.docker(&["wait", "box"]).ok().trim(), "7");
    assert_eq!(state(&engine, "box").as_deref(), Some("exited"));
    assert_clean(&engine);
}

/// The process whose arguments name the container: its monitor.
fn monitor_of(id: &str) -> Option<u32> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        line.split(|byte| *byte == 0)
            .any(|word| word == id.as_bytes())
            .then_some(pid)
    })
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_killed_monitor_takes_its_container_and_no_other() {
    let engine = Engine::with_busybox();
    let run = |name: &str| {
        let list = [
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "none",
            "busybox:test",
            "sleep",
            "1000",
        ];
        engine.docker(&list).ok().trim().to_owned()
    };
    let (victim, _other) = (run("victim"), run("other"));
    let pid: u32 = engine
        .docker(&["inspect", "--format", "{{.State.Pid}}", "victim"])
        .ok()
        .trim()
        .parse()
        .unwrap();
    kill(monitor_of(&victim).expect("the container has a monitor"));
    wait_until("the container is reported dead", LIMIT, || {
        (state(&engine, "victim").as_deref() == Some("exited")).then_some(())
    });
    let reason = engine
        .docker(&["inspect", "--format", "{{.State.Error}}", "victim"])
        .ok()
        .trim()
        .to_owned();
    assert!(reason.contains("monitor"), "{reason}");
    // Its parent is gone too: until the host's init reaps it, a zombie may stand there.
    wait_until("its process is gone", LIMIT, || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:	Z")).then_some(())
    });
    assert_eq!(state(&engine, "other").as_deref(), Some("running"));
    assert_clean(&engine);
    engine.docker(&["start", "victim"]).ok();
    assert_eq!(state(&engine, "victim").as_deref(), Some("running"));
}

#[test]
fn a_monitor_killed_while_no_engine_runs_is_found_out() {
    let mut engine = Engine::with_busybox();
    let list = [
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "none",
        "busybox:test",
        "sleep",
        "1000",
    ];
    let id = engine.docker(&list).ok().trim().to_owned();
    engine.kill9();
    kill(monitor_of(&id).expect("the monitor outlives the engine"));
    engine.start_again();
    assert_eq!(state(&engine, "box").as_deref(), Some("exited"));
    let reason = engine
        .docker(&["inspect", "--format", "{{.State.Error}}", "box"])
        .ok()
        .trim()
        .to_owned();
    assert!(reason.contains("monitor"), "{reason}");
    assert_clean(&engine);
}

#[test]
fn a_killed_workload_is_an_exit_like_any_other() {
    let engine = Engine::with_busybox();
    let list = [
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "none",
        "busybox:test",
        "sleep",
        "1000",
    ];
    engine.docker(&list).ok();
    let pid: u32 = engine
        .docker(&["inspect", "--format", "{{.State.Pid}}", "box"])
        .ok()
        .trim()
        .parse()
        .unwrap();
    kill(pid);
    assert_eq!(engine.docker(&["wait", "box"]).ok().trim(), "137");
    assert_clean(&engine);
}

#[test]
fn a_damaged_record_does_not_keep_the_engine_from_starting() {
    let mut engine = Engine::with_busybox();
    engine
        .docker(&[
            "create",
            "--name",
            "whole",
            "--network",
            "none",
            "busybox:test",
        ])
        .ok();
    let id = engine
        .docker(&[
            "create",
            "--name",
            "broken",
            "--network",
            "none",
            "busybox:test",
        ])
        .ok()
        .trim()
        .to_owned();
    engine.terminate();
    let key = ContainerId::try_from(id.clone()).unwrap();
    // The same table with values of another kind, of this version and of a future one.
    const DAMAGED: Table<ContainerId, String> = Table::new("containers", 1);
    let db = Db::open(&engine.data_root().join("meta.db")).unwrap();
    let damage = move |txn: &mut WriteTxn<'_>| txn.put(&DAMAGED, &key, &"not a record".to_owned());
    assert!(db.write(damage).is_ok());
    drop(db);
    engine.start_again();
    assert_eq!(state(&engine, "whole").as_deref(), Some("created"));
    let report = engine.request("GET", "/berth/fsck", None).json();
    assert_eq!(report["clean"], false);
    assert!(report.to_string().contains(&id), "{report:#}");
    let dir = engine.data_root().join("containers").join(&id);
    assert!(dir.exists(), "the files of a damaged record are left alone");

    // A person takes it out of the way.
    engine.terminate();
    let db = Db::open(&engine.data_root().join("meta.db")).unwrap();
    let mend = move |txn: &mut WriteTxn<'_>| txn.remove(&DAMAGED, &key);
    assert!(db.write(mend).is_ok());
    drop(db);
}

/// Killed at each step of the start and of the end of a container whose group has a parent of its
/// own: the next engine removes what was made for it.
#[test]
fn no_parent_of_a_group_is_left() {
    let mut engine = Engine::with_busybox();
    let before = engine.census();
    let notes = |engine: &Engine| {
        let notes = fs::read_dir(engine.exec_root().join("groups"));
        notes.into_iter().flatten().count()
    };
    let own = notes(&engine);
    let last = "parent.made:3";
    for failpoint in berth_container::PARENT_FAILPOINTS.iter().chain(&[last]) {
        // An orderly end would take the engine's own group away, and the start make it again.
        engine.kill9();
        engine.set_env("BERTH_FAILPOINT", Some(failpoint));
        engine.start_again();
        let flags = ["run", "--name", "victim", "--network", "none"];
        let rest = ["--cgroup-parent", "a/b", "--rm", "busybox:test", "true"];
        let cut_off = engine.docker(&[&flags[..], &rest].concat());
        assert_eq!(
            engine.wait_for_end(),
            128 + 9,
            "{failpoint} was not reached: {cut_off}"
        );
        engine.set_env("BERTH_FAILPOINT", None);
        engine.start_again();
        settle(&engine);
        if state(&engine, "victim").is_some() {
            engine.docker(&["rm", "--force", "victim"]).ok();
        }
        let difference = before.difference(&engine.census());
        let left: Vec<_> = difference
            .iter()
            .filter(|l| l.contains(" cgroup "))
            .collect();
        assert!(left.is_empty(), "{failpoint}: {left:?}");
        assert_eq!(notes(&engine), own, "{failpoint}");
    }
}
