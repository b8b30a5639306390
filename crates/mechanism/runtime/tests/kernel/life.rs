//! Beginning and end: phases, the monitor's death, what is left.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;

use berth_sys::clone::{Cloned, clone3};
use berth_sys::pidfd::{self, Exit};
use berth_sys::rustix::pipe::{PipeFlags, pipe_with};
use berth_sys::rustix::thread::UnshareFlags;

use super::Case as Entry;
use super::support::{Case, finish};

pub const CASES: &[Entry] = &[
    (
        "a_start_says_where_its_time_went",
        a_start_says_where_its_time_went,
    ),
    (
        "a_failed_start_leaves_nothing",
        a_failed_start_leaves_nothing,
    ),
    (
        "the_containers_groups_go_with_it",
        the_containers_groups_go_with_it,
    ),
    (
        "a_container_without_its_own_processes_ends_whole",
        ends_whole,
    ),
    (
        "a_container_dies_with_its_monitor",
        a_container_dies_with_its_monitor,
    ),
    ("two_starts_in_a_row", two_starts_in_a_row),
];

const KILL: i32 = 9;

fn a_start_says_where_its_time_went() {
    let mut case = Case::new("phases");
    let (running, _output) = case.script("sleep 60").start().unwrap();
    let names: Vec<&str> = running
        .started
        .phases
        .iter()
        .map(|p| p.name.as_str())
        .collect();
    for name in [
        "cgroup", "clone", "join", "rootfs", "mounts", "masks", "user", "seccomp", "exec",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(running.started.phases.iter().map(|p| p.us).sum::<u64>() > 0);
    let identity = berth_sys::process::identity(running.started.init.pid).unwrap();
    assert_eq!(identity, running.started.init);
    pidfd::send_signal(&running.init_pidfd, KILL).unwrap();
    assert_eq!(finish(running, String::new()).exit, Exit::Signal(KILL));
}

fn a_failed_start_leaves_nothing() {
    let mut case = Case::new("failed");
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let open = descriptors();
    for _ in 0..3 {
        case.args(&["/nothing"]).failure();
    }
    assert_eq!(descriptors(), open);
    assert!(case.groups().iter().all(|g| !g.exists()));
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    // No zombie either: there is no child to wait for.
    assert!(
        berth_sys::rustix::process::wait(berth_sys::rustix::process::WaitOptions::NOHANG).is_err()
    );
}

fn the_containers_groups_go_with_it() {
    let mut case = Case::new("groups");
    let cgroup = case
        .bundle
        .spec
        .mounts
        .iter_mut()
        .find(|m| m.kind == "cgroup")
        .unwrap();
    cgroup.options.retain(|o| o != "ro");
    let (running, mut output) =
        case.script("cd /sys/fs/cgroup; test -d pids && cd pids; mkdir -p a/b c; echo 0 > a/b/cgroup.procs; sleep 60 & echo done; exec sleep 60")
            .start()
            .unwrap();
    let mut word = [0; 5];
    output.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"done\n");
    assert_eq!(running.cgroup.pids().unwrap().len(), 2);
    pidfd::send_signal(&running.init_pidfd, KILL).unwrap();
    finish(running, String::new());
    assert!(case.groups().iter().all(|g| !g.exists()));
}

/// In the host's PID namespace the end of the first process is not the end of the others.
fn ends_whole() {
    let mut case = Case::new("whole");
    case.share(berth_types::oci::NamespaceKind::Pid);
    let (running, mut output) = case
        .script("sleep 61 > /dev/null 2>&1 & sleep 62 > /dev/null 2>&1 & echo done")
        .start()
        .unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "done\n");
    pidfd::wait(running.init_pidfd.as_fd()).unwrap();
    assert_eq!(running.cgroup.pids().unwrap().len(), 2);
    running.cgroup.kill_all().unwrap();
    assert_eq!(running.cgroup.pids().unwrap(), [0; 0]);
    running.cgroup.remove().unwrap();
}

fn a_container_dies_with_its_monitor() {
    for user in ["", "app"] {
        let mut case = Case::new("monitor");
        case.bundle.user = user.to_owned();
        case.script("echo alive; exec sleep 60");
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let Cloned::Parent { pidfd: monitor, .. } = monitor(&case, read.as_fd(), write) else {
            unreachable!("the monitor does not return");
        };
        let mut file = fs::File::from(read);
        let mut number = [0; 4];
        file.read_exact(&mut number).unwrap();
        let init = pidfd::open(i32::from_le_bytes(number)).unwrap();
        pidfd::send_signal(&monitor, KILL).unwrap();
        pidfd::wait(monitor.as_fd()).unwrap();
        // The init is nobody's child here: its end is seen, its code is not.
        let mut polled = [berth_sys::rustix::event::PollFd::new(
            &init,
            berth_sys::rustix::event::PollFlags::IN,
        )];
        berth_sys::rustix::event::poll(&mut polled, None).unwrap();
        let cgroup = berth_sys::cgroup::Cgroup::open(&case.bundle.spec.linux.cgroups_path).unwrap();
        cgroup.kill_all().unwrap();
        cgroup.remove().unwrap();
    }
}

/// A second process that starts the container, tells its number, and waits to be killed.
fn monitor(case: &Case, _read: std::os::fd::BorrowedFd<'_>, write: std::os::fd::OwnedFd) -> Cloned {
    let cloned = clone3(UnshareFlags::empty(), None).unwrap();
    if matches!(cloned, Cloned::Child) {
        let Ok((running, mut output)) = case.start() else {
            berth_sys::process::exit_now(1)
        };
        let mut word = [0; 6];
        if output.read_exact(&mut word).is_ok() {
            let number = running.started.init.pid.to_le_bytes();
            let _ = berth_sys::rustix::io::write(&write, &number);
        }
        let _ = berth_sys::rustix::event::poll(&mut [], None);
        berth_sys::process::exit_now(0);
    }
    cloned
}

/// One process may start several containers, one after the other.
fn two_starts_in_a_row() {
    let mut case = Case::new("again");
    assert_eq!(case.output("echo one"), "one\n");
    assert_eq!(case.output("echo two"), "two\n");
}
