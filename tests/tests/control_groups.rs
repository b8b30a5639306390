//! What depends on the version of the machine's control groups, in one engine: further processes,
//! pause, limits, statistics, the end by want of memory. `cargo xtask ci` runs this once more in
//! a virtual machine with the other version; every step is there for that, and so few.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use berth_testkit::{Engine, wait_until};
use berth_tests::IMAGE;
use serde_json::{Value, json};

/// A hung test ends after this; the virtual machine may be a hundred times slower than this one.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a frozen program is given to show that it is not.
const FROZEN: Duration = Duration::from_secs(1);

/// `berth run --detach --name NAME --network none FLAGS busybox:test /bin/sh -c SCRIPT`.
#[track_caller]
fn begin(engine: &Engine, name: &str, flags: &[&str], script: &str) {
    let head = ["run", "--detach", "--name", name, "--network", "none"];
    let tail = [IMAGE, "/bin/sh", "-c", script];
    engine.berth(&[&head[..], flags, &tail].concat()).ok();
}

#[track_caller]
fn get(engine: &Engine, path: &str) -> Value {
    let answer = engine.request("GET", path, None);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

fn is_unified() -> bool {
    fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false)
}

/// The directories of a process's control group in every tree.
fn groups(pid: &str) -> Vec<PathBuf> {
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let points = mounts.lines().filter(|l| l.contains(" - cgroup"));
    let points: Vec<&str> = points.filter_map(|l| l.split(' ').nth(4)).collect();
    let paths = own.lines().filter_map(|l| l.splitn(3, ':').nth(2));
    paths
        .flat_map(|path| points.iter().map(move |p| format!("{p}{path}").into()))
        .collect()
}

/// A file of a process's group: of the one name on version 1, of the other on version 2.
#[track_caller]
fn file(pid: &str, version_1: &str, version_2: &str) -> String {
    let name = if is_unified() { version_2 } else { version_1 };
    let read = |group: &PathBuf| fs::read_to_string(group.join(name)).ok();
    let text = groups(pid).iter().find_map(read);
    text.unwrap_or_else(|| panic!("{name} of {pid}"))
        .trim()
        .to_owned()
}

#[test]
fn a_container_lives_in_its_control_group() {
    let engine = Engine::with_busybox();
    let limits = ["--memory", "64m", "--pids-limit", "50", "-it"];
    begin(&engine, "box", &limits, "read line; exec sh");
    let pid = get(&engine, "/containers/box/json")["State"]["Pid"].to_string();
    further_processes(&engine, &pid);
    pause(&engine, &pid);
    update(&engine, &pid);
    statistics(&engine);
    attach(&engine);
    engine.berth(&["rm", "-f", "box"]).ok();
    want_of_memory(&engine);
    groups_of_its_own(&engine);
    engine.assert_consistent();
}

