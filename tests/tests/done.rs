//! When a command returns, it is done: the process is reaped, name, address and port are free, and
//! nothing shows what is gone. What is left for after the reply is gone within a second.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use berth_testkit::{Engine, EngineBuilder, wait_until};
use berth_tests::{IMAGE, inspect};
use serde_json::{Value, json};

/// How long what a reply leaves may last: a second on a machine that has nothing else to do.
const LEFT_FOR: Duration = Duration::from_secs(20);
/// Rounds over one name, one address and one port.
const ROUNDS: usize = 50;
/// Of those in which four containers run.
const LONG_ROUNDS: usize = 12;
/// Of those with a client each, which costs more than all else.
const CLIENT_ROUNDS: usize = 10;
/// No monitors that wait for a container.
const ALONE: [&str; 2] = ["--spare-monitors", "0"];
/// A program that ends only by a signal, at once.
const SLEEP: [&str; 2] = ["sleep", "1000"];

/// A request that has to succeed.
#[track_caller]
fn ask(engine: &Engine, method: &str, path: &str, body: Option<&Value>) -> Value {
    let answer = engine.request(method, path, body);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        answer.status < 300,
        "{method} {path}: {} {text}",
        answer.status
    );
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

#[track_caller]
fn created(engine: &Engine, name: &str, host: &Value) -> String {
    let body = json!({"Image": IMAGE, "Cmd": SLEEP, "HostConfig": host});
    let path = format!("/containers/create?name={name}");
    let answer = ask(engine, "POST", &path, Some(&body));
    answer["Id"].as_str().unwrap().to_owned()
}

/// Creates and starts; the program's process id.
#[track_caller]
fn started(engine: &Engine, name: &str, host: &Value) -> String {
    created(engine, name, host);
    ask(engine, "POST", &format!("/containers/{name}/start"), None);
    pid(engine, name)
}

#[track_caller]
fn pid(engine: &Engine, name: &str) -> String {
    let seen = ask(engine, "GET", &format!("/containers/{name}/json"), None);
    let pid = seen["State"]["Pid"].as_i64().unwrap();
    assert!(pid > 0, "{name} runs");
    pid.to_string()
}

/// No process has the number any more, not even a dead one.
#[track_caller]
fn is_reaped(pid: &str, when: &str) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    assert!(status.is_err(), "{when}: {status:?}");
}

/// An engine without monitors that wait for a container: every one there is has one.
fn engine() -> Engine {
    let engine = EngineBuilder::new().args(&ALONE).start();
    engine.import_busybox();
    engine
}

/// Processes of monitors and containers, by number.
fn others(engine: &Engine) -> BTreeSet<u32> {
    let own = engine.id();
    let numbers = engine.processes().into_iter().map(|(id, _)| id);
    numbers.filter(|id| Some(*id) != own).collect()
}

/// What is in flight, but for the question.
fn in_flight(engine: &Engine) -> Vec<String> {
    let answer = ask(engine, "GET", "/berth/debug/tasks", None);
    let tasks = answer["tasks"].as_array().unwrap().iter();
    let shown = tasks.map(|task| {
        let text = |key: &str| task[key].as_str().unwrap().to_owned();
        format!(
            "{} {}: {}",
            text("kind"),
            text("subject"),
            text("waits_for")
        )
    });
    shown.filter(|line| !line.contains("debug/tasks")).collect()
}

/// Insists that what replies left is gone.
#[track_caller]
fn settles(engine: &Engine) {
    let end = Instant::now() + LEFT_FOR;
    loop {
        let left = in_flight(engine);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "still in flight: {left:#?}");
    }
}

