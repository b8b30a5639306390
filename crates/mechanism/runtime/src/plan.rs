//! The specification, checked and translated before anything is made.

use berth_sys::caps::CapSet;
use berth_sys::rustix::process::{Resource, Rlimit};
use berth_types::launch::Bundle;
use berth_types::oci::{self, DeviceRule, NamespaceKind, Resources};

use crate::error::{Error, Result};
use crate::namespaces::Namespaces;
use crate::options::{self, MountOptions};
use crate::sysctl;

/// Most mounts of one container.
const MAX_MOUNTS: usize = 4096;

/// Everything that is known before the first system call that changes something.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) namespaces: Namespaces,
    pub(crate) mounts: Vec<PlannedMount>,
    pub(crate) allowance: Allowance,
    pub(crate) sysctls: Vec<(String, String)>,
    pub(crate) resources: Resources,
}

/// What one process may do and use.
#[derive(Debug)]
pub(crate) struct Allowance {
    pub(crate) capabilities: Capabilities,
    pub(crate) rlimits: Vec<(String, Resource, Rlimit)>,
}

/// One mount above the root file system.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlannedMount {
    /// Absolute, without `.`, `..` and doubled slashes; never the root itself.
    pub(crate) destination: String,
    pub(crate) kind: MountKind,
    pub(crate) source: String,
    pub(crate) options: MountOptions,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// Of the host's tree, `true` with what is mounted below.
    Bind(bool),
    /// The container's control groups.
    Cgroup,
    /// A new instance of this file system type.
    FileSystem(String),
}

/// The five sets, without what this kernel or the monitor does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) bounding: CapSet,
    pub(crate) effective: CapSet,
    pub(crate) permitted: CapSet,
    pub(crate) inheritable: CapSet,
    pub(crate) ambient: CapSet,
}

impl Plan {
    pub(crate) fn new(bundle: &Bundle) -> Result<Self> {
        let oci::Spec { process, linux, .. } = &bundle.spec;
        let namespaces = Namespaces::new(&linux.namespaces)?;
        let named = [
            ("host", &bundle.spec.hostname),
            ("domain", &bundle.spec.domainname),
        ];
        for (word, name) in named {
            if !name.is_empty() && !namespaces.has(NamespaceKind::Uts) {
                return Err(Error::Invalid(format!(
                    "cannot set the {word} name {name:?}: the container shares the host's UTS \
                     namespace; leave the name out or give it one of its own"
                )));
            }
        }
        let mounts = &bundle.spec.mounts;
        if mounts.len() > MAX_MOUNTS {
            let text = format!(
                "cannot make {} mounts; {MAX_MOUNTS} are enough",
                mounts.len()
            );
            return Err(Error::Invalid(text));
        }
        let mounts = mounts.iter().map(mount).collect::<Result<_>>()?;
        let sysctls = linux
            .sysctl
            .iter()
            .map(|(name, value)| Ok((sysctl::path(name, &namespaces)?, value.clone())));
        let sysctls = sysctls.collect::<Result<_>>()?;
        Ok(Self {
            mounts,
            sysctls,
            namespaces,
            allowance: Allowance::new(process)?,
            resources: with_default_devices(&linux.resources),
        })
    }
}

impl Allowance {
    pub(crate) fn new(process: &oci::Process) -> Result<Self> {
        Ok(Self {
            capabilities: capabilities(process.capabilities.as_ref())?,
            rlimits: process.rlimits.iter().map(rlimit).collect::<Result<_>>()?,
        })
    }
}

fn mount(mount: &oci::Mount) -> Result<PlannedMount> {
    let options = options::parse(&mount.options);
    let refused = |problem: String| Error::Mount {
        destination: mount.destination.clone(),
        problem,
        source: None,
    };
    let destination = clean(&mount.destination);
    if destination == "/" {
        return Err(refused(
            "the root is not a mount point; name a directory below".to_owned(),
        ));
    }
    let kind = match (mount.kind.as_str(), options.bind) {
        (_, Some(recursive)) => MountKind::Bind(recursive),
        ("bind" | "", None) => MountKind::Bind(false),
        ("cgroup" | "cgroup2", None) => MountKind::Cgroup,
        (kind, None) => MountKind::FileSystem(kind.to_owned()),
    };
    if let (MountKind::Bind(_), Some((key, _))) = (&kind, options.data.first()) {
        return Err(refused(format!(
            "unknown mount option {key:?} for a bind mount"
        )));
    }
    Ok(PlannedMount {
        destination,
        kind,
        source: mount.source.clone(),
        options,
    })
}

/// The path from the root without `.`, `..` and doubled slashes, as its letters say.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            _ => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

fn capabilities(spec: Option<&oci::Capabilities>) -> Result<Capabilities> {
    let Some(spec) = spec else {
        return Ok(Capabilities::default());
    };
    // What the monitor itself lacks it cannot give; on a machine that withholds a capability from
    // everyone, "all" still has to mean all there are.
    let own = berth_sys::caps::get()?.permitted;
    let set = |names: &[String]| -> Result<CapSet> { Ok(CapSet::parse(names)?.intersection(own)) };
    Ok(Capabilities {
        bounding: set(&spec.bounding)?,
        effective: set(&spec.effective)?,
        permitted: set(&spec.permitted)?,
        inheritable: set(&spec.inheritable)?,
        ambient: set(&spec.ambient)?,
    })
}

