//! The x86 family: 64-bit, 32-bit compat, and x32.

use super::tables::{i386, x32, x86_64};
use super::{ALL_NUMBERS, Arch, Facts, Multiplexed, REGULAR, find};

#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: Arch = Arch::X86_64;
#[cfg(target_arch = "x86_64")]
pub(super) const COMPAT: &[Arch] = &[Arch::X86, Arch::X32];

/// Set in the number of every x32 call (`__X32_SYSCALL_BIT` of `asm/unistd.h`).
const X32_BIT: u32 = 0x4000_0000;

pub(super) const X86_64: Facts = Facts {
    audit: 0xc000_003e,
    oci_name: "SCMP_ARCH_X86_64",
    profile_name: "amd64",
    goarch: Some("amd64"),
    machine: "x86_64",
    narrow: false,
    numbers: 0..=X32_BIT - 1,
    irregular: REGULAR,
    number: |name| find(x86_64::SYSCALLS, name),
    multiplexed: |_| None,
};

pub(super) const X86: Facts = Facts {
    audit: 0x4000_0003,
    oci_name: "SCMP_ARCH_X86",
    profile_name: "x86",
    goarch: Some("386"),
    machine: "i686",
    narrow: true,
    numbers: ALL_NUMBERS,
    irregular: REGULAR,
    number: |name| find(i386::SYSCALLS, name),
    multiplexed: i386_multiplexed,
};

pub(super) const X32: Facts = Facts {
    audit: X86_64.audit,
    oci_name: "SCMP_ARCH_X32",
    profile_name: "x32",
    goarch: None,
    machine: "x86_64",
    narrow: false,
    numbers: X32_BIT..=u32::MAX,
    // The block of calls that x32 numbers differently.
    irregular: X32_BIT + 512..=X32_BIT + 547,
    number: x32_number,
    multiplexed: |_| None,
};

fn x32_number(name: &str) -> Option<u32> {
    let number = match find(x32::SPECIAL, name) {
        Some(number) => number,
        None if x32::ABSENT.binary_search(&name).is_ok() => return None,
        None => find(x86_64::SYSCALLS, name)?,
    };
    Some(number | X32_BIT)
}

/// Call codes of `socketcall(2)` (`linux/net.h`) and `ipc(2)` (`linux/ipc.h`).
fn i386_multiplexed(name: &str) -> Option<Multiplexed> {
    if let Some(code) = find(i386::SOCKETCALL, name) {
        return Some(Multiplexed {
            through: "socketcall",
            mask: u32::MAX,
            code,
        });
    }
    // The upper half is a version that only changes how arguments are passed.
    find(i386::IPC, name).map(|code| Multiplexed {
        through: "ipc",
        mask: 0xffff,
        code,
    })
}
