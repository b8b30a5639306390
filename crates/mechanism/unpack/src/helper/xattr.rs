//! Which extended attributes an archive may set.

use berth_sys::rustix::fs::{XattrFlags, fsetxattr};
use berth_sys::rustix::io::Errno;

use crate::failure::{Failure, Name, Result};

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Set,
    /// It means something only on the machine it comes from: labels, signatures, file system
    /// internals.
    Ignore,
    /// It would change what overlay makes of the layer.
    Refuse,
}

fn judge(name: &[u8]) -> Verdict {
    if name.starts_with(b"trusted.") || name.starts_with(b"user.overlay.") {
        return Verdict::Refuse;
    }
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => {
            Verdict::Set
        }
        _ if name.starts_with(b"user.") => Verdict::Set,
        _ => Verdict::Ignore,
    }
}

/// Sets the attributes of an entry; without a file, where Linux allows none of them, checks them
/// only. The answer is how many were left out.
pub fn apply(xattrs: &[(Vec<u8>, Vec<u8>)], file: Option<&impl std::os::fd::AsFd>) -> Result<u64> {
    let mut ignored = 0;
    for (name, value) in xattrs {
        match (judge(name), file) {
            (Verdict::Refuse, _) => {
                let what = format!("the extended attribute {} is refused", Name(name));
                return Err(Failure::refused(what));
            }
            (Verdict::Set, Some(file)) => set(file, name, value)?,
            _ => ignored += 1,
        }
    }
    Ok(ignored)
}

fn set(file: &impl std::os::fd::AsFd, name: &[u8], value: &[u8]) -> Result<()> {
    fsetxattr(file, name, value, XattrFlags::empty()).map_err(|errno| {
        let what = format!("cannot set the extended attribute {}", Name(name));
        match errno {
            // The kernel checks names, sizes and the inner form of capabilities and ACLs.
            Errno::INVAL | Errno::RANGE | Errno::TOOBIG => {
                Failure::refused(format!("{what}: {errno}"))
            }
            _ => Failure::machine(what, errno),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlay_reads_is_refused() {
        let check = |name: &str, expected| assert_eq!(judge(name.as_bytes()), expected, "{name}");
        check("user.mime", Verdict::Set);
        check("security.capability", Verdict::Set);
        check("security.selinux", Verdict::Ignore);
        check("btrfs.compression", Verdict::Ignore);
        check("trusted.overlay.redirect", Verdict::Refuse);
        check("trusted.x", Verdict::Refuse);
        check("user.overlay.opaque", Verdict::Refuse);
    }
}