const RESOURCES: [(&str, Resource); 16] = [
    ("AS", Resource::As),
    ("CORE", Resource::Core),
    ("CPU", Resource::Cpu),
    ("DATA", Resource::Data),
    ("FSIZE", Resource::Fsize),
    ("LOCKS", Resource::Locks),
    ("MEMLOCK", Resource::Memlock),
    ("MSGQUEUE", Resource::Msgqueue),
    ("NICE", Resource::Nice),
    ("NOFILE", Resource::Nofile),
    ("NPROC", Resource::Nproc),
    ("RSS", Resource::Rss),
    ("RTPRIO", Resource::Rtprio),
    ("RTTIME", Resource::Rttime),
    ("SIGPENDING", Resource::Sigpending),
    ("STACK", Resource::Stack),
];

fn rlimit(limit: &oci::Rlimit) -> Result<(String, Resource, Rlimit)> {
    let bare = limit.kind.strip_prefix("RLIMIT_").unwrap_or(&limit.kind);
    let found = RESOURCES
        .iter()
        .find(|(name, _)| *name == bare)
        .ok_or_else(|| {
            Error::Invalid(format!(
                "unknown resource limit {:?}; see getrlimit(2)",
                limit.kind
            ))
        })?;
    let value = |v: u64| (v != u64::MAX).then_some(v);
    let values = Rlimit {
        current: value(limit.soft),
        maximum: value(limit.hard),
    };
    Ok((limit.kind.clone(), found.1, values))
}

/// Device nodes that every container has, and `mknod` of any, which without access is harmless.
/// As an OCI runtime adds them; a list without rules restricts nothing and stays so.
fn with_default_devices(resources: &Resources) -> Resources {
    let mut resources = resources.clone();
    let all = |r: &DeviceRule| r.allow && matches!(r.kind, None | Some('a'));
    if resources.devices.last().is_none_or(all) {
        return resources;
    }
    const DEFAULTS: [(char, Option<i64>, Option<i64>, &str); 10] = [
        ('c', None, None, "m"),
        ('b', None, None, "m"),
        ('c', Some(1), Some(3), "rwm"),
        ('c', Some(1), Some(5), "rwm"),
        ('c', Some(1), Some(7), "rwm"),
        ('c', Some(1), Some(8), "rwm"),
        ('c', Some(1), Some(9), "rwm"),
        ('c', Some(5), Some(0), "rwm"),
        ('c', Some(5), Some(2), "rwm"),
        ('c', Some(136), None, "rwm"),
    ];
    for (kind, major, minor, access) in DEFAULTS {
        let kind = Some(kind);
        let rule = DeviceRule {
            allow: true,
            kind,
            major,
            minor,
            access: access.to_owned(),
        };
        if !resources.devices.contains(&rule) {
            resources.devices.push(rule);
        }
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_cleaned() {
        for (path, expected) in [
            ("/a//b/./c", "/a/b/c"),
            ("/a/../../b", "/b"),
            ("a", "/a"),
            ("/..", "/"),
            ("", "/"),
        ] {
            assert_eq!(clean(path), expected, "{path:?}");
        }
    }

    fn planned(kind: &str, destination: &str, options: &[&str]) -> Result<PlannedMount> {
        mount(&oci::Mount {
            destination: destination.to_owned(),
            kind: kind.to_owned(),
            source: String::new(),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
        })
    }

    #[test]
    fn kinds_of_mounts() {
        let kind = |kind, options: &[&str]| planned(kind, "/x", options).unwrap().kind;
        assert_eq!(kind("bind", &[]), MountKind::Bind(false));
        assert_eq!(kind("none", &["rbind"]), MountKind::Bind(true));
        assert_eq!(kind("cgroup2", &["ro"]), MountKind::Cgroup);
        assert_eq!(
            kind("tmpfs", &["size=1"]),
            MountKind::FileSystem("tmpfs".to_owned())
        );
        assert!(planned("bind", "/x", &["size=1"]).is_err());
        assert!(planned("tmpfs", "/x/..", &[]).is_err());
    }

    #[test]
    fn default_devices_follow_a_restriction_only() {
        let with = |devices: Vec<DeviceRule>| {
            with_default_devices(&Resources {
                devices,
                ..Resources::default()
            })
            .devices
            .len()
        };
        let deny = DeviceRule {
            access: "rwm".to_owned(),
            ..DeviceRule::default()
        };
        let allow = DeviceRule {
            allow: true,
            ..deny.clone()
        };
        assert_eq!(with(vec![]), 0);
        assert_eq!(with(vec![deny.clone()]), 11);
        assert_eq!(with(vec![deny, allow]), 2);
    }

    #[test]
    fn resource_limits_by_name() {
        let limit = |kind: &str| oci::Rlimit {
            kind: kind.to_owned(),
            soft: 1,
            hard: u64::MAX,
        };
        let (_, resource, values) = rlimit(&limit("RLIMIT_NOFILE")).unwrap();
        assert_eq!(resource, Resource::Nofile);
        assert_eq!(
            values,
            Rlimit {
                current: Some(1),
                maximum: None
            }
        );
        assert!(rlimit(&limit("RLIMIT_X")).is_err());
    }
}
