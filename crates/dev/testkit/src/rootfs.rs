//! A small root file system from the machine's static busybox.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::run;
use crate::programs::build_directory;

const BUSYBOX: &str = "/bin/busybox";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\napp:x:1000:\nextra:x:2000:app\n";
/// Directories and their modes, parents first.
const DIRECTORIES: [(&str, u32); 13] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/app", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];

/// The tar archive of a root file system with every busybox applet in `/bin`, the users `root`
/// and `app` (1000:1000, also in the group `extra`, 2000), the file `/etc/not-executable`, and
/// the usual empty directories. Made once for each busybox and kept in the build directory.
///
/// # Panics
/// When the machine has no static busybox (Debian's and Ubuntu's package `busybox-static`).
pub fn busybox_rootfs_tar() -> PathBuf {
    let busybox = match fs::metadata(BUSYBOX) {
        Ok(metadata) if is_static(Path::new(BUSYBOX)) => metadata,
        _ => panic!("{BUSYBOX} is missing or not static; install the package busybox-static"),
    };
    let name = format!("busybox-rootfs-2-{}-{}.tar", busybox.len(), busybox.mtime());
    let cached = build_directory().join(name);
    if !cached.is_file() {
        make(&cached);
    }
    cached
}

/// Whether the ELF file names no dynamic loader (whose path would stand near its beginning).
fn is_static(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap_or_default();
    let head = bytes.get(..4096.min(bytes.len())).unwrap_or_default();
    bytes.starts_with(b"\x7fELF") && !head.windows(4).any(|window| window == b"/ld-")
}

/// Makes the archive beside `target` and renames it, so that tests which run at the same time
/// see all of it or nothing.
fn make(target: &Path) {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let staging = target.with_extension(format!("{}-{number}", std::process::id()));
    let root = staging.join("root");
    fs::create_dir_all(&root).expect("the build directory is writable");
    for (path, mode) in DIRECTORIES {
        let path = root.join(path);
        fs::create_dir(&path).expect("the staging directory is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .expect("the staging directory is ours");
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).expect("busybox can be copied");
    for applet in run(Command::new(BUSYBOX).arg("--list")).lines() {
        // `busybox` itself is in the list of some builds.
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet))
                .expect("the staging directory is ours");
        }
    }
    for (path, text) in [
        ("etc/passwd", PASSWD),
        ("etc/group", GROUP),
        ("etc/not-executable", "just a text\n"),
    ] {
        fs::write(root.join(path), text).expect("the staging directory is ours");
    }
    let archive = staging.join("rootfs.tar");
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--numeric-owner",
        "--owner=0",
        "--group=0",
        "--sort=name",
        "--directory",
    ])
    .arg(&root);
    tar.arg("--file")
        .arg(&archive)
        .args(["--exclude=./home/app", "."]);
    run(&mut tar).ok();
    let mut home = Command::new("tar");
    home.args([
        "--append",
        "--numeric-owner",
        "--owner=1000",
        "--group=1000",
        "--directory",
    ])
    .arg(&root);
    home.arg("--file").arg(&archive).arg("./home/app");
    run(&mut home).ok();
    fs::rename(&archive, target).expect("both are in the build directory");
    fs::remove_dir_all(&staging).expect("the staging directory is ours");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_holds_what_tests_rely_on() {
        let archive = busybox_rootfs_tar();
        let listing = run(Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--file"])
            .arg(&archive));
        for (mode_and_owner, name) in [
            ("-rwxr-xr-x 0/0", "./bin/busybox"),
            ("lrwxrwxrwx 0/0", "./bin/sh -> busybox"),
            ("drwxrwxrwt 0/0", "./tmp/"),
            ("drwx------ 0/0", "./root/"),
            ("drwxr-xr-x 1000/1000", "./home/app/"),
            ("-rw-r--r-- 0/0", "./etc/not-executable"),
        ] {
            let found = listing
                .lines()
                .iter()
                .any(|line| line.starts_with(mode_and_owner) && line.ends_with(name));
            assert!(
                found,
                "{mode_and_owner} {name} is not in:\n{}",
                listing.stdout
            );
        }
    }
}
