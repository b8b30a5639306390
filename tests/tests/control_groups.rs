//! What depends on the version of the machine's control groups, in one engine: limits and their
//! changes, devices, further processes, pause, statistics, want of memory and of processes, and
//! all of it again after the engine was killed; then the network of another machine.
//! `cargo xtask ci` runs this once more in a virtual machine with the other version; every step is
//! there for that, and so few.

#[path = "control_groups/devices.rs"]
mod devices;
#[path = "control_groups/parents.rs"]
mod parents;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use berth_testkit::{Engine, HOST, MACHINE, wait_until};
use berth_tests::IMAGE;
use serde_json::{Value, json};

/// A hung test ends after this; the virtual machine may be a hundred times slower than this one.
const LIMIT: Duration = Duration::from_secs(300);
/// How long a frozen program is given to show that it is not.
const FROZEN: Duration = Duration::from_secs(1);

/// Starts a container of a shell script, with what `host` says of its host configuration.
#[track_caller]
fn begin(engine: &Engine, name: &str, host: Value, script: &str) {
    let body = json!({
        "Image": IMAGE, "Cmd": ["/bin/sh", "-c", script], "Tty": true, "OpenStdin": true,
        "HostConfig": host,
    });
    post(
        engine,
        &format!("/containers/create?name={name}"),
        &body,
        201,
    );
    post(
        engine,
        &format!("/containers/{name}/start"),
        &Value::Null,
        204,
    );
}

#[track_caller]
fn post(engine: &Engine, path: &str, body: &Value, status: u16) -> Value {
    let body = (!body.is_null()).then_some(body);
    let answer = engine.request("POST", path, body);
    assert_eq!(answer.status, status, "{path}: {answer:?}");
    if answer.body.is_empty() {
        Value::Null
    } else {
        answer.json()
    }
}

/// Starts a further process in a container; its id and its process id.
#[track_caller]
fn exec(engine: &Engine, name: &str, script: &str) -> (String, String) {
    let order = json!({"Cmd": ["/bin/sh", "-c", script]});
    let made = post(engine, &format!("/containers/{name}/exec"), &order, 201);
    let id = made["Id"].as_str().expect("an id").to_owned();
    post(
        engine,
        &format!("/exec/{id}/start"),
        &json!({"Detach": true}),
        200,
    );
    let pid = get(engine, &format!("/exec/{id}/json"))["Pid"].to_string();
    (id, pid)
}

/// The exit code of a script in a container.
#[track_caller]
fn inside(engine: &Engine, name: &str, script: &str) -> i64 {
    let (id, _) = exec(engine, name, script);
    wait_until("the script ends", LIMIT, || {
        let seen = get(engine, &format!("/exec/{id}/json"));
        (seen["Running"] == false).then(|| seen["ExitCode"].as_i64().expect("a code"))
    })
}