#[test]
fn a_process_is_reaped_and_its_name_is_free() {
    let engine = engine();
    let none = json!({"NetworkMode": "none"});
    let idle = others(&engine);
    for round in 0..LONG_ROUNDS {
        for verb in ["stop?t=5&signal=KILL", "kill", "remove", "restart?t=0"] {
            let when = format!("round {round}, {verb}");
            let old = started(&engine, "one", &none);
            if verb != "remove" {
                ask(&engine, "POST", &format!("/containers/one/{verb}"), None);
                is_reaped(&old, &when);
            }
            let running = verb.starts_with("restart");
            let seen = ask(&engine, "GET", "/containers/json", None);
            let expected = usize::from(running || verb == "remove");
            assert_eq!(seen.as_array().unwrap().len(), expected, "{when}: {seen}");
            let last = match running {
                true => pid(&engine, "one"),
                false => old,
            };
            ask(&engine, "DELETE", "/containers/one?force=1", None);
            is_reaped(&last, &when);
            assert_eq!(others(&engine), idle, "{when}: a monitor is left");
            let missing = engine.request("GET", "/containers/one/json", None);
            assert_eq!(missing.status, 404, "{when}");
            let all = ask(&engine, "GET", "/containers/json?all=1", None);
            assert_eq!(all, json!([]), "{when}");
        }
    }
    let usage = ask(&engine, "GET", "/system/df?type=container", None);
    assert_eq!(
        usage["Containers"].as_array().map_or(0, Vec::len),
        0,
        "{usage}"
    );
    settles(&engine);
    engine.assert_consistent();
}

/// One address for containers: who comes next has that of who went.
fn engine_with_one_address() -> Engine {
    let engine = EngineBuilder::new()
        .network()
        .args(&ALONE)
        .args(&["--bip", "10.83.0.1/30"])
        .start();
    engine.import_busybox();
    engine
}

#[test]
fn an_address_and_a_port_are_free_when_the_reply_is_there() {
    let engine = engine_with_one_address();
    let host = json!({"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8099"}]}});
    for round in 0..ROUNDS {
        started(&engine, "web", &host);
        match round % 4 {
            0 => drop(ask(
                &engine,
                "POST",
                "/containers/web/stop?signal=KILL",
                None,
            )),
            1 => drop(ask(&engine, "POST", "/containers/web/kill", None)),
            2 => {
                ask(&engine, "POST", "/containers/web/restart?t=0", None);
            }
            _ => {}
        }
        if round % 4 < 2 {
            // The one that was stopped has neither any more, though it is still there.
            started(&engine, "other", &host);
            ask(&engine, "DELETE", "/containers/other?force=1", None);
        }
        ask(&engine, "DELETE", "/containers/web?force=1", None);
    }
    let network = ask(&engine, "GET", "/networks/bridge", None);
    assert_eq!(network["Containers"], json!({}), "{network}");
    settles(&engine);
}

#[test]
fn what_removes_itself_is_gone_when_its_client_is() {
    let engine = engine_with_one_address();
    let before = engine.census();
    let idle = others(&engine);
    for round in 0..CLIENT_ROUNDS {
        let run = [
            "run", "--rm", "--name", "job", "-p", "8099:80", IMAGE, "true",
        ];
        engine.docker(&run).ok();
        let all = ask(&engine, "GET", "/containers/json?all=1", None);
        assert_eq!(all, json!([]), "round {round}");
        assert_eq!(others(&engine), idle, "round {round}");
    }
    // Detached, its end is heard of by a wait.
    for round in 0..ROUNDS / 2 {
        let host = json!({"AutoRemove": true});
        created(&engine, "job", &host);
        ask(&engine, "POST", "/containers/job/start", None);
        ask(&engine, "POST", "/containers/job/kill", None);
        let seen = engine.request("POST", "/containers/job/wait?condition=removed", None);
        let all = ask(&engine, "GET", "/containers/json?all=1", None);
        assert_eq!(all, json!([]), "round {round}: {}", seen.status);
        created(&engine, "job", &json!({}));
        ask(&engine, "DELETE", "/containers/job", None);
    }
    settles(&engine);
    engine.assert_unchanged_since(&before);
}

