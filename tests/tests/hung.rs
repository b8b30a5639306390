//! What hangs in the kernel, and whoever waits for it, holds up nobody else: not the list, not a
//! look at the same container, and nothing of another container. And it is answered for.

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use berth_testkit::{Engine, HungFiles, Response, wait_until};

/// A hung test ends after this.
const LIMIT: Duration = Duration::from_secs(60);
/// More than any pool of the engine has places.
const MANY: usize = 70;

fn run(engine: &Engine, name: &str, options: &[&str], command: &str) {
    let first = ["run", "-d", "--network", "none", "--name", name];
    let last = ["busybox:test", "sh", "-c", command];
    engine.docker(&[&first[..], options, &last].concat()).ok();
}

/// The state that anybody can read without waiting.
fn status(engine: &Engine, name: &str) -> String {
    let answer = engine.request("GET", &format!("/containers/{name}/json"), None);
    assert_eq!(answer.status, 200, "inspect {name}");
    answer.json()["State"]["Status"]
        .as_str()
        .expect("a state has a word")
        .to_owned()
}

fn listed(engine: &Engine) -> usize {
    let answer = engine.request("GET", "/containers/json?all=1", None);
    assert_eq!(answer.status, 200, "the list");
    answer.json().as_array().expect("a list").len()
}

/// Everything that can be asked of a container that is well.
fn use_another(engine: &Engine) {
    run(engine, "well", &[], "sleep 1000");
    for words in [
        &["exec", "well", "true"][..],
        &["top", "well"],
        &["stats", "--no-stream", "well"],
        &["cp", "well:/etc/passwd", "-"],
        &["commit", "well", "copy:test"],
        &["run", "--rm", "--network", "none", "copy:test", "true"],
        &["rm", "--force", "well"],
        &["rmi", "copy:test"],
    ] {
        engine.docker(words).ok();
    }
    engine.import_busybox();
}

/// A container's processes, frozen by somebody else than the engine. They do not even die before
/// they are thawed, which dropping this does.
struct Frozen(String);

impl Frozen {
    fn turn(&self, word: &str) {
        fs::write(&self.0, word).expect("the group is there");
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // The group is gone with the container where all went well.
        let _ = fs::write(&self.0, "THAWED");
    }
}

/// Freezes a container where the freezer is one that holds SIGKILL up, which is that of version 1.
fn freeze(engine: &Engine, name: &str) -> Option<Frozen> {
    let pid = engine
        .docker(&["inspect", "--format", "{{.State.Pid}}", name])
        .text()
        .to_owned();
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let path = groups
        .lines()
        .find_map(|line| line.split_once(":freezer:").map(|(_, path)| path));
    let frozen = path.map(|path| Frozen(format!("/sys/fs/cgroup/freezer{path}/freezer.state")))?;
    frozen.turn("FROZEN");
    Some(frozen)
}

/// A container one of whose processes cannot be killed, and more on the way into the same hole.
fn sink(engine: &Engine) -> HungFiles {
    let files = engine.hung_files();
    let volume = format!("{}:/hung", files.path().display());
    run(engine, "stuck", &["--volume", &volume], "cat /hung/data");
    files.wait_for_victims(1);
    let create = ["create", "--network", "none", "--name", "late"];
    let what = ["--volume", &volume, "busybox:test", "true"];
    engine.docker(&[&create[..], &what].concat()).ok();
    files.hang();
    files
}

#[test]
fn what_hangs_is_answered_for_and_holds_up_nobody_else() {
    let engine = Engine::with_busybox();
    let mut files = sink(&engine);
    run(&engine, "frozen", &[], "sleep 1000");
    let frozen = freeze(&engine, "frozen");
    let (ended, ends) = mpsc::channel::<(String, Response)>();
    let ask = |method: &'static str, path: &str| {
        let (ended, path) = (ended.clone(), path.to_owned());
        let engine = &engine;
        move || {
            if let Ok(answer) = engine.try_request(method, &path, None) {
                let _ = ended.send((path, answer));
            }
        }
    };
    thread::scope(|scope| {
        // Each of these would take a thread of the engine for good.
        for _ in 0..MANY {
            scope.spawn(ask("GET", "/containers/stuck/archive?path=/hung/data"));
        }
        scope.spawn(ask("POST", "/containers/late/start"));
        // As many as the container's share of threads have gone where nothing comes back from.
        files.wait_for_victims(4);
        assert_eq!(listed(&engine), 3);
        assert_eq!(status(&engine, "stuck"), "running");
        use_another(&engine);
        assert_eq!(listed(&engine), 3);
        assert!(
            ends.try_recv().is_err(),
            "something came back though nothing answers"
        );
        scope.spawn(ask("POST", "/containers/frozen/stop?t=0"));
        scope.spawn(ask("DELETE", "/containers/stuck?force=1"));
        // Both have their say before the files answer again.
        let mut kills = 0;
        while kills < 1 + usize::from(frozen.is_some()) {
            let (path, answer) = ends.recv_timeout(LIMIT).expect("an answer in time");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            if path.contains("archive") || path.contains("start") {
                assert_eq!(answer.status, 503, "{path}: {text}");
                continue;
            }
            if frozen.is_none() && path.contains("frozen") {
                continue;
            }
            assert_eq!(answer.status, 409, "{path}: {text}");
            assert!(text.contains("hangs in the kernel"), "{path}: {text}");
            kills += 1;
        }
        assert_eq!(status(&engine, "stuck"), "running");
        files.release();
        if let Some(frozen) = &frozen {
            frozen.turn("THAWED");
        }
    });
    // What was asked for happens when it can.
    let gone = || {
        let answer = engine.request("GET", "/containers/stuck/json", None);
        (answer.status == 404).then_some(())
    };
    wait_until("the container is removed after all", LIMIT, gone);
    wait_until("the frozen one has ended", LIMIT, || {
        (status(&engine, "frozen") == "exited").then_some(())
    });
}

