//! Giving up everything but the target directory, before the first byte of the archive is read.
//!
//! Each step stands alone: the root is the target, so no path leads out; there is no capability
//! to mount, trace, load or configure anything; no descriptor but the archive, the target, the
//! journal and the socket exists; Landlock (where the kernel has it) denies files outside even
//! through descriptors; and seccomp leaves only the calls that making files takes. There is no
//! `socket` among them, which is why no network namespace is made. Marking directories opaque
//! would take `CAP_SYS_ADMIN`, so the caller does that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use berth_sys::arch::Arch;
use berth_sys::caps::{CapSet, Capability, CapsError};
use berth_sys::confine::{allowed_calls, close_all_but, keep_capabilities, rule};
use berth_sys::landlock::{self, Access};
use berth_sys::rustix::process::{
    Resource, Rlimit, Signal, chroot, fchdir, set_parent_process_death_signal, setrlimit, umask,
};
use berth_sys::rustix::thread::set_no_new_privs;
use berth_sys::rustix::{fs::Mode, io::Errno};
use berth_sys::seccomp::{self, Action, Filter, Profile};
use berth_unpack::Budget;

use crate::failure::{Failure, Result};

/// Address space: the decoders' windows (128 MiB zstd, 200 MiB xz), their copies, and the records
/// of an archive with millions of names.
const ADDRESS_SPACE: u64 = 2 << 30;
/// Descriptors: no step has more than a handful open.
const DESCRIPTORS: u64 = 32;
/// From this ABI on Landlock allows links from one directory to another.
const LANDLOCK_ABI: u32 = 2;
/// `ENOENT`, the answer to optional calls.
const NOT_HERE: u16 = 2;

/// What making files of other owners takes.
const KEPT: [Capability; 6] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Mknod,
    Capability::Setfcap,
];

/// Calls of the thread that writes files.
const WRITER: &[&str] = &[
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fsetxattr",
    "fstat",
    "ftruncate",
    "getdents64",
    "linkat",
    "lseek",
    "mkdirat",
    "mknodat",
    "newfstatat",
    "openat",
    "openat2",
    "pwrite64",
    "readlinkat",
    "symlinkat",
    "unlinkat",
    "utimensat",
    "write",
];

/// What the C library tries when it manages memory, and does without when it fails: the number of
/// processors, the overcommit mode, names for its mappings.
const OPTIONAL: &[&str] = &["prctl", "sched_getaffinity", "sysinfo"];

/// The same for the thread that decodes, which may open nothing, and write nothing if it panics.
const DECODER_OPTIONAL: &[&str] = &["openat", "write", "writev"];

/// The filters of the two threads.
pub struct Filters {
    pub decoder: Filter,
    pub writer: Filter,
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |source| Failure::machine(format!("cannot confine the helper: {what}"), source)
}

fn errno_failed(what: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| failed(what)(errno.into())
}

fn caps_failed(error: CapsError) -> Failure {
    failed("capabilities")(io::Error::other(error))
}

/// Makes the kernel end this process when its caller ends.
pub fn die_with_caller() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(errno_failed("death signal"))
}

/// Confines the process, which has one thread yet, to the target directory. The filters are the
/// threads' own to load, last.
pub fn enter(target: BorrowedFd<'_>, keep: &[BorrowedFd<'_>], budget: &Budget) -> Result<Filters> {
    let filters = Filters {
        decoder: compile(&[], DECODER_OPTIONAL)?,
        writer: compile(WRITER, &["writev"])?,
    };
    close_all_but(keep).map_err(failed("close_range"))?;
    set_no_new_privs(true).map_err(errno_failed("no_new_privs"))?;
    restrict_files(target)?;
    limit(Resource::Core, 0)?;
    limit(Resource::As, ADDRESS_SPACE)?;
    limit(Resource::Nofile, DESCRIPTORS)?;
    // The budget refuses first; this is for a parser that was made to forget it.
    limit(Resource::Fsize, budget.file_bytes.max(budget.stream_bytes))?;
    umask(Mode::empty());
    fchdir(target).map_err(errno_failed("fchdir"))?;
    chroot(".").map_err(errno_failed("chroot"))?;
    keep_capabilities(CapSet::from_iter(KEPT)).map_err(caps_failed)?;
    Ok(filters)
}

fn restrict_files(target: BorrowedFd<'_>) -> Result<()> {
    let abi = landlock::abi().map_err(failed("landlock"))?;
    if abi.is_some_and(|abi| abi >= LANDLOCK_ABI) {
        let directories = [(target.as_fd(), Access::ReadWrite)];
        let enforced = landlock::restrict_to(&directories);
        let _present = enforced.map_err(failed("landlock"))?;
    }
    Ok(())
}

fn limit(resource: Resource, value: u64) -> Result<()> {
    let limit = Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    setrlimit(resource, limit).map_err(errno_failed("setrlimit"))
}

/// A filter that allows the common calls and these, fails the optional ones, and kills the process
/// for any other.
fn compile(more: &[&str], optional: &[&str]) -> Result<Filter> {
    let fail = |names| rule(Action::Errno(NOT_HERE), names, Vec::new());
    let mut rules = allowed_calls(more);
    rules.extend([fail(OPTIONAL), fail(optional)]);
    let profile = Profile {
        default_action: Action::KillProcess,
        architectures: vec![Arch::NATIVE],
        rules,
    };
    let compiled = seccomp::compile(&profile);
    compiled.map_err(|error| failed("seccomp")(io::Error::other(error)))
}

/// Puts the calling thread under its filter.
pub fn load(filter: &Filter) -> Result<()> {
    filter.load().map_err(failed("seccomp"))
}
