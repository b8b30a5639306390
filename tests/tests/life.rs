//! A container's life between start and removal, through the stock client: pause, restart,
//! rename, update, events, statistics, processes, prune.

use std::fs;
use std::time::Duration;

use berth_testkit::validate::{response, validate};
use berth_testkit::{Engine, wait_until};
use berth_tests::{IDLE, IMAGE, detached, inspect};
use serde_json::{Value, json};

/// A hung test ends after this.
const LIMIT: Duration = Duration::from_secs(60);

#[track_caller]
fn assert_clean(engine: &Engine) {
    wait_until("the engine is clean", Duration::from_secs(10), || {
        let report = engine.request("GET", "/berth/fsck", None).json();
        (report["clean"] == true).then_some(())
    });
}

/// Waits until a container's inspected template is what is expected.
#[track_caller]
fn until(engine: &Engine, name: &str, template: &str, expected: &str) {
    wait_until(&format!("{name}: {template} is {expected}"), LIMIT, || {
        let seen = engine.docker(&["inspect", "--format", template, name]);
        (seen.stdout.trim() == expected).then_some(())
    });
}

/// Asks and checks the answer against the description.
#[track_caller]
fn valid(engine: &Engine, method: &str, path: &str, template: &str, body: Option<&Value>) -> Value {
    let answer = engine.request(method, path, body);
    assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
    let value = answer.json();
    if let Some(definition) = response(method, template, 200) {
        let violations = validate(definition, &value);
        assert!(violations.is_empty(), "{path}: {violations:#?}\n{value:#}");
    }
    value
}

/// The directory of a container's control group that holds `file`.
fn group_file(pid: &str, file: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let roots = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = roots.lines().filter(|l| l.contains(" - cgroup"));
    let mounts: Vec<&str> = mounts.filter_map(|l| l.split(' ').nth(4)).collect();
    let paths = text.lines().filter_map(|l| l.splitn(3, ':').nth(2));
    paths
        .flat_map(|path| mounts.iter().map(move |m| format!("{m}{path}/{file}")))
        .find_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
}

#[test]
fn a_policy_starts_it_again() {
    let engine = Engine::with_busybox();
    let empty = engine.census();
    detached(&engine, "three", &["--restart", "on-failure:3"], "exit 5");
    until(
        &engine,
        "three",
        "{{.State.Status}} {{.RestartCount}}",
        "exited 3",
    );
    assert_eq!(inspect(&engine, "three", "{{.State.ExitCode}}"), "5");
    let policy =
        "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(inspect(&engine, "three", policy), "on-failure:3");

    detached(&engine, "fine", &["--restart", "on-failure"], "exit 0");
    until(
        &engine,
        "fine",
        "{{.State.Status}} {{.RestartCount}}",
        "exited 0",
    );

    detached(
        &engine,
        "ever",
        &["--restart", "always"],
        "sleep 0.3; exit 1",
    );
    until(&engine, "ever", "{{.State.Restarting}}", "true");
    let waiting = engine.docker(&[
        "ps",
        "--filter",
        "status=restarting",
        "--format",
        "{{.Names}} {{.Status}}",
    ]);
    let seen = engine.docker(&["ps", "--format", "{{.Names}}"]);
    assert!(seen.text().contains("ever"), "{waiting} {seen}");
    // A stop comes in any of its states, and is the end of it.
    engine.docker(&["stop", "-t", "1", "ever"]).ok();
    assert_eq!(
        inspect(&engine, "ever", "{{.State.Status}} {{.State.Running}}"),
        "exited false"
    );

    // A kill of a running one with its stop signal ends it; another signal does not.
    detached(
        &engine,
        "tough",
        &["--restart", "always", "--stop-signal", "TERM"],
        "sleep 1000",
    );
    let first = inspect(&engine, "tough", "{{.State.Pid}}");
    engine.docker(&["kill", "--signal", "KILL", "tough"]).ok();
    until(&engine, "tough", "{{.State.Status}}", "exited");
    engine.docker(&["start", "tough"]).ok();
    let second = inspect(&engine, "tough", "{{.State.Pid}}");
    assert_ne!(first, second);
    engine.in_namespaces("kill", &["-9", &second]).ok();
    until(
        &engine,
        "tough",
        "{{.State.Status}} {{.RestartCount}}",
        "running 1",
    );

    engine
        .docker(&[
            "run",
            "-d",
            "--rm",
            "--restart",
            "always",
            "--network",
            "none",
            IMAGE,
            "true",
        ])
        .fails(125, &["conflicting options"]);
    let body = json!({"Image": IMAGE, "HostConfig": {"AutoRemove": true, "NetworkMode": "none",
        "RestartPolicy": {"Name": "always"}}});
    let refused = engine.request("POST", "/containers/create", Some(&body));
    assert_eq!(refused.status, 400, "{refused:?}");
    engine
        .docker(&["rm", "-f", "three", "fine", "ever", "tough"])
        .ok();
    engine.assert_unchanged_since(&empty);
}

