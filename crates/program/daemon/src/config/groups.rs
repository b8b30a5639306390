//! Which control groups containers get: the driver and what they lie below.

use berth_sys::systemd::Slice;

use super::ConfigError;
use super::resolve::bad;
use super::values::Values;

/// Who makes containers' groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The monitors.
    Cgroupfs,
    /// systemd, as scopes.
    Systemd,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOptions {
    /// The driver; the machine decides where none was named.
    pub driver: Option<Driver>,
    /// The group for the driver `cgroupfs`, absolute.
    pub parent: String,
    /// The slice for the driver `systemd`.
    pub slice: Slice,
}

impl GroupOptions {
    /// The driver, on a machine that has `both` systemd and version 2 of control groups, or not.
    pub fn driver_on(&self, both: bool) -> Driver {
        let machines = if both {
            Driver::Systemd
        } else {
            Driver::Cgroupfs
        };
        self.driver.unwrap_or(machines)
    }
}

/// Reads `--exec-opt native.cgroupdriver` and `--cgroup-parent`. A parent that only one driver can
/// have stands for that driver.
pub fn options(values: &Values) -> Result<GroupOptions, ConfigError> {
    let mut named = None;
    for option in values.list("exec-opt") {
        named = Some(match option.split_once('=') {
            Some(("native.cgroupdriver", "cgroupfs")) => Driver::Cgroupfs,
            Some(("native.cgroupdriver", "systemd")) => Driver::Systemd,
            _ => return bad(format!("exec-opt: invalid option {option:?}")),
        });
    }
    let text = values.text("cgroup-parent").filter(|text| !text.is_empty());
    let is_slice = text.is_some_and(|text| text.ends_with(".slice") && !text.contains('/'));
    let implied = text.map(|_| match is_slice {
        true => Driver::Systemd,
        false => Driver::Cgroupfs,
    });
    let (driver, text) = match (named.or(implied), implied, text) {
        (Some(Driver::Systemd), Some(Driver::Cgroupfs), _) => {
            return bad(
                "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"",
            );
        }
        (Some(Driver::Cgroupfs), Some(Driver::Systemd), Some(slice)) => {
            return bad(format!(
                "cgroup-parent: {slice:?} is a slice, which needs --exec-opt native.cgroupdriver=systemd; give a path like /berth"
            ));
        }
        (driver, _, text) => (driver, text),
    };
    let slice = match text.filter(|_| is_slice) {
        Some(name) => Slice::parse(name)
            .map_err(|error| ConfigError::Value(format!("cgroup-parent: {error}")))?,
        None => Slice::system(),
    };
    Ok(GroupOptions {
        driver,
        parent: path(text.filter(|_| !is_slice).unwrap_or("/berth"))?,
        slice,
    })
}

fn path(parent: &str) -> Result<String, ConfigError> {
    let parent = parent.trim_end_matches('/');
    let fine = parent.len() > 1 && parent.split('/').all(|part| part != ".." && part != ".");
    if !fine {
        return bad(format!(
            "cgroup-parent: {parent:?} is no path below the root, like /berth"
        ));
    }
    Ok(if parent.starts_with('/') {
        parent.to_owned()
    } else {
        format!("/{parent}")
    })
}
