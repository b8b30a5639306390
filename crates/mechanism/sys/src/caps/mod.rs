//! Capabilities: their names, sets of them, and the five sets of a thread (`capabilities(7)`).

mod thread;

use std::fmt;
use std::io;
use std::str::FromStr;

pub use thread::{
    ThreadCaps, bounding, clear_ambient, get, last_cap, limit_bounding, raise_ambient, set,
};

/// Defines [`Capability`] and its table from `linux/capability.h`.
macro_rules! capabilities {
    ($($name:ident = $bit:literal, $text:literal;)*) => {
        /// One capability, with its bit number in the kernel's sets.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Capability {
            $(#[doc = concat!("`", $text, "`, see `capabilities(7)`.")] $name = $bit,)*
        }

        impl Capability {
            /// All capabilities, by bit number.
            pub const ALL: [Capability; 41] = [$(Capability::$name),*];

            /// The name with its prefix, `CAP_NET_ADMIN`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Capability::$name => $text,)*
                }
            }
        }
    };
}

capabilities! {
    Chown = 0, "CAP_CHOWN";
    DacOverride = 1, "CAP_DAC_OVERRIDE";
    DacReadSearch = 2, "CAP_DAC_READ_SEARCH";
    Fowner = 3, "CAP_FOWNER";
    Fsetid = 4, "CAP_FSETID";
    Kill = 5, "CAP_KILL";
    Setgid = 6, "CAP_SETGID";
    Setuid = 7, "CAP_SETUID";
    Setpcap = 8, "CAP_SETPCAP";
    LinuxImmutable = 9, "CAP_LINUX_IMMUTABLE";
    NetBindService = 10, "CAP_NET_BIND_SERVICE";
    NetBroadcast = 11, "CAP_NET_BROADCAST";
    NetAdmin = 12, "CAP_NET_ADMIN";
    NetRaw = 13, "CAP_NET_RAW";
    IpcLock = 14, "CAP_IPC_LOCK";
    IpcOwner = 15, "CAP_IPC_OWNER";
    SysModule = 16, "CAP_SYS_MODULE";
    SysRawio = 17, "CAP_SYS_RAWIO";
    SysChroot = 18, "CAP_SYS_CHROOT";
    SysPtrace = 19, "CAP_SYS_PTRACE";
    SysPacct = 20, "CAP_SYS_PACCT";
    SysAdmin = 21, "CAP_SYS_ADMIN";
    SysBoot = 22, "CAP_SYS_BOOT";
    SysNice = 23, "CAP_SYS_NICE";
    SysResource = 24, "CAP_SYS_RESOURCE";
    SysTime = 25, "CAP_SYS_TIME";
    SysTtyConfig = 26, "CAP_SYS_TTY_CONFIG";
    Mknod = 27, "CAP_MKNOD";
    Lease = 28, "CAP_LEASE";
    AuditWrite = 29, "CAP_AUDIT_WRITE";
    AuditControl = 30, "CAP_AUDIT_CONTROL";
    Setfcap = 31, "CAP_SETFCAP";
    MacOverride = 32, "CAP_MAC_OVERRIDE";
    MacAdmin = 33, "CAP_MAC_ADMIN";
    Syslog = 34, "CAP_SYSLOG";
    WakeAlarm = 35, "CAP_WAKE_ALARM";
    BlockSuspend = 36, "CAP_BLOCK_SUSPEND";
    AuditRead = 37, "CAP_AUDIT_READ";
    Perfmon = 38, "CAP_PERFMON";
    Bpf = 39, "CAP_BPF";
    CheckpointRestore = 40, "CAP_CHECKPOINT_RESTORE";
}

impl Capability {
    /// Bit number in the kernel's sets.
    #[must_use]
    pub const fn bit(self) -> u8 {
        self as u8
    }

