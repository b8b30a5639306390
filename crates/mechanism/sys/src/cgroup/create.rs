//! Making a group: directories, controllers, limits; all of it or nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use berth_types::oci::{DeviceRule, Resources};

use super::limits::Setting;
use super::{
    Cgroup, CgroupError, Layout, Member, Tree, Version, devices, limits, open_directory, read_at,
    write_at,
};

/// Controllers that containers use on version 2, where each parent has to hand them down.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

impl Cgroup {
    /// Makes the group at `path` (absolute, below every mount point) and writes its limits.
    /// Missing parents are made and stay; if anything fails, the group itself does not.
    ///
    /// # Errors
    /// [`CgroupError::is_limit`] tells a limit that cannot be had from everything else.
    pub fn create(path: &str, resources: &Resources) -> Result<Self, CgroupError> {
        let layout = Layout::detect().map_err(CgroupError::Detect)?;
        let settings = match layout.version {
            Version::V1 => limits::version_1(resources),
            Version::V2 => limits::version_2(resources),
        }?;
        let mut unfinished = Unfinished(Some(Self {
            version: layout.version,
            members: Vec::new(),
        }));
        if let Some(group) = &mut unfinished.0 {
            for tree in layout.trees {
                group.members.push(make(layout.version, tree, path)?);
            }
            group.limit(&settings)?;
            group.restrict_devices(&resources.devices)?;
        }
        unfinished
            .0
            .take()
            .ok_or_else(|| CgroupError::Path(path.to_owned()))
    }

    pub(super) fn limit(&self, settings: &[Setting]) -> Result<(), CgroupError> {
        for Setting {
            controller,
            limit,
            file,
            value,
            optional,
        } in settings
        {
            let Some(member) = self.member(controller) else {
                if *optional {
                    continue;
                }
                return Err(CgroupError::NoController { limit, controller });
            };
            match member.write(file, value) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound && *optional => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(CgroupError::NoController { limit, controller });
                }
                Err(source) => {
                    let (value, file) = (value.clone(), member.path.join(file));
                    return Err(CgroupError::Limit {
                        limit,
                        value,
                        file,
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    fn restrict_devices(&self, rules: &[DeviceRule]) -> Result<(), CgroupError> {
        let Some(member) = self.member("devices") else {
            // A machine without the controller protects devices by capabilities alone; a list
            // that restricts nothing needs none.
            return if rules.iter().all(|r| r.allow) {
                Ok(())
            } else {
                Err(CgroupError::NoController {
                    limit: "device rule",
                    controller: "devices",
                })
            };
        };
        let apply = || match self.version {
            Version::V1 => rules.iter().try_for_each(|rule| {
                let file = if rule.allow {
                    "devices.allow"
                } else {
                    "devices.deny"
                };
                member.write(file, &devices::text(rule))
            }),
            Version::V2 if rules.is_empty() => Ok(()),
            Version::V2 => devices::attach(member.directory.as_fd(), rules),
        };
        apply().map_err(|source| CgroupError::Devices {
            path: member.path.clone(),
            source,
        })
    }
}

/// A group that is removed again unless it is taken out.
struct Unfinished(Option<Cgroup>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            // The failure that led here is the one to report.
            let _ = group.remove();
        }
    }
}

/// The directory of group `path` in `tree`.
pub(super) fn place(tree: &Tree, path: &str) -> Result<PathBuf, CgroupError> {
    let relative = path.strip_prefix('/').map(Path::new);
    let plain = |p: &Path| p.components().all(|c| matches!(c, Component::Normal(_)));
    match relative {
        Some(relative) if plain(relative) && relative.components().next().is_some() => {
            Ok(tree.mount_point.join(relative))
        }
        _ => Err(CgroupError::Path(path.to_owned())),
    }
}

fn make(version: Version, tree: Tree, group: &str) -> Result<Member, CgroupError> {
    let path = place(&tree, group)?;
    let failed = |path: &Path, source| CgroupError::Create {
        path: path.to_owned(),
        source,
    };
    match std::fs::create_dir(&path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            make_parents(&tree, &path)?;
            std::fs::create_dir(&path).map_err(|e| failed(&path, e))?;
        }
        // A group of this name that a crash left behind: an empty one is replaced, so that no
        // limit of it lives on.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_dir(&path).map_err(|_| CgroupError::InUse(path.clone()))?;
            std::fs::create_dir(&path).map_err(|e| failed(&path, e))?;
        }
        Err(e) => return Err(failed(&path, e)),
    }
    match prepare(version, &tree, &path) {
        Ok(directory) => Ok(Member {
            tree,
            path,
            directory,
        }),
        Err(e) => {
            let _ = std::fs::remove_dir(&path);
            Err(failed(&path, e))
        }
    }
}

