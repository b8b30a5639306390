//! The capability sets of the calling thread, read and changed.

use rustix::thread;

use super::{CapSet, CapsError};

/// Three of a thread's sets, which `capget(2)` and `capset(2)` handle together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadCaps {
    /// What the kernel checks.
    pub effective: CapSet,
    /// What may be made effective.
    pub permitted: CapSet,
    /// What a program with inheritable file capabilities may gain.
    pub inheritable: CapSet,
}

/// The number of the kernel's newest capability (`/proc/sys/kernel/cap_last_cap`).
///
/// # Errors
/// When the file cannot be read or holds no number below 64.
pub fn last_cap() -> Result<u8, CapsError> {
    let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").map_err(CapsError::Last)?;
    let number = text.trim().parse().ok().filter(|number| *number < 64);
    number.ok_or_else(|| CapsError::LastValue(text.trim().to_owned()))
}

/// The calling thread's effective, permitted and inheritable sets.
///
/// # Errors
/// The kernel's answer to `capget(2)`.
pub fn get() -> Result<ThreadCaps, CapsError> {
    let sets = thread::capabilities(None).map_err(|errno| CapsError::Get(errno.into()))?;
    Ok(ThreadCaps {
        effective: CapSet::from_bits(sets.effective.bits()),
        permitted: CapSet::from_bits(sets.permitted.bits()),
        inheritable: CapSet::from_bits(sets.inheritable.bits()),
    })
}

/// Sets the calling thread's effective, permitted and inheritable sets. Bits the kernel does not
/// know are ignored by it.
///
/// # Errors
/// `EPERM` in [`CapsError::Set`] when the permitted set would grow, or the inheritable one beyond
/// the bounding set.
pub fn set(caps: &ThreadCaps) -> Result<(), CapsError> {
    let convert = |set: CapSet| thread::CapabilitySet::from_bits_retain(set.bits());
    let &ThreadCaps {
        effective,
        permitted,
        inheritable,
    } = caps;
    let sets = thread::CapabilitySets {
        effective: convert(effective),
        permitted: convert(permitted),
        inheritable: convert(inheritable),
    };
    thread::set_capabilities(None, sets).map_err(|errno| {
        let source = errno.into();
        CapsError::Set {
            effective,
            permitted,
            inheritable,
            source,
        }
    })
}

/// The calling thread's bounding set: what an exec can grant at most.
///
/// # Errors
/// The kernel's answer to `PR_CAPBSET_READ`.
pub fn bounding() -> Result<CapSet, CapsError> {
    let mut bits = 0;
    for number in 0..64 {
        match thread::capability_is_in_bounding_set(single(number)) {
            Ok(true) => bits |= 1 << number,
            Ok(false) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(errno) => return Err(CapsError::ReadBounding(errno.into())),
        }
    }
    Ok(CapSet::from_bits(bits))
}

/// Drops everything but `keep` from the calling thread's bounding set, for good. Reads no file, so
/// it works before `/proc` is mounted: the kernel itself says where its capabilities end.
///
/// # Errors
/// `EPERM` in [`CapsError::DropBounding`] without `CAP_SETPCAP`; what was dropped until then stays
/// dropped.
pub fn limit_bounding(keep: CapSet) -> Result<(), CapsError> {
    for number in (0..64).filter(|number| keep.bits() & (1 << number) == 0) {
        match thread::remove_capability_from_bounding_set(single(number)) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(errno) => {
                return Err(CapsError::DropBounding {
                    number,
                    source: errno.into(),
                });
            }
        }
    }
    Ok(())
}

/// Empties the calling thread's ambient set.
///
/// # Errors
/// The kernel's answer to `PR_CAP_AMBIENT_CLEAR_ALL`.
pub fn clear_ambient() -> Result<(), CapsError> {
    thread::clear_ambient_capability_set().map_err(|errno| CapsError::ClearAmbient(errno.into()))
}

/// Adds capabilities to the calling thread's ambient set, which an exec of an ordinary program
/// keeps even without root.
///
/// # Errors
/// [`CapsError::RaiseAmbient`] for the first one that is not both permitted and inheritable.
pub fn raise_ambient(capabilities: CapSet) -> Result<(), CapsError> {
    for capability in capabilities.iter() {
        thread::configure_capability_in_ambient_set(single(capability.bit()), true).map_err(
            |errno| CapsError::RaiseAmbient {
                capability,
                source: errno.into(),
            },
        )?;
    }
    Ok(())
}

fn single(number: u8) -> thread::CapabilitySet {
    thread::CapabilitySet::from_bits_retain(1 << number)
}
