//! The profile model: `linux.seccomp` of the OCI runtime specification, resolved to values.

use crate::arch::Arch;

/// What a filter does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Kill the process with `SIGSYS`.
    KillProcess,
    /// Kill the calling thread only, as if by `SIGSYS`.
    KillThread,
    /// Send the thread a `SIGSYS` it can handle.
    Trap,
    /// Fail the call with this error number, at most [`Action::MAX_ERRNO`].
    Errno(u16),
    /// Tell the tracer, with this message; without a tracer the call fails with `ENOSYS`.
    Trace(u16),
    /// Allow the call and log it.
    Log,
    /// Allow the call.
    Allow,
}

impl Action {
    /// The largest error number a filter can return; the kernel clamps larger ones.
    pub const MAX_ERRNO: u16 = 4095;

    /// The OCI names [`Action::from_oci_name`] knows, for messages.
    pub const OCI_NAMES: [&'static str; 8] = [
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_LOG",
        "SCMP_ACT_ALLOW",
    ];

    /// The action of this OCI name. `data` is the error number of `SCMP_ACT_ERRNO` or the message
    /// of `SCMP_ACT_TRACE`, ignored by the others. `SCMP_ACT_NOTIFY` is not among them: nobody
    /// would listen.
    #[must_use]
    pub fn from_oci_name(name: &str, data: u16) -> Option<Action> {
        Some(match name {
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
            "SCMP_ACT_TRAP" => Action::Trap,
            "SCMP_ACT_ERRNO" => Action::Errno(data),
            "SCMP_ACT_TRACE" => Action::Trace(data),
            "SCMP_ACT_LOG" => Action::Log,
            "SCMP_ACT_ALLOW" => Action::Allow,
            _ => return None,
        })
    }

    /// Whether the call happens.
    #[must_use]
    pub fn permits(self) -> bool {
        matches!(self, Action::Allow | Action::Log)
    }

    /// The value a filter returns for this action (`SECCOMP_RET_*` and its 16 bits of data).
    pub(super) fn return_value(self) -> u32 {
        match self {
            Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Action::Trap => libc::SECCOMP_RET_TRAP,
            Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Action::Trace(message) => libc::SECCOMP_RET_TRACE | u32::from(message),
            Action::Log => libc::SECCOMP_RET_LOG,
            Action::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }

    /// The reverse of [`Action::return_value`]; as in the kernel, an unknown action kills.
    pub(super) fn from_return_value(value: u32) -> Action {
        let data = (value & libc::SECCOMP_RET_DATA) as u16;
        match value & libc::SECCOMP_RET_ACTION_FULL {
            libc::SECCOMP_RET_KILL_THREAD => Action::KillThread,
            libc::SECCOMP_RET_TRAP => Action::Trap,
            libc::SECCOMP_RET_ERRNO => Action::Errno(data),
            libc::SECCOMP_RET_TRACE => Action::Trace(data),
            libc::SECCOMP_RET_LOG => Action::Log,
            libc::SECCOMP_RET_ALLOW => Action::Allow,
            _ => Action::KillProcess,
        }
    }
}

/// How an argument is compared. Arguments are unsigned 64-bit values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The argument differs from the value.
    NotEqual,
    /// The argument is below the value.
    LessThan,
    /// The argument is at most the value.
    LessEqual,
    /// The argument is the value.
    Equal,
    /// The argument is at least the value.
    GreaterEqual,
    /// The argument is above the value.
    GreaterThan,
    /// The bits of the argument under `mask` are the value.
    MaskedEqual {
        /// The bits that count.
        mask: u64,
    },
}

impl Operator {
    /// The OCI names [`Condition::from_oci`] knows, for messages.
    pub const OCI_NAMES: [&'static str; 7] = [
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    ];
}

/// A test of one argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with.
    pub value: u64,
}

impl Condition {
    /// An argument test in the OCI's words, where `SCMP_CMP_MASKED_EQ` has its mask in `value` and
    /// what it compares with in `value_two`. `None` for an operator not in [`Operator::OCI_NAMES`].
    #[must_use]
    pub fn from_oci(index: u8, operator: &str, value: u64, value_two: u64) -> Option<Condition> {
        let operator = match operator {
            "SCMP_CMP_NE" => Operator::NotEqual,
            "SCMP_CMP_LT" => Operator::LessThan,
            "SCMP_CMP_LE" => Operator::LessEqual,
            "SCMP_CMP_EQ" => Operator::Equal,
            "SCMP_CMP_GE" => Operator::GreaterEqual,
            "SCMP_CMP_GT" => Operator::GreaterThan,
            "SCMP_CMP_MASKED_EQ" => {
                let operator = Operator::MaskedEqual { mask: value };
                return Some(Condition {
                    index,
                    operator,
                    value: value_two,
                });
            }
            _ => return None,
        };
        Some(Condition {
            index,
            operator,
            value,
        })
    }
}

/// One entry of a profile: what to do with these calls when all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names of system calls; unknown ones are skipped, since a profile serves many kernels.
    pub names: Vec<String>,
    /// What is done with them.
    pub action: Action,
    /// Tests of the arguments; all must hold, except that when two of them test the same
    /// argument, any one is enough. That is how runc reads such rules, and profiles rely on it.
    pub conditions: Vec<Condition>,
}

/// A whole profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// For calls that no rule matches.
    pub default_action: Action,
    /// The ABIs that may make calls at all; empty means the native one. A call made through any
    /// other kills the process.
    pub architectures: Vec<Arch>,
    /// In the order of the profile; see [`super::compile()`] for what happens when several match.
    pub rules: Vec<Rule>,
}
