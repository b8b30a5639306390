//! The engine itself through the stock docker CLI: versions, addresses, options, images.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use berth_testkit::{Engine, EngineBuilder, busybox_rootfs_tar};
use berth_tests::{IMAGE, inspect};

#[test]
fn version_and_info_name_the_engine() {
    let engine = Engine::start();
    let version = engine
        .docker(&["version", "--format", "{{json .Server}}"])
        .json();
    assert_eq!(version["MinAPIVersion"], "1.24", "{version}");
    assert_eq!(version["Os"], "linux", "{version}");
    assert_eq!(
        version["KernelVersion"].as_str(),
        fs::read_to_string("/proc/sys/kernel/osrelease")
            .ok()
            .as_deref()
            .map(str::trim)
    );
    let info = engine.docker(&["info", "--format", "{{json .}}"]).json();
    assert_eq!(
        info["DockerRootDir"].as_str(),
        engine.data_root().to_str(),
        "{info}"
    );
    assert_eq!(info["Containers"], 0, "{info}");
    assert_eq!(info["OSType"], "linux", "{info}");
}

#[test]
fn old_clients_are_understood() {
    let engine = Engine::with_busybox();
    // Before API 1.30 the client learns from events when a container ends, so it does not stay.
    for version in ["1.24", "1.30", "1.41", "1.44"] {
        let with =
            |arguments: &[&str]| engine.docker_with(("DOCKER_API_VERSION", version), arguments);
        assert_eq!(
            with(&["version", "--format", "{{.Client.APIVersion}}"]).text(),
            version
        );
        with(&[
            "run",
            "-d",
            "--name",
            "old",
            "--network",
            "none",
            IMAGE,
            "sh",
            "-c",
            "echo told; exit 4",
        ])
        .ok();
        assert_eq!(with(&["wait", "old"]).text(), "4");
        assert_eq!(with(&["logs", "old"]).text(), "told");
        assert_eq!(
            with(&["inspect", "--format", "{{.State.ExitCode}}", "old"]).text(),
            "4"
        );
        assert_eq!(
            with(&["ps", "--all", "--format", "{{.Names}}"]).text(),
            "old"
        );
        assert_eq!(with(&["images", "--quiet"]).lines().len(), 1);
        with(&["rm", "old"]).ok();
    }
}

#[test]
fn every_address_given_is_listened_on() {
    let second = format!("/var/tmp/bt-second-{}.sock", std::process::id());
    let engine = EngineBuilder::new()
        .args(&["-H", &format!("unix://{second}")])
        .start();
    engine.docker(&["version"]).ok();
    let mut connection = UnixStream::connect(&second).expect("the second address is listened on");
    connection
        .write_all(b"GET /_ping HTTP/1.0\r\n\r\n")
        .expect("the engine reads");
    let mut answer = String::new();
    connection
        .read_to_string(&mut answer)
        .expect("the engine answers");
    assert!(
        answer.contains(" 200 OK\r\n") && answer.ends_with("OK"),
        "{answer}"
    );
    drop(engine);
    assert!(!Path::new(&second).exists(), "the engine left its socket");
}

#[test]
fn options_of_dockerd_without_meaning_here_are_accepted_with_a_notice() {
    let flags = [
        "--containerd",
        "/run/containerd/containerd.sock",
        "--userland-proxy=false",
        "-D",
    ];
    let engine = EngineBuilder::new()
        .args(&flags)
        .config("{\"live-restore\": true}")
        .start();
    let log = engine.log();
    for name in ["containerd", "userland-proxy", "live-restore"] {
        assert!(log.contains(name), "no notice of {name} in:\n{log}");
    }
}

#[test]
fn import_and_images() {
    let engine = Engine::start();
    let archive = busybox_rootfs_tar();
    let archive = archive.to_string_lossy();
    let changes = [
        "-c",
        "ENV GREETING=hello",
        "-c",
        "WORKDIR /tmp",
        "-c",
        "CMD [\"/bin/sh\", \"-c\", \"echo $GREETING $PWD\"]",
    ];
    let id = engine
        .docker(
            &[
                &["import"][..],
                &changes,
                &["-m", "first", &archive, "greet:one"],
            ]
            .concat(),
        )
        .text()
        .to_owned();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(
        engine
            .docker(&["run", "--rm", "--network", "none", "greet:one"])
            .text(),
        "hello /tmp"
    );

    engine
        .docker(&["import", "-c", "USER app", &archive, "greet:two"])
        .ok();
    let listed = engine.docker(&[
        "images",
        "--no-trunc",
        "--format",
        "{{.Repository}}:{{.Tag}} {{.ID}}",
    ]);
    let mut listed = listed.lines();
    listed.sort_unstable();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(
        listed.first().copied(),
        Some(format!("greet:one {id}").as_str())
    );
    assert_eq!(
        engine
            .docker(&["images", "--quiet", "greet:two"])
            .lines()
            .len(),
        1
    );
    assert_eq!(
        engine
            .docker(&["images", "--quiet", "--filter", "reference=*:one"])
            .lines()
            .len(),
        1
    );
    assert!(
        engine
            .docker(&["images", "--quiet", "nothing"])
            .text()
            .is_empty()
    );

    // Both share the layer; a name given again moves to the new image.
    let image = engine.docker(&["inspect", "greet:one"]).json();
    assert_eq!(image[0]["Id"], id, "{image}");
    assert_eq!(image[0]["Config"]["WorkingDir"], "/tmp", "{image}");
    assert_eq!(
        image[0]["RootFS"]["Layers"].as_array().map(Vec::len),
        Some(1),
        "{image}"
    );
    let again = engine
        .docker(&["import", &archive, "greet:one"])
        .text()
        .to_owned();
    assert_ne!(again, id);
    assert_eq!(inspect(&engine, "greet:one", "{{.Id}}"), again);
}

/// A service manager hears when the engine serves, and when it ends (`sd_notify(3)`).
#[test]
fn the_service_manager_is_told() {
    let path = std::env::temp_dir().join(format!("bt-notify-{}", std::process::id()));
    let socket = UnixDatagram::bind(&path).expect("the directory is writable");
    let limit = std::time::Duration::from_secs(60);
    socket.set_read_timeout(Some(limit)).expect("a limit");
    let heard = || {
        let mut news = [0; 64];
        let length = socket.recv(&mut news).expect("the engine says something");
        String::from_utf8_lossy(&news[..length]).into_owned()
    };
    let mut engine = EngineBuilder::new().env("NOTIFY_SOCKET", &path).start();
    assert_eq!(heard(), "READY=1");
    engine.terminate();
    assert_eq!(heard(), "STOPPING=1");
    fs::remove_file(&path).expect("it is ours");
}
