//! What cannot be done is refused with Docker's status and a sentence that helps, and leaves
//! nothing behind.

use std::fs;

use berth_testkit::{Engine, EngineBuilder, busybox_rootfs_tar};
use berth_tests::{IMAGE, detached, inspect};

/// A command line after `docker`, its status, and parts of its words.
type Case<'a> = (&'a [&'a str], i32, &'a [&'a str]);

/// Each case is refused as said and changes nothing.
#[track_caller]
fn check(engine: &Engine, cases: &[Case]) {
    let before = engine.census();
    for (arguments, status, parts) in cases {
        engine.docker(arguments).fails(*status, parts);
    }
    assert!(
        engine.docker(&["ps", "--all", "--quiet"]).text().is_empty(),
        "a container stays"
    );
    engine.assert_unchanged_since(&before);
    engine.assert_consistent();
}

const RUN: [&str; 4] = ["run", "--rm", "--network", "none"];

#[test]
fn requests_that_name_what_is_not_there() {
    let engine = Engine::with_busybox();
    check(
        &engine,
        &[
            (
                &[
                    "create",
                    "--pull",
                    "never",
                    "--network",
                    "none",
                    "nosuch:image",
                ],
                1,
                &["no such image: nosuch:image"],
            ),
            (
                &[
                    "run",
                    "--pull",
                    "never",
                    "--network",
                    "none",
                    "nosuch:image",
                ],
                125,
                &["no such image: nosuch:image"],
            ),
            (&["start", "nosuch"], 1, &["no such container: nosuch"]),
            (&["stop", "nosuch"], 1, &["no such container: nosuch"]),
            (&["kill", "nosuch"], 1, &["no such container: nosuch"]),
            (&["rm", "nosuch"], 1, &["no such container: nosuch"]),
            (&["logs", "nosuch"], 1, &["no such container: nosuch"]),
            (&["wait", "nosuch"], 1, &["no such container: nosuch"]),
            (&["inspect", "nosuch"], 1, &["no such object: nosuch"]),
            (
                &["ps", "--filter", "nosuch=1"],
                1,
                &["invalid filter 'nosuch'"],
            ),
            (&["ps", "--filter", "status=nosuch"], 1, &["nosuch"]),
        ],
    );
}

#[test]
fn values_that_make_no_sense() {
    let engine = Engine::with_busybox();
    let cases: [(&[&str], &[&str]); 12] = [
        (&["-m", "5m"], &["minimum memory limit allowed is 6mb"]),
        (&["-m", "64m", "--memory-swap", "32m"], &["memoryswap"]),
        (&["--cpus", "10000"], &["cpus"]),
        (&["--cpu-period", "10"], &["cpu", "period"]),
        (&["--cpu-quota", "10"], &["cpu", "quota"]),
        (&["--cap-add", "NOSUCH"], &["nosuch"]),
        (&["--security-opt", "nosuch=1"], &["nosuch"]),
        (&["-w", "relative"], &["relative", "absolute path"]),
        (
            &["--mount", "type=bind,source=/does/not/exist,target=/x"],
            &["bind source path does not exist: /does/not/exist"],
        ),
        (&["-v", "/tmp:relative"], &["relative", "absolute"]),
        (
            &["-v", "/tmp:/x", "-v", "/var:/x"],
            &["duplicate mount point"],
        ),
        (&["--name", "a/b"], &["invalid container name"]),
    ];
    let lines: Vec<Vec<&str>> = cases
        .iter()
        .map(|(flags, _)| [&RUN[..], flags, &[IMAGE, "true"]].concat())
        .collect();
    let cases: Vec<Case> = lines
        .iter()
        .zip(&cases)
        .map(|(line, (_, parts))| (line.as_slice(), 125, *parts))
        .collect();
    check(&engine, &cases);
}

#[test]
fn commands_that_cannot_start() {
    let engine = Engine::with_busybox();
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (
            &[IMAGE, "nosuchcommand"],
            127,
            &["\"nosuchcommand\": executable file not found in $path"],
        ),
        (
            &[IMAGE, "/no/such/file"],
            127,
            &["/no/such/file", "no such file or directory"],
        ),
        (
            &[IMAGE, "/etc/not-executable"],
            126,
            &["/etc/not-executable", "permission denied"],
        ),
        (
            &["-u", "nosuchuser", IMAGE, "true"],
            125,
            &["unable to find user nosuchuser"],
        ),
        (
            &["-u", "root:nosuchgroup", IMAGE, "true"],
            125,
            &["unable to find group nosuchgroup"],
        ),
        (&["--entrypoint", "", IMAGE], 125, &["no command specified"]),
    ];
    let lines: Vec<Vec<&str>> = cases
        .iter()
        .map(|(rest, _, _)| [&RUN[..], rest].concat())
        .collect();
    let cases: Vec<Case> = lines
        .iter()
        .zip(&cases)
        .map(|(line, (_, status, parts))| (line.as_slice(), *status, *parts))
        .collect();
    check(&engine, &cases);
}

#[test]
fn a_failed_start_is_recorded_with_its_reason() {
    let engine = Engine::with_busybox();
    let failed = engine.docker(&[
        "run",
        "--name",
        "wrong",
        "--network",
        "none",
        IMAGE,
        "nosuchcommand",
    ]);
    failed.expect_status(127);
    assert_eq!(
        inspect(
            &engine,
            "wrong",
            "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}"
        ),
        "created 127 0"
    );
    assert!(inspect(&engine, "wrong", "{{.State.Error}}").contains("nosuchcommand"));
    engine.docker(&["rm", "wrong"]).ok();
}

#[test]
fn a_name_is_taken_once() {
    let engine = Engine::with_busybox();
    let id = detached(&engine, "taken", &[], "sleep 1000");
    let before = engine.census();
    let sentence =
        format!("conflict. the container name \"/taken\" is already in use by container \"{id}\"");
    engine
        .docker(&["create", "--name", "taken", "--network", "none", IMAGE])
        .fails(1, &[&sentence]);
    engine
        .docker(&["run", "--name", "taken", "--network", "none", IMAGE])
        .fails(125, &[&sentence]);
    assert_eq!(
        engine
            .docker(&["ps", "--all", "--quiet", "--no-trunc"])
            .text(),
        id
    );
    engine.assert_unchanged_since(&before);
    // The name is free again with the container.
    engine.docker(&["rm", "--force", "taken"]).ok();
    engine
        .docker(&["create", "--name", "taken", "--network", "none", IMAGE])
        .ok();
}

#[test]
fn damaged_archives_make_no_image() {
    let engine = Engine::with_busybox();
    let scratch = engine.scratch();
    let whole = fs::read(busybox_rootfs_tar()).expect("just made");
    let half = &whole[..whole.len() / 2];
    let mut compressed = vec![0x1f, 0x8b, 8, 0];
    compressed.extend(b"not really compressed data, far from it");
    let mut flipped = whole.clone();
    flipped[148] ^= 0x55;
    let before = engine.census();
    for (name, bytes) in [
        ("half.tar", half),
        ("noise.tar", &[0xa5; 4096][..]),
        ("text.tar", b"this is not an archive"),
        ("compressed.tar.gz", &compressed),
        ("checksum.tar", &flipped),
    ] {
        let path = scratch.join(name);
        fs::write(&path, bytes).expect("the directory is ours");
        let refused = engine.docker(&["import", &path.to_string_lossy(), "damaged:image"]);
        assert_ne!(refused.status, 0, "{name} was taken: {refused}");
        assert!(
            !refused.stderr.trim().is_empty(),
            "{name}: no word: {refused}"
        );
        assert!(
            !refused.stderr.to_lowercase().contains("panic"),
            "{name}: {refused}"
        );
    }
    assert_eq!(
        engine.docker(&["images", "--all", "--quiet"]).lines().len(),
        1,
        "only busybox is there"
    );
    engine.assert_unchanged_since(&before);
    engine.assert_consistent();
}

#[test]
fn archives_that_reach_outside_change_nothing_there() {
    let engine = Engine::start();
    let scratch = engine.scratch();
    let victim = scratch.join("victim");
    let inner = scratch.join("inner");
    fs::create_dir(&inner).expect("the directory is ours");
    fs::write(inner.join("file"), "evil").expect("the directory is ours");
    for (name, transform) in [
        (
            "dots.tar",
            format!("s,^file$,../../../../../../../..{},", victim.display()),
        ),
        ("absolute.tar", format!("s,^file$,{},", victim.display())),
    ] {
        let archive = scratch.join(name);
        let tar = engine.in_namespaces(
            "tar",
            &[
                "-P",
                "-C",
                &inner.to_string_lossy(),
                "--transform",
                &transform,
                "-cf",
                &archive.to_string_lossy(),
                "file",
            ],
        );
        tar.ok();
        // Refused, or taken with the name held inside: both are safe.
        engine.docker(&["import", &archive.to_string_lossy(), "outside:image"]);
        assert!(!victim.exists(), "{name} wrote outside of the image");
    }
}

#[test]
fn configurations_with_mistakes_are_refused_before_anything_opens() {
    for (configuration, flags, parts) in [
        ("{\"no-such-key\": true}", &[][..], &["no-such-key"][..]),
        ("{\"debug\": ", &[], &["daemon.json"]),
        ("{\"debug\": \"perhaps\"}", &[], &["debug"]),
        ("[]", &[], &["daemon.json"]),
        (
            "{\"data-root\": \"/elsewhere\"}",
            &[],
            &["data-root", "both"],
        ),
        ("{}", &["--no-such-flag"], &["no-such-flag"]),
        ("{}", &["--mtu", "many"], &["mtu"]),
        ("{}", &["-H", "nosuch://x"], &["nosuch"]),
    ] {
        let refused = EngineBuilder::new()
            .config(configuration)
            .args(flags)
            .refused();
        assert_ne!(refused.status, 0, "{configuration} {flags:?}: {refused}");
        for part in parts {
            assert!(
                refused.stderr.contains(part),
                "{configuration} {flags:?} lacks `{part}`: {refused}"
            );
        }
        assert!(!refused.stderr.contains("panicked"), "{refused}");
    }
}
