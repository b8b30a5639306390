//! Which devices a container may use: Docker's default list, and nodes and rules that a request
//! adds.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use berth_sys::rustix::fs::{major, minor};
use berth_types::oci::{Device, DeviceRule, Linux};
use serde::{Deserialize, Serialize};

use crate::error::ContainerError;
use crate::record::{DeviceMapping, HostSettings};

/// Character devices that every container may use: null, zero, full, random, urandom; tty, ptmx.
const COMMON: [(i64, i64); 7] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];
/// Major number of the pseudo-terminals.
const TERMINALS: i64 = 136;
/// Most device nodes that one container can ask for, and how deep below a directory they may lie.
const NODES_MAX: usize = 512;
const DEPTH_MAX: usize = 8;

fn rule(
    allow: bool,
    kind: char,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> DeviceRule {
    DeviceRule {
        allow,
        kind: Some(kind),
        major,
        minor,
        access: access.to_owned(),
    }
}

/// The rules of a container, the later before the earlier: nothing but making nodes, the harmless
/// ones, and what was asked for. All devices for a privileged one.
///
/// # Errors
/// A rule that cannot be read; the request was checked when the container was made.
pub(crate) fn rules(host: &HostSettings) -> Result<Vec<DeviceRule>, ContainerError> {
    if host.privileged {
        return Ok(vec![rule(true, 'a', None, None, "rwm")]);
    }
    let mut rules = vec![
        rule(false, 'a', None, None, "rwm"),
        rule(true, 'c', None, None, "m"),
        rule(true, 'b', None, None, "m"),
    ];
    for (major, minor) in COMMON {
        rules.push(rule(true, 'c', Some(major), Some(minor), "rwm"));
    }
    rules.push(rule(true, 'c', Some(TERMINALS), None, "rwm"));
    for text in &host.device_rules {
        rules.push(parse(text)?);
    }
    Ok(rules)
}

/// Reads a rule of `--device-cgroup-rule`: `c 42:* rmw`.
///
/// # Errors
/// Docker's sentence.
pub(crate) fn parse(text: &str) -> Result<DeviceRule, ContainerError> {
    let parts: Vec<&str> = text.split([' ', ':']).collect();
    let read = || {
        let [kind @ ("a" | "b" | "c"), major, minor, access] = *parts else {
            return None;
        };
        let plain = text.matches(':').count() == 1 && (1..=3).contains(&access.len());
        let accesses = access.chars().all(|c| matches!(c, 'r' | 'w' | 'm'));
        let number = |part: &str| match part {
            "*" => Some(None),
            digits => digits.parse::<u32>().ok().map(|n| Some(i64::from(n))),
        };
        let kind = kind.chars().next()?;
        let rule = rule(true, kind, number(major)?, number(minor)?, access);
        (plain && accesses).then_some(rule)
    };
    read().ok_or_else(|| {
        ContainerError::Invalid(format!(
            "invalid device cgroup rule format: '{text}': expected one like 'c 42:* rmw', of type a, b or c"
        ))
    })
}

/// Checks what a request says of a node; whether it exists is seen at each start.
///
/// # Errors
/// A path that is not absolute or leads upwards, or accesses that there are none of.
pub(crate) fn check(asked: &DeviceMapping) -> Result<(), ContainerError> {
    let DeviceMapping {
        source,
        target,
        access,
    } = asked;
    if access.is_empty() || access.len() > 3 || !access.chars().all(|c| "rwm".contains(c)) {
        return Err(ContainerError::Invalid(format!(
            "invalid device mode {access:?} of {source}: expected some of r, w and m"
        )));
    }
    let plain = |path: &str| path.starts_with('/') && path.split('/').all(|part| part != "..");
    match [source, target].into_iter().find(|path| !plain(path)) {
        Some(path) => Err(ContainerError::Invalid(format!(
            "invalid device path {path:?}: expected an absolute one without \"..\""
        ))),
        None => Ok(()),
    }
}

/// A node to make, and what may be done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    device: Device,
    access: String,
}

/// Finds the nodes that were asked for on the host, as they are now. It may hang: a reader does it
/// ([`crate::files::reader`]).
///
/// # Errors
/// Docker's sentence, for what is not there or no device.
pub(crate) fn look(asked: &[DeviceMapping]) -> Result<Vec<Node>, ContainerError> {
    let mut nodes = Vec::new();
    for mapping in asked {
        let DeviceMapping { source, target, .. } = mapping;
        let before = nodes.len();
        let found = gather(Path::new(source), target, mapping, DEPTH_MAX, &mut nodes);
        let why = match found {
            Ok(()) if nodes.len() > NODES_MAX => format!("more than {NODES_MAX} devices"),
            Ok(()) if nodes.len() > before => continue,
            Ok(()) => "not a device node".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                "no such file or directory".to_owned()
            }
            Err(error) => error.to_string(),
        };
        return Err(ContainerError::Invalid(format!(
            "error gathering device information while adding custom device \"{source}\": {why}"
        )));
    }
    Ok(nodes)
}