/// What a container has said; it has a terminal.
#[track_caller]
fn said(engine: &Engine, name: &str) -> String {
    let answer = engine.request("GET", &format!("/containers/{name}/logs?stdout=1"), None);
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// How often this engine told of want of memory in a container.
#[track_caller]
fn oom_events(engine: &Engine, name: &str) -> usize {
    let filters =
        format!("%7B%22event%22%3A%5B%22oom%22%5D%2C%22container%22%3A%5B%22{name}%22%5D%7D");
    let answer = engine.request(
        "GET",
        &format!("/events?since=0&until=0s&filters={filters}"),
        None,
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    String::from_utf8_lossy(&answer.body).lines().count()
}

fn state(engine: &Engine, name: &str) -> Value {
    get(engine, &format!("/containers/{name}/json"))["State"].clone()
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

/// Files of limits: on version 1, on version 2.
const FILES: [(&str, &str); 8] = [
    ("memory.limit_in_bytes", "memory.max"),
    ("memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("memory.soft_limit_in_bytes", "memory.low"),
    ("cpu.cfs_quota_us", "cpu.max"),
    ("cpu.cfs_period_us", "cpu.max"),
    ("cpu.shares", "cpu.weight"),
    ("cpuset.cpus", "cpuset.cpus.effective"),
    ("pids.max", "pids.max"),
];

/// What is in [`FILES`] for a process.
#[track_caller]
fn limits(pid: &str) -> Vec<String> {
    FILES.iter().map(|(one, two)| file(pid, one, two)).collect()
}

/// What the box is made with: 64 MiB, of which 16 are kept for it, and 32 MiB of swap.
const MADE: [[&str; 8]; 2] = [
    [
        "67108864",
        "100663296",
        "16777216",
        "50000",
        "100000",
        "512",
        "0",
        "50",
    ],
    [
        "67108864",
        "33554432",
        "16777216",
        "50000 100000",
        "50000 100000",
        "20",
        "0",
        "50",
    ],
];
/// What it is changed to: 128 MiB, of which 32 are kept for it, and as much swap.
const CHANGED: [[&str; 8]; 2] = [
    [
        "134217728",
        "268435456",
        "33554432",
        "25000",
        "100000",
        "2048",
        "0",
        "77",
    ],
    [
        "134217728",
        "134217728",
        "33554432",
        "25000 100000",
        "25000 100000",
        "79",
        "0",
        "77",
    ],
];

/// One allowed access and two denied ones, on nodes that it makes. 1:11 is the kernel's log, of
/// which a rule allows the writing; 1:1 is the machine's memory.
const DEVICES: &str = "
    [ -c /k ] || mknod /k c 1 11 && { [ -c /m ] || mknod /m c 1 1; } || exit 1
    (: > /k) || exit 2
    (: < /k) 2> /denied && exit 3
    (: > /m) 2>> /denied && exit 4
    [ $(grep -c 'Operation not permitted' /denied) = 2 ]";
/// Asks for more memory than there is; ends as the child that did so.
const GREEDY: &str = "dd if=/dev/zero of=/dev/null bs=256M count=1";

#[test]
fn a_container_lives_in_its_control_group() {
    let mut engine = Engine::with_busybox();
    let version = usize::from(is_unified());
    assert_eq!(get(&engine, "/info")["CgroupVersion"], ["1", "2"][version]);
    let host = json!({
        "NetworkMode": "none", "Memory": 64 << 20, "MemorySwap": 96 << 20,
        "MemoryReservation": 16 << 20, "NanoCpus": 500_000_000, "CpuShares": 512,
        "CpusetCpus": "0", "PidsLimit": 50, "DeviceCgroupRules": ["c 1:11 w"],
    });
    begin(&engine, "box", host, "read line; exec sh");
    let pid = state(&engine, "box")["Pid"].to_string();
    assert_eq!(limits(&pid), MADE[version]);
    // Its own group is all that it sees.
    assert_eq!(
        inside(&engine, "box", "! grep -v ':/$' /proc/self/cgroup"),
        0
    );
    assert_eq!(inside(&engine, "box", DEVICES), 0);
    further_processes(&engine, &pid);
    pause(&engine, &pid);
    let change = json!({
        "Memory": 128 << 20, "MemorySwap": 256 << 20, "MemoryReservation": 32 << 20,
        "NanoCpus": 250_000_000, "CpuShares": 2048, "PidsLimit": 77,
    });
    post(&engine, "/containers/box/update", &change, 200);
    want_of_processes(&engine);
    want_of_memory(&engine);

    let bare = json!({"NetworkMode": "none"});
    begin(&engine, "bare", bare, "sleep 1000");
    let bare = state(&engine, "bare")["Pid"].to_string();
    let unlimited = limits(&bare);
    engine.kill9();
    engine.set_env("BERTH_FAILPOINT", Some("update.applied"));
    engine.start_again();
    assert_eq!(limits(&pid), CHANGED[version]);
    statistics(&engine);
    assert_eq!(inside(&engine, "box", DEVICES), 0, "devices after a kill");
    assert_eq!(groups(&exec(&engine, "box", "sleep 1000").1), groups(&pid));
    want_of_memory_again(&engine);

    let flags = [
        "update",
        "--memory",
        "64m",
        "--pids-limit",
        "9",
        "--cpuset-cpus",
        "0",
    ];
    let cut_off = engine.berth(&[&flags[..], &["--cpu-quota", "20000", "bare"]].concat());
    assert_ne!(cut_off.status, 0, "{cut_off}");
    assert_eq!(engine.wait_for_end(), 137);
    assert_ne!(limits(&bare), unlimited, "the kernel has them");
    engine.set_env("BERTH_FAILPOINT", None);
    engine.start_again();
    assert_eq!(limits(&bare), unlimited, "and what was never recorded goes");
    for name in ["box", "bare", "hungry"] {
        let gone = engine.request("DELETE", &format!("/containers/{name}?force=1"), None);
        assert_eq!(gone.status, 204, "{name}: {gone:?}");
    }
    end_by_want_of_memory(&engine);
    privileged(&engine);
    engine.assert_consistent();
}

/// They are in the group, and give back what the program gave.
fn further_processes(engine: &Engine, pid: &str) {
    let said = engine.berth(&["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (said.stdout.trim(), said.stderr.trim(), said.status),
        ("out", "err", 3)
    );
    assert_eq!(
        engine.berth(&["exec", "box", "no-such-program"]).status,
        127
    );
    assert_eq!(inside(engine, "box", "kill -TERM $$"), 143);
    let count = || file(pid, "pids.current", "pids.current");
    let before = count();
    let (_, further) = exec(engine, "box", "exec sleep 1000");
    assert_eq!(groups(&further), groups(pid));
    assert_ne!(before, count());
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

/// The limit refuses a fork.
fn want_of_processes(engine: &Engine) {
    let host = json!({"NetworkMode": "none", "PidsLimit": 3});
    let script = "sleep 1000 & sleep 1000 & sleep 1000 & sleep 1000 & echo never; wait";
    begin(engine, "full", host, script);
    let ended = wait_until("it has had enough", LIMIT, || {
        let state = state(engine, "full");
        (state["Status"] == "exited").then_some(state)
    });
    assert_eq!(ended["ExitCode"], 2, "{ended:#}");
    let said = said(engine, "full");
    assert!(
        said.contains("can't fork") && !said.contains("never"),
        "{said}"
    );
}

/// A child is killed and told of while its container goes on.
fn want_of_memory(engine: &Engine) {
    let host = json!({"NetworkMode": "none", "Memory": 16 << 20});
    let script = format!("{GREEDY}; echo child $?; sleep 1000");
    begin(engine, "hungry", host, &script);
    wait_until("a child was killed", LIMIT, || {
        said(engine, "hungry").contains("child 137").then_some(())
    });
    wait_until("that is told", LIMIT, || {
        (oom_events(engine, "hungry") == 1).then_some(())
    });
    let state = state(engine, "hungry");
    assert_eq!(
        (&state["Status"], &state["OOMKilled"]),
        (&json!("running"), &json!(true))
    );
}

/// The next engine knows it, tells nobody twice, and hears of the next.
fn want_of_memory_again(engine: &Engine) {
    let state = state(engine, "hungry");
    assert_eq!(
        (&state["Status"], &state["OOMKilled"]),
        (&json!("running"), &json!(true))
    );
    assert_eq!(oom_events(engine, "hungry"), 0);
    assert_eq!(inside(engine, "hungry", GREEDY), 137);
    wait_until("that is told", LIMIT, || {
        (oom_events(engine, "hungry") == 1).then_some(())
    });
}

/// As Docker's clients use them: what they show as memory is the use without the inactive cache.
fn statistics(engine: &Engine) {
    let stats = |name: &str| {
        get(
            engine,
            &format!("/containers/{name}/stats?stream=0&one-shot=1"),
        )
    };
    let box_ = stats("box");
    let number = |path: &str| {
        let value = box_.pointer(path).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{path} in {box_:#}"))
    };
    let cache = if is_unified() {
        "/memory_stats/stats/inactive_file"
    } else {
        "/memory_stats/stats/total_inactive_file"
    };
    assert!(number("/memory_stats/usage") > number(cache), "{box_:#}");
    assert_eq!(number("/memory_stats/limit"), 128 << 20);
    assert_eq!(number("/pids_stats/limit"), 77);
    assert!(number("/pids_stats/current") >= 2, "{box_:#}");
    assert!(number("/cpu_stats/cpu_usage/total_usage") > 0, "{box_:#}");
    assert!(number("/cpu_stats/online_cpus") > 0, "{box_:#}");
    assert!(number("/cpu_stats/throttling_data/periods") > 0, "{box_:#}");
    assert!(box_["blkio_stats"]["io_service_bytes_recursive"].is_array());
    // No limit of processes is no number on version 1, and the largest on version 2.
    let limit = stats("bare")["pids_stats"]["limit"].as_u64().unwrap_or(0);
    assert_eq!(limit, if is_unified() { u64::MAX } else { 0 });
}

/// The kernel's kill is told from others, and the policy acts on it.
fn end_by_want_of_memory(engine: &Engine) {
    let host = json!({
        "NetworkMode": "none", "Memory": 16 << 20,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1},
    });
    begin(engine, "starved", host, &format!("exec {GREEDY}"));
    wait_until("it was started again", LIMIT, || {
        let seen = get(engine, "/containers/starved/json");
        let done = seen["RestartCount"] == 1 && seen["State"]["Status"] == "exited";
        done.then(|| {
            let state = (&seen["State"]["OOMKilled"], &seen["State"]["ExitCode"]);
            assert_eq!(state, (&json!(true), &json!(137)), "{seen:#}");
        })
    });
    assert_eq!(oom_events(engine, "starved"), 2);
}

/// It uses every device. On version 2 it may manage control groups, such as one with a service
/// manager in it, and hands controllers down: its own group takes no more process then.
fn privileged(engine: &Engine) {
    let mut script = "mknod /k c 1 11 && (: < /k) && ".to_owned();
    if is_unified() {
        script += "cd /sys/fs/cgroup && grep -qx 0::/ /proc/self/cgroup && mkdir init && \
                   echo $$ > init/cgroup.procs && echo '+memory +pids' > cgroup.subtree_control && \
                   echo 64M > init/memory.max && ";
    }
    script += "echo well; sleep 1000";
    let host = json!({"NetworkMode": "none", "Privileged": true});
    begin(engine, "manager", host, &script);
    wait_until("all is well", LIMIT, || {
        said(engine, "manager").contains("well").then_some(())
    });
    if is_unified() {
        assert_eq!(
            inside(engine, "manager", "grep -qx 0::/init /proc/self/cgroup"),
            0
        );
    }
    post(engine, "/containers/manager/pause", &Value::Null, 204);
    post(engine, "/containers/manager/unpause", &Value::Null, 204);
    let gone = engine.request("DELETE", "/containers/manager?force=1", None);
    assert_eq!(gone.status, 204, "{gone:?}");
}

/// A published port answers another machine, the container reaches that machine, which knows no
/// way back to it, and nothing of the network is left when the engine ends.
#[test]
fn a_container_is_on_the_network() {
    let mut engine = Engine::with_network();
    let serve = "mkdir /www; echo here > /www/index.html; exec httpd -f -p 80 -h /www";
    let publish = json!({"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}});
    begin(&engine, "web", publish, serve);
    let page = wait_until("the port answers", LIMIT, || {
        let url = format!("http://{HOST}:8080/");
        let asked = ["timeout", "20", "busybox", "wget", "-q", "-O", "-", &url];
        let answer = engine.on_machine("busybox", &asked);
        (answer.status == 0).then(|| answer.text().to_owned())
    });
    assert_eq!(page, "here");
    let home = engine.scratch();
    fs::write(home.join("index.html"), "there").expect("the scratch directory is ours");
    let home = home.to_string_lossy().into_owned();
    let _server = engine.on_machine_beside("busybox", &["httpd", "-f", "-p", "80", "-h", &home]);
    let ask = format!("timeout 20 wget -q -O - http://{MACHINE}/ | grep -qx there");
    wait_until("the machine answers", LIMIT, || {
        (inside(&engine, "web", &ask) == 0).then_some(())
    });
    let gone = engine.request("DELETE", "/containers/web?force=1", None);
    assert_eq!(gone.status, 204, "{gone:?}");
    engine.terminate();
    let tables = engine.in_namespaces("nft", &["list", "tables"]);
    assert_eq!(tables.ok(), "", "the firewall is as it was");
    assert_ne!(
        engine
            .in_namespaces("ip", &["link", "show", "docker0"])
            .status,
        0
    );
}
