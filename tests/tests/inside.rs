//! What a process in a plain container sees, and what it must not.

use std::fs;

use berth_testkit::Engine;
use berth_tests::{DEFAULT_CAPABILITIES, field, run, script};

#[test]
fn capabilities_and_seccomp_are_dockers_defaults() {
    let engine = Engine::with_busybox();
    let status = run(&engine, &[], &["cat", "/proc/self/status"]);
    let status = status.ok();
    for (key, expected) in [
        ("CapEff", DEFAULT_CAPABILITIES),
        ("CapPrm", DEFAULT_CAPABILITIES),
        ("CapBnd", DEFAULT_CAPABILITIES),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("Seccomp", "2"),
        ("NSpid", "1"),
    ] {
        assert_eq!(field(status, key), Some(expected), "{key} in\n{status}");
    }
}

#[test]
fn only_its_own_processes() {
    let engine = Engine::with_busybox();
    let seen = script(
        &engine,
        &[],
        "for p in /proc/[0-9]*; do echo ${p#/proc/}; done",
    );
    assert_eq!(seen.lines(), ["1"]);
    // A signal to everybody reaches nobody outside.
    script(&engine, &[], "kill -TERM -1; exit 0").ok();
    engine.docker(&["version"]).ok();
}

#[test]
fn namespaces_are_private() {
    let engine = Engine::with_busybox();
    let seen = script(
        &engine,
        &[],
        "cd /proc/self/ns; for n in cgroup ipc mnt net pid uts user; do echo $n $(readlink $n); done",
    );
    let mut compared = 0;
    for line in seen.lines() {
        let (name, inside) = line.split_once(' ').expect("a name and a namespace");
        let outside = fs::read_link(format!("/proc/self/ns/{name}")).expect("/proc");
        let same = outside.to_string_lossy() == inside;
        assert_eq!(
            same,
            name == "user",
            "{name}: {inside} inside, {} outside",
            outside.display()
        );
        compared += 1;
    }
    assert_eq!(compared, 7, "{seen}");
    let engines = engine.in_namespaces("readlink", &["/proc/self/ns/net", "/proc/self/ns/mnt"]);
    for namespace in engines.lines() {
        assert!(
            !seen.ok().contains(namespace),
            "the engine's own {namespace} is shared"
        );
    }
    let cgroup = run(&engine, &[], &["cat", "/proc/self/cgroup"]);
    assert!(
        cgroup.lines().iter().all(|line| line.ends_with(":/")),
        "a path of the host shows: {cgroup}"
    );
    let links = run(&engine, &[], &["ls", "/sys/class/net"]);
    assert_eq!(links.lines(), ["lo"]);
    let loopback = script(
        &engine,
        &[],
        "ip link show lo; ping -c 1 127.0.0.1 >/dev/null && echo reached",
    );
    assert!(
        loopback.ok().contains("UP") && loopback.ok().contains("reached"),
        "{loopback}"
    );
}

#[test]
fn the_kernel_cannot_be_changed() {
    let engine = Engine::with_busybox();
    for (what, refusals) in [
        ("mount -t tmpfs none /tmp", &["denied", "permitted"][..]),
        ("mount -o remount,rw /proc/sys", &["denied", "permitted"]),
        ("umount /proc/sys", &["denied", "permitted"]),
        (
            "echo $(cat /proc/sys/vm/overcommit_memory) > /proc/sys/vm/overcommit_memory",
            &["read-only"],
        ),
        (
            "echo h > /proc/sysrq-trigger",
            &["read-only", "nonexistent"],
        ),
        (
            "mknod /tmp/disk b 8 0 && cat /tmp/disk",
            &["denied", "permitted"],
        ),
        (
            "mkdir /sys/fs/cgroup/mine || mkdir /sys/fs/cgroup/memory/mine",
            &["read-only"],
        ),
        ("unshare -m true", &["denied", "permitted"]),
        ("hostname other", &["denied", "permitted"]),
        (
            "chroot / /bin/mount -t tmpfs none /tmp",
            &["denied", "permitted"],
        ),
    ] {
        let said = script(&engine, &[], what);
        assert_ne!(said.status, 0, "{what} succeeded: {said}");
        let words = said.stderr.to_lowercase();
        assert!(
            refusals.iter().any(|refusal| words.contains(refusal)),
            "{what}: {said}"
        );
    }
}

#[test]
fn paths_that_tell_of_the_host_are_masked() {
    let engine = Engine::with_busybox();
    let measure = "for p in /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys \
        /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/sched_debug /proc/scsi \
        /sys/firmware /sys/devices/virtual/powercap; do \
        if [ -d $p ]; then n=$(ls $p | wc -l); elif [ -e $p ]; then n=$(head -c 1 $p | wc -c); else n=absent; fi; \
        echo $p $n; done";
    let measured = script(&engine, &[], measure);
    for line in measured.lines() {
        assert!(
            line.ends_with(" 0") || line.ends_with(" absent"),
            "something is in {line}"
        );
    }
    // Which of them there are is the kernel's choice; some are always.
    assert!(measured.ok().contains("/proc/interrupts 0"), "{measured}");
    let mounts = run(&engine, &[], &["cat", "/proc/mounts"]);
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/sys"] {
        let mount = mounts
            .lines()
            .into_iter()
            .find(|line| line.split(' ').nth(1) == Some(path))
            .map(str::to_owned);
        let options = mount
            .as_deref()
            .and_then(|line| line.split(' ').nth(3))
            .map(str::to_owned);
        assert!(
            options.is_some_and(|options| options.starts_with("ro,")),
            "{path} is not read-only: {mount:?}"
        );
    }
}