/// What waits in a file system that does not answer is no part of the engine: that dies at once,
/// the next one has all that it needs, and what waits goes when the file system does.
#[test]
fn an_engine_that_is_killed_leaves_nothing_locked_behind_a_copy_that_hangs() {
    let mut engine = Engine::with_busybox();
    let mut files = sink(&engine);
    run(&engine, "other", &[], "sleep 1000");
    let copy = engine.docker_beside(&["cp", "stuck:/hung/data", "-"]);
    let late = engine.docker_beside(&["start", "late"]);
    // The program's read, the copy's look, and that of the start.
    files.wait_for_victims(3);
    let waits = |line: &&str| line.contains("files to answer");
    wait_until("it is told what they wait for", LIMIT, || {
        let told = engine.berth(&["debug", "tasks"]);
        (told.stdout.lines().filter(waits).count() >= 2).then_some(())
    });
    let processes = engine.processes().into_iter();
    let readers = processes.filter(|(_, line)| line.contains("berth-files"));
    assert!(readers.count() >= 2, "{:#?}", engine.processes());
    // Returns when the parent is told of the end, which a thread that hangs would put off.
    engine.kill9();
    assert_ne!(copy.finish().status, 0);
    assert_ne!(late.finish().status, 0);
    engine.start_again();

    assert_eq!(listed(&engine), 3);
    assert_eq!(status(&engine, "stuck"), "running");
    assert_eq!(status(&engine, "late"), "created");
    use_another(&engine);
    engine.docker(&["exec", "other", "true"]).ok();
    engine.docker(&["cp", "other:/etc/passwd", "-"]).ok();
    engine.docker(&["rm", "--force", "other", "late"]).ok();
    files.release();
    engine.docker(&["rm", "--force", "stuck"]).ok();
    let gone = || {
        let line = |(_, line): &(u32, String)| line.contains("berth-files");
        (!engine.processes().iter().any(line)).then_some(())
    };
    wait_until("who looked for the dead engine is gone", LIMIT, gone);
    engine.assert_consistent();
}

/// Copies something out of a container; the process that has read it, and waits.
fn waiting_reader(engine: &Engine) -> u32 {
    engine
        .docker(&["create", "--name", "box", "busybox:test"])
        .ok();
    engine.docker(&["cp", "box:/etc/passwd", "-"]).ok();
    let processes = engine.processes().into_iter();
    let mut readers = processes.filter(|(_, line)| line == "berth-files containers");
    let (reader, _) = readers.next().expect("it waits for the next question");
    reader
}

/// What reads containers' files may read, and nothing else.
#[test]
fn a_reader_of_containers_files_has_one_right() {
    let engine = Engine::with_busybox();
    let reader = waiting_reader(&engine);
    let status = engine.in_namespaces("cat", &[&format!("/proc/{reader}/status")]);
    let status = status.text();
    // CAP_DAC_READ_SEARCH.
    for line in [
        "CapPrm:\t0000000000000004",
        "CapEff:\t0000000000000004",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
}

/// An engine that stops takes the readers along that have nothing to do, also one that would not go
/// by itself when its socket does.
#[test]
fn an_engine_that_stops_leaves_no_reader() {
    let mut engine = Engine::with_busybox();
    let reader = waiting_reader(&engine);
    engine
        .in_namespaces("kill", &["-STOP", &reader.to_string()])
        .ok();
    engine.terminate();
    let left = engine.processes();
    assert!(!left.iter().any(|(id, _)| *id == reader), "{left:#?}");
}
