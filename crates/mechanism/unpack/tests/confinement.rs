//! What the helper can still do while it reads an archive: next to nothing.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use berth_sys::landlock;
use berth_sys::rustix::process::{Pid, Signal, kill_process};
use berth_unpack::protocol::{Request, send_request};
use berth_unpack::{Budget, UnpackError};
use common::{Archive, Case};

/// More than a pipe, all blocks between the threads, and what both hold can keep.
const HALF: usize = 8 << 20;

/// The helper that works in this directory.
fn helper_in(target: &Path) -> PathBuf {
    let target = target.canonicalize().unwrap();
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    let found = processes.find(|process| {
        fs::read_link(process.path().join("root")).is_ok_and(|root| root == target)
    });
    found.expect("a process has its root in the target").path()
}

fn fields(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.expect(name).trim().to_owned()
}

/// Runs `look` while the helper waits for the second half of a file.
fn half_way<T>(case: &Case, look: impl FnOnce(&Path) -> T) -> (T, Result<(), UnpackError>) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::thread::scope(|scope| {
        let unpacking = scope.spawn(|| case.unpack_from(reader));
        let archive = Archive::default().file("f", &vec![7; 2 * HALF]).end();
        writer.write_all(&archive[..HALF]).unwrap();
        let seen = look(&helper_in(&case.target()));
        // The helper may be gone.
        let _ = writer.write_all(&archive[HALF..]);
        drop(writer);
        (seen, unpacking.join().unwrap().map(drop))
    })
}

#[test]
fn the_helper_is_confined_before_it_reads() {
    let case = Case::new();
    let ((), result) = half_way(&case, |process| {
        let threads: Vec<_> = fs::read_dir(process.join("task")).unwrap().collect();
        assert_eq!(threads.len(), 2);
        for thread in threads {
            let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            assert_eq!(fields(&status, "Seccomp:"), "2");
            assert_eq!(fields(&status, "NoNewPrivs:"), "1");
            // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP.
            for set in ["CapEff:", "CapPrm:"] {
                assert_eq!(fields(&status, set), "000000008800001b", "{set}");
            }
            for set in ["CapInh:", "CapBnd:", "CapAmb:"] {
                assert_eq!(fields(&status, set), "0000000000000000", "{set}");
            }
        }
        let target = case.target().canonicalize().unwrap();
        assert_eq!(fs::read_link(process.join("cwd")).unwrap(), target);
        assert_eq!(fs::read(process.join("environ")).unwrap(), b"");
        let mut open: Vec<_> = fs::read_dir(process.join("fd"))
            .unwrap()
            .map(|fd| fs::read_link(fd.unwrap().path()).unwrap())
            .map(|link| link.to_str().unwrap().split(':').next().unwrap().to_owned())
            .collect();
        open.sort();
        // The target may be open twice, as itself and as the parent of the file.
        open.dedup();
        let target = target.to_str().unwrap().to_owned();
        let file = format!("{target}/f");
        let mut expected: Vec<_> = ["/dev/null", "socket", "pipe"].map(str::to_owned).into();
        expected.extend([target, file]);
        expected.sort();
        assert_eq!(open, expected);
        let limits = fs::read_to_string(process.join("limits")).unwrap();
        let line = |name: &str| {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert!(line("Max core").starts_with("Max core file size 0 0"));
        assert!(line("Max open").starts_with("Max open files 32 32"));
        assert!(line("Max address").starts_with("Max address space 2147483648 2147483648"));
    });
    result.unwrap();
    assert_eq!(case.meta("f").len(), 2 * HALF as u64);
    // Not a condition, but worth seeing in a failing run.
    println!("Landlock: {:?}", landlock::abi());
}

#[test]
fn a_killed_helper_is_reported() {
    let case = Case::new();
    let ((), result) = half_way(&case, |process| {
        let pid: i32 = process
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    });
    let error = result.unwrap_err();
    assert_eq!(error.kind(), berth_types::ErrorKind::Internal);
    assert!(matches!(error, UnpackError::HelperDied { .. }), "{error:?}");
    assert!(error.to_string().contains("signal: 9"), "{error}");
}

#[test]
fn the_helper_dies_with_its_caller() {
    let case = Case::new();
    let target = File::open(case.target()).unwrap();
    let (archive, mut feed) = std::io::pipe().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    // To the kernel, the parent is the thread that started the process.
    let starter = std::thread::spawn(move || {
        let stdin = std::os::fd::OwnedFd::from(theirs);
        let helper = Command::new(env!("CARGO_BIN_EXE_berth-unpack"))
            .stdin(stdin)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let request = Request {
            caller: std::process::id(),
            journal: false,
            budget: Budget::default(),
            into: None,
        };
        send_request(
            ours.as_fd(),
            &request,
            archive.as_fd(),
            target.as_fd(),
            None,
        )
        .unwrap();
        drop(archive);
        let tar = Archive::default().file("f", &vec![7; 2 * HALF]).end();
        feed.write_all(&tar[..HALF]).unwrap();
        (helper, ours, feed)
    });
    let (mut helper, _socket, _feed) = starter.join().unwrap();
    assert_eq!(helper.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_helper_without_its_caller_does_nothing() {
    use std::io::Read;
    let case = Case::new();
    let target = File::open(case.target()).unwrap();
    let archive = common::file_of(&Archive::default().file("f", b"1").end());
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut helper = Command::new(env!("CARGO_BIN_EXE_berth-unpack"))
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let request = Request {
        caller: 1,
        journal: false,
        budget: Budget::default(),
        into: None,
    };
    send_request(
        ours.as_fd(),
        &request,
        archive.as_fd(),
        target.as_fd(),
        None,
    )
    .unwrap();
    let mut report = String::new();
    ours.read_to_string(&mut report).unwrap();
    assert!(helper.wait().unwrap().success());
    assert!(report.contains("without the caller"), "{report}");
    assert!(!case.path("f").exists());
}

#[test]
fn a_missing_helper_is_named() {
    let case = Case::new();
    let target = File::open(case.target()).unwrap();
    let archive = common::file_of(b"");
    let missing = berth_unpack::Unpacker::new("/nonexistent/berth-unpack");
    let error = missing
        .unpack(archive, target.as_fd(), None, &case.budget)
        .unwrap_err();
    assert!(matches!(&error, UnpackError::Spawn { .. }), "{error:?}");
    assert!(error.to_string().contains("/nonexistent/berth-unpack"));
}
