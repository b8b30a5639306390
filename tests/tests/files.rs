//! Files in and out of containers, and images that need no registry.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::time::Duration;

use berth_testkit::{Engine, wait_until};
use berth_tests::{IDLE, IMAGE, detached};

#[test]
fn hello_world_comes_with_the_engine() {
    let engine = Engine::start();
    let hello = ["run", "--rm", "--network", "none", "hello-world"];
    let first = engine.docker(&hello);
    assert!(first.ok().starts_with("Hello from Berth."), "{first}");
    for line in [
        "Unable to find image 'hello-world:latest' locally",
        "latest: Pulling from library/hello-world",
        "Pull complete",
        "no registry was asked",
        "Digest: sha256:",
        "Status: Downloaded newer image for hello-world:latest",
    ] {
        assert!(first.stderr.contains(line), "{line:?} is not in:\n{first}");
    }
    let again = engine.docker(&hello);
    assert_eq!((again.ok(), again.stderr.as_str()), (first.ok(), ""));
    let pulled = engine.docker(&["pull", "hello-world"]);
    assert!(
        pulled
            .ok()
            .contains("Image is up to date for hello-world:latest"),
        "{pulled}"
    );
    let id = |engine: &Engine| {
        let id = engine.docker(&["image", "inspect", "--format", "{{.Id}}", "hello-world"]);
        id.text().to_owned()
    };
    let other = Engine::start();
    other.docker(&["pull", "--quiet", "hello-world"]).ok();
    assert_eq!(
        id(&engine),
        id(&other),
        "the image is the same in every engine"
    );
    let refused = engine.docker(&["pull", "hello-mars"]);
    assert_ne!(refused.status, 0);
    assert!(
        refused.stderr.contains("hello-mars:latest from a registry"),
        "{refused}"
    );
}

#[test]
fn the_hosts_packages_become_an_image_that_works() {
    let engine = Engine::start();
    let made = engine.berth(&["image", "bootstrap", "--from", "host", "--tag", "base:test"]);
    let id = made.text().to_owned();
    assert!(id.starts_with("sha256:"), "{made}");
    let format = "{{json .Config.Labels}} {{json .Config.Cmd}}";
    let described = engine.docker(&["image", "inspect", "--format", format, "base:test"]);
    for part in ["\"berth.bootstrap.from\":\"host\"", "[\"/bin/bash\"]"] {
        assert!(described.text().contains(part), "{described}");
    }
    let script = "set -e; bash --version >/dev/null; ls -la / >/dev/null; id; \
        for tool in dpkg sed grep tar find awk; do command -v $tool >/dev/null; done; \
        for tool in ps ip apt-get less python3; do \
            if command -v $tool >/dev/null; then case $tool in \
                ps) ps aux >/dev/null;; ip) ip link >/dev/null;; apt-get) apt-get --version >/dev/null;; \
                *) $tool --version >/dev/null;; esac; fi; done; \
        dpkg -l bash coreutils | grep -c ^ii; dpkg --audit; \
        su -s /bin/sh nobody -c 'id -un'; test ! -e /etc/resolv.conf -o -f /etc/resolv.conf; \
        test -z \"$(cat /etc/machine-id)\"; stat -c %a /tmp";
    let ran = engine.docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "base:test",
        "/bin/bash",
        "-c",
        script,
    ]);
    assert_eq!(
        ran.lines(),
        [
            "uid=0(root) gid=0(root) groups=0(root)",
            "2",
            "nobody",
            "1777"
        ],
        "{ran}"
    );
}

/// A directory with a file, a directory and a link in it, each of its own owner or mode.
fn tree(at: &Path) {
    fs::create_dir_all(at.join("tree/inner")).unwrap();
    fs::write(at.join("tree/file"), "content\n").unwrap();
    fs::write(at.join("tree/inner/program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(
        at.join("tree/inner/program"),
        fs::Permissions::from_mode(0o4750),
    )
    .unwrap();
    chown(at.join("tree/inner"), Some(1000), Some(2000)).unwrap();
    symlink("/etc/passwd", at.join("tree/link")).unwrap();
}

/// Mode, owner and name of everything at a path of a container, as an archive of it says.
fn described(engine: &Engine, container: &str, path: &str) -> Vec<String> {
    let script = format!(
        "docker -H {} cp {container}:{path} - | tar tv --numeric-owner",
        engine.docker_host()
    );
    let list = engine.in_namespaces("sh", &["-c", &script]);
    let line = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        [&words[..2], &words[5..]].concat().join(" ")
    };
    list.lines().iter().map(line).collect()
}

const TREE: [&str; 5] = [
    "drwxr-xr-x 0/0 tree/",
    "-rw-r--r-- 0/0 tree/file",
    "drwxr-xr-x 1000/2000 tree/inner/",
    "-rwsr-x--- 0/0 tree/inner/program",
    "lrwxrwxrwx 0/0 tree/link -> /etc/passwd",
];

