//! The flags of `docker run`, seen from inside of the container.

use std::fs;

use berth_testkit::Engine;
use berth_tests::{DEFAULT_CAPABILITIES, IMAGE, field, inspect, run, script};

const STATUS: &str = "cat /proc/self/status";

#[test]
fn environment_directory_user_name_and_entrypoint() {
    let engine = Engine::with_busybox();
    let environment = run(
        &engine,
        &["-e", "A=1 2", "-e", "NOT_SET_HERE", "-h", "box"],
        &["env"],
    );
    let mut lines = environment.lines();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "A=1 2",
            "HOME=/root",
            "HOSTNAME=box",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ]
    );
    for (flags, told, expected) in [
        (&["-w", "/tmp"][..], "pwd", "/tmp"),
        (&["-w", "/made/for/it"], "pwd", "/made/for/it"),
        (&["-h", "box"], "hostname; cat /etc/hostname", "box\nbox"),
        (
            &["-u", "app"],
            "id -u; id -G; echo $HOME",
            "1000\n1000 2000\n/home/app",
        ),
        (&["-u", "1000"], "id -u; id -G", "1000\n1000 2000"),
        (&["-u", "1000:0"], "id -u; id -g", "1000\n0"),
        (&["-u", "app:extra"], "id -u; id -g", "1000\n2000"),
        (&["-u", "12345"], "id -u; id -g; echo $HOME", "12345\n0\n/"),
        (&["-u", "12345:54321"], "id -u; id -g", "12345\n54321"),
    ] {
        assert_eq!(script(&engine, flags, told).text(), expected, "{flags:?}");
    }
    assert_eq!(
        run(&engine, &["--entrypoint", "/bin/echo"], &["a", "b"]).ok(),
        "a b\n"
    );
    let name = run(&engine, &["--name", "named"], &["hostname"]);
    assert_eq!(
        name.text().len(),
        12,
        "the host name is the short id: {name}"
    );
}

#[test]
fn read_only_and_volumes() {
    let engine = Engine::with_busybox();
    let denied = script(&engine, &["--read-only"], "touch /file");
    denied.fails(1, &["read-only file system"]);
    script(&engine, &["--read-only"], "touch /dev/shm/file").ok();

    let shared = engine.scratch();
    fs::write(shared.join("given"), "from the host").expect("the directory is ours");
    let volume = format!("{}:/shared", shared.display());
    let said = script(
        &engine,
        &["--read-only", "-v", &volume],
        "cat /shared/given; echo back > /shared/taken",
    );
    assert_eq!(said.ok(), "from the host");
    assert_eq!(
        fs::read_to_string(shared.join("taken")).ok().as_deref(),
        Some("back\n")
    );

    let read_only = format!("{volume}:ro");
    script(
        &engine,
        &["-v", &read_only],
        "cat /shared/given >/dev/null && touch /shared/file",
    )
    .fails(1, &["read-only file system"]);
    let file = format!("{}:/etc/one-file:ro", shared.join("given").display());
    assert_eq!(
        run(&engine, &["-v", &file], &["cat", "/etc/one-file"]).ok(),
        "from the host"
    );

    // Docker makes a missing source of -v as a directory.
    let missing = shared.join("not/there");
    script(
        &engine,
        &["-v", &format!("{}:/made", missing.display())],
        "touch /made/file",
    )
    .ok();
    assert!(missing.join("file").is_file());
}

#[test]
fn capabilities_and_security_options() {
    let engine = Engine::with_busybox();
    for (flags, capabilities, seccomp, no_new_privileges) in [
        (&[][..], DEFAULT_CAPABILITIES, "2", "0"),
        (&["--cap-drop", "ALL"], "0000000000000000", "2", "0"),
        (
            &["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"],
            "0000000000001000",
            "2",
            "0",
        ),
        (
            &["--cap-add", "CAP_SYS_ADMIN"],
            "00000000a82425fb",
            "2",
            "0",
        ),
        (&["--cap-drop", "chown"], "00000000a80425fa", "2", "0"),
        (&["-u", "app"], "0000000000000000", "2", "0"),
        (
            &["--security-opt", "no-new-privileges"],
            DEFAULT_CAPABILITIES,
            "2",
            "1",
        ),
        (
            &["--security-opt", "seccomp=unconfined"],
            DEFAULT_CAPABILITIES,
            "0",
            "0",
        ),
    ] {
        let status = script(&engine, flags, STATUS);
        for (key, expected) in [
            ("CapEff", capabilities),
            ("Seccomp", seccomp),
            ("NoNewPrivs", no_new_privileges),
        ] {
            assert_eq!(
                field(status.ok(), key),
                Some(expected),
                "{key} with {flags:?}"
            );
        }
    }
}