#[test]
fn what_ran_or_was_stopped_comes_back_with_the_engine_as_its_policy_says() {
    let mut engine = Engine::with_busybox();
    for (name, policy) in [
        ("always", "always"),
        ("unless", "unless-stopped"),
        ("stopped-always", "always"),
        ("stopped-unless", "unless-stopped"),
        ("plain", "no"),
    ] {
        detached(&engine, name, &["--restart", policy], IDLE);
    }
    engine
        .docker(&["stop", "stopped-always", "stopped-unless"])
        .ok();
    let alive = inspect(&engine, "always", "{{.State.Pid}}");
    engine.restart();
    assert_eq!(
        inspect(&engine, "always", "{{.State.Pid}} {{.RestartCount}}"),
        format!("{alive} 0")
    );
    until(&engine, "stopped-always", "{{.State.Status}}", "running");
    assert_eq!(
        inspect(&engine, "stopped-unless", "{{.State.Status}}"),
        "exited"
    );

    // The machine goes down: engine and containers are gone at once.
    let pids: Vec<String> = ["always", "unless", "plain"]
        .iter()
        .map(|name| inspect(&engine, name, "{{.State.Pid}}"))
        .collect();
    engine.kill9();
    for pid in &pids {
        engine.in_namespaces("kill", &["-9", pid]).ok();
    }
    engine.start_again();
    until(&engine, "always", "{{.State.Status}}", "running");
    until(&engine, "unless", "{{.State.Status}}", "running");
    assert_eq!(inspect(&engine, "plain", "{{.State.Status}}"), "exited");
    assert_clean(&engine);
}

/// The engine is killed behind each commit of a restart loop: it goes on by itself.
#[test]
fn a_restart_loop_survives_the_engine() {
    for failpoint in [
        "commit.before:2",
        "commit.after:2",
        "start.intent:2",
        "start.launched:2",
    ] {
        let mut engine = Engine::with_busybox();
        engine.terminate();
        engine.set_env("BERTH_FAILPOINT", Some(failpoint));
        engine.start_again();
        let script = "echo run; exit 1";
        let flags = [
            "run",
            "-d",
            "--name",
            "loop",
            "--restart",
            "on-failure:4",
            "--network",
            "none",
        ];
        let _ = engine.docker(&[&flags[..], &[IMAGE, "/bin/sh", "-c", script]].concat());
        assert_eq!(engine.wait_for_end(), 137, "{failpoint} was not reached");
        engine.set_env("BERTH_FAILPOINT", None);
        engine.start_again();
        until(
            &engine,
            "loop",
            "{{.State.Status}} {{.RestartCount}}",
            "exited 4",
        );
        assert_clean(&engine);
    }
}

#[test]
fn a_restart_that_was_asked_for_survives_the_engine() {
    let mut engine = Engine::with_busybox();
    detached(&engine, "box", &["--rm"], IDLE);
    let first = inspect(&engine, "box", "{{.State.Pid}}");
    engine.docker(&["restart", "-t", "5", "box"]).ok();
    let second = inspect(&engine, "box", "{{.State.Pid}}");
    assert_ne!(first, second);
    engine.terminate();
    engine.set_env("BERTH_FAILPOINT", Some("commit.after:2"));
    engine.start_again();
    // The first commit is the wish, the second the end of the run.
    let _ = engine.docker(&["restart", "-t", "5", "box"]);
    assert_eq!(engine.wait_for_end(), 137);
    engine.set_env("BERTH_FAILPOINT", None);
    engine.start_again();
    until(&engine, "box", "{{.State.Status}}", "running");
    assert_ne!(inspect(&engine, "box", "{{.State.Pid}}"), second);
    engine.docker(&["rm", "-f", "box"]).ok();
    assert_clean(&engine);
}

