//! A further process in a container that runs.
//!
//! ```text
//! monitor                                   the further process
//! PID namespace of the init for children
//! clone3 (pidfd, cgroup v2) --------------> die with the monitor; is it still there?
//! back to the own PID namespace             v1: join the control groups; OOM score
//! goes on with its work                     join every namespace that the init has of its own
//!    :                                      its terminal, from the container's devpts
//!    : <--------------------- the master    (only with one)
//!    :                                      user, limits, rights, filter: as the init
//!    : <------------------- ready, phases   ready
//!    : <--------------------- end of file   execve
//! ```
//!
//! The monitor does not wait: a container whose processes can stop or freeze this one before its
//! program runs would otherwise stop the monitor too.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use berth_sys::cgroup::{Cgroup, Version};
use berth_sys::clone::{Cloned, clone3};
use berth_sys::rustix::io::ioctl_fionbio;
use berth_sys::rustix::pipe::{PipeFlags, pipe_with};
use berth_sys::rustix::process::{DumpableBehavior, set_dumpable_behavior, umask};
use berth_sys::rustix::thread::{
    ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces as join,
};
use berth_sys::seccomp::Filter;
use berth_sys::{pidfd, process};
use berth_types::Timestamp;
use berth_types::launch::{Exec, Phase, ProcessIdentity, StartFailure};

use crate::error::{Context, Error, Result};
use crate::exec::Program;
use crate::phases::Stopwatch;
use crate::plan::Allowance;
use crate::report::{Listener, Reporter};
use crate::rights::die_with_monitor;
use crate::transition::{self, Transition};
use crate::{EXIT_SILENT, EndOfClone, KILL, Stdio, namespaces, terminal};

/// What [`exec`] starts, and where.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The process.
    pub exec: &'a Exec,
    /// The compiled system call filter; none allows all calls.
    pub filter: Option<&'a Filter>,
    /// Given to the process; none for one with a terminal, which gets its own.
    pub stdio: Option<Stdio>,
    /// The container's init, a child of the caller that was not reaped.
    pub init: ProcessIdentity,
    /// The same as a descriptor.
    pub init_pidfd: BorrowedFd<'a>,
    /// The container's control group.
    pub cgroup: &'a Cgroup,
}

/// A process on its way to its program. It is a child of the caller, who has to reap it in any
/// case. Dropped, it goes on; [`Pending::kill`] ends it.
#[derive(Debug)]
pub struct Pending {
    process: ProcessIdentity,
    pidfd: OwnedFd,
    pipe: OwnedFd,
    listener: Listener,
    terminal: Option<UnixStream>,
    stopwatch: Stopwatch,
}

/// A process that executed its program.
#[derive(Debug)]
pub struct Executed {
    /// Who it is.
    pub process: ProcessIdentity,
    /// When its program was executed.
    pub at: Timestamp,
    /// Where the time went.
    pub phases: Vec<Phase>,
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// Begins a further process in a container. The caller has one thread. When the caller dies, the
/// kernel kills the process.
///
/// # Errors
/// With [`StartFailure::kind`] for the exit code; there is no process then.
pub fn exec(request: ExecRequest<'_>) -> std::result::Result<Pending, StartFailure> {
    begin(request).map_err(|e| e.failure())
}

impl Pending {
    /// Who it is.
    pub fn process(&self) -> ProcessIdentity {
        self.process
    }

    /// Whether it is to have a terminal.
    pub fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Ends it, wherever it is.
    pub fn kill(&self) {
        // That it has ended by itself is as good.
        let _ = pidfd::send_signal(&self.pidfd, KILL);
    }

    /// Looks at what the process has said: none while it is on its way. To be called when the
    /// descriptor of `self` is readable, and not again after an answer.
    ///
    /// # Errors
    /// As [`exec`]; the process is killed then.
    pub fn advance(&mut self) -> Option<std::result::Result<Executed, StartFailure>> {
        let outcome = match self.listener.read(&self.pipe) {
            Ok(false) => return None,
            Ok(true) => self.conclude(),
            Err(e) => Err(e).step("hear of", "the further process"),
        };
        Some(outcome.map_err(|error| {
            self.kill();
            error.failure()
        }))
    }

