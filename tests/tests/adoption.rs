//! An engine that starts takes its containers up side by side, waits for none that does not
//! answer, and takes that one up later.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use berth_testkit::{Engine, wait_until};

/// A hung test ends after this.
const LIMIT: Duration = Duration::from_secs(60);

fn monitor(engine: &Engine, id: &str) -> String {
    let all = engine.processes();
    let found = all
        .iter()
        .find(|(_, line)| line.contains("berth-shim") && line.contains(id));
    let (pid, _) = found.unwrap_or_else(|| panic!("no monitor of {id} in {all:#?}"));
    pid.to_string()
}

#[test]
fn a_monitor_that_is_silent_holds_up_only_its_own_container() {
    let mut engine = Engine::with_busybox();
    let names = ["well", "silent", "mute"];
    let ids = names.map(|name| {
        let words = ["run", "-d", "--network", "none", "--name", name];
        let what = ["busybox:test", "sleep", "1000"];
        let started = engine.docker(&[&words[..], &what].concat());
        started.ok();
        started.text().to_owned()
    });
    let monitors = ids.clone().map(|id| monitor(&engine, &id));
    engine.kill9();
    engine
        .in_namespaces("kill", &["-STOP", &monitors[1], &monitors[2]])
        .ok();
    engine.start_again();

    let (told, tells) = mpsc::channel();
    thread::scope(|scope| {
        let engine = &engine;
        for name in ["silent", "mute"] {
            let told = told.clone();
            scope.spawn(move || {
                let output = engine.docker(&["exec", name, "true"]);
                let _ = told.send(output);
            });
        }
        // The list and the well one do not wait for that.
        let listed = engine.request("GET", "/containers/json", None).json();
        assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed:#}");
        engine.docker(&["exec", "well", "true"]).ok();
        assert!(tells.try_recv().is_err(), "a stopped monitor has answered");
        for _ in 0..2 {
            let output = tells.recv_timeout(LIMIT).expect("an answer in time");
            assert!(output.stderr.contains("does not answer"), "{output}");
        }
    });
    // Its program is ended by number, and its monitor with it.
    engine.docker(&["rm", "--force", "mute"]).ok();
    // Who answers again is taken up without a further start.
    engine.in_namespaces("kill", &["-CONT", &monitors[1]]).ok();
    wait_until("the monitor is asked again", LIMIT, || {
        (engine.docker(&["exec", "silent", "true"]).status == 0).then_some(())
    });
    engine.docker(&["stop", "-t", "0", "silent"]).ok();
    let state = engine.docker(&["inspect", "--format", "{{.State.ExitCode}}", "silent"]);
    assert_eq!(state.text(), "137", "its own monitor has recorded the end");
}

/// A process that not even SIGKILL ends, where the machine has a freezer that holds it up: that of
/// version 1. Elsewhere it is merely frozen.
struct Held {
    group: PathBuf,
    state: PathBuf,
    go: &'static str,
    pid: String,
}

impl Held {
    fn new(pid: &str) -> Self {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let mut lines = groups.lines();
        let freezer = lines.find_map(|line| Some(line.split_once(":freezer:")?.1));
        let (top, file, stop, go) = match freezer {
            Some(path) => (
                format!("freezer{path}"),
                "freezer.state",
                "FROZEN",
                "THAWED",
            ),
            None => {
                let path = groups.trim().strip_prefix("0::").unwrap();
                (
                    path.trim_start_matches('/').to_owned(),
                    "cgroup.freeze",
                    "1",
                    "0",
                )
            }
        };
        let group = PathBuf::from(format!("/sys/fs/cgroup/{top}/held-{pid}"));
        fs::create_dir(&group).unwrap();
        fs::write(group.join("cgroup.procs"), pid).unwrap();
        let state = group.join(file);
        fs::write(&state, stop).unwrap();
        wait_until("it is frozen", LIMIT, || {
            let text = fs::read_to_string(&state).ok()?;
            (text.trim() == stop).then_some(())
        });
        Self {
            group,
            state,
            go,
            pid: pid.to_owned(),
        }
    }

