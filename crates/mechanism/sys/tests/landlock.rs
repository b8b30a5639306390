//! Landlock against the running kernel. It binds a thread, so the case has one of its own.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

use berth_sys::landlock::{self, Access, Enforced, restrict_to};
use berth_sys::rustix::thread::set_no_new_privs;

/// A directory under the system's temporary one, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        let path = std::env::temp_dir().join(format!("berth-landlock-{}", std::process::id()));
        for name in ["written/sub", "read", "hidden"] {
            fs::create_dir_all(path.join(name)).unwrap();
            fs::write(path.join(name).join("file"), "content").unwrap();
        }
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn denied<T>(result: std::io::Result<T>) {
    let kind = result.map(|_| ()).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::PermissionDenied));
}

#[test]
fn only_the_given_directories_remain() {
    let scratch = Scratch::new();
    let case = || {
        let written = File::open(scratch.0.join("written")).unwrap();
        let read = File::open(scratch.0.join("read")).unwrap();
        set_no_new_privs(true).unwrap();
        let directories = [
            (written.as_fd(), Access::ReadWrite),
            (read.as_fd(), Access::ReadOnly),
        ];
        match restrict_to(&directories).unwrap() {
            Enforced::Not => assert_eq!(landlock::abi().unwrap(), None),
            Enforced::Abi(version) => {
                assert_eq!(landlock::abi().unwrap(), Some(version));
                check_confinement(&scratch.0, version);
            }
        }
    };
    thread::scope(|scope| scope.spawn(case).join().unwrap());
    // The other threads are free.
    fs::read(scratch.0.join("hidden/file")).unwrap();
}

fn check_confinement(path: &Path, version: u32) {
    let written = path.join("written");
    fs::write(written.join("new"), "x").unwrap();
    fs::create_dir(written.join("directory")).unwrap();
    fs::hard_link(written.join("new"), written.join("second")).unwrap();
    std::os::unix::fs::symlink("anywhere", written.join("symlink")).unwrap();
    fs::remove_file(written.join("second")).unwrap();

    assert_eq!(fs::read(path.join("read/file")).unwrap(), b"content");
    denied(fs::write(path.join("read/file"), "x"));
    denied(fs::write(path.join("read/new"), "x"));
    denied(fs::remove_file(path.join("read/file")));

    denied(fs::read(path.join("hidden/file")));
    denied(fs::read_dir(path.join("hidden")));
    denied(fs::read(written.join("../hidden/file")));
    denied(fs::create_dir(path.join("hidden/new")));
    denied(fs::read("/etc/passwd"));

    if version >= 2 {
        fs::rename(written.join("new"), written.join("sub/new")).unwrap();
        assert!(fs::rename(path.join("read/file"), written.join("file")).is_err());
    }
    if version >= 4 {
        denied(TcpListener::bind("127.0.0.1:0"));
    }
}
