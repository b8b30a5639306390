//! The ARM family: 64-bit and 32-bit EABI compat.

use super::tables::{aarch64, arm};
use super::{ALL_NUMBERS, Facts, REGULAR, find};

#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: super::Arch = super::Arch::Aarch64;
#[cfg(target_arch = "aarch64")]
pub(super) const COMPAT: &[super::Arch] = &[super::Arch::Arm];

pub(super) const AARCH64: Facts = Facts {
    audit: 0xc000_00b7,
    oci_name: "SCMP_ARCH_AARCH64",
    profile_name: "arm64",
    goarch: Some("arm64"),
    machine: "aarch64",
    narrow: false,
    numbers: ALL_NUMBERS,
    irregular: REGULAR,
    number: |name| find(aarch64::SYSCALLS, name),
    multiplexed: |_| None,
};

pub(super) const ARM: Facts = Facts {
    audit: 0x4000_0028,
    oci_name: "SCMP_ARCH_ARM",
    profile_name: "arm",
    goarch: Some("arm"),
    machine: "armv7l",
    narrow: true,
    numbers: ALL_NUMBERS,
    // `__ARM_NR_BASE` and what follows it: breakpoint, cacheflush, set_tls and so on.
    irregular: 0xf_0000..=0xf_07ff,
    number: |name| find(arm::SYSCALLS, name),
    multiplexed: |_| None,
};
