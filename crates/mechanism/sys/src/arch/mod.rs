//! Everything that depends on the processor architecture.
//!
//! Facts about all supported architectures are compiled into every build, because a seccomp
//! profile may name any of them and the tables can then be tested anywhere. Only [`Arch::NATIVE`]
//! differs between builds. Porting Berth means one more family file beside `x86_64.rs` and
//! `aarch64.rs`, its tables, and its line in the choice below.

mod aarch64;
mod program;
mod tables;
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as native;
#[cfg(target_arch = "x86_64")]
use x86_64 as native;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("Berth knows x86_64 and aarch64; add the architecture to berth-sys `arch`");

use std::ops::RangeInclusive;

/// A system call ABI: what a seccomp filter tells apart by audit architecture and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, as a compat ABI.
    X86,
    /// 32-bit pointers on 64-bit x86; shares the audit architecture of [`Arch::X86_64`].
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM (EABI), as a compat ABI.
    Arm,
}

/// What is known of one ABI; the family files hold one of these for each.
struct Facts {
    /// `AUDIT_ARCH_*` of `linux/audit.h`: ELF machine, 64-bit flag, little-endian flag.
    audit: u32,
    /// Name in the OCI runtime specification and in libseccomp.
    oci_name: &'static str,
    /// Name in `includes.arches` and `excludes.arches` of Docker's seccomp profiles.
    profile_name: &'static str,
    /// Architecture of image platforms (Go's `GOARCH`), for the ABIs that have images.
    goarch: Option<&'static str>,
    /// What `uname -m` prints.
    machine: &'static str,
    /// Whether system call arguments are 32 bits wide.
    narrow: bool,
    /// The numbers this ABI has where several share an audit architecture.
    numbers: RangeInclusive<u32>,
    /// Numbers outside the common, growing part of the table.
    irregular: RangeInclusive<u32>,
    /// The number of a system call, if this ABI has it.
    number: fn(&str) -> Option<u32>,
    /// The older way to make a call, if this ABI has one.
    multiplexed: fn(&str) -> Option<Multiplexed>,
}

/// A call that can also be made through a multiplexer, which takes a call code as its first
/// argument and the real arguments behind a pointer, where no filter can see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multiplexed {
    /// Name of the multiplexer, `socketcall` or `ipc`.
    pub through: &'static str,
    /// The bits of the first argument that hold the call code.
    pub mask: u32,
    /// The call code.
    pub code: u32,
}

/// All numbers, for [`Facts::numbers`] of an ABI that shares its audit architecture with none.
const ALL_NUMBERS: RangeInclusive<u32> = RangeInclusive::new(0, u32::MAX);

/// An empty range, for [`Facts::irregular`] of an ABI without such numbers.
const REGULAR: RangeInclusive<u32> = RangeInclusive::new(1, 0);

impl Arch {
    /// Every ABI that has a table, in no particular order.
    pub const ALL: [Arch; 5] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];

    /// The ABI this program was built for.
    pub const NATIVE: Arch = native::NATIVE;

    /// The other ABIs a kernel of the native architecture can run.
    pub const COMPAT: &'static [Arch] = native::COMPAT;

    fn facts(self) -> &'static Facts {
        match self {
            Arch::X86_64 => &x86_64::X86_64,
            Arch::X86 => &x86_64::X86,
            Arch::X32 => &x86_64::X32,
            Arch::Aarch64 => &aarch64::AARCH64,
            Arch::Arm => &aarch64::ARM,
        }
    }

    /// `seccomp_data.arch` of a call made through this ABI (`AUDIT_ARCH_*`).
    #[must_use]
    pub fn audit(self) -> u32 {
        self.facts().audit
    }

    /// Name in the OCI runtime specification, `SCMP_ARCH_X86_64`.
    #[must_use]
    pub fn oci_name(self) -> &'static str {
        self.facts().oci_name
    }

    /// The ABI with this OCI name; `None` also for those Berth has no table of.
    #[must_use]
    pub fn from_oci_name(name: &str) -> Option<Arch> {
        Arch::ALL.into_iter().find(|arch| arch.oci_name() == name)
    }

    /// Name in the conditions of Docker's seccomp profiles: `amd64`, `x86`, `x32`, `arm64`, `arm`.
    #[must_use]
    pub fn profile_name(self) -> &'static str {
        self.facts().profile_name
    }

    /// Architecture of an image platform: `amd64`, `386`, `arm64`, `arm`; x32 has none.
    #[must_use]
    pub fn goarch(self) -> Option<&'static str> {
        self.facts().goarch
    }

    /// What `uname -m` prints for a process of this ABI.
    #[must_use]
    pub fn machine(self) -> &'static str {
        self.facts().machine
    }

    /// Whether system call arguments are 32 bits wide, so that their upper halves are zero.
    /// (x32 passes 64 bits although its pointers are 32.)
    #[must_use]
    pub fn has_narrow_arguments(self) -> bool {
        self.facts().narrow
    }

    /// The numbers that belong to this ABI, of those a filter may see with its audit architecture.
    #[must_use]
    pub fn numbers(self) -> RangeInclusive<u32> {
        self.facts().numbers.clone()
    }

    /// Numbers that are no measure of a call's age: a fixed block of x32, ARM's private calls.
    #[must_use]
    pub fn irregular_numbers(self) -> RangeInclusive<u32> {
        self.facts().irregular.clone()
    }

    /// The number of a system call as a filter sees it (with the x32 bit for [`Arch::X32`]);
    /// `None` where the ABI has no such call or it is newer than the table.
    #[must_use]
    pub fn syscall_number(self, name: &str) -> Option<u32> {
        (self.facts().number)(name)
    }

    /// How this ABI can make the call through a multiplexer, which a filter that names the call
    /// must cover too.
    #[must_use]
    pub fn multiplexed(self, name: &str) -> Option<Multiplexed> {
        (self.facts().multiplexed)(name)
    }
}