/// The node at `path`, behind a link too, or the nodes below a directory.
fn gather(
    path: &Path,
    target: &str,
    asked: &DeviceMapping,
    depth: usize,
    nodes: &mut Vec<Node>,
) -> io::Result<()> {
    let facts = fs::metadata(path)?;
    let kind = facts.file_type();
    if kind.is_dir() && depth > 0 {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if nodes.len() > NODES_MAX || entry.file_type()?.is_symlink() {
                continue;
            }
            let inside = format!(
                "{}/{}",
                target.trim_end_matches('/'),
                entry.file_name().to_string_lossy()
            );
            // What is gone by now, or cannot be read, is no device that can be had.
            let _ = gather(&entry.path(), &inside, asked, depth - 1, nodes);
        }
    }
    if kind.is_char_device() || kind.is_block_device() {
        let device = Device {
            path: target.to_owned(),
            kind: if kind.is_char_device() { 'c' } else { 'b' },
            major: major(facts.rdev()),
            minor: minor(facts.rdev()),
            file_mode: facts.mode() & 0o7777,
            uid: facts.uid(),
            gid: facts.gid(),
        };
        let access = asked.access.clone();
        nodes.push(Node { device, access });
    }
    Ok(())
}

/// Adds the nodes to a specification, and a rule for each.
pub(crate) fn add(nodes: Vec<Node>, linux: &mut Linux) {
    for Node { device, access } in nodes {
        let numbers = (Some(device.major.into()), Some(device.minor.into()));
        let rule = rule(true, device.kind, numbers.0, numbers.1, &access);
        linux.resources.devices.push(rule);
        // A privileged container has them all already, under their own names.
        if linux.devices.iter().all(|has| has.path != device.path) {
            linux.devices.push(device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_or_refused() {
        let fine = |text: &str| parse(text).unwrap();
        assert_eq!(
            fine("c 10:229 rw"),
            rule(true, 'c', Some(10), Some(229), "rw")
        );
        assert_eq!(fine("b 8:* r"), rule(true, 'b', Some(8), None, "r"));
        assert_eq!(fine("a *:* rwm"), rule(true, 'a', None, None, "rwm"));
        for bad in [
            "",
            "c",
            "c 1:3",
            "c 1:3 x",
            "d 1:3 r",
            "c 1:3:r",
            "c 1 3 r",
            "c -1:3 r",
            "c 1:3 ",
            "c 1:3 rwmr",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_asked_for_comes_last() {
        let host = |privileged| HostSettings {
            privileged,
            device_rules: vec!["c 1:1 r".to_owned()],
            ..HostSettings::default()
        };
        let list = rules(&host(false)).unwrap();
        assert!(!list[0].allow && list.last() == Some(&rule(true, 'c', Some(1), Some(1), "r")));
        assert_eq!(rules(&host(true)).unwrap().len(), 1);
    }

    fn mapping(source: &str, target: &str, access: &str) -> DeviceMapping {
        DeviceMapping {
            source: source.to_owned(),
            target: target.to_owned(),
            access: access.to_owned(),
        }
    }

    #[test]
    fn a_node_is_looked_up_with_its_rule() {
        let nodes = look(&[mapping("/dev/null", "/dev/nothing", "r")]).unwrap();
        let mut linux = Linux::default();
        add(nodes, &mut linux);
        assert_eq!(
            linux.resources.devices,
            [rule(true, 'c', Some(1), Some(3), "r")]
        );
        let made = &linux.devices[0];
        assert_eq!((made.path.as_str(), made.kind), ("/dev/nothing", 'c'));
        let below = look(&[mapping("/dev", "/x", "rwm")]).unwrap();
        assert!(below.iter().any(|node| node.device.path == "/x/null"));
        for (missing, why) in [
            ("/dev/no-such", "no such file or directory"),
            ("/etc/passwd", "not a device node"),
        ] {
            let error = look(&[mapping(missing, "/x", "r")]).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "error gathering device information while adding custom device \"{missing}\": {why}"
                )
            );
        }
    }

    #[test]
    fn a_mapping_is_checked() {
        assert!(check(&mapping("/dev/a", "/dev/b", "rw")).is_ok());
        for (source, target, access) in [
            ("dev/a", "/b", "r"),
            ("/dev/a", "/../b", "r"),
            ("/dev/a", "/b", "x"),
            ("/dev/a", "/b", ""),
        ] {
            assert!(check(&mapping(source, target, access)).is_err(), "{source}");
        }
    }
}
