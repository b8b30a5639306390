//! The last steps of every process of a container, the init's and any further one's: from root
//! inside the container to the program with its user, limits and descriptors.

use std::os::fd::{AsFd, OwnedFd};

use berth_sys::rustix;
use berth_sys::seccomp::Filter;
use berth_sys::{process, pty};
use berth_types::launch::{Bundle, Exec};
use berth_types::oci;
use rustix::fs::{CWD, Gid, Mode, OFlags, PROC_SUPER_MAGIC, Uid, fstatfs, openat};

use crate::error::{Context, Error, Result};
use crate::exec::{ExecError, Program};
use crate::phases::Stopwatch;
use crate::plan::Allowance;
use crate::report::Reporter;
use crate::rights::Rights;
use crate::user::{self, Identity};
use crate::{Stdio, dev};

/// What a process is to become.
pub(crate) struct Transition<'a> {
    process: &'a oci::Process,
    user: &'a str,
    groups: &'a [String],
    allowance: &'a Allowance,
    filter: Option<&'a Filter>,
}

impl<'a> Transition<'a> {
    /// That of a container's init.
    pub(crate) fn of_init(
        bundle: &'a Bundle,
        allowance: &'a Allowance,
        filter: Option<&'a Filter>,
    ) -> Self {
        Self {
            process: &bundle.spec.process,
            user: &bundle.user,
            groups: &bundle.groups,
            allowance,
            filter,
        }
    }

    /// That of a further process.
    pub(crate) fn of_exec(
        exec: &'a Exec,
        allowance: &'a Allowance,
        filter: Option<&'a Filter>,
    ) -> Self {
        Self {
            process: &exec.process,
            user: &exec.user,
            groups: &exec.groups,
            allowance,
            filter,
        }
    }

    /// Who the program runs as, by the files below `root`.
    pub(crate) fn identity(&self, root: &OwnedFd) -> Result<Identity> {
        let (passwd, group) = (
            user::read(root, "/etc/passwd")?,
            user::read(root, "/etc/group")?,
        );
        let numbers = &self.process.user;
        Ok(user::resolve(
            self.user,
            self.groups,
            numbers,
            &passwd,
            &group,
        )?)
    }

    /// Takes the steps. `root` is this process's own root directory.
    pub(crate) fn take(
        &self,
        root: &OwnedFd,
        stdio: Stdio,
        stopwatch: &mut Stopwatch,
    ) -> Result<Program> {
        let identity = self.identity(root)?;
        let mut environment = self.process.env.clone();
        if !environment.iter().any(|e| e.starts_with("HOME=")) {
            environment.push(format!("HOME={}", identity.home.as_deref().unwrap_or("/")));
        }
        let program = Program::new(&self.process.args, &environment)
            .map_err(|e: ExecError| Error::from(e))?;
        enter_cwd(root, &self.process.cwd)?;
        self.limit()?;
        process::new_session_keyring().step("make", "a session keyring")?;
        rustix::process::setsid().step("make", "a session")?;
        if self.process.terminal {
            pty::make_controlling(&stdio.stdin).step("take control of", "the terminal")?;
        }
        hand_over(&stdio, &identity);
        process::replace_stdio([stdio.stdin, stdio.stdout, stdio.stderr])
            .step("set up", "the standard streams")?;
        process::close_on_exec_from(3).step("close", "the descriptors of the monitor")?;
        process::reset_signals();
        rustix::process::umask(Mode::from(0o022));
        let rights = Rights {
            identity: &identity,
            capabilities: self.allowance.capabilities,
            no_new_privileges: self.process.no_new_privileges,
            filter: self.filter,
        };
        rights.apply(stopwatch)?;
        Ok(program)
    }

    fn limit(&self) -> Result<()> {
        for (name, resource, values) in &self.allowance.rlimits {
            rustix::process::setrlimit(*resource, *values).map_err(|e| {
                let number = |v: Option<u64>| v.map_or("unlimited".to_owned(), |v| v.to_string());
                let (soft, hard) = (number(values.current), number(values.maximum));
                let limit = format!("{name} to {soft} (soft) and {hard} (hard)");
                Error::Limit {
                    limit,
                    source: e.into(),
                }
            })?;
        }
        Ok(())
    }
}

/// Tells the monitor, and executes what was prepared. Returns only with what went wrong.
pub(crate) fn execute(
    prepared: Result<Program>,
    reporter: &Reporter,
    stopwatch: &Stopwatch,
) -> Error {
    match prepared {
        Err(error) => error,
        Ok(program) => {
            if !reporter.is_heard() {
                process::exit_now(1);
            }
            reporter.ready(&stopwatch.phases);
            program.execute().into()
        }
    }
}

/// The root directory of this process.
pub(crate) fn own_root() -> Result<OwnedFd> {
    openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).step("open", "/")
}

/// The host's procfs, while it can still be reached by name.
pub(crate) fn host_proc() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = openat(CWD, "/proc", flags, Mode::empty()).step("open", "/proc")?;
    let found = fstatfs(&proc).step("look at", "/proc")?;
    if found.f_type == PROC_SUPER_MAGIC {
        return Ok(proc);
    }
    Err(Error::Invalid(
        "/proc of the host is no procfs; mount one".to_owned(),
    ))
}

pub(crate) fn adjust_oom_score(proc: &OwnedFd, value: i32) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(proc, "self/oom_score_adj", flags, Mode::empty())?;
        rustix::io::write(file, value.to_string().as_bytes())?;
        Ok(())
    };
    write().map_err(|source| Error::Limit {
        limit: format!("the OOM score to {value}"),
        source,
    })
}

/// Enters the working directory: an ordinary path, no magic link of procfs, inside the container
/// by the kernel's own word (CVE-2024-21626).
fn enter_cwd(root: &OwnedFd, cwd: &str) -> Result<()> {
    let cwd = if cwd.is_empty() { "/" } else { cwd };
    let action = "enter the working directory";
    let directory = berth_sys::path::open(root, cwd, OFlags::PATH | OFlags::DIRECTORY);
    rustix::process::fchdir(directory.step(action, cwd)?).step(action, cwd)?;
    let found = rustix::process::getcwd(Vec::new()).step(action, cwd)?;
    if found.as_bytes().starts_with(b"/") {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "cannot {action} {cwd}: it is outside of the container"
    )))
}

/// Makes the user the owner of the standard streams, so that `/dev/stdout` can be opened. What
/// cannot be owned stays as it is, and the null device is everybody's.
fn hand_over(stdio: &Stdio, identity: &Identity) {
    if identity.uid == 0 {
        return;
    }
    for fd in [&stdio.stdin, &stdio.stdout, &stdio.stderr] {
        let Ok(stat) = rustix::fs::fstat(fd.as_fd()) else {
            continue;
        };
        if !dev::is_null(&stat) {
            let _ = rustix::fs::fchown(fd.as_fd(), Some(Uid::from_raw(identity.uid)), None);
        }
    }
}

/// Makes the user the owner of a directory.
pub(crate) fn give(directory: impl AsFd, identity: &Identity) -> std::io::Result<()> {
    let flags = rustix::fs::AtFlags::EMPTY_PATH;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    Ok(rustix::fs::chownat(
        directory,
        "",
        Some(uid),
        Some(gid),
        flags,
    )?)
}