#[test]
fn an_exec_is_over_when_its_stream_is() {
    let engine = engine();
    started(&engine, "one", &json!({"NetworkMode": "none"}));
    for round in 0..ROUNDS {
        let body = json!({"Cmd": ["sh", "-c", "echo $$; exit 7"], "AttachStdout": true});
        let exec = ask(&engine, "POST", "/containers/one/exec", Some(&body));
        let id = exec["Id"].as_str().unwrap();
        ask(
            &engine,
            "POST",
            &format!("/exec/{id}/start"),
            Some(&json!({})),
        );
        let seen = ask(&engine, "GET", &format!("/exec/{id}/json"), None);
        assert_eq!(seen["Running"], false, "round {round}");
        assert_eq!(seen["ExitCode"], 7, "round {round}");
        is_reaped(&seen["Pid"].to_string(), &format!("round {round}"));
        let listed = ask(&engine, "GET", "/containers/one/json", None);
        assert_eq!(listed["ExecIDs"], Value::Null, "round {round}");
    }
    assert_eq!(
        engine.docker(&["exec", "one", "sh", "-c", "exit 3"]).status,
        3
    );
    settles(&engine);
}

/// Names in the directory of layers and containers.
fn on_disk(engine: &Engine) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in ["overlay", "containers"] {
        let entries = std::fs::read_dir(engine.data_root().join(directory));
        for entry in entries.into_iter().flatten().flatten() {
            names.insert(format!("{directory}/{}", entry.file_name().display()));
        }
    }
    names
}

#[test]
fn an_image_is_gone_and_can_come_again() {
    let engine = engine();
    let before = on_disk(&engine);
    let commit = |name: &str| {
        let path = format!("/commit?container=one&repo={name}&tag=latest");
        ask(&engine, "POST", &path, Some(&json!({})))
    };
    created(&engine, "one", &json!({"NetworkMode": "none"}));
    for round in 0..CLIENT_ROUNDS {
        commit("made");
        ask(&engine, "DELETE", "/images/made", None);
        let missing = engine.request("GET", "/images/made/json", None);
        assert_eq!(missing.status, 404, "round {round}");
        let all = ask(&engine, "GET", "/images/json", None);
        assert_eq!(all.as_array().unwrap().len(), 1, "round {round}: {all}");
    }
    ask(&engine, "DELETE", "/containers/one", None);
    settles(&engine);
    assert_eq!(on_disk(&engine), before);
}

/// A tree that is too large to be left for after the reply is gone when that comes.
#[test]
fn what_is_large_is_deleted_before_the_reply() {
    let engine = engine();
    let before = on_disk(&engine);
    let fill = "i=0; mkdir /x; while [ $i -lt 3000 ]; do : > /x/$i; i=$((i+1)); done";
    let run = [
        "run",
        "--name",
        "full",
        "--network",
        "none",
        IMAGE,
        "sh",
        "-c",
        fill,
    ];
    engine.docker(&run).ok();
    ask(&engine, "DELETE", "/containers/full", None);
    assert_eq!(on_disk(&engine), before);
    assert_eq!(in_flight(&engine), [""; 0]);
}