#[test]
fn a_seccomp_profile_of_the_users_own() {
    let engine = Engine::with_busybox();
    let profile = engine.scratch().join("profile.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#;
    fs::write(&profile, text).expect("the directory is ours");
    let option = format!("seccomp={}", profile.display());
    script(&engine, &["--security-opt", &option], "mkdir /directory")
        .fails(1, &["function not implemented"]);
}

#[test]
fn privileged_is_the_hosts_root() {
    let engine = Engine::with_busybox();
    // All that the engine itself may have: whatever started it may have kept some back.
    let own = fs::read_to_string("/proc/self/status").expect("/proc");
    let status = script(&engine, &["--privileged"], STATUS);
    assert_eq!(field(status.ok(), "CapEff"), field(&own, "CapBnd"));
    assert_eq!(field(status.ok(), "Seccomp"), Some("0"));
    let said = script(
        &engine,
        &["--privileged"],
        "mount -t tmpfs none /tmp && grep -c ' /tmp tmpfs ' /proc/mounts",
    );
    assert_eq!(said.text(), "1");
    let said = script(
        &engine,
        &["--privileged"],
        "grep -E ' /proc/sys | /proc/kcore ' /proc/mounts; ls -l /proc/self/ns/cgroup",
    );
    assert!(!said.ok().contains("/proc/sys "), "{said}");
    let own = fs::read_link("/proc/self/ns/cgroup").expect("/proc");
    assert!(
        said.ok().contains(&*own.to_string_lossy()),
        "privileged has the host's cgroup namespace: {said}"
    );
}

#[test]
fn limits_are_the_kernels() {
    let engine = Engine::with_busybox();
    // Version 1 has a directory for each controller, version 2 one for all; only one of the two is there.
    for (flags, first, second, expected) in [
        (
            &["-m", "32m"][..],
            "memory/memory.limit_in_bytes",
            "memory.max",
            "33554432",
        ),
        (&["--pids-limit", "50"], "pids/pids.max", "pids.max", "50"),
        (
            &["--cpus", "0.5"],
            "cpu/cpu.cfs_quota_us",
            "cpu.max",
            "50000",
        ),
        (
            &["--cpu-period", "50000", "--cpu-quota", "20000"],
            "cpu/cpu.cfs_quota_us",
            "cpu.max",
            "20000",
        ),
        (
            &["--cpu-period", "50000"],
            "cpu/cpu.cfs_period_us",
            "cpu.max",
            "50000",
        ),
        (
            &["--cpu-shares", "512"],
            "cpu/cpu.shares",
            "cpu.weight",
            "512",
        ),
    ] {
        let told = script(
            &engine,
            flags,
            &format!("cd /sys/fs/cgroup; cat {first} 2>/dev/null || cat {second}"),
        );
        if told.text() == expected {
            continue;
        }
        // The unified hierarchy prints quota and period together, and a weight instead of shares.
        let words: Vec<&str> = told.text().split(' ').collect();
        let weights = ["20", "59"];
        assert!(
            words.contains(&expected) || (second == "cpu.weight" && weights.contains(&told.text())),
            "{flags:?}: {told}"
        );
    }
}

#[test]
fn too_much_memory_is_death() {
    let engine = Engine::with_busybox();
    let hungry = [
        "run",
        "--name",
        "hungry",
        "--network",
        "none",
        "-m",
        "16m",
        IMAGE,
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        "bs=64M",
        "count=1",
    ];
    engine.docker(&hungry).expect_status(137);
    assert_eq!(
        inspect(
            &engine,
            "hungry",
            "{{.State.OOMKilled}} {{.State.ExitCode}}"
        ),
        "true 137"
    );
}

#[test]
fn too_many_processes_are_refused() {
    let engine = Engine::with_busybox();
    let said = script(
        &engine,
        &["--pids-limit", "5"],
        "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all",
    );
    said.fails(2, &["can't fork"]);
}

#[test]
fn the_hosts_network_and_cgroups_on_request() {
    let engine = Engine::with_busybox();
    let network = [
        "run",
        "--rm",
        "--network",
        "host",
        IMAGE,
        "readlink",
        "/proc/self/ns/net",
    ];
    let engines = engine.in_namespaces("readlink", &["/proc/self/ns/net"]);
    assert_eq!(engine.docker(&network).text(), engines.text());
    let own = fs::read_link("/proc/self/ns/cgroup").expect("/proc");
    let said = run(
        &engine,
        &["--cgroupns", "host"],
        &["readlink", "/proc/self/ns/cgroup"],
    );
    assert_eq!(said.text(), own.to_string_lossy());
}
