//! What a reader of containers' files gives up before it is asked anything.
//!
//! It opens what strangers have named, on whatever they have mounted, and writes archives of it.
//! For that it keeps one right, to read what modes forbid. Landlock (where the kernel has it)
//! denies it to write, make, rename and remove files, wherever they are; seccomp leaves the calls
//! that looking takes, and refuses all others. What it holds is the engine's socket and the root
//! that it was given.

use std::io;

use berth_sys::arch::Arch;
use berth_sys::caps::{CapSet, Capability};
use berth_sys::confine::{allowed_calls, keep_capabilities};
use berth_sys::landlock;
use berth_sys::rustix::thread::set_no_new_privs;
use berth_sys::seccomp::{self, Action, Profile};

/// `EPERM`, the answer to all other calls.
const REFUSED: u16 = 1;

/// Calls that looking takes, beside those that every helper needs: files, the socket.
const CALLS: &[&str] = &[
    "fcntl",
    "fgetxattr",
    "flistxattr",
    "fstat",
    "fstatfs",
    "getdents64",
    "lseek",
    "newfstatat",
    "openat",
    "openat2",
    "poll",
    "ppoll",
    "pread64",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmsg",
    "sendmsg",
    "sendto",
    "shutdown",
    "statx",
    "write",
    "writev",
];

/// Confines the calling thread, for good.
///
/// # Errors
/// The kernel refuses one of the steps.
pub(super) fn enter() -> io::Result<()> {
    set_no_new_privs(true)?;
    let _present = landlock::deny_writing()?;
    let kept = CapSet::from_iter([Capability::DacReadSearch]);
    keep_capabilities(kept).map_err(io::Error::other)?;
    let profile = Profile {
        default_action: Action::Errno(REFUSED),
        architectures: vec![Arch::NATIVE],
        rules: allowed_calls(CALLS),
    };
    let filter = seccomp::compile(&profile).map_err(io::Error::other)?;
    filter.load()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use berth_sys::landlock::Enforced;

    use super::*;

    #[test]
    fn who_is_confined_reads_everything_and_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "text").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o000)).unwrap();
        // Tells whether the kernel has Landlock, on a thread that is given up for it.
        let present = thread::spawn(landlock::deny_writing).join().unwrap();
        let has_landlock = present.is_ok_and(|present| present != Enforced::Not);
        let (path, inside) = (file.clone(), directory.path().to_owned());
        let confined = thread::spawn(move || {
            enter().unwrap();
            let wrote = fs::write(&path, "other").is_ok();
            let made = fs::write(inside.join("new"), "").is_ok();
            let refused = [
                ("unlink", said(fs::remove_file(&path))),
                ("rename", said(fs::rename(&path, inside.join("moved")))),
                ("mkdir", said(fs::create_dir(inside.join("directory")))),
                (
                    "chmod",
                    said(fs::set_permissions(&path, PermissionsExt::from_mode(0o777))),
                ),
                ("socket", said(UnixStream::connect("/nowhere").map(drop))),
            ];
            let rights = fs::read_to_string("/proc/thread-self/status").unwrap();
            (fs::read(&path).unwrap(), rights, wrote || made, refused)
        });
        let (read, rights, wrote, refused) = confined.join().unwrap();
        assert_eq!(read, b"text");
        assert!(rights.contains("CapEff:\t0000000000000004\n"), "{rights}");
        assert!(!(has_landlock && wrote), "it wrote although it may not");
        for (what, answer) in refused {
            let refused = answer
                .as_ref()
                .is_err_and(|error| error.contains("not permitted"));
            assert!(refused, "{what}: {answer:?}");
        }
        if has_landlock {
            assert_eq!(fs::read(&file).unwrap(), b"text");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    fn said(result: io::Result<()>) -> Result<(), String> {
        result.map_err(|error| error.to_string())
    }
}