#[test]
fn pause_stops_everything_and_survives_the_engine() {
    let mut engine = Engine::with_busybox();
    let count = "i=0; while :; do i=$((i+1)); echo $i; usleep 10000; done";
    detached(&engine, "box", &[], count);
    let lines = |engine: &Engine| engine.docker(&["logs", "box"]).stdout.lines().count();
    wait_until("it counts", LIMIT, || (lines(&engine) > 3).then_some(()));
    assert_eq!(engine.docker(&["pause", "box"]).text(), "box");
    assert_eq!(
        inspect(
            &engine,
            "box",
            "{{.State.Status}} {{.State.Running}} {{.State.Paused}}"
        ),
        "paused true true"
    );
    let listed = engine.docker(&["ps", "--filter", "status=paused", "--format", "{{.Status}}"]);
    assert!(listed.text().ends_with("(Paused)"), "{listed}");
    engine
        .docker(&["pause", "box"])
        .fails(1, &["already paused"]);
    engine.docker(&["start", "box"]).fails(1, &["paused"]);
    engine.docker(&["attach", "box"]).fails(1, &[]);
    let still = lines(&engine);

    engine.kill9();
    engine.start_again();
    assert_eq!(inspect(&engine, "box", "{{.State.Status}}"), "paused");
    assert_eq!(lines(&engine), still, "nothing ran");
    engine.docker(&["unpause", "box"]).ok();
    wait_until("it goes on", LIMIT, || {
        (lines(&engine) > still).then_some(())
    });
    engine
        .docker(&["unpause", "box"])
        .fails(1, &["is not paused"]);

    // The freezer is believed, not the record: both ways.
    for failpoint in ["commit.before", "commit.after"] {
        engine.terminate();
        engine.set_env("BERTH_FAILPOINT", Some(failpoint));
        engine.start_again();
        let _ = engine.docker(&["pause", "box"]);
        assert_eq!(engine.wait_for_end(), 137);
        engine.set_env("BERTH_FAILPOINT", None);
        engine.start_again();
        assert_eq!(
            inspect(&engine, "box", "{{.State.Status}}"),
            "paused",
            "{failpoint}"
        );
        engine.docker(&["unpause", "box"]).ok();
    }

    engine.docker(&["pause", "box"]).ok();
    engine
        .docker(&["rm", "box"])
        .fails(1, &["container is paused"]);
    engine.docker(&["stop", "-t", "0", "box"]).ok();
    assert_eq!(inspect(&engine, "box", "{{.State.Status}}"), "exited");
    engine.docker(&["start", "box"]).ok();
    engine.docker(&["pause", "box"]).ok();
    engine.docker(&["kill", "box"]).ok();
    assert_eq!(engine.docker(&["wait", "box"]).text(), "137");
    engine.docker(&["start", "box"]).ok();
    engine.docker(&["pause", "box"]).ok();
    engine.docker(&["rm", "-f", "box"]).ok();
    assert_clean(&engine);
}

