//! Sealed copies of programs.
//!
//! A process that enters a container, or that a container can reach through `/proc`, runs from
//! an anonymous file that nobody can write any more: not the container (CVE-2019-5736), and not
//! an upgrade that replaces the file on disk while old processes still run from it.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

/// Copies `source` from its start into an anonymous file called `name`, seals it against every
/// change, and returns it opened read-only, ready to be executed as `/proc/self/fd/N`.
pub fn sealed_copy(source: &mut File, name: &CStr) -> io::Result<OwnedFd> {
    let mut copy = File::from(create(name)?);
    io::copy(source, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    Ok(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// `memfd_create(2)`. Kernels before 6.3 do not know `MFD_EXEC` and make every such file
/// executable; later ones may refuse to unless it is asked for (`vm.memfd_noexec`).
fn create(name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_sealed_copy_holds_the_bytes_and_refuses_writers() {
        let mut source = File::open("/proc/self/exe").unwrap();
        let copy = sealed_copy(&mut source, c"berth-test").unwrap();
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let writable = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        if let Ok(writable) = writable {
            assert_eq!(rustix::io::write(&writable, b"x"), Err(Errno::PERM));
            assert_eq!(rustix::fs::ftruncate(&writable, 0), Err(Errno::PERM));
        }
        let mut bytes = Vec::new();
        File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, std::fs::read("/proc/self/exe").unwrap());
    }
}