/// Looks a name up in a table sorted by name.
fn find(table: &[(&str, u32)], name: &str) -> Option<u32> {
    let index = table
        .binary_search_by(|(entry, _)| (*entry).cmp(name))
        .ok()?;
    table.get(index).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_numbers_are_unique() {
        use tables::{aarch64, arm, i386, x32, x86_64};
        let all = [
            aarch64::SYSCALLS,
            arm::SYSCALLS,
            i386::SYSCALLS,
            x86_64::SYSCALLS,
            x32::SPECIAL,
            i386::SOCKETCALL,
            i386::IPC,
        ];
        for table in all {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0));
            let mut numbers: Vec<u32> = table.iter().map(|entry| entry.1).collect();
            numbers.sort_unstable();
            numbers.dedup();
            // sync_file_range2 of ARM is the one call with two names.
            let aliases = usize::from(std::ptr::eq(table, arm::SYSCALLS));
            assert_eq!(numbers.len() + aliases, table.len());
        }
        assert!(x32::ABSENT.is_sorted());
    }

    #[test]
    fn numbers_match_the_kernel_headers() {
        let cases = [
            (Arch::X86_64, "read", Some(0)),
            (Arch::X86_64, "clone3", Some(435)),
            (Arch::X86_64, "uretprobe", Some(335)),
            (Arch::X86_64, "socketcall", None),
            (Arch::X86, "read", Some(3)),
            (Arch::X86, "socketcall", Some(102)),
            (Arch::X86, "socket", Some(359)),
            (Arch::X86, "arch_prctl", Some(384)),
            (Arch::X32, "read", Some(0x4000_0000)),
            (Arch::X32, "ioctl", Some(0x4000_0202)),
            (Arch::X32, "uselib", None),
            (Arch::Aarch64, "read", Some(63)),
            (Arch::Aarch64, "open", None),
            (Arch::Aarch64, "newfstatat", Some(79)),
            (Arch::Arm, "read", Some(3)),
            (Arch::Arm, "set_tls", Some(0xf_0005)),
            (Arch::Arm, "arm_fadvise64_64", Some(270)),
        ];
        for (arch, name, number) in cases {
            assert_eq!(arch.syscall_number(name), number, "{name} of {arch:?}");
        }
        // One number everywhere since 5.1, so a shifted table shows.
        for arch in [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm] {
            assert_eq!(arch.syscall_number("mseal"), Some(462));
            assert_eq!(arch.syscall_number("removexattrat"), Some(466));
        }
    }

    #[test]
    fn native_table_agrees_with_libc() {
        let cases = [
            ("openat2", libc::SYS_openat2),
            ("seccomp", libc::SYS_seccomp),
            ("mount", libc::SYS_mount),
            ("exit_group", libc::SYS_exit_group),
            ("landlock_add_rule", libc::SYS_landlock_add_rule),
        ];
        for (name, number) in cases {
            assert_eq!(
                Arch::NATIVE.syscall_number(name),
                u32::try_from(number).ok()
            );
        }
    }

    #[test]
    fn oci_names_round_trip() {
        for arch in Arch::ALL {
            assert_eq!(Arch::from_oci_name(arch.oci_name()), Some(arch));
        }
        assert_eq!(Arch::from_oci_name("SCMP_ARCH_S390X"), None);
    }
}