#[test]
fn limits_change_while_it_runs_and_refused_ones_change_nothing() {
    let mut engine = Engine::with_busybox();
    detached(
        &engine,
        "box",
        &["--memory", "64m", "--pids-limit", "50"],
        IDLE,
    );
    let pid = inspect(&engine, "box", "{{.State.Pid}}");
    let limit = |file_1: &str, file_2: &str| {
        group_file(&pid, file_1)
            .or_else(|| group_file(&pid, file_2))
            .unwrap()
    };
    let memory = || limit("memory.limit_in_bytes", "memory.max");
    assert_eq!(memory(), (64 << 20).to_string());
    let flags = [
        "update",
        "--memory",
        "256m",
        "--memory-swap",
        "512m",
        "--pids-limit",
        "77",
        "--cpus",
        "0.5",
        "--restart",
        "on-failure:2",
        "box",
    ];
    assert_eq!(engine.docker(&flags).text(), "box");
    assert_eq!(memory(), (256 << 20).to_string());
    assert_eq!(limit("pids.max", "pids.max"), "77");
    let quota = limit("cpu.cfs_quota_us", "cpu.max");
    assert!(quota.starts_with("50000"), "{quota}");
    let shown = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy.Name}}";
    let now = format!("{} 77 500000000 on-failure", 256 << 20);
    assert_eq!(inspect(&engine, "box", shown), now);

    // Smaller again, with what bounds it.
    engine
        .docker(&["update", "--memory", "32m", "--memory-swap", "64m", "box"])
        .ok();
    assert_eq!(memory(), (32 << 20).to_string());
    engine
        .docker(&["update", "--memory", "256m", "--memory-swap", "512m", "box"])
        .ok();

    engine
        .docker(&["update", "--memory", "1m", "box"])
        .fails(1, &["Minimum memory limit"]);
    engine
        .docker(&[
            "update",
            "--pids-limit",
            "99",
            "--cpuset-cpus",
            "4000",
            "box",
        ])
        .fails(1, &["not available"]);
    assert_eq!(limit("pids.max", "pids.max"), "77");
    assert_eq!(inspect(&engine, "box", shown), now);
    engine.kill9();
    engine.start_again();
    assert_eq!(inspect(&engine, "box", shown), now);
    assert_eq!(
        (memory(), limit("pids.max", "pids.max")),
        ((256 << 20).to_string(), "77".to_owned())
    );

    // Cut off between the kernel and the record: the record stands.
    engine.terminate();
    engine.set_env("BERTH_FAILPOINT", Some("commit.before"));
    engine.start_again();
    let _ = engine.docker(&["update", "--pids-limit", "5", "box"]);
    assert_eq!(engine.wait_for_end(), 137);
    engine.set_env("BERTH_FAILPOINT", None);
    engine.start_again();
    assert_eq!(limit("pids.max", "pids.max"), "77");

    engine.docker(&["stop", "-t", "0", "box"]).ok();
    let body = json!({"Memory": 128 << 20, "MemorySwap": -1, "PidsLimit": -1});
    valid(
        &engine,
        "POST",
        "/containers/box/update",
        "/containers/{id}/update",
        Some(&body),
    );
    engine.docker(&["start", "box"]).ok();
    let pid = inspect(&engine, "box", "{{.State.Pid}}");
    assert_eq!(group_file(&pid, "pids.max").as_deref(), Some("max"));
}

#[test]
fn events_are_told_in_dockers_order_and_in_its_form() {
    let engine = Engine::with_busybox();
    let format = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}";
    // From the past on, so that nothing is missed before the client listens.
    let mut told = engine.docker_beside(&[
        "events",
        "--since",
        "10m",
        "--filter",
        "type=container",
        "--format",
        format,
    ]);
    let flags = [
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "none",
        "--label",
        "class=rust",
        IMAGE,
    ];
    engine
        .docker(&[&flags[..], &["sleep", "1000"]].concat())
        .ok();
    for step in [
        &["pause", "box"][..],
        &["unpause", "box"],
        &["restart", "-t", "0", "box"],
        &["rename", "box", "case"],
        &["update", "--memory", "64m", "case"],
        &["stop", "-t", "0", "case"],
        &["rm", "case"],
    ] {
        engine.docker(step).ok();
    }
    let expected = [
        "create box",
        "start box",
        "pause box",
        "unpause box",
        "kill box",
        "die box",
        "stop box",
        "start box",
        "restart box",
        "rename case",
        "update case",
        "kill case",
        "die case",
        "stop case",
        "destroy case",
    ];
    let mut seen: Vec<String> = Vec::new();
    while seen.last().is_none_or(|last| last != "destroy case") {
        let line = told.next_line().expect("the stream goes on");
        let line = line.trim_start_matches("container ").to_owned();
        // A second SIGKILL of a stop without patience is told as well.
        if seen.last() != Some(&line) {
            seen.push(line);
        }
    }
    assert_eq!(seen, expected);

    // The past, with filters and an end, which the client rounds to whole seconds; then in the form for the newest clients.
    let past = engine.docker(&[
        "events",
        "--since",
        "10m",
        "--until",
        "-1s",
        "--filter",
        "event=die",
        "--filter",
        "label=class=rust",
        "--format",
        "{{.Action}} {{.Actor.Attributes.exitCode}}",
    ]);
    assert_eq!(past.lines(), ["die 137", "die 137"], "{past}");
    let answer = engine.request(
        "GET",
        "/events?since=0&until=0s&filters=%7B%22event%22%3A%5B%22rename%22%5D%7D",
        None,
    );
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let event: Value = serde_json::from_str(text.trim()).unwrap();
    assert!(validate("EventMessage", &event).is_empty(), "{event:#}");
    assert_eq!(event["Actor"]["Attributes"]["oldName"], "/box");
    assert!(event.get("status").is_none());
    let old = engine.request(
        "GET",
        "/v1.41/events?since=0&until=0s&filters=%7B%22event%22%3A%5B%22rename%22%5D%7D",
        None,
    );
    let old: Value = serde_json::from_slice(&old.body).unwrap();
    assert_eq!(
        (&old["status"], &old["from"]),
        (&json!("rename"), &json!(IMAGE))
    );
    let refused = engine.request(
        "GET",
        "/events?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D",
        None,
    );
    assert_eq!(refused.status, 400);
}

