//! The engine as systemd's service, in one boot of a machine of its own, whose units and data root
//! are the real ones: `cargo xtask ci` runs it in a virtual machine. One test, because the machine
//! takes a minute to boot; each step leaves the machine to the next.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use berth_testkit::{busybox_rootfs_tar, program, wait_until};
use berth_tests::IMAGE;

/// A hung step ends after this; the virtual machine may be a hundred times slower than this one.
const LIMIT: Duration = Duration::from_secs(120);
/// Says that the machine is thrown away afterwards: the test installs units and shuts it down.
const THROWAWAY: &str = "BERTH_THROWAWAY_MACHINE";
const SOCKET: &str = "unix:///run/berth/berth.sock";
const GROUPS: &str = "/sys/fs/cgroup";
/// Runs forever, ends at once with a code of its own when asked to, and says so.
const POLITE: &str = "trap 'echo asked; exit 7' TERM; while :; do sleep 1 & wait $!; done";

#[test]
fn the_engine_is_a_good_service() {
    assert!(
        std::env::var_os(THROWAWAY).is_some(),
        "this test shuts the machine down: run it by `cargo xtask ci`"
    );
    install();
    the_socket_starts_the_engine();
    let id = a_container_is_in_its_scope();
    limits_stay(&id);
    an_upgrade_disturbs_nobody(&id);
    a_killed_engine_comes_back(&id);
    no_scope_is_left(&id);
    a_scope_is_stopped_by_hand();
    another_driver_finds_what_runs();
    the_machine_goes_down();
}

/// Runs a program to its end: its standard output.
#[track_caller]
fn run(words: &[&str]) -> String {
    let (status, said) = attempt(words);
    assert_eq!(status, 0, "{words:?}: {said}");
    said.trim().to_owned()
}

/// Runs a program: its status, and all that it said.
#[track_caller]
fn attempt(words: &[&str]) -> (i32, String) {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), said)
}

#[track_caller]
fn berth(words: &[&str]) -> String {
    let program = program("berth");
    run(&[&[program.to_str().unwrap(), "-H", SOCKET], words].concat())
}

/// `berth run --detach --network none --name NAME FLAGS busybox:test /bin/sh -c SCRIPT`; the id.
#[track_caller]
fn begin(name: &str, flags: &[&str], script: &str) -> String {
    let head = ["run", "--detach", "--network", "none", "--name", name];
    berth(&[&head[..], flags, &[IMAGE, "/bin/sh", "-c", script]].concat())
}

#[track_caller]
fn inspect(name: &str, template: &str) -> String {
    berth(&["inspect", "--format", template, name])
}