    fn is_dead(&self) -> bool {
        !PathBuf::from(format!("/proc/{}", self.pid)).exists()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What died in it leaves it.
        let _ = fs::write(&self.state, self.go);
        wait_until("its group is empty", LIMIT, || {
            fs::remove_dir(&self.group).ok()
        });
    }
}

fn started(engine: &Engine, name: &str, program: &str) -> String {
    let words = ["run", "-d", "--network", "none", "--name", name];
    let what = ["busybox:test", "sh", "-c", program];
    let output = engine.docker(&[&words[..], &what].concat());
    output.ok();
    monitor(engine, output.text())
}

fn stop_process(engine: &Engine, pid: &str) {
    engine.in_namespaces("kill", &["-STOP", pid]).ok();
}

/// Exit code and error, as the record has them.
fn ending(engine: &Engine, name: &str) -> String {
    let format = "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}";
    let output = engine.docker(&["inspect", "--format", format, name]);
    output.ok();
    output.text().to_owned()
}

/// Does these at once, and insists on each.
fn all_done(engine: &Engine, commands: &[&[&str]]) {
    let begun: Vec<_> = commands.iter().map(|c| engine.docker_beside(c)).collect();
    for command in begun {
        command.finish().ok();
    }
}

/// Who does not tell of the end of its container does not keep it either, before an engine's start
/// and after; and the container has never two monitors.
#[test]
fn a_monitor_that_is_silent_or_stuck_does_not_keep_its_container() {
    const SLEEP: &str = "sleep 1000";
    let mut engine = Engine::with_busybox();
    for (name, program) in [
        ("removed", SLEEP),
        ("killed", SLEEP),
        ("stopped", "trap 'exit 7' TERM; while :; do sleep 0.1; done"),
    ] {
        let monitor = started(&engine, name, program);
        stop_process(&engine, &monitor);
    }
    let stuck = Held::new(&started(&engine, "stuck", SLEEP));
    let gone = Held::new(&started(&engine, "gone", SLEEP));
    all_done(
        &engine,
        &[
            &["rm", "--force", "removed"],
            &["rm", "--force", "gone"],
            &["kill", "killed"],
            &["kill", "stuck"],
            &["stop", "-t", "1", "stopped"],
        ],
    );
    let silent = "the container's monitor did not answer and was killed";
    for (name, code) in [("killed", 137), ("stuck", 137), ("stopped", 7)] {
        let seen = ending(&engine, name);
        assert!(
            seen.starts_with(&format!("exited {code} {silent}")),
            "{seen}"
        );
    }
    engine.docker(&["start", "killed"]).ok();
    let refused = engine.docker(&["start", "stuck"]);
    if stuck.is_dead() {
        refused.ok();
    } else {
        assert!(refused.stderr.contains("hangs in the kernel"), "{refused}");
    }
    drop((stuck, gone));
    engine.docker(&["start", "stuck"]).ok();
    let monitors = engine.processes().into_iter();
    let monitors = monitors.filter(|(_, line)| {
        let spare = "spare";
        line.contains("berth-shim") && !line.contains(spare)
    });
    assert_eq!(monitors.count(), 2, "one for each of those that run");

    // Of an earlier engine: one falls silent before the next is there, one after.
    let before = monitor_of(&engine, "stuck");
    let after = monitor_of(&engine, "killed");
    engine.kill9();
    stop_process(&engine, &before);
    engine.start_again();
    stop_process(&engine, &after);
    all_done(&engine, &[&["kill", "stuck"], &["rm", "--force", "killed"]]);
    let seen = ending(&engine, "stuck");
    assert!(seen.starts_with(&format!("exited 137 {silent}")), "{seen}");
    engine.docker(&["start", "stuck"]).ok();
    engine.docker(&["rm", "--force", "stuck", "stopped"]).ok();
    engine.assert_consistent();
}

fn monitor_of(engine: &Engine, name: &str) -> String {
    let id = engine.docker(&["inspect", "--format", "{{.Id}}", name]);
    monitor(engine, id.text())
}