/// What is copied into a container between two runs waits for the next one, and does not prevent it.
#[test]
fn a_copy_is_not_the_end_of_a_restart_policy() {
    let engine = engine();
    let body = json!({"Image": IMAGE, "Cmd": ["sh", "-c", "sleep 0.3; exit 1"],
        "HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}});
    ask(&engine, "POST", "/containers/create?name=loop", Some(&body));
    ask(&engine, "POST", "/containers/loop/start", None);
    wait_until("it was started again", Duration::from_secs(60), || {
        let count = inspect(&engine, "loop", "{{.RestartCount}} {{.State.Status}}");
        (count != "0 running" && count.ends_with("restarting")).then_some(())
    });
    let file = engine.scratch().join("file");
    std::fs::write(&file, "x").unwrap();
    engine
        .docker(&["cp", &file.to_string_lossy(), "loop:/file"])
        .ok();
    wait_until("it runs, with the file", Duration::from_secs(60), || {
        let seen = engine.docker(&["exec", "loop", "cat", "/file"]);
        (seen.stdout == "x").then_some(())
    });
    ask(&engine, "DELETE", "/containers/loop?force=1", None);
}

/// A hundred that run, at once: what is left for later does not pile up.
#[test]
fn many_removals_settle_in_time() {
    let engine = engine();
    let (before, idle) = (on_disk(&engine), others(&engine));
    let census = engine.census();
    let names: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    for name in &names {
        started(&engine, name, &json!({"NetworkMode": "none"}));
    }
    let arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    engine
        .docker(&[&["rm", "--force"][..], &arguments].concat())
        .ok();
    let replied = Instant::now();
    // Not even for a moment.
    assert_eq!(others(&engine), idle);
    assert_eq!(
        ask(&engine, "GET", "/containers/json?all=1", None),
        json!([])
    );
    settles(&engine);
    assert_eq!(on_disk(&engine), before);
    println!("nothing is left {:?} after the reply", replied.elapsed());
    engine.assert_unchanged_since(&census);
}

/// What is in flight is told, with what it waits for, and also by an engine that takes no more
/// connections.
#[test]
fn what_is_in_flight_is_told() {
    let engine = engine();
    let body = json!({"Image": IMAGE, "Cmd": ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
        "HostConfig": {"NetworkMode": "none"}});
    ask(&engine, "POST", "/containers/create?name=deaf", Some(&body));
    ask(&engine, "POST", "/containers/deaf/start", None);
    let stop = engine.docker_beside(&["stop", "--timeout", "30", "deaf"]);
    wait_until("the stop is told", Duration::from_secs(20), || {
        let told = engine.berth(&["debug", "tasks"]);
        told.stdout
            .lines()
            .any(|l| l.contains("/containers/deaf/stop") && l.contains("program to end"))
            .then_some(())
    });
    let listed = engine.berth(&["debug", "tasks", "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let stop_task = listed["tasks"].as_array().unwrap().iter();
    let left = stop_task
        .filter(|t| t["subject"].as_str().is_some_and(|s| s.contains("stop")))
        .filter_map(|t| t["left_us"].as_u64());
    assert!(left.max().is_some_and(|left| left > 10_000_000), "{listed}");

    // As many connections as the engine serves, and one that it does not.
    let full: Vec<_> = (0..1024)
        .map(|_| std::os::unix::net::UnixStream::connect(engine.socket()).unwrap())
        .collect();
    let told = engine.berth(&["debug", "tasks"]);
    assert!(told.stdout.contains("/containers/deaf/stop"), "{told}");
    let lane = format!("{}.debug", engine.socket().display());
    assert!(Path::new(&lane).exists());
    drop(full);
    ask(&engine, "POST", "/containers/deaf/kill", None);
    stop.finish().ok();
    assert_eq!(inspect(&engine, "deaf", "{{.State.Running}}"), "false");
    settles(&engine);
}

/// A monitor that does not answer any more, a debugger has stopped it for example, holds up who
/// asks it for as long as it may, and nobody else.
#[test]
fn a_monitor_that_is_silent_holds_up_only_who_asks_it() {
    let engine = engine();
    let none = json!({"NetworkMode": "none"});
    let idle = others(&engine);
    started(&engine, "one", &none);
    let monitor = engine
        .processes()
        .into_iter()
        .find(|(id, line)| !idle.contains(id) && line.contains("berth-shim"))
        .map(|(id, _)| id.to_string())
        .unwrap();
    engine.in_namespaces("kill", &["-STOP", &monitor]).ok();
    // More of them than its queue holds.
    let asked: Vec<_> = (0..24)
        .map(|_| engine.docker_beside(&["attach", "--no-stdin", "one"]))
        .collect();
    wait_until("they wait", Duration::from_secs(20), || {
        let waiting = in_flight(&engine);
        let told = waiting.iter().filter(|l| l.contains("monitor's answer"));
        (told.count() >= 4).then_some(())
    });
    started(&engine, "two", &none);
    ask(&engine, "DELETE", "/containers/two?force=1", None);
    for attach in asked {
        let answer = attach.finish();
        assert_ne!(answer.status, 0, "{answer}");
        // All that the client says of a refused attach.
        assert!(answer.stderr.contains("received 50"), "{answer}");
    }
    engine.in_namespaces("kill", &["-CONT", &monitor]).ok();
    ask(&engine, "DELETE", "/containers/one?force=1", None);
    settles(&engine);
}
