//! Extended attributes: which ones travel, and what overlay says in its own.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use berth_sys::rustix::fs::{fgetxattr, flistxattr};
use berth_sys::rustix::io::Errno;

use super::options::{ArchiveError, Form};
use super::tree::{failed, show};

/// Names and values of one file's extended attributes, as large as the kernel makes them.
const XATTR_MAX: usize = 64 << 10;
/// What one value, or the names of a file's attributes, seldom exceed.
const XATTR_USUAL: usize = 256;

/// Names and values of extended attributes.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The attributes that mean the same everywhere, in order; and whether the directory is opaque.
pub(super) fn xattrs(
    file: &OwnedFd,
    form: Form,
    path: &[u8],
) -> Result<(Xattrs, bool), ArchiveError> {
    let list = match names(file) {
        Ok(list) => list,
        Err(Errno::OPNOTSUPP) => Vec::new(),
        Err(errno) => return Err(failed("list the attributes of", path)(errno)),
    };
    let layer = form == Form::Layer;
    let (mut found, mut opaque) = (Vec::new(), false);
    for name in list.split_inclusive(|c| *c == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        match name.to_bytes() {
            b"trusted.overlay.metacopy" if layer => {
                return Err(reference(path, "trusted.overlay.metacopy"));
            }
            b"trusted.overlay.redirect" if layer => {
                return Err(reference(path, "trusted.overlay.redirect"));
            }
            b"trusted.overlay.opaque" if layer => {
                opaque = attribute(file, name).is_ok_and(|value| value == b"y");
            }
            other if travels(other) => match attribute(file, name) {
                Ok(value) => found.push((other.to_vec(), value)),
                Err(Errno::NODATA) => {}
                Err(errno) => return Err(failed("read an attribute of", path)(errno)),
            },
            _ => {}
        }
    }
    found.sort_unstable();
    Ok((found, opaque))
}

fn reference(path: &[u8], attribute: &'static str) -> ArchiveError {
    let path = show(path);
    ArchiveError::Reference { path, attribute }
}

/// Whether an attribute means something outside of the machine and the mount it is read from.
fn travels(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => name.starts_with(b"user.") && !name.starts_with(b"user.overlay."),
    }
}

/// The names of a file's attributes, each ended by a NUL.
fn names(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    sized(|buffer| flistxattr(file, buffer))
}

fn attribute(file: &OwnedFd, name: &CStr) -> Result<Vec<u8>, Errno> {
    sized(|buffer| fgetxattr(file, name, buffer))
}

/// Fills a small buffer, and a large one where that is too small.
fn sized(fill: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; XATTR_USUAL];
    match fill(&mut small) {
        Ok(length) => Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; XATTR_MAX];
            let length = fill(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        Err(errno) => Err(errno),
    }
}
