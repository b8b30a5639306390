//! A full disk: whatever finds no room is refused with a sentence, the engine lives, what reads
//! and what removes still works, and with room everything does again, without a restart.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_sys::process::unshare_namespaces;
use berth_sys::rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use berth_sys::rustix::thread::UnshareFlags;
use berth_testkit::{Engine, EngineBuilder, busybox_rootfs_tar, exchange};
use berth_tests::{IDLE, IMAGE, detached};
use serde_json::json;

#[path = "power_cut/parts.rs"]
#[allow(dead_code, reason = "the other test chooses at random as well")]
mod parts;

/// Bytes of the disk.
const SIZE: u64 = 64 << 20;
/// Bytes that are left, from nothing to more than anything needs.
const LEFT: [u64; 12] = [
    0, 4096, 8192, 12288, 20480, 40960, 81920, 200_000, 800_000, 3_000_000, 8_000_000, 20_000_000,
];

/// An ext4 of its own, in memory, that goes with the thread's mount namespace.
struct Disk {
    directory: PathBuf,
    top: PathBuf,
}

impl Disk {
    fn make() -> Self {
        unshare_namespaces(UnshareFlags::NEWNS).unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        let directory = PathBuf::from(format!("/dev/shm/berth-full-{}", std::process::id()));
        let (top, image) = (directory.join("top"), directory.join("image"));
        fs::create_dir_all(&top).unwrap();
        File::create(&image).unwrap().set_len(SIZE).unwrap();
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(&image));
        run(Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &top]));
        Self { directory, top }
    }

    fn filler(&self) -> PathBuf {
        self.top.join("filler")
    }

    /// Fills it but for so many bytes.
    fn fill_but(&self, left: u64) {
        let mut file = File::create(self.filler()).unwrap();
        for size in [1 << 20, 4096] {
            let block = vec![7; size];
            while file.write_all(&block).is_ok() {}
        }
        file.sync_all().ok();
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(left)).unwrap();
        file.sync_all().unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Both fail only where the test has failed already.
        let _ = unmount(&self.top, UnmountFlags::DETACH);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// The media type and the bytes of a request.
type Body<'a> = (&'a str, &'a [u8]);

/// One request; the status and what was said.
fn ask(engine: &Engine, method: &str, path: &str, body: Option<Body<'_>>) -> (u16, String) {
    let answer = exchange(&engine.socket(), method, path, body);
    let answer = answer.unwrap_or_else(|e| panic!("{method} {path}: {e}\n{}", engine.log()));
    (
        answer.status,
        String::from_utf8_lossy(&answer.body).into_owned(),
    )
}

/// As [`ask`]: true where it was done, false where it was refused for want of room.
#[track_caller]
fn try_to(engine: &Engine, method: &str, path: &str, body: Option<Body<'_>>) -> bool {
    let (status, said) = ask(engine, method, path, body);
    if status < 300 && !said.contains("errorDetail") {
        return true;
    }
    let advice =
        said.to_lowercase().contains("no space left on device") && said.contains("free some");
    assert!(advice, "{method} {path}: {status} {said}");
    assert!(
        matches!(status, 200 | 500),
        "{method} {path}: {status} {said}"
    );
    let (alive, _) = ask(engine, "GET", "/containers/json?all=1", None);
    assert_eq!(alive, 200);
    false
}

/// Everything that writes, once; how much of it was done.
fn everything(engine: &Engine, step: usize) -> usize {
    let tar = "application/x-tar";
    let json = |value: serde_json::Value| value.to_string();
    let name = format!("new{step}");
    let create = json(json!({
        "Image": IMAGE,
        "Cmd": ["sh", "-c", "echo some output"],
        "HostConfig": {"NetworkMode": "none"},
    }));
    let exec = json(json!({"Cmd": ["true"]}));
    let (image, _) = parts::image(&format!("loaded{step}:1"), step as u64);
    let rootfs = fs::read(busybox_rootfs_tar()).unwrap();
    let steps: [(&str, String, Option<Body<'_>>); 9] = [
        (
            "POST",
            format!("/containers/create?name={name}"),
            Some(("application/json", create.as_bytes())),
        ),
        ("POST", format!("/containers/{name}/start"), None),
        (
            "POST",
            "/containers/idle/exec".to_owned(),
            Some(("application/json", exec.as_bytes())),
        ),
        ("POST", "/containers/full/start".to_owned(), None),
        (
            "POST",
            format!("/commit?container=full&repo=committed&tag=s{step}"),
            None,
        ),
        ("POST", "/images/load".to_owned(), Some((tar, &image))),
        (
            "POST",
            format!("/images/create?fromSrc=-&repo=imported&tag=s{step}"),
            Some((tar, &rootfs)),
        ),
        (
            "POST",
            format!("/images/{IMAGE}/tag?repo=tagged&tag=s{step}"),
            None,
        ),
        (
            "PUT",
            "/containers/idle/archive?path=/tmp".to_owned(),
            Some((tar, &rootfs)),
        ),
    ];
    let mut done = 0;
    for (method, path, body) in &steps {
        // A container that was not made is not there to be started.
        if path.ends_with(&format!("{name}/start")) && done == 0 {
            continue;
        }
        done += usize::from(try_to(engine, method, path, *body));
        if path.contains("/full/start") {
            engine.request("POST", "/containers/full/wait", None);
        }
    }
    let (logs, _) = ask(engine, "GET", "/containers/full/logs?stdout=1", None);
    assert_eq!(logs, 200);
    done
}

/// Removes what [`everything`] made, which has to work however full the disk is.
#[track_caller]
fn remove(engine: &Engine, step: usize) {
    let removals = [
        format!("/containers/new{step}?force=1"),
        format!("/images/committed:s{step}?force=1"),
        format!("/images/loaded{step}:1?force=1"),
        format!("/images/imported:s{step}?force=1"),
        format!("/images/tagged:s{step}"),
    ];
    for path in removals {
        let (status, said) = ask(engine, "DELETE", &path, None);
        assert!(matches!(status, 200 | 204 | 404), "{path}: {status} {said}");
    }
}

#[test]
fn a_full_disk_is_said_and_survived() {
    let disk = Disk::make();
    let root: &Path = &disk.top.join("root");
    let mut engine = EngineBuilder::new().data_root(root).start();
    engine.import_busybox();
    detached(&engine, "idle", &[], IDLE);
    let output = "head -c 60000 /dev/zero | tr '\\0' 'x' | fold; echo kept > /kept";
    detached(&engine, "full", &[], output);
    engine.docker(&["wait", "full"]).ok();
    let most = everything(&engine, 99);
    remove(&engine, 99);
    engine.assert_consistent();

    let mut done = Vec::new();
    for (step, left) in LEFT.into_iter().enumerate() {
        disk.fill_but(left);
        done.push(everything(&engine, step));
        remove(&engine, step);
        engine.assert_consistent();
        if step == 0 {
            // The engine comes up on the full disk as well.
            engine.restart();
            assert_eq!(ask(&engine, "GET", "/containers/json", None).0, 200);
        }
        disk.empty();
        assert_eq!(
            everything(&engine, step),
            most,
            "with room again, after {left}"
        );
        remove(&engine, step);
    }
    assert!(done[0] < most, "nothing was refused: {done:?}");
    assert_eq!(done.last(), Some(&most), "{done:?}");
    engine.assert_consistent();

    // Nothing at all is left, and everything can go.
    disk.fill_but(0);
    engine.docker(&["rm", "--force", "idle", "full"]).ok();
    engine.docker(&["rmi", IMAGE]).ok();
    engine.assert_consistent();
    disk.empty();
    drop(engine);
}
