//! Further processes in a container that runs, and terminals.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;

use berth_runtime::{ExecRequest, Executed, Running, StartRequest, Stdio, exec, start};
use berth_sys::pidfd::{self, Exit};
use berth_sys::pty;
use berth_sys::rustix::event::{PollFd, PollFlags, poll};
use berth_sys::rustix::pipe::{PipeFlags, pipe_with};
use berth_sys::seccomp::{Action, Profile, compile};
use berth_types::launch::{Exec, StartFailure, StartFailureKind, Stdin};
use berth_types::oci::{ConsoleSize, Rlimit};

use super::Case as Entry;
use super::support::{Case, finish, leak};

pub const CASES: &[Entry] = &[
    (
        "a_further_process_is_in_the_container",
        a_further_process_is_in_the_container,
    ),
    (
        "a_further_process_has_rights_of_its_own",
        a_further_process_has_rights_of_its_own,
    ),
    (
        "s02_no_descriptor_leaks_into_a_further_process",
        s02_no_descriptor_leaks_into_a_further_process,
    ),
    (
        "a_further_process_that_cannot_start_is_explained",
        a_further_process_that_cannot_start_is_explained,
    ),
    (
        "a_further_process_dies_with_the_container",
        a_further_process_dies_with_the_container,
    ),
    (
        "a_further_process_has_a_terminal_with_a_name",
        a_further_process_has_a_terminal_with_a_name,
    ),
    ("a_terminal_is_the_containers", a_terminal_is_the_containers),
    ("s03_a_console_leads_nowhere", s03_a_console_leads_nowhere),
];

const SIZE: ConsoleSize = ConsoleSize {
    height: 44,
    width: 155,
};

const KILL: i32 = 9;

/// A container that waits to be killed.
fn waiting(case: &mut Case) -> Running {
    let (running, _) = case.args(&["sleep", "1000"]).start().unwrap();
    running
}

fn end(running: Running) {
    pidfd::send_signal(&running.init_pidfd, KILL).unwrap();
    finish(running, String::new());
}

fn script(case: &Case, script: &str) -> Exec {
    let mut process = case.bundle.spec.process.clone();
    process.args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Exec {
        id: "0".repeat(64),
        process,
        user: String::new(),
        groups: Vec::new(),
        stdin: Stdin::Null,
    }
}

/// Runs a further process to its program; the file reads its output.
fn begin(
    case: &Case,
    running: &Running,
    exec: &Exec,
) -> Result<(OwnedFd, Executed, File), StartFailure> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let stdio = Stdio {
        stdin: File::open("/dev/null").unwrap().into(),
        stdout: write.try_clone().unwrap(),
        stderr: write,
    };
    let mut pending = self::exec(ExecRequest {
        exec,
        filter: case.filter.as_ref(),
        stdio: (!exec.process.terminal).then_some(stdio),
        init: running.started.init,
        init_pidfd: running.init_pidfd.as_fd(),
        cgroup: &running.cgroup,
    })?;
    let child = pidfd::open(pending.process().pid).unwrap();
    loop {
        poll(&mut [PollFd::new(&pending, PollFlags::IN)], None).unwrap();
        match pending.advance() {
            None => {}
            Some(Ok(executed)) => return Ok((child, executed, File::from(read))),
            Some(Err(failure)) => {
                pidfd::wait(child.as_fd()).unwrap();
                return Err(failure);
            }
        }
    }
}

fn run(case: &Case, running: &Running, exec: &Exec) -> Result<(Exit, String), StartFailure> {
    let (child, _, mut file) = begin(case, running, exec)?;
    let mut output = String::new();
    file.read_to_string(&mut output).unwrap();
    Ok((pidfd::wait(child.as_fd()).unwrap(), output))
}

fn output(case: &Case, running: &Running, text: &str) -> String {
    let (exit, output) = run(case, running, &script(case, text)).unwrap();
    assert_eq!(exit, Exit::Code(0), "{text}: {output}");
    output
}

