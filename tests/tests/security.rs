//! Classes of holes that container engines have had, each tried through the stock client. The
//! name of a test begins with the row of the list of gates that it belongs to. Archives (S8) are
//! tried in the crate that opens them, mount races and paths (S3 to S5) in the runtime's.

use std::fs;
use std::os::unix::fs::symlink;

use berth_testkit::{Census, Engine, program};
use berth_tests::{IMAGE, detached, field, inspect, run, script};

/// The bytes of the monitor's program on the host.
fn monitor() -> Vec<u8> {
    fs::read(program("berth-shim")).expect("the monitor's program")
}

#[test]
fn s01_the_runtime_cannot_be_overwritten() {
    let engine = Engine::with_busybox();
    let before = monitor();
    // The entry point is the very program that starts it, by its own name and through a link.
    let first = engine.docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "/proc/self/exe",
        IMAGE,
        "x",
    ]);
    assert_ne!(first.status, 0, "{first:?}");
    let volume = engine.scratch().join("links");
    fs::create_dir_all(&volume).unwrap();
    symlink("/proc/self/exe", volume.join("evil")).unwrap();
    let bind = format!("{}:/links", volume.display());
    run(&engine, &["-v", &bind], &["/links/evil"]);
    // A container that sees the monitor (the host's processes, all rights) cannot write it either.
    let id = detached(&engine, "victim", &[], "sleep 1000");
    let attack = format!(
        "for p in /proc/[0-9]*; do grep -q {id} $p/cmdline 2>/dev/null && \
         {{ echo found; echo broken > $p/exe && echo written; }}; done"
    );
    let seen = engine.docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--privileged",
        "--pid",
        "host",
        IMAGE,
        "sh",
        "-c",
        &attack,
    ]);
    assert!(seen.stdout.contains("found"), "{seen:?}");
    assert!(!seen.stdout.contains("written"), "{seen:?}");
    assert_eq!(monitor(), before);
    engine.docker(&["rm", "-f", "victim"]).ok();
}

#[test]
fn s02_no_descriptor_of_the_host_is_reachable() {
    let engine = Engine::with_busybox();
    for number in 3..32 {
        let directory = format!("/proc/self/fd/{number}");
        let tried = run(&engine, &["-w", &directory], &["pwd"]);
        assert_ne!(tried.status, 0, "{directory}: {tried:?}");
    }
    let census = script(&engine, &[], "exec 9</; ls /proc/1/fd; true");
    // What the shell itself opened, and nothing that came with it.
    assert_eq!(census.lines(), ["0", "1", "2", "9"]);
}

#[test]
fn s07_the_monitors_socket_is_out_of_reach() {
    let engine = Engine::with_busybox();
    detached(&engine, "neighbour", &[], "sleep 1000");
    let seen = engine.docker(&[
        "run",
        "--rm",
        "--network",
        "host",
        IMAGE,
        "sh",
        "-c",
        "cat /proc/net/unix; find / -xdev -name '*.sock' 2>/dev/null; true",
    ]);
    let text = seen.ok();
    let abstract_names = text
        .lines()
        .filter(|line| line.contains(" @") && line.contains("berth"));
    assert_eq!(abstract_names.count(), 0, "{text}");
    let reachable = text.lines().filter(|line| line.starts_with('/'));
    assert_eq!(reachable.count(), 0, "{text}");
    engine.docker(&["rm", "-f", "neighbour"]).ok();
}

#[test]
fn s16_a_container_does_not_see_its_neighbour() {
    let engine = Engine::with_busybox();
    let id = detached(
        &engine,
        "neighbour",
        &["--hostname", "nextdoor"],
        "sleep 1000",
    );
    let seen = script(
        &engine,
        &[],
        "cat /proc/*/cmdline /proc/mounts /proc/self/cgroup /etc/hosts 2>/dev/null; \
         cat /proc/keys /proc/timer_list /proc/sched_debug 2>/dev/null; ls -R /sys/fs/cgroup",
    );
    assert_eq!(seen.status, 0);
    for secret in [&id[..12], "nextdoor", "neighbour"] {
        assert!(!seen.stdout.contains(secret), "{secret} is visible");
    }
    engine.docker(&["rm", "-f", "neighbour"]).ok();
}

#[test]
fn s17_control_groups_cannot_be_written_and_nothing_is_inherited() {
    let engine = Engine::with_busybox();
    let tried = script(
        &engine,
        &[],
        "for f in $(find /sys/fs/cgroup -name cgroup.procs -o -name tasks -o -name memory.limit_in_bytes); \
         do { echo 1 > $f; } 2>/dev/null && echo wrote $f; done; \
         mkdir /sys/fs/cgroup/memory/x 2>/dev/null && echo made; cat /proc/self/status",
    );
    assert!(
        !tried.stdout.contains("wrote") && !tried.stdout.contains("made"),
        "{tried:?}"
    );
    assert_eq!(field(&tried.stdout, "CapInh"), Some("0000000000000000"));
}

#[test]
fn s15_a_fork_bomb_and_a_hungry_process_end_at_their_limits() {
    let engine = Engine::with_busybox();
    detached(&engine, "neighbour", &[], "sleep 1000");
    let bomb = script(
        &engine,
        &["--pids-limit", "20", "-m", "32m"],
        "n=0; while [ $n -lt 100 ]; do sleep 5 & n=$((n+1)); done; wait",
    );
    assert!(bomb.stderr.contains("fork"), "{bomb:?}");
    assert_eq!(inspect(&engine, "neighbour", "{{.State.Running}}"), "true");
    engine.docker(&["rm", "-f", "neighbour"]).ok();
}

#[test]
fn s23_whatever_happened_the_engine_starts_and_the_host_is_as_before() {
    let before = Census::host();
    let mut engine = Engine::with_busybox();
    detached(&engine, "box", &[], "sleep 1000");
    engine.kill9();
    // Files that a crash could leave torn.
    for entry in fs::read_dir(engine.data_root().join("containers"))
        .unwrap()
        .flatten()
    {
        fs::write(entry.path().join("exit.json"), "{\"version\":").unwrap();
        fs::write(entry.path().join("exit.json.tmp"), "").unwrap();
    }
    engine.start_again();
    assert_eq!(inspect(&engine, "box", "{{.State.Running}}"), "true");
    engine.docker(&["rm", "-f", "box"]).ok();
    drop(engine);
    before.assert_same(&Census::host());
}