    fn conclude(&mut self) -> Result<Executed> {
        let heard = self.listener.heard();
        if let Some(failure) = heard.failure {
            return Err(Error::Reported(failure));
        }
        let phases = heard
            .ready
            .ok_or_else(|| Error::Vanished("it was killed".to_owned()))?;
        self.stopwatch.merge(phases);
        self.stopwatch.mark("exec");
        let terminal = self.terminal.as_ref().map(terminal::receive).transpose()?;
        Ok(Executed {
            process: self.process,
            at: Timestamp::now(),
            phases: std::mem::take(&mut self.stopwatch.phases),
            terminal,
        })
    }
}

impl AsFd for Pending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

fn begin(request: ExecRequest<'_>) -> Result<Pending> {
    let stopwatch = Stopwatch::start();
    let allowance = Allowance::new(&request.exec.process)?;
    let kinds = namespaces::foreign(request.init.pid)?;
    // The copy is seen inside from its first instant on, and must not be looked into before its
    // program runs; it inherits this.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step("protect", "the monitor")?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).step("make", "a pipe")?;
    ioctl_fionbio(&read, true).step("make", "a pipe")?;
    let pair = (request.exec.process.terminal)
        .then(UnixStream::pair)
        .transpose()
        .step("make", "a socket for the terminal")?;
    let (ours, theirs) = pair.unzip();
    let cloned = namespaces::clone_in_pid(
        || {
            join(request.init_pidfd, ThreadNameSpaceType::PROCESS_ID)
                .step("join", "the container's PID namespace; has it ended?")
        },
        || {
            clone_beside(request.cgroup, request.init.pid)
                .step("clone", "a further process of the container")
        },
        |cloned| matches!(cloned, Cloned::Child),
    )?;
    match cloned {
        Cloned::Child => {
            let _end = EndOfClone;
            drop((read, ours));
            let reporter = Reporter(write);
            let mut further = Further {
                request,
                allowance: &allowance,
                kinds,
                reporter: &reporter,
                stopwatch: stopwatch.for_init(),
                terminal: theirs,
            };
            let prepared = further.prepare();
            let error = transition::execute(prepared, &reporter, &further.stopwatch);
            reporter.failed(&error.failure());
            process::exit_now(EXIT_SILENT)
        }
        Cloned::Parent { pid, pidfd } => {
            drop((write, theirs));
            let process = process::identity(pid)
                .step("read the start time of", format!("process {pid}"))
                .inspect_err(|_| drop(pidfd::send_signal(&pidfd, KILL)))?;
            Ok(Pending {
                process,
                pidfd,
                pipe: read,
                listener: Listener::default(),
                terminal: ours,
                stopwatch,
            })
        }
    }
}

/// A clone in the container's group; where that hands controllers down and so takes no process,
/// in the group below it that the init is in.
fn clone_beside(cgroup: &Cgroup, init: i32) -> io::Result<Cloned> {
    match clone3(UnshareFlags::empty(), cgroup.unified()) {
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
            let group = cgroup.unified_of(init)?;
            clone3(UnshareFlags::empty(), Some(group.as_fd()))
        }
        other => other,
    }
}

/// All that the further process works with.
struct Further<'a> {
    request: ExecRequest<'a>,
    allowance: &'a Allowance,
    kinds: ThreadNameSpaceType,
    reporter: &'a Reporter,
    stopwatch: Stopwatch,
    terminal: Option<UnixStream>,
}

impl Further<'_> {
    fn prepare(&mut self) -> Result<Program> {
        self.enter()?;
        let ExecRequest { exec, filter, .. } = self.request;
        let root = transition::own_root()?;
        let stdio = match (&self.terminal, self.request.stdio.take()) {
            (Some(monitor), _) => {
                let size = exec.process.console_size;
                terminal::streams(terminal::open(&root, size, monitor)?)?
            }
            (None, Some(stdio)) => stdio,
            (None, None) => return Err(Error::no_streams()),
        };
        Transition::of_exec(exec, self.allowance, filter).take(&root, stdio, &mut self.stopwatch)
    }

    /// The container's control groups and namespaces; with its mounts comes its root directory.
    fn enter(&mut self) -> Result<()> {
        let ExecRequest {
            exec,
            cgroup,
            init_pidfd,
            ..
        } = self.request;
        die_with_monitor()?;
        if !self.reporter.is_heard() {
            // The monitor died before the line above took effect.
            process::exit_now(1);
        }
        umask(berth_sys::rustix::fs::Mode::empty());
        self.stopwatch.mark("clone");
        if cgroup.version() == Version::V1 {
            cgroup.enter()?;
        }
        if let Some(value) = exec.process.oom_score_adj {
            transition::adjust_oom_score(&transition::host_proc()?, value)?;
        }
        join(init_pidfd, self.kinds).step("join", "the container's namespaces; has it ended?")?;
        self.stopwatch.mark("join");
        Ok(())
    }
}