/// They are in the group, whichever way they came there, and give back what the program gave.
fn further_processes(engine: &Engine, pid: &str) {
    let said = engine.berth(&["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (said.stdout.trim(), said.stderr.trim(), said.status),
        ("out", "err", 3)
    );
    let before = file(pid, "pids.current", "pids.current");
    engine.berth(&["exec", "-d", "box", "sleep", "1000"]).ok();
    let ids = get(engine, "/containers/box/json")["ExecIDs"].clone();
    let id = ids[0].as_str().expect("one further process").to_owned();
    let started = wait_until("it runs", LIMIT, || {
        let seen = get(engine, &format!("/exec/{id}/json"));
        (seen["Pid"].as_u64() > Some(0)).then(|| seen["Pid"].to_string())
    });
    assert_eq!(groups(&started), groups(pid));
    assert_ne!(before, file(pid, "pids.current", "pids.current"));
}

/// Freezes what the container started with and what came to it later.
fn pause(engine: &Engine, pid: &str) {
    let mut shell = engine.berth_on_terminal(&["exec", "-it", "box", "sh"]);
    shell.expect("# ");
    shell.send("echo one$((20+22))\r");
    shell.expect("one42");
    engine.berth(&["pause", "box"]).ok();
    let state = file(pid, "freezer.state", "cgroup.events");
    assert!(
        state == "FROZEN" || state.lines().any(|l| l == "frozen 1"),
        "{state}"
    );
    shell.send("echo two$((20+22))\r");
    assert!(!shell.shows("two42", FROZEN), "it is frozen");
    let refused = engine.request(
        "POST",
        "/containers/box/exec",
        Some(&json!({"Cmd": ["true"]})),
    );
    assert_eq!(refused.status, 409, "{refused:?}");
    engine.berth(&["unpause", "box"]).ok();
    shell.expect("two42");
    shell.send("exit 9\r");
    assert_eq!(shell.finish().0, 9);
}

fn update(engine: &Engine, pid: &str) {
    let change = json!({
        "Memory": 128 << 20, "MemorySwap": 256 << 20, "MemoryReservation": 32 << 20,
        "PidsLimit": 77, "NanoCpus": 500_000_000, "CpuShares": 512, "CpusetCpus": "0",
    });
    let answer = engine.request("POST", "/containers/box/update", Some(&change));
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = [
        (
            "memory.limit_in_bytes",
            "memory.max",
            "134217728",
            "134217728",
        ),
        (
            "memory.soft_limit_in_bytes",
            "memory.low",
            "33554432",
            "33554432",
        ),
        ("pids.max", "pids.max", "77", "77"),
        ("cpu.cfs_quota_us", "cpu.max", "50000", "50000 100000"),
        ("cpu.shares", "cpu.weight", "512", "20"),
        ("cpuset.cpus", "cpuset.cpus", "0", "0"),
    ];
    for (version_1, version_2, value_1, value_2) in seen {
        let expected = if is_unified() { value_2 } else { value_1 };
        assert_eq!(file(pid, version_1, version_2), expected, "{version_2}");
    }
}

/// As Docker's clients use them: what they show as memory is the use without the inactive cache.
fn statistics(engine: &Engine) {
    let stats = get(engine, "/containers/box/stats?stream=0&one-shot=1");
    let number = |path: &str| {
        let value = stats.pointer(path).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{path} in {stats:#}"))
    };
    let cache = if is_unified() {
        "/memory_stats/stats/inactive_file"
    } else {
        "/memory_stats/stats/total_inactive_file"
    };
    assert!(number("/memory_stats/usage") > number(cache), "{stats:#}");
    assert_eq!(number("/memory_stats/limit"), 128 << 20);
    assert_eq!(number("/pids_stats/limit"), 77);
    assert!(number("/pids_stats/current") >= 2, "{stats:#}");
    assert!(number("/cpu_stats/cpu_usage/total_usage") > 0, "{stats:#}");
    assert!(number("/cpu_stats/online_cpus") > 0, "{stats:#}");
    assert!(stats["blkio_stats"]["io_service_bytes_recursive"].is_array());
}

/// The first program's terminal takes what is typed, and keys leave it.
fn attach(engine: &Engine) {
    let mut client = engine.berth_on_terminal(&["attach", "box"]);
    client.send("\r");
    client.expect("# ");
    client.send("echo three$((20+22))\r");
    client.expect("three42");
    client.send("\x10\x11");
    client.finish();
    let state = get(engine, "/containers/box/json")["State"]["Status"].clone();
    assert_eq!(state, "running");
}

/// The kernel's kill is told from others, and the policy acts on it.
fn want_of_memory(engine: &Engine) {
    let hungry = "dd if=/dev/zero of=/dev/null bs=256M count=1";
    let flags = ["--memory", "16m", "--restart", "on-failure:1"];
    begin(engine, "hungry", &flags, &format!("exec {hungry}"));
    wait_until("it was started again", LIMIT, || {
        let seen = get(engine, "/containers/hungry/json");
        let done = seen["RestartCount"] == 1 && seen["State"]["Status"] == "exited";
        done.then(|| {
            let state = (&seen["State"]["OOMKilled"], &seen["State"]["ExitCode"]);
            assert_eq!(state, (&json!(true), &json!(137)), "{seen:#}");
        })
    });
    engine.berth(&["rm", "hungry"]).ok();
}

/// A container that may manage control groups, such as one with a service manager in it, hands
/// controllers down: its own group takes no more process then, on version 2.
fn groups_of_its_own(engine: &Engine) {
    if !is_unified() {
        return;
    }
    let script = "cd /sys/fs/cgroup && mkdir init && echo $$ > init/cgroup.procs && \
                  echo '+memory +pids' > cgroup.subtree_control && echo handed; sleep 1000";
    begin(engine, "manager", &["--privileged"], script);
    wait_until("it hands controllers down", LIMIT, || {
        let said = engine.berth(&["logs", "manager"]);
        said.stdout.contains("handed").then_some(())
    });
    let seen = engine.berth(&["exec", "manager", "cat", "/proc/self/cgroup"]);
    assert!(seen.ok().trim().ends_with("/init"), "{seen}");
    engine.berth(&["pause", "manager"]).ok();
    engine.berth(&["unpause", "manager"]).ok();
    engine.berth(&["rm", "-f", "manager"]).ok();
}
