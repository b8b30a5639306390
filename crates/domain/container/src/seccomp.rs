//! Docker's seccomp profile format, resolved for one container on one host.
//!
//! A profile is written for all machines: its rules may depend on the container's capabilities,
//! the architecture and the kernel. [`resolve`] answers those questions and leaves plain rules for
//! [`berth_sys::seccomp::compile()`]. The result depends only on the profile, the bounding set and
//! the host, so a compiled filter can be kept for all containers that agree in these.

use berth_sys::arch::Arch;
use berth_sys::caps::CapSet;
use berth_sys::rustix;
use berth_sys::seccomp::{Action, Condition, Operator, Profile, Rule};
use serde::Deserialize;

/// `EPERM`, the error number where a profile gives none.
const DEFAULT_ERRNO: u32 = 1;

/// Architectures that profiles may list and no kernel Berth runs on has.
const FOREIGN_ARCHITECTURES: [&str; 18] = [
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// Not JSON, or not of the profile's shape.
    #[error("the seccomp profile is not valid JSON of Docker's profile format")]
    Json(#[source] serde_json::Error),
    /// An action that is no action, or that Berth cannot serve.
    #[error("unknown seccomp action {0:?}; allowed are {allowed}", allowed = Action::OCI_NAMES.join(", "))]
    Action(String),
    /// An operator that is none.
    #[error("unknown seccomp operator {0:?}; allowed are {allowed}", allowed = Operator::OCI_NAMES.join(", "))]
    Operator(String),
    /// An architecture nobody knows.
    #[error(
        "unknown seccomp architecture {0:?}; use a name of libseccomp such as SCMP_ARCH_X86_64 or SCMP_ARCH_AARCH64"
    )]
    Architecture(String),
    /// A condition on an argument that no call has.
    #[error("seccomp rule for {name}: there is no argument {index}; arguments are 0 to 5")]
    Argument {
        /// First name of the rule.
        name: String,
        /// The index it gave.
        index: u32,
    },
    /// An error number the kernel cannot return.
    #[error("seccomp error number {0} is out of range; allowed are 0 to {max}", max = Action::MAX_ERRNO)]
    Errno(u32),
    /// `minKernel` is not a version.
    #[error("seccomp minKernel {0:?} is not a kernel version; write it as \"4.8\"")]
    KernelVersion(String),
    /// A rule gives its calls twice.
    #[error("seccomp rule for {0:?} has both `name` and `names`; use `names`")]
    BothNames(String),
    /// The profile gives its architectures twice.
    #[error("the seccomp profile has both `architectures` and `archMap`; use one of them")]
    BothArchitectures,
    /// The host's kernel release could not be understood.
    #[error("cannot read a version from the kernel release {0:?}")]
    Release(String),
}

/// A kernel's version as profiles compare it: the first two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 of 6.12.
    pub major: u32,
    /// 12 of 6.12.
    pub minor: u32,
}

impl KernelVersion {
    /// Reads the start of a release such as `6.12.95-1-amd64`.
    fn from_release(release: &str) -> Option<KernelVersion> {
        let (major, rest) = release.split_once('.')?;
        let end = rest
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(rest.len());
        let (minor, _) = rest.split_at(end);
        Some(KernelVersion {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }

    /// Reads `minKernel`: two numbers and nothing else, not both zero.
    fn from_condition(text: &str) -> Option<KernelVersion> {
        let (major, minor) = text.split_once('.')?;
        let version = KernelVersion {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        };
        (version.major != 0 || version.minor != 0).then_some(version)
    }
}

/// What of the host a profile may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// The native ABI.
    pub arch: Arch,
    /// The running kernel.
    pub kernel: KernelVersion,
}

impl Host {
    /// This machine.
    ///
    /// # Errors
    /// [`SeccompError::Release`] when `uname(2)` reports a release without two numbers.
    pub fn current() -> Result<Host, SeccompError> {
        let name = rustix::system::uname();
        let release = name.release().to_string_lossy();
        let kernel = KernelVersion::from_release(&release);
        let kernel = kernel.ok_or_else(|| SeccompError::Release(release.into_owned()))?;
        Ok(Host {
            arch: Arch::NATIVE,
            kernel,
        })
    }
}

/// The profile of a container that asks for none: what Docker has by default, as a document of
/// the format that [`resolve`] reads.
#[must_use]
pub fn default_profile_json() -> &'static str {
    include_str!("../profiles/seccomp-default.json")
}

/// Resolves a profile for a container with this bounding set, on this machine.
///
/// # Errors
/// As [`resolve_for`], and when the kernel's release cannot be read.
pub fn resolve(profile_json: &str, caps: &CapSet) -> Result<Profile, SeccompError> {
    resolve_for(profile_json, *caps, Host::current()?)
}

