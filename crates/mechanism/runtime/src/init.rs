//! The container's init, from its clone to its program.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use berth_sys::cgroup::{Cgroup, Version};
use berth_sys::rustix;
use berth_sys::seccomp::Filter;
use berth_sys::{netlink, process};
use berth_types::launch::Bundle;
use berth_types::oci::{self, NamespaceKind};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::DumpableBehavior;
use rustix::thread::UnshareFlags;

use crate::error::{Context, Error, Result};
use crate::exec::Program;
use crate::phases::Stopwatch;
use crate::plan::Plan;
use crate::report::Reporter;
use crate::rights::die_with_monitor;
use crate::transition::{self, Transition, adjust_oom_score, host_proc};
use crate::{Stdio, dev, masks, mounts, rootfs, sysctl, terminal};

/// All that the init works with.
pub(crate) struct Init<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) plan: &'a Plan,
    pub(crate) filter: Option<&'a Filter>,
    pub(crate) cgroup: &'a Cgroup,
    pub(crate) reporter: &'a Reporter,
    pub(crate) stopwatch: Stopwatch,
    /// Where the terminal's master goes, for a container that has one.
    pub(crate) terminal: Option<UnixStream>,
}

impl Init<'_> {
    /// Becomes the container's program. Returns only with what went wrong.
    pub(crate) fn run(mut self, stdio: Option<Stdio>) -> Error {
        let prepared = self.prepare(stdio);
        transition::execute(prepared, self.reporter, &self.stopwatch)
    }

    fn prepare(&mut self, stdio: Option<Stdio>) -> Result<Program> {
        self.separate_from_host()?;
        let terminal = self.build_root()?;
        let stdio = match (terminal, stdio) {
            (Some(slave), _) => terminal::streams(slave)?,
            (None, Some(stdio)) => stdio,
            (None, None) => return Err(Error::no_streams()),
        };
        let root = transition::own_root()?;
        let mut stopwatch = std::mem::replace(&mut self.stopwatch, Stopwatch::start());
        let program = self.transition().take(&root, stdio, &mut stopwatch);
        self.stopwatch = stopwatch;
        program
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

    /// The root file system and everything mounted in it; this process ends up inside. Returns the
    /// terminal, if there is to be one.
    fn build_root(&mut self) -> Result<Option<OwnedFd>> {
        let oci::Spec { root, linux, .. } = &self.bundle.spec;
        let namespaces = &self.plan.namespaces;
        let host_view = !namespaces.cgroup && !namespaces.has(NamespaceKind::Cgroup);
        let sources = mounts::copy_sources(&self.plan.mounts, self.cgroup, host_view)?;
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
        let terminal = self.open_terminal(&top)?;
        if self.bundle.make_cwd && !self.bundle.spec.process.cwd.is_empty() {
            self.make_cwd(&top)?;
        }
        if root.readonly {
            rootfs::make_readonly(&top)?;
        }
        rootfs::enter(&top, &linux.rootfs_propagation)?;
        self.stopwatch.mark("pivot");
        Ok(terminal)
    }

    fn open_terminal(&mut self, top: &OwnedFd) -> Result<Option<OwnedFd>> {
        let Some(monitor) = &self.terminal else {
            return Ok(None);
        };
        let slave = terminal::open(top, self.bundle.spec.process.console_size, monitor)?;
        terminal::bind_console(top, &slave)?;
        self.stopwatch.mark("terminal");
        Ok(Some(slave))
    }

    /// Makes the working directory for the user, before a read-only root is one.
    fn make_cwd(&self, top: &OwnedFd) -> Result<()> {
        let identity = self.transition().identity(top)?;
        let cwd = &self.bundle.spec.process.cwd;
        let made = berth_sys::path::make(top, cwd, berth_sys::path::Kind::Directory, |fd| {
            transition::give(fd, &identity)
        });
        made.map(drop).step("make the working directory", cwd)
    }

    fn transition(&self) -> Transition<'_> {
        Transition::of_init(self.bundle, &self.plan.allowance, self.filter)
    }
}

/// The host's null device: masks use it only where a container has no `/dev` of its own. Names
/// mean the host's files until the root is changed, also with the container's on top of it.
fn host_null() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    dev::null(openat(CWD, "/dev", flags, Mode::empty()).step("open", "/dev")?)
}