#[test]
fn cp_both_ways_running_and_stopped() {
    let engine = Engine::with_busybox();
    let scratch = engine.scratch();
    tree(&scratch);
    let here = |name: &str| scratch.join(name).to_string_lossy().into_owned();
    detached(&engine, "running", &["--tmpfs", "/memory"], IDLE);
    engine
        .docker(&[
            "create",
            "--name",
            "stopped",
            "--network",
            "none",
            IMAGE,
            "/bin/sh",
        ])
        .ok();
    let empty = engine.census();
    for box_ in ["running", "stopped"] {
        let at = |path: &str| format!("{box_}:{path}");
        engine.docker(&["cp", &here("tree"), &at("/root")]).ok();
        assert_eq!(described(&engine, box_, "/root/tree"), TREE, "{box_}");
        // A file to a new name, into a directory, and over itself.
        engine
            .docker(&["cp", &here("tree/file"), &at("/root/renamed")])
            .ok();
        engine
            .docker(&["cp", &here("tree/file"), &at("/tmp/")])
            .ok();
        engine
            .docker(&["cp", &here("tree/file"), &at("/tmp/file")])
            .ok();
        for path in ["/root/renamed", "/tmp/file"] {
            engine.docker(&["cp", &at(path), &here("back")]).ok();
            assert_eq!(
                fs::read_to_string(scratch.join("back")).unwrap(),
                "content\n"
            );
            fs::remove_file(scratch.join("back")).unwrap();
        }
        // The content of a directory, by a path that ends with a dot.
        engine
            .docker(&["cp", &at("/root/tree/."), &here("content")])
            .ok();
        assert!(scratch.join("content/inner/program").is_file());
        fs::remove_dir_all(scratch.join("content")).unwrap();
        // A link as a link, and what it leads to.
        engine
            .docker(&["cp", &at("/root/tree/link"), &here("link")])
            .ok();
        assert_eq!(
            fs::read_link(scratch.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        fs::remove_file(scratch.join("link")).unwrap();
        engine
            .docker(&["cp", "--follow-link", &at("/root/tree/link"), &here("link")])
            .ok();
        assert!(
            fs::read_to_string(scratch.join("link"))
                .unwrap()
                .starts_with("root:x:0:0")
        );
        fs::remove_file(scratch.join("link")).unwrap();
        // The whole root, without the kernel's file systems in it.
        engine.docker(&["cp", &at("/"), &here("whole")]).ok();
        assert!(scratch.join("whole/root/tree/file").is_file());
        assert!(!scratch.join("whole/proc/1").exists());
        fs::remove_dir_all(scratch.join("whole")).unwrap();
        // Refusals.
        let missing = engine.docker(&["cp", &at("/nowhere/file"), &here("x")]);
        missing.fails(
            1,
            &["Could not find the file /nowhere/file in container", box_],
        );
        engine
            .docker(&["cp", &here("tree/file"), &at("/nowhere/file")])
            .fails(1, &["/nowhere"]);
        engine
            .docker(&["cp", &here("tree"), &at("/etc/passwd")])
            .fails(1, &["director"]);
        engine
            .docker(&["cp", &here("tree/file"), &at("/root/tree/inner")])
            .ok();
        engine
            .docker(&["cp", &here("tree/file"), &at("/root/tree/inner/file")])
            .ok();
    }
    // What a program of the container sees is what was copied, also in a mount.
    engine
        .docker(&["cp", &here("tree/file"), "running:/memory/file"])
        .ok();
    engine
        .docker(&["cp", "running:/memory/file", &here("back")])
        .ok();
    assert_eq!(
        fs::read_to_string(scratch.join("back")).unwrap(),
        "content\n"
    );
    engine
        .docker(&["cp", "running:/etc/hostname", &here("hostname")])
        .ok();
    assert!(scratch.join("hostname").is_file());
    // What was copied into a stopped container is there when it runs.
    engine
        .docker(&["cp", &here("tree/file"), "stopped:/copied"])
        .ok();
    engine.docker(&["start", "stopped"]).ok();
    engine
        .docker(&["cp", "stopped:/copied", &here("copied")])
        .ok();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(&*scratch.to_string_lossy()),
        "no mount shows on the host"
    );
    drop(empty);
}

#[test]
fn cp_keeps_to_what_a_container_may_write() {
    let engine = Engine::with_busybox();
    let scratch = engine.scratch();
    fs::write(scratch.join("file"), "content").unwrap();
    fs::create_dir(scratch.join("volume")).unwrap();
    let file = scratch.join("file").to_string_lossy().into_owned();
    let create = |name: &str, flags: &[&str]| {
        let head = ["create", "--name", name, "--network", "none"];
        engine
            .docker(&[&head[..], flags, &[IMAGE, "/bin/sh"]].concat())
            .ok();
    };
    create("sealed", &["--read-only"]);
    let sealed = engine.docker(&["cp", &file, "sealed:/tmp"]);
    sealed.fails(1, &["container rootfs is marked read-only"]);
    let bind = format!("{}:/vol", scratch.join("volume").display());
    create("bound", &["--volume", &bind]);
    let bound = engine.docker(&["cp", &file, "bound:/vol/file"]);
    // The mount point is made by the first start; before, nothing is there.
    bound.fails(1, &["bound"]);
    create("user", &["--user", "app"]);
    engine
        .docker(&["cp", "--archive", &file, "user:/tmp/file"])
        .ok();
    let owner = described(&engine, "user", "/tmp/file");
    assert_eq!(owner, ["-rw-r--r-- 1000/1000 file"]);
    detached(
        &engine,
        "sealed-and-bound",
        &["--read-only", "--volume", &bind],
        IDLE,
    );
    let refused = engine.docker(&["cp", &file, "sealed-and-bound:/tmp"]);
    refused.fails(1, &["container rootfs is marked read-only"]);
    engine
        .docker(&["cp", &file, "sealed-and-bound:/vol/file"])
        .ok();
    assert_eq!(
        fs::read_to_string(scratch.join("volume/file")).unwrap(),
        "content"
    );
}

#[test]
fn s06_no_link_leads_cp_out_of_the_container() {
    let engine = Engine::with_busybox();
    let scratch = engine.scratch();
    fs::write(scratch.join("canary"), "not yours").unwrap();
    fs::create_dir(scratch.join("target")).unwrap();
    fs::write(scratch.join("mine"), "copied").unwrap();
    let here = |name: &str| scratch.join(name).to_string_lossy().into_owned();
    let outside = here("target");
    // A program that swaps a directory for a link to the host's and back, for ever.
    let swap = format!(
        "mkdir /a /real; ln -s / /whole; ln -s ../../../../..{outside} /up; \
         while :; do rm -rf /a; ln -s {outside} /a; rm -f /a; mkdir /a; done"
    );
    detached(&engine, "evil", &[], &swap);
    for _ in 0..30 {
        // Whether a copy meets the link or the directory does not matter; where it goes does.
        engine.docker(&["cp", &here("mine"), "evil:/a/mine"]);
        engine.docker(&["cp", &format!("evil:/a{}", "/canary"), &here("stolen")]);
        assert_eq!(
            fs::read_dir(&outside).unwrap().count(),
            0,
            "nothing came out"
        );
        assert!(!scratch.join("stolen").exists());
    }
    engine
        .docker(&["cp", &here("mine"), "evil:/whole/tmp/mine"])
        .ok();
    engine.docker(&["cp", "evil:/tmp/mine", &here("back")]).ok();
    assert_eq!(fs::read_to_string(scratch.join("back")).unwrap(), "copied");
    assert!(!Path::new("/tmp/mine").exists());
    engine.docker(&["cp", &here("mine"), "evil:/up"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    engine
        .docker(&["cp", "evil:/proc/1/root/etc/passwd", &here("passwd")])
        .fails(1, &[]);
    engine.docker(&["rm", "--force", "evil"]).ok();
}

#[test]
fn diff_and_export_show_what_a_container_changed() {
    let engine = Engine::with_busybox();
    let changes = "mkdir -p /new/dir; echo x >/new/dir/file; echo y >>/etc/group; \
        rm /etc/not-executable; rm -r /home/app; chmod 700 /var/tmp; ln -s x /root/link";
    detached(&engine, "changed", &[], &format!("{changes}; {IDLE}"));
    let expected = [
        "A /new",
        "A /new/dir",
        "A /new/dir/file",
        "A /root/link",
        "C /etc",
        "C /etc/group",
        "C /home",
        "C /root",
        "C /var",
        "C /var/tmp",
        "D /etc/not-executable",
        "D /home/app",
    ];
    let sorted = |engine: &Engine| {
        let diff = engine.docker(&["diff", "changed"]);
        let mut lines: Vec<String> = diff.lines().iter().map(|l| (*l).to_owned()).collect();
        lines.sort();
        lines
    };
    wait_until("the changes are made", Duration::from_secs(30), || {
        engine
            .docker(&["diff", "changed"])
            .ok()
            .contains("/root/link")
            .then_some(())
    });
    assert_eq!(sorted(&engine), expected);
    engine
        .docker(&[
            "create",
            "--name",
            "fresh",
            "--network",
            "none",
            IMAGE,
            "true",
        ])
        .ok();
    engine.docker(&["start", "fresh"]).ok();
    engine.docker(&["wait", "fresh"]).ok();
    assert_eq!(
        engine.docker(&["diff", "fresh"]).ok(),
        "",
        "a program that does nothing"
    );
    for state in ["running", "stopped"] {
        if state == "stopped" {
            engine.docker(&["kill", "changed"]).ok();
            assert_eq!(sorted(&engine), expected);
        }
        let archive = engine
            .scratch()
            .join("export.tar")
            .to_string_lossy()
            .into_owned();
        engine
            .docker(&["export", "--output", &archive, "changed"])
            .ok();
        let list = engine.in_namespaces("tar", &["tf", &archive]);
        let names = list.lines();
        for name in [
            "new/dir/file",
            "bin/busybox",
            "etc/group",
            "root/link",
            "proc/",
        ] {
            assert!(
                names.contains(&name),
                "{name} is not in the {state} container's export"
            );
        }
        for name in ["etc/not-executable", "home/app/", "proc/1/"] {
            assert!(
                !names.contains(&name),
                "{name} is in the {state} container's export"
            );
        }
    }
}
