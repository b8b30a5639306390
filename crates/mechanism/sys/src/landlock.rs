//! Landlock: a thread gives up everything but a few directories (`landlock(7)`).
//!
//! For helpers that handle data from strangers. The rights are those of the directory descriptors
//! the helper was given; the rest of the file system, TCP, and (on newer kernels) signals and
//! abstract sockets to processes outside are denied. Rights the running kernel does not know are
//! left out, so the same call does the most that each kernel can.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `struct landlock_ruleset_attr` as of ABI 6; older kernels take it when the rest is zero.
#[repr(C)]
struct RulesetAttributes {
    handled_files: u64,
    handled_network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

/// File rights of `linux/landlock.h`.
const EXECUTE: u64 = 1 << 0;
const READ_FILE: u64 = 1 << 2;
const READ_DIRECTORY: u64 = 1 << 3;

/// File rights, TCP rights and scopes that exist from an ABI on.
struct Abi {
    version: u32,
    files: u64,
    network: u64,
    scopes: u64,
}

/// Each ABI that added rights, newest first. ABI 7 added logging flags only.
const ABIS: [Abi; 6] = [
    // Abstract Unix sockets and signals.
    Abi {
        version: 6,
        files: (1 << 16) - 1,
        network: 0b11,
        scopes: 0b11,
    },
    // ioctl on devices.
    Abi {
        version: 5,
        files: (1 << 16) - 1,
        network: 0b11,
        scopes: 0,
    },
    // TCP bind and connect.
    Abi {
        version: 4,
        files: (1 << 15) - 1,
        network: 0b11,
        scopes: 0,
    },
    // truncate.
    Abi {
        version: 3,
        files: (1 << 15) - 1,
        network: 0,
        scopes: 0,
    },
    // Renaming and linking between directories.
    Abi {
        version: 2,
        files: (1 << 14) - 1,
        network: 0,
        scopes: 0,
    },
    Abi {
        version: 1,
        files: (1 << 13) - 1,
        network: 0,
        scopes: 0,
    },
];

/// What is kept below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read files, list directories, execute.
    ReadOnly,
    /// All rights on files and directories.
    ReadWrite,
}

impl Access {
    fn rights(self) -> u64 {
        match self {
            Access::ReadOnly => EXECUTE | READ_FILE | READ_DIRECTORY,
            Access::ReadWrite => u64::MAX,
        }
    }
}

/// Whether the kernel enforces the restriction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Enforced {
    /// The kernel has no Landlock, or it is switched off; nothing changed.
    Not,
    /// Everything this ABI version (1 or more) can deny is denied.
    Abi(u32),
}

/// The kernel's Landlock ABI version; `None` where it has none.
///
/// # Errors
/// Any answer of `landlock_create_ruleset(2)` but those that mean "not here".
pub fn abi() -> io::Result<Option<u32>> {
    // SAFETY: with this flag the call takes no attributes and returns a number.
    let result = unsafe {
        let none = std::ptr::null::<RulesetAttributes>();
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            none,
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    if let Ok(version) = u32::try_from(result) {
        return Ok(Some(version));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EOPNOTSUPP) => Ok(None),
        _ => Err(error),
    }
}

/// Restricts the calling thread, for good, to what lies below these directories. Descriptors it
/// has already opened keep their rights, and what it starts later inherits the restriction.
///
/// The thread must have set `no_new_privs` or hold `CAP_SYS_ADMIN`. With ABI 1, files cannot be
/// renamed or linked from one directory to another at all (`EXDEV`).
///
/// # Errors
/// `EPERM` when neither holds, `E2BIG` below sixteen earlier restrictions, `EBADFD` when one of
/// the descriptors is no file or directory.
pub fn restrict_to(directories: &[(BorrowedFd<'_>, Access)]) -> io::Result<Enforced> {
    restrict(u64::MAX, directories)
}

/// Denies the calling thread, for good, to change any file or directory and to make one, and beside
/// files what [`restrict_to`] denies. Reading stays as it is; so do descriptors that it has already
/// opened.
///
/// # Errors
/// As [`restrict_to`].
pub fn deny_writing() -> io::Result<Enforced> {
    restrict(!Access::ReadOnly.rights(), &[])
}

/// Denies those of `rights` that this kernel knows, but below these directories.
fn restrict(rights: u64, directories: &[(BorrowedFd<'_>, Access)]) -> io::Result<Enforced> {
    let Some(version) = abi()? else {
        return Ok(Enforced::Not);
    };
    let Some(known) = ABIS.iter().find(|known| known.version <= version) else {
        return Ok(Enforced::Not);
    };
    let ruleset = create_ruleset(known, rights)?;
    for (directory, access) in directories {
        let allowed = access.rights() & rights & known.files;
        add_directory(ruleset.as_fd(), *directory, allowed)?;
    }
    // SAFETY: takes a ruleset descriptor and flags; it touches no memory.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) };
    if result == 0 {
        Ok(Enforced::Abi(version))
    } else {
        Err(io::Error::last_os_error())
    }
}

fn create_ruleset(known: &Abi, rights: u64) -> io::Result<OwnedFd> {
    let attributes = RulesetAttributes {
        handled_files: known.files & rights,
        handled_network: known.network,
        scoped: known.scopes,
    };
    // SAFETY: `attributes` lives through the call and its size is given with it.
    let result = unsafe {
        let attributes = &raw const attributes;
        let size = size_of::<RulesetAttributes>();
        libc::syscall(libc::SYS_landlock_create_ruleset, attributes, size, 0_u32)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor, close-on-exec, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}

fn add_directory(ruleset: BorrowedFd<'_>, parent: BorrowedFd<'_>, allowed: u64) -> io::Result<()> {
    let rule = PathBeneath {
        allowed,
        parent: parent.as_raw_fd(),
    };
    // SAFETY: `rule` has the layout of this rule type and lives through the call.
    let result = unsafe {
        let rule = &raw const rule;
        let ruleset = ruleset.as_raw_fd();
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset,
            RULE_PATH_BENEATH,
            rule,
            0_u32,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