#[test]
fn statistics_tell_busy_from_idle() {
    let engine = Engine::with_busybox();
    detached(
        &engine,
        "busy",
        &["--memory", "64m", "--pids-limit", "20"],
        "while :; do :; done",
    );
    detached(&engine, "idle", &[], "sleep 1000");
    engine
        .docker(&[
            "create",
            "--name",
            "off",
            "--network",
            "none",
            IMAGE,
            "true",
        ])
        .ok();
    let path = "/containers/busy/stats?stream=0";
    let stats = valid(&engine, "GET", path, "/containers/{id}/stats", None);
    let number = |value: &Value| {
        value
            .as_u64()
            .unwrap_or_else(|| panic!("{value} in {stats:#}"))
    };
    let cpu = |key: &str| number(&stats[key]["cpu_usage"]["total_usage"]);
    let machine = |key: &str| number(&stats[key]["system_cpu_usage"]);
    assert!(cpu("cpu_stats") > cpu("precpu_stats"));
    assert!(machine("cpu_stats") > machine("precpu_stats"));
    assert_eq!(number(&stats["memory_stats"]["limit"]), 64 << 20);
    assert!(number(&stats["memory_stats"]["usage"]) < 64 << 20);
    assert_eq!(number(&stats["pids_stats"]["limit"]), 20);
    assert_eq!(stats["name"], "/busy");
    let once = valid(
        &engine,
        "GET",
        "/containers/idle/stats?stream=0&one-shot=1",
        "/containers/{id}/stats",
        None,
    );
    assert_eq!(once["precpu_stats"]["cpu_usage"]["total_usage"], 0);
    assert!(
        once["memory_stats"]["limit"].as_u64().unwrap() > 64 << 20,
        "the machine's memory"
    );
    let off = valid(
        &engine,
        "GET",
        "/containers/off/stats?stream=0",
        "/containers/{id}/stats",
        None,
    );
    assert_eq!(
        (&off["name"], &off["read"]),
        (&json!("/off"), &json!("0001-01-01T00:00:00Z"))
    );

    let format = "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}";
    let table = engine.docker(&["stats", "--no-stream", "--format", format]);
    let row = |name: &str| {
        let rows = table.ok().lines().find(|l| l.starts_with(name));
        rows.unwrap_or_else(|| panic!("{name} in {table}"))
            .to_owned()
    };
    let percent = |name: &str| -> f64 {
        let row = row(name);
        row.split(' ')
            .nth(1)
            .unwrap()
            .trim_end_matches('%')
            .parse()
            .unwrap()
    };
    assert!(percent("busy") > 5.0 && percent("idle") < 5.0, "{table}");
    assert!(row("busy").contains("/ 64MiB"), "{table}");
    // The stream goes on, and ends with its reader.
    let mut stream = engine.docker_beside(&["stats", "--format", "{{.Name}}", "busy"]);
    for _ in 0..3 {
        assert!(stream.next_line().is_some());
    }
}