    const fn mask(self) -> u64 {
        1 << self.bit()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why a capability operation failed.
#[derive(Debug, thiserror::Error)]
pub enum CapsError {
    /// A name that is none of [`Capability::ALL`].
    #[error(
        "unknown capability {0:?}; use a name of capabilities(7) with or without CAP_, such as NET_ADMIN"
    )]
    Unknown(String),
    /// The kernel's newest capability could not be read.
    #[error("cannot read /proc/sys/kernel/cap_last_cap; is /proc mounted?")]
    Last(#[source] io::Error),
    /// The file did not hold a number.
    #[error("/proc/sys/kernel/cap_last_cap holds {0:?} instead of a number")]
    LastValue(String),
    /// A capability could not be dropped.
    #[error("cannot drop capability number {number} from the bounding set; it takes CAP_SETPCAP")]
    DropBounding {
        /// Its bit number; it may be newer than every [`Capability`].
        number: u8,
        /// The kernel's answer to `PR_CAPBSET_DROP`.
        #[source]
        source: io::Error,
    },
    /// The bounding set could not be read.
    #[error("cannot read the bounding set of capabilities")]
    ReadBounding(#[source] io::Error),
    /// `capget(2)` failed.
    #[error("cannot read the thread's capabilities")]
    Get(#[source] io::Error),
    /// `capset(2)` failed.
    #[error(
        "cannot set capabilities (effective {effective}; permitted {permitted}; inheritable {inheritable}); permitted ones cannot be gained"
    )]
    Set {
        /// The effective set asked for.
        effective: CapSet,
        /// The permitted set asked for.
        permitted: CapSet,
        /// The inheritable set asked for.
        inheritable: CapSet,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The ambient set could not be emptied.
    #[error("cannot clear the ambient set of capabilities")]
    ClearAmbient(#[source] io::Error),
    /// A capability could not be made ambient.
    #[error("cannot make {capability} ambient; it must be permitted and inheritable")]
    RaiseAmbient {
        /// The capability.
        capability: Capability,
        /// The kernel's answer to `PR_CAP_AMBIENT_RAISE`.
        #[source]
        source: io::Error,
    },
}

impl CapsError {
    /// The kind for whoever chooses a status code.
    #[must_use]
    pub fn kind(&self) -> berth_types::ErrorKind {
        match self {
            CapsError::Unknown(_) => berth_types::ErrorKind::Invalid,
            _ => berth_types::ErrorKind::Internal,
        }
    }
}

impl FromStr for Capability {
    type Err = CapsError;

    /// Reads `NET_ADMIN`, `CAP_NET_ADMIN` and the same in any case.
    fn from_str(text: &str) -> Result<Capability, CapsError> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let named = |capability: &Capability| capability.name().strip_prefix("CAP_") == Some(bare);
        let found = Capability::ALL.into_iter().find(named);
        found.ok_or_else(|| CapsError::Unknown(text.to_owned()))
    }
}

/// A set of capabilities, in the kernel's bit order.
///
/// It may hold bits newer than [`Capability::ALL`], so that a set read from the kernel can be
/// given back unchanged; [`CapSet::iter`] passes over them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapSet(u64);

impl CapSet {
    /// No capabilities.
    pub const EMPTY: CapSet = CapSet(0);

    /// Every capability Berth has a name for, which is what `ALL` and `--privileged` grant.
    pub const ALL: CapSet = CapSet((1 << Capability::ALL.len()) - 1);

    /// What Docker gives a container that asks for nothing.
    pub const DOCKER_DEFAULT: CapSet = CapSet::of(&[
        Capability::Chown,
        Capability::DacOverride,
        Capability::Fsetid,
        Capability::Fowner,
        Capability::Mknod,
        Capability::NetRaw,
        Capability::Setgid,
        Capability::Setuid,
        Capability::Setfcap,
        Capability::Setpcap,
        Capability::NetBindService,
        Capability::SysChroot,
        Capability::Kill,
        Capability::AuditWrite,
    ]);

    /// The set of these.
    #[must_use]
    pub const fn of(capabilities: &[Capability]) -> CapSet {
        let mut bits = 0;
        let mut rest = capabilities;
        while let [first, others @ ..] = rest {
            bits |= first.mask();
            rest = others;
        }
        CapSet(bits)
    }

    /// A set from the kernel's bits, as in `CapBnd` of `/proc/PID/status`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> CapSet {
        CapSet(bits)
    }

    /// The kernel's bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Reads a list of names, each as [`Capability::from_str`] takes it.
    ///
    /// # Errors
    /// [`CapsError::Unknown`] with the first name that is none.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<CapSet, CapsError> {
        names
            .iter()
            .map(|name| name.as_ref().parse::<Capability>())
            .collect()
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the set holds a capability.
    #[must_use]
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & capability.mask() != 0
    }

    /// Adds a capability.
    pub const fn insert(&mut self, capability: Capability) {
        self.0 |= capability.mask();
    }

    /// Takes a capability out.
    pub const fn remove(&mut self, capability: Capability) {
        self.0 &= !capability.mask();
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: CapSet) -> CapSet {
        CapSet(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub const fn difference(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }

    /// The capabilities of the set, by bit number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .into_iter()
            .filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> CapSet {
        let mut set = CapSet::EMPTY;
        capabilities
            .into_iter()
            .for_each(|capability| set.insert(capability));
        set
    }
}

impl fmt::Display for CapSet {
    /// The names, separated by spaces, or `none`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Capability::name).collect();
        formatter.write_str(if names.is_empty() { "none" } else { "" })?;
        formatter.write_str(&names.join(" "))
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CapSet({:#x}: {self})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits_are_the_kernels() {
        for (bit, capability) in Capability::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(capability.bit()), bit);
            assert_eq!(capability.name().parse::<Capability>().unwrap(), capability);
        }
        assert_eq!(Capability::SysAdmin.bit(), 21);
        assert_eq!(Capability::CheckpointRestore.bit(), 40);
        assert_eq!(CapSet::ALL.bits(), 0x1ff_ffff_ffff);
        assert_eq!(CapSet::DOCKER_DEFAULT.bits(), 0xa804_25fb);
    }

    #[test]
    fn names_are_read_in_all_spellings() {
        for text in ["NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_Net_Admin"] {
            assert_eq!(text.parse::<Capability>().unwrap(), Capability::NetAdmin);
        }
        for text in ["", "CAP_", "ALL", "NETADMIN", "CAP_CAP_KILL", " KILL"] {
            let error = text.parse::<Capability>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
            assert_eq!(error.kind(), berth_types::ErrorKind::Invalid);
        }
    }

    #[test]
    fn sets_keep_what_they_are_given() {
        let mut set = CapSet::parse(&["kill", "CAP_CHOWN"]).unwrap();
        assert_eq!(set.to_string(), "CAP_CHOWN CAP_KILL");
        set.remove(Capability::Chown);
        assert_eq!(set, CapSet::of(&[Capability::Kill]));
        assert!(CapSet::DOCKER_DEFAULT.contains(Capability::AuditWrite));
        assert!(!CapSet::DOCKER_DEFAULT.contains(Capability::SysAdmin));
        assert_eq!(CapSet::DOCKER_DEFAULT.iter().count(), 14);
        assert_eq!(CapSet::EMPTY.to_string(), "none");
        // Bits of a newer kernel survive.
        assert_eq!(
            CapSet::from_bits(1 << 50).union(set).bits(),
            1 << 50 | 1 << 5
        );
        assert!(CapSet::parse(&["KILL", "NOPE"]).is_err());
    }
}