/// Resolves a profile for a container with this bounding set, on some host.
///
/// The host's own architecture is always among those of the result, whatever the profile lists,
/// since no container could start otherwise. Calls and architectures that this version of Berth
/// has never heard of are left out: they fall to the default action, or are killed.
///
/// # Errors
/// Whenever the profile says something that would otherwise silently not be enforced; the error
/// names the offending value and what is allowed.
pub fn resolve_for(profile_json: &str, caps: CapSet, host: Host) -> Result<Profile, SeccompError> {
    let document: Document = serde_json::from_str(profile_json).map_err(SeccompError::Json)?;
    let mut rules = Vec::with_capacity(document.syscalls.len());
    for entry in &document.syscalls {
        if entry.applies(caps, host)? {
            rules.push(entry.rule()?);
        }
    }
    Ok(Profile {
        default_action: action(&document.default_action, document.default_errno_ret)?,
        architectures: document.architectures(host.arch)?,
        rules,
    })
}

fn action(name: &str, data: Option<u32>) -> Result<Action, SeccompError> {
    let data = data.unwrap_or(DEFAULT_ERRNO);
    let number = u16::try_from(data).map_err(|_| SeccompError::Errno(data))?;
    match Action::from_oci_name(name, number) {
        Some(Action::Errno(errno)) if errno > Action::MAX_ERRNO => Err(SeccompError::Errno(data)),
        Some(action) => Ok(action),
        None => Err(SeccompError::Action(name.to_owned())),
    }
}

/// A profile as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchEntry>>,
    #[serde(default)]
    syscalls: Vec<SyscallEntry>,
}

impl Document {
    fn architectures(&self, native: Arch) -> Result<Vec<Arch>, SeccompError> {
        let listed = self.architectures.as_deref().unwrap_or_default();
        let map = self.arch_map.as_deref().unwrap_or_default();
        if !listed.is_empty() && !map.is_empty() {
            return Err(SeccompError::BothArchitectures);
        }
        let mut result = vec![native];
        for name in listed {
            add_architecture(&mut result, name)?;
        }
        for entry in map
            .iter()
            .filter(|entry| entry.architecture == native.oci_name())
        {
            for name in entry.sub_architectures.iter().flatten() {
                add_architecture(&mut result, name)?;
            }
        }
        Ok(result)
    }
}

fn add_architecture(result: &mut Vec<Arch>, name: &str) -> Result<(), SeccompError> {
    match Arch::from_oci_name(name) {
        Some(arch) if !result.contains(&arch) => result.push(arch),
        Some(_) => {}
        None if FOREIGN_ARCHITECTURES.contains(&name) => {}
        None => return Err(SeccompError::Architecture(name.to_owned())),
    }
    Ok(())
}

/// One entry of `archMap`: a native architecture and the ABIs allowed beside it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchEntry {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

/// One entry of `syscalls`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SyscallEntry {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<ArgumentEntry>>,
    #[serde(default)]
    includes: Option<Requirements>,
    #[serde(default)]
    excludes: Option<Requirements>,
}

impl SyscallEntry {
    /// Whether the entry counts: everything it includes is there, and nothing it excludes.
    fn applies(&self, caps: CapSet, host: Host) -> Result<bool, SeccompError> {
        let holds = |name: &String| caps.iter().any(|capability| capability.name() == name);
        if let Some(excludes) = &self.excludes
            && (excludes.names_architecture(host.arch)
                || excludes.caps.iter().flatten().any(holds)
                || excludes.kernel_reached(host.kernel)? == Some(true))
        {
            return Ok(false);
        }
        let Some(includes) = &self.includes else {
            return Ok(true);
        };
        let any_architecture = includes.arches.iter().flatten().next().is_none();
        Ok((any_architecture || includes.names_architecture(host.arch))
            && includes.caps.iter().flatten().all(holds)
            && includes.kernel_reached(host.kernel)? != Some(false))
    }

    fn rule(&self) -> Result<Rule, SeccompError> {
        let names = match (self.name.as_str(), self.names.as_slice()) {
            ("", names) => names.to_vec(),
            (name, []) => vec![name.to_owned()],
            (name, _) => return Err(SeccompError::BothNames(name.to_owned())),
        };
        let mut conditions = Vec::new();
        for entry in self.args.iter().flatten() {
            conditions.push(entry.condition(names.first().map_or("", String::as_str))?);
        }
        Ok(Rule {
            action: action(&self.action, self.errno_ret)?,
            names,
            conditions,
        })
    }
}

/// `includes` or `excludes` of an entry.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Requirements {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Requirements {
    fn names_architecture(&self, arch: Arch) -> bool {
        self.arches
            .iter()
            .flatten()
            .any(|name| name == arch.profile_name())
    }

    /// Whether the kernel is new enough; `None` when nothing is asked of it.
    fn kernel_reached(&self, kernel: KernelVersion) -> Result<Option<bool>, SeccompError> {
        match self.min_kernel.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => KernelVersion::from_condition(text)
                .map(|minimum| Some(kernel >= minimum))
                .ok_or_else(|| SeccompError::KernelVersion(text.to_owned())),
        }
    }
}

/// One entry of `args`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArgumentEntry {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

impl ArgumentEntry {
    fn condition(&self, name: &str) -> Result<Condition, SeccompError> {
        let index = u8::try_from(self.index).ok().filter(|index| *index <= 5);
        let index = index.ok_or_else(|| SeccompError::Argument {
            name: name.to_owned(),
            index: self.index,
        })?;
        Condition::from_oci(index, &self.op, self.value, self.value_two)
            .ok_or_else(|| SeccompError::Operator(self.op.clone()))
    }
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
