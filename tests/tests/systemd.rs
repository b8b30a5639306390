//! The engine as systemd's service, in one boot of a machine of its own, whose units and data root
//! are the real ones: `cargo xtask ci` runs it in a virtual machine. One test, because the machine
//! takes a minute to boot; each step leaves the machine to the next.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
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
    assert_throwaway();
    install();
    the_socket_starts_the_engine();
    let id = a_container_is_in_its_scope();
    limits_stay(&id);
    an_upgrade_disturbs_nobody(&id);
    a_killed_engine_comes_back(&id);
    no_scope_is_left(&id);
    a_scope_is_stopped_by_hand();
    a_scope_is_in_the_slice_that_was_asked_for();
    another_driver_finds_what_runs();
    a_port_answers_while_the_engine_is_restarted();
    containers_for_the_next_boot();
    the_machine_goes_down();
    the_next_engine_returns_them();
}

/// The first of two boots with the data root on a disk: what the second finds is made, and the
/// machine goes down with it.
#[test]
fn before_a_reboot() {
    assert_throwaway();
    install();
    configure("{}");
    the_socket_starts_the_engine();
    containers_for_the_next_boot();
    begin_web();
    await_web();
    the_machine_goes_down();
    fs::write("/run/let-go", "").unwrap();
}

/// The second boot: systemd starts the engine, which returns what shall come back; then a client
/// starts it, after it was stopped, by the socket.
#[test]
fn after_a_reboot() {
    assert_throwaway();
    install();
    configure("{}");
    run(&["systemctl", "start", "berth.socket", "berth.service"]);
    assert_returned();
    await_web();
    let engine = main_process();
    run(&["systemctl", "stop", "berth.service"]);
    assert_eq!(property("berth.service", "ActiveState"), "inactive");
    let web = inspect("web", "{{.State.Status}}");
    assert_eq!(web, "running", "a client's question starts the engine");
    assert_ne!(main_process(), engine);
    berth(&["system", "fsck"]);
    berth(&[
        "rm",
        "--force",
        "always",
        "unless",
        "failing",
        "by-person",
        "deaf",
        "web",
    ]);
    assert_eq!(left_scopes(), "");
}

fn assert_throwaway() {
    assert!(
        std::env::var_os(THROWAWAY).is_some(),
        "this test shuts the machine down: run it by `cargo xtask ci` or `cargo xtask soak reboot`"
    );
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

/// `--cgroup-parent` names a slice, which systemd makes.
fn a_scope_is_in_the_slice_that_was_asked_for() {
    let client = program("berth");
    let create = [client.to_str().unwrap(), "-H", SOCKET, "create"];
    let flags = ["--cgroup-parent", "/jobs", IMAGE, "true"];
    let (status, said) = attempt(&[&create[..], &flags].concat());
    let sentence = "cgroup-parent for systemd cgroup should be a valid slice named as";
    assert!(status != 0 && said.contains(sentence), "{said}");
    let flags = ["--cgroup-parent", "jobs-batch.slice", "--memory", "64m"];
    let id = begin("sliced", &flags, POLITE);
    let unit = format!("berth-{id}.scope");
    assert_eq!(property(&unit, "Slice"), "jobs-batch.slice");
    let scope = Path::new(GROUPS).join(format!("jobs.slice/jobs-batch.slice/{unit}"));
    assert_eq!(read(scope.join("container/memory.max")), "67108864");
    berth(&["pause", "sliced"]);
    berth(&["unpause", "sliced"]);
    berth(&["rm", "--force", "sliced"]);
    assert!(!scope.exists(), "the scope of what was removed");
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
    // Here and below with the network.
    configure("{}");
    run(&["systemctl", "restart", "berth.service"]);
    berth(&["pause", "newer"]);
    berth(&["system", "fsck"]);
    berth(&["rm", "--force", "older", "newer"]);
    assert_eq!(left_scopes(), "");
    let find = format!("find {GROUPS} -name '*{newer}*' -o -name '*{id}*'");
    assert_eq!(run(&["sh", "-c", &find]), "");
}

/// A bridged container with a published port, which serves a page.
fn begin_web() {
    let serve = "mkdir /www; echo here > /www/index.html; exec httpd -f -p 80 -h /www";
    let flags = [
        "--name",
        "web",
        "--publish",
        "8080:80",
        "--restart",
        "always",
        "--stop-timeout",
        "1",
    ];
    berth(
        &[
            &["run", "--detach"],
            &flags[..],
            &[IMAGE, "/bin/sh", "-c", serve],
        ]
        .concat(),
    );
}

/// Waits until the published port answers.
#[track_caller]
fn await_web() {
    wait_until("the port answers", LIMIT, || ask().ok());
}

/// Fetches the page from the published port by a new connection.
fn ask() -> io::Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], 8080));
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    if page.contains("here") {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, page))
}

