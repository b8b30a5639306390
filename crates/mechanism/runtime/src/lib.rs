//! Starts a container: from an OCI specification to its executed program, without a helper
//! program and without a second process.
//!
//! The monitor, a small process of one thread, calls [`start`]. It clones itself once; the clone
//! builds the container around itself and becomes its init. They share one pipe:
//!
//! ```text
//! monitor                                   the container's init
//! check the specification
//! make control groups, write limits
//! clone3 (namespaces, pidfd, cgroup) -----> die with the monitor; is it still there?
//! close what belongs to the init            v1: join the control groups; cgroup namespace
//! read the pipe                             host name, loopback, sysctls
//!    :                                      copy bind sources, then leave the host's propagation
//!    :                                      root file system, mounts, /dev, masks
//!    :                                      its terminal, from its own devpts, and /dev/console
//!    : <--------------------- the master    (only with one; over a socket of its own)
//!    :                                      pivot_root
//!    :                                      user, working directory, limits, standard streams
//!    :                                      capabilities, no_new_privs, seccomp
//!    : <------------------- ready, phases   ready
//!    : <--------------------- end of file   execve
//! started
//!    : <---------------- failed (a reason)  anything went wrong
//! reap, remove the control groups, report
//! ```
//!
//! The pipe is close-on-exec: the end of file after `ready` is the kernel's word that the program
//! was executed. End of file without `ready` means that the init was killed.
//!
//! Copying a process is sound only while it has one thread; [`berth_sys::clone::clone3`] makes
//! sure of that. The clone has its own memory, so it may allocate, and it never returns: a panic
//! in it ends it.

mod dev;
mod error;
mod exec;
mod further;
mod init;
mod masks;
mod mounts;
mod namespaces;
mod options;
mod phases;
mod plan;
mod report;
mod rights;
mod rootfs;
mod sysctl;
mod terminal;
mod transition;
mod user;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use berth_sys::cgroup::Cgroup;
use berth_sys::clone::{Cloned, clone3};
use berth_sys::pidfd::{self, Exit};
use berth_sys::process;
use berth_sys::rustix::pipe::{PipeFlags, pipe_with};
use berth_sys::seccomp::Filter;
use berth_types::Timestamp;
use berth_types::launch::{Bundle, StartFailure, Started};

pub use further::{ExecRequest, Executed, Pending, exec};

use error::{Context, Error};
use init::Init;
use phases::Stopwatch;
use plan::Plan;
use report::Reporter;

/// The standard streams of a program.
#[derive(Debug)]
pub struct Stdio {
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// What [`start`] starts.
#[derive(Debug)]
pub struct StartRequest<'a> {
    /// The container.
    pub bundle: &'a Bundle,
    /// The compiled system call filter; none allows all calls.
    pub filter: Option<&'a Filter>,
    /// Given to the container; the caller's copies are closed. None for one with a terminal, which
    /// makes its own.
    pub stdio: Option<Stdio>,
}

/// A container whose program was executed.
#[derive(Debug)]
pub struct Running {
    /// The container's init, a child of the caller, who has to reap it.
    pub init_pidfd: OwnedFd,
    /// Who it is, since when, and where the time went.
    pub started: Started,
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// The container's control group, which the caller removes in the end.
    pub cgroup: Cgroup,
}

/// Exit code of a clone that could not say why it failed.
const EXIT_SILENT: i32 = 70;

/// Starts a container and returns when its program has been executed. The caller has one thread.
/// When the caller dies, the kernel kills the container's init.
///
/// # Errors
/// With [`StartFailure::kind`] for the exit code; whatever had been made is gone again.
pub fn start(request: StartRequest<'_>) -> std::result::Result<Running, StartFailure> {
    let mut stopwatch = Stopwatch::start();
    let plan = Plan::new(request.bundle).map_err(|e| e.failure())?;
    let path = &request.bundle.spec.linux.cgroups_path;
    let cgroup = Cgroup::create(path, &plan.resources).map_err(|e| Error::from(e).failure())?;
    stopwatch.mark("cgroup");
    match launch(request, &plan, &cgroup, stopwatch) {
        Ok((init_pidfd, started, terminal)) => Ok(Running {
            init_pidfd,
            started,
            terminal,
            cgroup,
        }),
        Err(mut failure) => {
            // The init was reaped, and its control group is empty but for what it left there.
            if let Err(e) = cgroup.kill_all().and_then(|()| cgroup.remove()) {
                failure
                    .message
                    .push_str(&format!("; besides, {}", Error::from(e).failure().message));
            }
            Err(failure)
        }
    }
}