#[test]
fn processes_are_shown_without_a_ps() {
    let engine = Engine::with_busybox();
    detached(
        &engine,
        "box",
        &["--user", "1234"],
        "sleep 1000 & sleep 2000; true",
    );
    let table = wait_until("three processes", LIMIT, || {
        let table = engine.docker(&["top", "box"]);
        (table.stdout.lines().count() == 4).then_some(table)
    });
    let lines = table.lines();
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        words,
        ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    );
    assert!(
        lines[1].starts_with("1234") && lines[1].contains("sleep 1000 & sleep 2000; true"),
        "{table}"
    );
    assert!(
        table
            .ok()
            .contains(&inspect(&engine, "box", "{{.State.Pid}}"))
    );
    let chosen = engine.docker(&["top", "box", "-o", "pid,comm"]);
    assert_eq!(
        chosen.lines()[0].split_whitespace().collect::<Vec<_>>(),
        ["PID", "COMMAND"]
    );
    let users = engine.docker(&["top", "box", "aux"]);
    assert!(users.lines()[0].contains("%CPU"), "{users}");
    engine
        .docker(&["top", "box", "--forest"])
        .fails(1, &["is not supported"]);
    valid(
        &engine,
        "GET",
        "/containers/box/top",
        "/containers/{id}/top",
        None,
    );
    engine.docker(&["kill", "box"]).ok();
    engine.docker(&["top", "box"]).fails(1, &["is not running"]);
}

#[test]
fn a_name_is_changed_and_stays_unique() {
    let mut engine = Engine::with_busybox();
    let id = detached(&engine, "one", &[], IDLE);
    detached(&engine, "two", &[], IDLE);
    engine.docker(&["rename", "one", "two"]).fails(
        1,
        &["Conflict. The container name \"/two\" is already in use by container"],
    );
    let same = engine.request("POST", "/containers/one/rename?name=one", None);
    assert_eq!(same.status, 400, "{same:?}");
    engine
        .docker(&["rename", "one", "un!"])
        .fails(1, &["Invalid container name"]);
    engine.docker(&["rename", "one", "uno"]).ok();
    assert_eq!(
        inspect(&engine, "uno", "{{.Id}} {{.Name}} {{.State.Status}}"),
        format!("{id} /uno running")
    );
    engine
        .docker(&["inspect", "one"])
        .fails(1, &["No such object"]);
    engine.kill9();
    engine.start_again();
    assert_eq!(inspect(&engine, "uno", "{{.Id}}"), id);
    detached(&engine, "one", &[], IDLE);
    engine.docker(&["rm", "-f", "uno", "one", "two"]).ok();
    assert_clean(&engine);
}

#[test]
fn prune_and_disk_usage_count_the_same() {
    let engine = Engine::with_busybox();
    let write = "dd if=/dev/zero of=/big bs=1024 count=512 2>/dev/null";
    detached(&engine, "kept", &["--label", "keep"], write);
    detached(&engine, "gone", &[], write);
    detached(&engine, "runs", &[], IDLE);
    engine.docker(&["wait", "kept", "gone"]).ok();
    let usage = valid(&engine, "GET", "/system/df?verbose=1", "/system/df", None);
    assert!(
        validate("SystemDataUsageResponse", &usage).is_empty(),
        "{usage:#}"
    );
    let containers = &usage["ContainerUsage"];
    assert_eq!(
        (&containers["TotalCount"], &containers["ActiveCount"]),
        (&json!(3), &json!(1))
    );
    assert!(
        containers["Reclaimable"].as_u64().unwrap() >= 1 << 20,
        "{containers:#}"
    );
    assert_eq!(usage["ImageUsage"]["Items"][0]["Containers"], 3);
    let table = engine.docker(&["system", "df"]);
    assert!(
        table.ok().contains("Images") && table.ok().contains("Build Cache"),
        "{table}"
    );
    let detailed = engine.docker(&["system", "df", "-v"]);
    assert!(detailed.ok().contains("gone"), "{detailed}");

    let later = engine.docker(&["container", "prune", "-f", "--filter", "until=1h"]);
    assert!(!later.ok().contains("Deleted"), "{later}");
    let pruned = engine.docker(&["container", "prune", "-f", "--filter", "label!=keep"]);
    assert!(
        pruned.ok().contains("Deleted Containers")
            && pruned.ok().contains("Total reclaimed space: 5"),
        "{pruned}"
    );
    let left = engine.docker(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(left.lines(), ["runs", "kept"]);
    let answer = valid(
        &engine,
        "POST",
        "/containers/prune",
        "/containers/prune",
        None,
    );
    assert_eq!(
        answer["ContainersDeleted"].as_array().map(Vec::len),
        Some(1)
    );
    engine.docker(&["rm", "-f", "runs"]).ok();
    assert_clean(&engine);
}