#[track_caller]
fn property(unit: &str, name: &str) -> String {
    run(&["systemctl", "show", "--value", "--property", name, unit])
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn scope(id: &str) -> PathBuf {
    Path::new(GROUPS).join(format!("system.slice/berth-{id}.scope"))
}

/// Puts the programs and the units where a person would.
fn install() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    for unit in ["berth.service", "berth.socket"] {
        let target = Path::new("/etc/systemd/system").join(unit);
        fs::copy(units.join(unit), target).expect("a unit is installed");
    }
    // The helpers lie beside the program that is meant.
    symlink(program("berthd"), "/usr/local/bin/berthd").expect("the engine is installed");
    configure(r#"{"bridge": "none"}"#);
    run(&["systemctl", "daemon-reload"]);
}

fn configure(text: &str) {
    fs::create_dir_all("/etc/berth").expect("the machine is ours");
    fs::write("/etc/berth/daemon.json", text).expect("the machine is ours");
}

/// Nothing runs before a client comes, who does not notice.
fn the_socket_starts_the_engine() {
    run(&["systemctl", "start", "berth.socket"]);
    assert_eq!(property("berth.service", "ActiveState"), "inactive");
    let info = berth(&["info", "--format", "{{.CgroupDriver}} {{.CgroupVersion}}"]);
    assert_eq!(info, "systemd 2");
    assert_eq!(property("berth.service", "ActiveState"), "active");
    let archive = busybox_rootfs_tar();
    berth(&["import", &archive.to_string_lossy(), IMAGE]);
}

/// Its limits are in the scope's lower group, its monitor is beside it, and systemd knows both.
fn a_container_is_in_its_scope() -> String {
    let limits = ["--memory", "64m", "--pids-limit", "50", "--cpus", "0.5"];
    let id = begin("box", &limits, POLITE);
    let unit = format!("berth-{id}.scope");
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert_eq!(property(&unit, "Delegate"), "yes");
    assert_eq!(property(&unit, "TasksMax"), "infinity");
    let init = inspect("box", "{{.State.Pid}}");
    let group = |pid: &str| unified(&read(format!("/proc/{pid}/cgroup")));
    let below = format!("/system.slice/{unit}");
    assert_eq!(group(&init), format!("{below}/container"));
    assert_eq!(group(&parent(&init)), format!("{below}/monitor"));
    assert_limits(&id, "67108864");
    // Its own view begins with its group, and further processes join it.
    assert_eq!(
        unified(&berth(&["exec", "box", "cat", "/proc/self/cgroup"])),
        "/"
    );
    id
}

/// The group in the tree of version 2, from the text of `/proc/PID/cgroup`.
fn unified(text: &str) -> String {
    let group = text.lines().find_map(|line| line.strip_prefix("0::"));
    group.unwrap_or_default().to_owned()
}

/// The parent of a process, `proc(5)`.
fn parent(pid: &str) -> String {
    let stat = read(format!("/proc/{pid}/stat"));
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    after_name.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[track_caller]
fn assert_limits(id: &str, memory: &str) {
    let file = |name| read(scope(id).join("container").join(name));
    assert_eq!(file("memory.max"), memory);
    assert_eq!(file("pids.max"), "50");
    assert_eq!(file("cpu.max"), "50000 100000");
}

/// systemd reads its units again, and changes one of its own properties of the scope.
fn limits_stay(id: &str) {
    run(&["systemctl", "daemon-reload"]);
    assert_limits(id, "67108864");
    berth(&["update", "--memory", "96m", "--memory-swap", "-1", "box"]);
    let unit = format!("berth-{id}.scope");
    run(&[
        "systemctl",
        "set-property",
        "--runtime",
        &unit,
        "MemoryMax=1G",
    ]);
    run(&["systemctl", "daemon-reload"]);
    assert_limits(id, "100663296");
}

/// `systemctl restart` leaves the container and its further processes; who calls meanwhile waits.
fn an_upgrade_disturbs_nobody(id: &str) {
    berth(&["exec", "--detach", "box", "sleep", "4242"]);
    let further = |count| {
        wait_until("the further process runs", LIMIT, || {
            let top = berth(&["top", "box"]);
            (top.matches("sleep 4242").count() == count).then_some(())
        });
    };
    further(1);
    let (init, engine) = (inspect("box", "{{.State.Pid}}"), main_process());
    run(&["systemctl", "--no-block", "restart", "berth.service"]);
    assert_eq!(
        inspect("box", "{{.State.Pid}} {{.State.Running}}"),
        format!("{init} true")
    );
    wait_until("another engine runs", LIMIT, || {
        (main_process() != engine && property("berth.service", "SubState") == "running")
            .then_some(())
    });
    further(1);
    assert_eq!(inspect("box", "{{.State.Pid}}"), init);
    assert_limits(id, "100663296");
}

fn main_process() -> String {
    property("berth.service", "MainPID")
}

/// systemd starts it again, and what ran is adopted with all that can be done to it.
fn a_killed_engine_comes_back(id: &str) {
    let (init, engine) = (inspect("box", "{{.State.Pid}}"), main_process());
    run(&["kill", "-9", &engine]);
    // Who calls meanwhile waits in the socket, but a client has a patience of its own.
    wait_until("another engine answers", LIMIT, answers);
    assert_eq!(inspect("box", "{{.State.Pid}}"), init);
    assert_ne!(main_process(), engine);
    berth(&["pause", "box"]);
    let events = read(scope(id).join("container/cgroup.events"));
    assert!(events.lines().any(|line| line == "frozen 1"), "{events}");
    berth(&["unpause", "box"]);
    let used = berth(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "box"]);
    assert!(used.ends_with("/ 96MiB"), "{used}");
    // Want of memory kills one process of several, and systemd does not end the others for it.
    let hungry = ["dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"];
    let client = program("berth");
    let exec = [client.to_str().unwrap(), "-H", SOCKET, "exec", "box"];
    assert_eq!(attempt(&[&exec[..], &hungry].concat()).0, 137);
    assert_eq!(inspect("box", "{{.State.Pid}}"), init);
}

/// When a command returns, its scope is gone; the same name is free for the next run.
fn no_scope_is_left(id: &str) {
    let oom = begin(
        "hungry",
        &["--memory", "16m"],
        "exec dd if=/dev/zero of=/dev/null bs=256M count=1",
    );
    berth(&["wait", "hungry"]);
    assert_eq!(inspect("hungry", "{{.State.OOMKilled}}"), "true");
    assert!(!scope(&oom).exists(), "the scope of what ended");
    berth(&["restart", "--time", "5", "box"]);
    assert!(scope(id).exists(), "a restarted container has a scope");
    berth(&["rm", "--force", "box", "hungry"]);
    assert!(!scope(id).exists(), "the scope of what was removed");
    berth(&["run", "--rm", "--network", "none", IMAGE, "true"]);
    assert_eq!(left_scopes(), "");
    berth(&["system", "fsck"]);
}

/// Scopes that systemd knows of.
fn left_scopes() -> String {
    wait_until("systemd has forgotten what is empty", LIMIT, || {
        let list = ["systemctl", "list-units", "--all", "--plain", "--no-legend"];
        let list = run(&[&list[..], &["berth-*.scope"]].concat());
        list.lines()
            .all(|line| line.contains(" running"))
            .then_some(list)
    })
}

/// Its end is recorded as that of a program that was asked to end.
fn a_scope_is_stopped_by_hand() {
    let id = begin("byhand", &[], POLITE);
    run(&["systemctl", "stop", &format!("berth-{id}.scope")]);
    assert_eq!(berth(&["wait", "byhand"]), "7");
    assert_eq!(inspect("byhand", "{{.State.Error}}"), "");
    berth(&["rm", "byhand"]);
}

/// A container keeps the group that it was started in.
fn another_driver_finds_what_runs() {
    let id = begin("older", &["--memory", "64m"], POLITE);
    configure(r#"{"bridge": "none", "exec-opts": ["native.cgroupdriver=cgroupfs"]}"#);
    run(&["systemctl", "restart", "berth.service"]);
    assert_eq!(
        berth(&["info", "--format", "{{.CgroupDriver}}"]),
        "cgroupfs"
    );
    berth(&["update", "--memory", "32m", "--memory-swap", "-1", "older"]);
    assert_eq!(read(scope(&id).join("container/memory.max")), "33554432");
    let newer = begin("newer", &[], POLITE);
    configure(r#"{"bridge": "none"}"#);
    run(&["systemctl", "restart", "berth.service"]);
    berth(&["pause", "newer"]);
    berth(&["system", "fsck"]);
    berth(&["rm", "--force", "older", "newer"]);
    assert_eq!(left_scopes(), "");
    let find = format!("find {GROUPS} -name '*{newer}*' -o -name '*{id}*'");
    assert_eq!(run(&["sh", "-c", &find]), "");
}

/// Shutdown waits for this unit, and this unit for the test: everything else has been stopped then,
/// in its order, and the data root is still there.
const HOLD: &str = "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\n\
    Before=shutdown.target berth.socket\nRequiresMountsFor=/var/lib/berth /tmp PROGRAMS\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nTimeoutStopSec=180\n\
    ExecStop=sh -c 'until [ -e /run/let-go ]; do sleep 0.2; done'\n";

/// Containers end in their own way and are recorded so; those that shall come back with the next
/// engine do.
fn the_machine_goes_down() {
    let policy = |policy| ["--restart", policy];
    let always = begin("always", &policy("always"), POLITE);
    begin("unless", &policy("unless-stopped"), POLITE);
    begin("by-person", &policy("unless-stopped"), POLITE);
    begin("failing", &policy("on-failure"), POLITE);
    let signal = ["--stop-signal", "INT", "--stop-timeout", "1"];
    let deaf = begin(
        "deaf",
        &signal,
        "trap 'echo heard' INT; while :; do sleep 1; done",
    );
    begin("passing", &["--rm"], POLITE);
    berth(&["stop", "by-person"]);
    let programs = program("berthd").parent().unwrap().display().to_string();
    fs::write(
        "/etc/systemd/system/hold.service",
        HOLD.replace("PROGRAMS", &programs),
    )
    .unwrap();
    run(&["systemctl", "daemon-reload"]);
    run(&["systemctl", "start", "hold.service"]);
    let mode = "--job-mode=replace-irreversibly";
    run(&["systemctl", "start", "--no-block", mode, "poweroff.target"]);
    wait_until("the engine and its socket have ended", LIMIT, || {
        let is_over = |unit| property(unit, "ActiveState") == "inactive";
        (is_over("berth.service") && is_over("berth.socket")).then_some(())
    });
    assert_eq!(property("berth.service", "Result"), "success");
    let record = |id: &str| read(format!("/var/lib/berth/containers/{id}/exit.json"));
    assert!(
        record(&always).contains("\"code\":7"),
        "{}",
        record(&always)
    );
    assert!(record(&deaf).contains("\"code\":137"), "{}", record(&deaf));
    let log = read(format!("/var/lib/berth/containers/{deaf}/{deaf}-json.log"));
    assert!(log.contains("heard"), "its own signal came first: {log}");
    assert_eq!(left_scopes(), "");

    let mut next = next_engine();
    let expected = [
        ("always", "running"),
        ("unless", "running"),
        ("by-person", "exited"),
        ("failing", "running"),
        ("deaf", "exited"),
    ];
    for (name, state) in expected {
        wait_until(&format!("{name} is {state}"), LIMIT, || {
            (inspect(name, "{{.State.Status}}") == state).then_some(())
        });
    }
    let (status, said) = attempt(&[
        program("berth").to_str().unwrap(),
        "-H",
        SOCKET,
        "inspect",
        "passing",
    ]);
    assert_ne!(status, 0, "{said}");
    for (name, state) in expected {
        if state == "running" {
            berth(&["rm", "--force", name]);
        }
    }
    let _ = next.kill();
    let _ = next.wait();
    fs::write("/run/let-go", "").unwrap();
}

/// The engine of the next boot: systemd makes no scopes any more in this one.
fn next_engine() -> Child {
    let engine = Command::new(program("berthd"))
        .args(["-H", SOCKET, "--exec-opt", "native.cgroupdriver=cgroupfs"])
        .stdin(Stdio::null())
        .spawn()
        .expect("the engine starts");
    wait_until("it answers", LIMIT, answers);
    engine
}

/// Whether an engine answers; for `wait_until`.
fn answers() -> Option<()> {
    let program = program("berth");
    let (status, _) = attempt(&[program.to_str().unwrap(), "-H", SOCKET, "version"]);
    (status == 0).then_some(())
}
