//! Pseudo terminals of a given devpts instance.
//!
//! A container's terminal comes from the container's own devpts: only then has it a name inside
//! (`/dev/pts/N`, what `tty` prints), and only then is it counted against that instance. The
//! directory is not trusted to be what it is called: it is checked to be the top of a devpts,
//! which holds nothing but what the kernel puts there, and the multiplexer is opened directly in
//! it, across no mount and no link. The slave is asked of the master and not looked up by name.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_types::oci::ConsoleSize;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

/// `DEVPTS_SUPER_MAGIC` of `linux/magic.h`.
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// Inode number of the top directory of any devpts.
const TOP_INODE: u64 = 1;

/// Major and minor number of the multiplexer.
const MULTIPLEXER: (u32, u32) = (5, 2);

/// Both ends of a pseudo terminal, close-on-exec, controlling nobody yet.
#[derive(Debug)]
pub struct Pty {
    /// Who has it shows the terminal and types on it.
    pub master: OwnedFd,
    /// The terminal.
    pub slave: OwnedFd,
}

/// Makes a pseudo terminal in the devpts whose top is `directory`.
///
/// # Errors
/// `InvalidInput` when `directory` is no top of a devpts, or its multiplexer is covered; `ENOSPC`
/// when the instance or the machine has as many terminals as it may.
pub fn open(directory: BorrowedFd<'_>) -> io::Result<Pty> {
    let (system, top) = (
        rustix::fs::fstatfs(directory)?,
        rustix::fs::fstat(directory)?,
    );
    if system.f_type as u64 != DEVPTS_SUPER_MAGIC || top.st_ino != TOP_INODE {
        return Err(not("the top of a devpts"));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let below = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let master = rustix::fs::openat2(directory, "ptmx", flags, Mode::empty(), below)?;
    let stat = rustix::fs::fstat(&master)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
        || stat.st_rdev != rustix::fs::makedev(MULTIPLEXER.0, MULTIPLEXER.1)
    {
        return Err(not("the terminal multiplexer"));
    }
    rustix::pty::unlockpt(&master)?;
    let slave = peer(&master)?;
    Ok(Pty { master, slave })
}

fn not(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is not {what}"))
}

/// Opens the slave of `master` (`TIOCGPTPEER`, Linux 4.13).
///
/// # Errors
/// `EIO` when the terminal was hung up.
pub fn peer(master: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    Ok(rustix::pty::ioctl_tiocgptpeer(master, flags)?)
}

/// The size of a terminal, from either end.
///
/// # Errors
/// `ENOTTY` for what is no terminal.
pub fn size(terminal: impl AsFd) -> io::Result<ConsoleSize> {
    let size = rustix::termios::tcgetwinsize(terminal)?;
    Ok(ConsoleSize {
        height: size.ws_row,
        width: size.ws_col,
    })
}

/// Sets the size of a terminal, from either end. If that changes it, the foreground process group
/// is sent `SIGWINCH`.
///
/// # Errors
/// `ENOTTY` for what is no terminal.
pub fn set_size(terminal: impl AsFd, size: ConsoleSize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.height,
        ws_col: size.width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// Makes `slave` the controlling terminal of the calling process, which leads a session that has
/// none.
///
/// # Errors
/// `EPERM` when it does not, or another session has the terminal.
pub fn make_controlling(slave: impl AsFd) -> io::Result<()> {
    Ok(rustix::process::ioctl_tiocsctty(slave)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;

    fn directory(path: &str) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).unwrap()
    }

    #[test]
    fn both_ends_are_one_terminal_with_one_size() {
        let Ok(Pty { master, slave }) = open(directory("/dev/pts").as_fd()) else {
            // Where the machine's own devpts is elsewhere there is nothing to open.
            return;
        };
        let wanted = ConsoleSize {
            height: 33,
            width: 101,
        };
        set_size(&slave, wanted).unwrap();
        assert_eq!(size(&master).unwrap(), wanted);
        rustix::io::write(&master, b"x\n").unwrap();
        let mut line = [0; 8];
        assert_eq!(rustix::io::read(&slave, &mut line).unwrap(), 2);
    }

    #[test]
    fn what_is_no_devpts_is_refused() {
        for path in ["/dev", "/proc", "/tmp"] {
            let error = open(directory(path).as_fd()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }
}
