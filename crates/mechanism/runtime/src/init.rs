//! The container's init, from its clone to its program.

use std::os::fd::{AsFd, OwnedFd};

use berth_sys::cgroup::{Cgroup, Version};
use berth_sys::rustix;
use berth_sys::seccomp::Filter;
use berth_sys::{netlink, process};
use berth_types::launch::Bundle;
use berth_types::oci;
use rustix::fs::{CWD, Gid, Mode, OFlags, PROC_SUPER_MAGIC, Uid, fstatfs, openat};
use rustix::process::DumpableBehavior;
use rustix::thread::UnshareFlags;

use crate::error::{Context, Error, Result};
use crate::exec::{ExecError, Program};
use crate::phases::Stopwatch;
use crate::plan::Plan;
use crate::report::Reporter;
use crate::rights::{Rights, die_with_monitor};
use crate::user::{self, Identity};
use crate::{Stdio, dev, masks, mounts, rootfs, sysctl};

/// All that the init works with.
pub(crate) struct Init<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) plan: &'a Plan,
    pub(crate) filter: Option<&'a Filter>,
    pub(crate) cgroup: &'a Cgroup,
    pub(crate) reporter: &'a Reporter,
    pub(crate) stopwatch: Stopwatch,
}

impl Init<'_> {
    /// Becomes the container's program. Returns only with what went wrong.
    pub(crate) fn run(mut self, stdio: Stdio) -> Error {
        match self.prepare(stdio) {
            Err(error) => error,
            Ok(program) => {
                if !self.reporter.is_heard() {
                    process::exit_now(1);
                }
                self.reporter.ready(&self.stopwatch.phases);
                program.execute().into()
            }
        }
    }

    fn prepare(&mut self, stdio: Stdio) -> Result<Program> {
        self.separate_from_host()?;
        self.build_root()?;
        self.become_program(stdio)
    }

    /// Control groups, names, network: all that is not a file.
    fn separate_from_host(&mut self) -> Result<()> {
        die_with_monitor()?;
        if !self.reporter.is_heard() {
            // The monitor died before the line above took effect.
            process::exit_now(1);
        }
        // Until the program is executed, no process of a joined namespace may look into this one.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .step("protect", "the container's init")?;
        rustix::process::umask(Mode::empty());
        self.stopwatch.mark("clone");
        if self.cgroup.version() == Version::V1 {
            self.cgroup.enter()?;
        }
        self.plan.namespaces.join()?;
        if self.plan.namespaces.cgroup {
            process::unshare_namespaces(UnshareFlags::NEWCGROUP)
                .step("make", "a cgroup namespace")?;
        }
        self.stopwatch.mark("join");
        let oci::Spec {
            hostname,
            domainname,
            process,
            ..
        } = &self.bundle.spec;
        if !hostname.is_empty() {
            rustix::system::sethostname(hostname.as_bytes()).step("set the host name", hostname)?;
        }
        if !domainname.is_empty() {
            rustix::system::setdomainname(domainname.as_bytes())
                .step("set the domain name", domainname)?;
        }
        if self.plan.namespaces.new_network() {
            netlink::loopback_up().step("bring up", "the loopback link")?;
        }
        if !self.plan.sysctls.is_empty() || process.oom_score_adj.is_some() {
            let proc = host_proc()?;
            sysctl::write(&proc, &self.plan.sysctls)?;
            if let Some(value) = process.oom_score_adj {
                adjust_oom_score(&proc, value)?;
            }
        }
        self.stopwatch.mark("names");
        Ok(())
    }

    /// The root file system and everything mounted in it; this process ends up inside.
    fn build_root(&mut self) -> Result<()> {
        let oci::Spec { root, linux, .. } = &self.bundle.spec;
        let sources = mounts::copy_sources(&self.plan.mounts, self.cgroup)?;
        rootfs::separate(&linux.rootfs_propagation)?;
        let top = rootfs::mount_over_root(&self.bundle.rootfs)?;
        self.stopwatch.mark("rootfs");
        let version = self.cgroup.version();
        let mounted = mounts::attach_all(&top, &self.plan.mounts, sources, version)?;
        if !mounted.foreign_dev {
            if mounted.null.is_none() {
                let dev =
                    berth_sys::path::make(&top, "/dev", berth_sys::path::Kind::Directory, |_| {
                        Ok(())
                    });
                dev::populate(&dev.step("make", "/dev")?)?;
            }
            dev::make_listed(&top, &linux.devices)?;
        }
        self.stopwatch.mark("mounts");
        if !linux.masked_paths.is_empty() {
            let null = mounted.null.map_or_else(host_null, Ok)?;
            masks::mask(&top, &linux.masked_paths, &null)?;
        }
        masks::make_readonly(&top, &linux.readonly_paths)?;
        self.stopwatch.mark("masks");
        if self.bundle.make_cwd && !self.bundle.spec.process.cwd.is_empty() {
            self.make_cwd(&top)?;
        }
        if root.readonly {
            rootfs::make_readonly(&top)?;
        }
        rootfs::enter(&top, &linux.rootfs_propagation)?;
        self.stopwatch.mark("pivot");
        Ok(())
    }

    /// Makes the working directory for the user, before a read-only root is one.
    fn make_cwd(&self, top: &OwnedFd) -> Result<()> {
        let identity = self.identity(top)?;
        let owner = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        let cwd = &self.bundle.spec.process.cwd;
        let made = berth_sys::path::make(top, cwd, berth_sys::path::Kind::Directory, |fd| {
            let flags = rustix::fs::AtFlags::EMPTY_PATH;
            Ok(rustix::fs::chownat(
                fd,
                "",
                Some(owner.0),
                Some(owner.1),
                flags,
            )?)
        });
        made.map(drop).step("make the working directory", cwd)
    }

    fn identity(&self, top: &OwnedFd) -> Result<Identity> {
        let (passwd, group) = (
            user::read(top, "/etc/passwd")?,
            user::read(top, "/etc/group")?,
        );
        let Bundle {
            user, groups, spec, ..
        } = self.bundle;
        Ok(user::resolve(
            user,
            groups,
            &spec.process.user,
            &passwd,
            &group,
        )?)
    }

    /// From a root process inside the container to its program's user, limits and descriptors.
    fn become_program(&mut self, stdio: Stdio) -> Result<Program> {
        let spec = &self.bundle.spec.process;
        let root = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let root = root.step("open", "/")?;
        let identity = self.identity(&root)?;
        let mut environment = spec.env.clone();
        if !environment.iter().any(|e| e.starts_with("HOME=")) {
            environment.push(format!("HOME={}", identity.home.as_deref().unwrap_or("/")));
        }
        let program =
            Program::new(&spec.args, &environment).map_err(|e: ExecError| Error::from(e))?;
        enter_cwd(&root, &spec.cwd)?;
        for (name, resource, values) in &self.plan.rlimits {
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
        process::new_session_keyring().step("make", "a session keyring")?;
        rustix::process::setsid().step("make", "a session")?;
        hand_over(&stdio, &identity);
        process::replace_stdio([stdio.stdin, stdio.stdout, stdio.stderr])
            .step("set up", "the standard streams")?;
        process::close_on_exec_from(3).step("close", "the descriptors of the monitor")?;
        process::reset_signals();
        rustix::process::umask(Mode::from(0o022));
        let rights = Rights {
            identity: &identity,
            capabilities: self.plan.capabilities,
            no_new_privileges: spec.no_new_privileges,
            filter: self.filter,
        };
        rights.apply(&mut self.stopwatch)?;
        Ok(program)
    }
}

/// The host's procfs, while it can still be reached by name.
fn host_proc() -> Result<OwnedFd> {
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

/// The host's null device: masks use it only where a container has no `/dev` of its own. Names
/// mean the host's files until the root is changed, also with the container's on top of it.
fn host_null() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    dev::null(openat(CWD, "/dev", flags, Mode::empty()).step("open", "/dev")?)
}

fn adjust_oom_score(proc: &OwnedFd, value: i32) -> Result<()> {
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