fn a_further_process_is_in_the_container() {
    let mut case = Case::new("inside");
    let running = waiting(&mut case);
    for kind in ["mnt", "net", "uts", "pid", "ipc", "cgroup"] {
        let links = output(
            &case,
            &running,
            &format!("readlink /proc/self/ns/{kind}; readlink /proc/1/ns/{kind}"),
        );
        let links: Vec<&str> = links.lines().collect();
        assert_eq!(links.first(), links.get(1), "{kind}: {links:?}");
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(links[0], own.to_str().unwrap(), "{kind}");
    }
    let groups = output(
        &case,
        &running,
        "cat /proc/self/cgroup; echo; cat /proc/1/cgroup",
    );
    let (own, init) = groups.split_once("\n\n").unwrap();
    assert_eq!(own.trim(), init.trim());
    assert_eq!(
        output(&case, &running, "hostname; touch /left; cat /proc/1/comm"),
        "box\nsleep\n"
    );
    assert!(case.dir.join("upper/left").exists());
    // The monitor is where it was: its next child is the host's.
    let own = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let later = std::fs::read_link("/proc/self/ns/pid_for_children").unwrap();
    assert_eq!(own, later);
    end(running);
}

fn a_further_process_has_rights_of_its_own() {
    let mut case = Case::new("exec-rights");
    let running = waiting(&mut case);
    let native = berth_sys::arch::Arch::NATIVE;
    let rule = berth_sys::seccomp::Rule {
        names: vec!["mkdir".to_owned(), "mkdirat".to_owned()],
        action: Action::Errno(121),
        conditions: Vec::new(),
    };
    let profile = Profile {
        default_action: Action::Allow,
        architectures: vec![native],
        rules: vec![rule],
    };
    case.filter = Some(compile(&profile).unwrap());
    let mut exec = script(
        &case,
        "id; echo $HOME; grep -E '^(CapEff|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status; \
         cat /proc/self/oom_score_adj; ulimit -n; mkdir /tmp/x",
    );
    exec.user = "app".to_owned();
    exec.groups = vec!["4711".to_owned()];
    exec.process.no_new_privileges = true;
    exec.process.oom_score_adj = Some(321);
    exec.process.rlimits = vec![Rlimit {
        kind: "RLIMIT_NOFILE".to_owned(),
        soft: 77,
        hard: 77,
    }];
    let (exit, text) = run(&case, &running, &exec).unwrap();
    assert_eq!(exit, Exit::Code(1), "{text}");
    for expected in [
        "uid=1000(app) gid=1001(app) groups=1001(app),2000(extra),4711",
        "/home/app",
        "CapEff:\t0000000000000000",
        "CapBnd:\t00000000a80425fb",
        "Seccomp:\t2",
        "NoNewPrivs:\t1",
        "\n321\n77\n",
        "Remote I/O error",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    end(running);
}

fn s02_no_descriptor_leaks_into_a_further_process() {
    let _leaks: Vec<_> = (0..20).map(|_| leak("/")).collect();
    let mut case = Case::new("exec-census");
    symlink("/proc/self/fd/9", case.image.join("way")).unwrap();
    let running = waiting(&mut case);
    let open = output(&case, &running, "exec ls /proc/self/fd");
    // The last is the directory that it reads.
    assert_eq!(
        open.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
    for number in 3..24 {
        for cwd in [format!("/proc/self/fd/{number}"), "/way".to_owned()] {
            let mut exec = script(&case, "pwd");
            exec.process.cwd = cwd;
            let failure = run(&case, &running, &exec).unwrap_err();
            let message = failure.message;
            assert!(message.contains("working directory"), "{message}");
        }
    }
    end(running);
}

fn a_further_process_that_cannot_start_is_explained() {
    let mut case = Case::new("exec-fails");
    let running = waiting(&mut case);
    let program = |name: &str| {
        let mut exec = script(&case, "");
        exec.process.args = vec![name.to_owned()];
        exec
    };
    let mut stranger = program("true");
    stranger.user = "stranger".to_owned();
    for (exec, kind, words) in [
        (
            program("nothing"),
            StartFailureKind::CommandNotFound,
            "executable file not found in $PATH",
        ),
        (
            program("/etc/passwd"),
            StartFailureKind::NotExecutable,
            "permission denied",
        ),
        (
            stranger,
            StartFailureKind::UnknownUser,
            "unable to find user stranger: no matching entries in passwd file",
        ),
    ] {
        let failure = run(&case, &running, &exec).unwrap_err();
        assert_eq!(failure.kind, kind, "{}", failure.message);
        assert!(failure.message.contains(words), "{}", failure.message);
    }
    // A container that has ended takes no more.
    pidfd::send_signal(&running.init_pidfd, KILL).unwrap();
    poll(&mut [PollFd::new(&running.init_pidfd, PollFlags::IN)], None).unwrap();
    let failure = run(&case, &running, &program("true")).unwrap_err();
    assert_eq!(failure.kind, StartFailureKind::Internal);
    finish(running, String::new());
}

fn a_further_process_dies_with_the_container() {
    let mut case = Case::new("exec-dies");
    let running = waiting(&mut case);
    let (child, ..) = begin(&case, &running, &script(&case, "exec sleep 1000")).unwrap();
    pidfd::send_signal(&running.init_pidfd, KILL).unwrap();
    assert_eq!(pidfd::wait(child.as_fd()).unwrap(), Exit::Signal(KILL));
    finish(running, String::new());
}

/// Reads a terminal until nobody has it open.
fn read_all(master: &mut File) -> String {
    let mut bytes = Vec::new();
    // EIO is how the end of a terminal looks.
    let _ = master.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

fn a_further_process_has_a_terminal_with_a_name() {
    let mut case = Case::new("exec-tty");
    let running = waiting(&mut case);
    let text = "set -- $(readlink /proc/self/fd/0); echo $1; stat -c '%t:%T %u' $1; \
                echo direct >/dev/tty; read line; echo got $line";
    let mut exec = script(&case, text);
    exec.user = "app".to_owned();
    exec.process.terminal = true;
    exec.process.console_size = Some(SIZE);
    let (child, executed, _) = begin(&case, &running, &exec).unwrap();
    let mut master = File::from(executed.terminal.unwrap());
    assert_eq!(pty::size(&master).unwrap(), SIZE);
    let mut shown = vec![0; "/dev/pts/0\r\n88:0 1000\r\ndirect\r\n".len()];
    master.read_exact(&mut shown).unwrap();
    assert_eq!(shown, b"/dev/pts/0\r\n88:0 1000\r\ndirect\r\n");
    master.write_all(b"word\n").unwrap();
    assert_eq!(read_all(&mut master), "word\r\ngot word\r\n");
    assert_eq!(pidfd::wait(child.as_fd()).unwrap(), Exit::Code(0));
    end(running);
}

fn start_with_terminal(case: &mut Case) -> Result<(Running, File), StartFailure> {
    case.process().terminal = true;
    case.process().console_size = Some(SIZE);
    let mut running = start(StartRequest {
        bundle: &case.bundle,
        filter: None,
        stdio: None,
    })?;
    let master = running.terminal.take().unwrap();
    Ok((running, File::from(master)))
}

fn a_terminal_is_the_containers() {
    let mut case = Case::new("tty");
    case.bundle.user = "app".to_owned();
    case.bundle.spec.root.readonly = true;
    let text = "for n in 0 1 2; do readlink /proc/self/fd/$n; done; echo >/dev/tty; \
                stat -c '%t:%T %u' /dev/console; echo console >/dev/console; \
                set -m; sleep 1000 & kill -0 -$! && echo a group of its own; kill $!";
    case.script(text);
    let (running, mut master) = start_with_terminal(&mut case).unwrap();
    assert_eq!(pty::size(&master).unwrap(), SIZE);
    let text = read_all(&mut master);
    let pts = "/dev/pts/0\r\n".repeat(3);
    let expected = format!("{pts}\r\n88:0 1000\r\nconsole\r\na group of its own\r\n");
    assert!(text.starts_with(&expected), "{text:?}");
    finish(running, text);
}

fn s03_a_console_leads_nowhere() {
    let mut case = Case::new("console");
    case.bundle.spec.mounts.retain(|m| m.destination != "/dev");
    std::fs::create_dir_all(case.image.join("dev/pts")).unwrap();
    std::fs::write(case.dir.join("outside"), "untouched").unwrap();
    symlink("/etc/passwd", case.image.join("dev/console")).unwrap();
    case.script("true");
    let failure = start_with_terminal(&mut case).unwrap_err();
    assert!(
        failure.message.contains("something else at /dev/console"),
        "{}",
        failure.message
    );
    std::fs::remove_file(case.image.join("dev/console")).unwrap();
    // Terminals come from a devpts or not at all.
    case.bundle
        .spec
        .mounts
        .retain(|m| m.destination != "/dev/pts");
    let failure = start_with_terminal(&mut case).unwrap_err();
    assert!(
        failure.message.contains("/dev/pts of the container"),
        "{}",
        failure.message
    );
}