type Launched = std::result::Result<(OwnedFd, Started, Option<OwnedFd>), StartFailure>;

fn launch(
    request: StartRequest<'_>,
    plan: &Plan,
    cgroup: &Cgroup,
    mut stopwatch: Stopwatch,
) -> Launched {
    let StartRequest {
        bundle,
        filter,
        stdio,
    } = request;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)
        .step("make", "a pipe")
        .map_err(|e| e.failure())?;
    let reporter = Reporter(write);
    let pair = (bundle.spec.process.terminal)
        .then(UnixStream::pair)
        .transpose()
        .step("make", "a socket for the terminal")
        .map_err(|e| e.failure())?;
    let (terminal, inside) = pair.unzip();
    let cloned = plan.namespaces.clone_into_pid(
        || {
            clone3(plan.namespaces.cloned, cgroup.unified())
                .step("clone", "the container's init into its namespaces")
        },
        |cloned| matches!(cloned, Cloned::Child),
    );
    match cloned.map_err(|e| e.failure())? {
        Cloned::Child => {
            let _end = EndOfClone;
            drop((read, terminal));
            let init = Init {
                bundle,
                plan,
                filter,
                cgroup,
                reporter: &reporter,
                stopwatch: stopwatch.for_init(),
                terminal: inside,
            };
            let error = init.run(stdio);
            reporter.failed(&error.failure());
            process::exit_now(EXIT_SILENT)
        }
        Cloned::Parent { pid, pidfd } => {
            drop((reporter, stdio, inside));
            let heard = await_program(&read, &pidfd).and_then(|phases| {
                let terminal = terminal.as_ref().map(terminal::receive).transpose();
                Ok((phases, terminal.map_err(|e| e.failure())?))
            });
            let (phases, terminal) = match heard {
                Ok(heard) => heard,
                Err(failure) => {
                    // Whatever state it is in, it does not become a container any more.
                    let _ = pidfd::send_signal(&pidfd, KILL);
                    let _ = pidfd::wait(pidfd.as_fd());
                    return Err(failure);
                }
            };
            stopwatch.merge(phases);
            stopwatch.mark("exec");
            let at = Timestamp::now();
            let init = process::identity(pid)
                .step("read the start time of", format!("process {pid}"))
                .map_err(|e| e.failure())?;
            Ok((
                pidfd,
                Started {
                    init,
                    at,
                    phases: stopwatch.phases,
                },
                terminal,
            ))
        }
    }
}

const KILL: i32 = berth_sys::rustix::process::Signal::KILL.as_raw();

fn await_program(
    read: &OwnedFd,
    pidfd: &OwnedFd,
) -> std::result::Result<Vec<berth_types::launch::Phase>, StartFailure> {
    let heard = report::listen(read)
        .step("hear of", "the container's init")
        .map_err(|e| e.failure())?;
    match (heard.failure, heard.ready) {
        (Some(failure), _) => Err(failure),
        (None, Some(phases)) => Ok(phases),
        (None, None) => {
            let how = match pidfd::wait(pidfd.as_fd()) {
                Ok(Exit::Signal(signal)) => format!("killed by signal {signal}"),
                Ok(Exit::Code(code)) => format!("exit code {code}"),
                Err(e) => e.to_string(),
            };
            Err(Error::Vanished(how).failure())
        }
    }
}

/// Ends the clone when a panic unwinds it: it must not return into the monitor's code.
struct EndOfClone;

impl Drop for EndOfClone {
    fn drop(&mut self) {
        process::exit_now(EXIT_SILENT);
    }
}