#[test]
fn devices_and_pseudo_file_systems_are_its_own() {
    let engine = Engine::with_busybox();
    let mounts = run(&engine, &[], &["cat", "/proc/mounts"]);
    for (path, kind) in [
        ("/", "overlay"),
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
    ] {
        let found = mounts.lines().iter().any(|line| {
            let mut words = line.split(' ').skip(1);
            words.next() == Some(path) && words.next() == Some(kind)
        });
        assert!(found, "no {kind} on {path}: {mounts}");
    }
    // Nothing below the host's directories shows, not even in the options of the root.
    let data = engine.data_root();
    let beside_root = mounts
        .lines()
        .into_iter()
        .filter(|line| !line.starts_with("overlay / "))
        .collect::<Vec<_>>();
    assert!(
        !beside_root
            .iter()
            .any(|line| line.starts_with(&*data.to_string_lossy())),
        "{beside_root:?}"
    );
    let devices = script(
        &engine,
        &[],
        "cd /dev; ls -d null zero full random urandom tty ptmx fd stdin stdout stderr; ls -d sd* vd* nvme* kmsg 2>/dev/null",
    );
    let devices: Vec<&str> = devices.stdout.lines().collect();
    assert_eq!(
        devices.len(),
        11,
        "missing, or a disk of the host: {devices:?}"
    );
    let works = script(
        &engine,
        &[],
        "head -c 8 /dev/urandom | wc -c; echo x > /dev/null; head -c 1 /dev/zero | wc -c; [ -c /dev/tty ] && echo tty",
    );
    assert_eq!(works.lines(), ["8", "1", "tty"]);
}

#[test]
fn names_are_resolved_by_its_own_files() {
    let engine = Engine::with_busybox();
    let hosts = script(
        &engine,
        &["-h", "box"],
        "cat /etc/hosts; echo --; cat /etc/resolv.conf; echo --; hostname",
    );
    let parts: Vec<&str> = hosts.ok().split("--\n").collect();
    assert_eq!(parts.len(), 3, "{hosts}");
    assert!(parts[0].contains("127.0.0.1\tlocalhost"), "{hosts}");
    assert_eq!(parts[2], "box\n");
    // They are the container's: writing to them changes nobody else's.
    script(
        &engine,
        &[],
        "echo 192.0.2.1 poison >> /etc/hosts && grep poison /etc/hosts",
    )
    .ok();
    assert!(
        !run(&engine, &[], &["cat", "/etc/hosts"])
            .ok()
            .contains("poison")
    );
    assert!(
        !fs::read_to_string("/etc/hosts")
            .unwrap_or_default()
            .contains("poison")
    );
}

#[test]
fn containers_share_layers_and_no_writes() {
    let engine = Engine::with_busybox();
    script(
        &engine,
        &[],
        "echo mine > /etc/passwd; rm /bin/ls; cat /etc/passwd",
    )
    .ok();
    let other = script(&engine, &[], "grep -c root /etc/passwd; ls -d /bin");
    assert_eq!(other.lines(), ["1", "/bin"]);
}

#[test]
fn no_descriptor_of_the_engine_is_inherited() {
    let engine = Engine::with_busybox();
    let open = script(&engine, &[], "exec ls -l /proc/1/fd");
    // Standard input, output and error, and the directory that `ls` itself reads.
    let count = open
        .lines()
        .iter()
        .filter(|line| line.contains(" -> "))
        .count();
    assert!(count <= 4, "{open}");
    assert!(
        !open.ok().contains("socket:") && !open.ok().contains("memfd:"),
        "{open}"
    );
    let environment = script(&engine, &[], "tr '\\0' '\\n' < /proc/1/environ");
    assert!(!environment.ok().contains("BERTH"), "{environment}");
}

#[test]
fn resource_limits_are_sane() {
    let engine = Engine::with_busybox();
    let limits = script(&engine, &[], "ulimit -c; ulimit -n");
    let numbers: Vec<&str> = limits.lines();
    assert_eq!(numbers.len(), 2, "{limits}");
    assert!(
        numbers[1].parse::<u64>().is_ok_and(|files| files >= 1024),
        "{limits}"
    );
    let set = script(
        &engine,
        &["--ulimit", "nofile=256:512"],
        "ulimit -S -n; ulimit -H -n",
    );
    assert_eq!(set.lines(), ["256", "512"]);
}