/// Every new connection is answered before, while and after the engine is another; and with none.
fn a_port_answers_while_the_engine_is_restarted() {
    begin_web();
    await_web();
    let over = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut asked = 0;
            while !over.load(Ordering::SeqCst) {
                ask().unwrap_or_else(|error| panic!("after {asked} answers: {error}"));
                asked += 1;
            }
            asked
        });
        run(&["systemctl", "restart", "berth.service"]);
        over.store(true, Ordering::SeqCst);
        client.join().expect("every connection was answered")
    });
    println!("{asked} connections were answered during the restart");
    assert!(asked > 1);
    run(&["systemctl", "stop", "berth.service"]);
    assert_eq!(main_process(), "0");
    ask().expect("the port answers without an engine");
    assert_eq!(main_process(), "0");
    berth(&["rm", "--force", "web"]);
    ask().expect_err("nobody is there any more");
}

/// Shutdown waits for this unit, and this unit for the test: everything else has been stopped then,
/// in its order, and the data root is still there.
const HOLD: &str = "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\n\
    Before=shutdown.target berth.socket\nRequiresMountsFor=/var/lib/berth /tmp PROGRAMS\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nTimeoutStopSec=180\n\
    ExecStop=sh -c 'until [ -e /run/let-go ]; do sleep 0.2; done'\n";

/// What comes back by itself after the machine was down, and what does not.
const EXPECTED: [(&str, &str); 5] = [
    ("always", "running"),
    ("unless", "running"),
    ("by-person", "exited"),
    ("failing", "running"),
    ("deaf", "exited"),
];

fn containers_for_the_next_boot() {
    let policy = |policy| ["--restart", policy];
    begin("always", &policy("always"), POLITE);
    begin("unless", &policy("unless-stopped"), POLITE);
    begin("by-person", &policy("unless-stopped"), POLITE);
    begin("failing", &policy("on-failure"), POLITE);
    let signal = ["--stop-signal", "INT", "--stop-timeout", "1"];
    // A shell hears a signal at once only while it waits.
    let deaf = "trap 'echo heard' INT; while :; do sleep 1 & wait; done";
    begin("deaf", &signal, deaf);
    begin("passing", &["--rm"], POLITE);
    berth(&["stop", "by-person"]);
}

/// Containers end in their own way and are recorded so, before the engine ends.
fn the_machine_goes_down() {
    let [always, deaf] = ["always", "deaf"].map(|name| inspect(name, "{{.Id}}"));
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
}

/// Those that shall come back do, with the next engine.
fn the_next_engine_returns_them() {
    let mut next = next_engine();
    assert_returned();
    for (name, _) in EXPECTED {
        berth(&["rm", "--force", name]);
    }
    let _ = next.kill();
    let _ = next.wait();
    fs::write("/run/let-go", "").unwrap();
}

#[track_caller]
fn assert_returned() {
    for (name, state) in EXPECTED {
        wait_until(&format!("{name} is {state}"), LIMIT, || {
            (inspect(name, "{{.State.Status}}") == state).then_some(())
        });
    }
    let facts = "{{.State.Pid}} {{.State.ExitCode}} {{.State.Error}}";
    assert_eq!(inspect("deaf", facts).trim_end(), "0 137");
    assert_eq!(inspect("by-person", facts).trim_end(), "0 7");
    let client = program("berth");
    let (status, said) = attempt(&[client.to_str().unwrap(), "-H", SOCKET, "inspect", "passing"]);
    assert_ne!(status, 0, "{said}");
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