/// What a new directory needs before limits can be written or processes can join.
fn prepare(version: Version, tree: &Tree, path: &Path) -> io::Result<OwnedFd> {
    match version {
        Version::V1 if tree.has("cpuset") => fill_cpuset(&tree.mount_point, path)?,
        Version::V2 => hand_down(&tree.mount_point, path)?,
        Version::V1 => {}
    }
    open_directory(path)
}

fn make_parents(tree: &Tree, path: &Path) -> Result<(), CgroupError> {
    let mut missing: Vec<&Path> = Vec::new();
    for parent in path
        .ancestors()
        .skip(1)
        .take_while(|p| *p != tree.mount_point)
    {
        missing.push(parent);
    }
    for parent in missing.into_iter().rev() {
        match std::fs::create_dir(parent) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(CgroupError::Create {
                    path: parent.to_owned(),
                    source,
                });
            }
        }
    }
    Ok(())
}

/// A version 1 cpuset begins without processors and memory nodes and takes no process until it
/// has some: those of its parent, which may have to inherit them first.
fn fill_cpuset(mount_point: &Path, path: &Path) -> io::Result<()> {
    let own = open_directory(path)?;
    if !read_at(own.as_fd(), "cpuset.mems")?.trim().is_empty() || path == mount_point {
        return Ok(());
    }
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    fill_cpuset(mount_point, parent)?;
    let parent = open_directory(parent)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let inherited = read_at(parent.as_fd(), file)?;
        write_at(own.as_fd(), file, inherited.trim())?;
    }
    // Later groups below this one are filled by the kernel when they are made.
    write_at(own.as_fd(), "cgroup.clone_children", "1")
}

/// On version 2 a group has the controllers that its parent hands down. Asked for once: a parent
/// that already does so is left alone.
fn hand_down(mount_point: &Path, path: &Path) -> io::Result<()> {
    let parents: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|p| p.starts_with(mount_point))
        .collect();
    for parent in parents.into_iter().rev() {
        let directory = open_directory(parent)?;
        let words = |file| -> io::Result<Vec<String>> {
            let text = read_at(directory.as_fd(), file)?;
            Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
        };
        let enabled = words("cgroup.subtree_control")?;
        let wanted = |c: &&String| CONTROLLERS.contains(&c.as_str()) && !enabled.contains(c);
        for controller in words("cgroup.controllers")?.iter().filter(wanted) {
            // A controller that cannot be handed down here is missed, and named, by the limit
            // that needs it.
            let _ = write_at(
                directory.as_fd(),
                "cgroup.subtree_control",
                &format!("+{controller}"),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_cannot_be_made_elsewhere() {
        let tree = Tree {
            controllers: Vec::new(),
            mount_point: PathBuf::from("/tree"),
        };
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(
                place(&tree, path).ok(),
                expected.map(PathBuf::from),
                "{path}"
            );
        };
        check("/berth/a/b", Some("/tree/berth/a/b"));
        for bad in ["", "/", "berth/a", "/berth/../..", "/.", "//x"] {
            check(bad, None);
        }
    }
}
