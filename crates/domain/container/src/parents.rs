//! `--cgroup-parent` of one container: what it may be, and the groups that are made for it.
//!
//! With the driver `cgroupfs` it is a path: an absolute one lies below the top of every tree, a
//! relative one below the engine's own group. Missing levels are made, and go when the last container
//! is gone that has its group below them. What is the engine's to remove is written down in
//! `EXEC_ROOT/groups` before it is made: one link for each directory, which lives and dies with the
//! kernel's groups and tells from which boot it is. A group that somebody else made is never removed.
//!
//! With the driver `systemd` it is a slice, which systemd makes and keeps.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_store::failpoint;
use berth_sys::cgroup;
use berth_sys::systemd::Slice;
use berth_types::{ContainerId, InstallId, chain};

use crate::error::ContainerError;
use crate::spec::HostFacts;

/// Most bytes of the path as a note's name has it, which has room for the mount point, too.
const PATH_MAX: usize = 190;
/// Names of systemd's units; their groups are systemd's.
const UNITS: [&str; 3] = [".slice", ".scope", ".service"];
/// Docker's sentence.
const NO_SLICE: &str =
    "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The group of container `id` in the parent `text`, absolute in the hierarchy.
///
/// # Errors
/// The driver has no such parent, or it is a group that is somebody else's.
pub(crate) fn group(
    text: &str,
    id: ContainerId,
    facts: &HostFacts,
) -> Result<String, ContainerError> {
    let invalid = |why: String| Err(ContainerError::Invalid(why));
    if let Some(scopes) = &facts.scopes {
        return match Slice::parse(text) {
            Ok(slice) => Ok(scopes.group(id, Some(&slice))),
            Err(_) => invalid(NO_SLICE.to_owned()),
        };
    }
    let own = facts.cgroup_parent.trim_end_matches('/');
    let words = || text.split('/').filter(|word| !matches!(*word, "" | "."));
    let mut path: String = words().flat_map(|word| ["/", word]).collect();
    if !text.starts_with('/') {
        path.insert_str(0, own);
    }
    let wrong = if words().any(|word| word == "..") {
        "leads upwards; give a path without \"..\""
    } else if text.contains(char::is_control) {
        "has control characters; give one without"
    } else if note_len(&path) > PATH_MAX {
        "is too long; give a shorter one"
    } else if words().any(|word| UNITS.iter().any(|unit| word.ends_with(unit))) {
        "is a group of systemd's; give another, or start the engine with --exec-opt \
         native.cgroupdriver=systemd"
    } else if words().any(|word| word.parse::<ContainerId>().is_ok()) {
        "is a container's own group; give another"
    } else if path != own && is_an_engines(&path) {
        "may be another engine's group: such end in eight hexadecimal digits; give another name"
    } else {
        return Ok(format!("{path}/{id}"));
    };
    invalid(format!("invalid cgroup-parent {text:?}: it {wrong}"))
}

/// Whether groups of containers directly below `path` would be taken for an engine's own.
fn is_an_engines(path: &str) -> bool {
    path.rsplit_once('/')
        .is_some_and(|(above, name)| !above.is_empty() && name.parse::<InstallId>().is_ok())
}

/// The directories above groups that starts are about to make, with how many starts want each.
#[derive(Debug, Default)]
pub(crate) struct Parents {
    wanted: Mutex<BTreeMap<PathBuf, usize>>,
}

/// Keeps the levels above a group while a start is under way that makes it.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    parents: &'a Parents,
    levels: Vec<PathBuf>,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let mut wanted = self.parents.lock();
        for level in &self.levels {
            if let Some(count) = wanted.get_mut(level) {
                *count -= 1;
                if *count == 0 {
                    wanted.remove(level);
                }
            }
        }
    }
}

/// Makes the engine's own group `group` with the levels above it, each written down first.
///
/// # Errors
/// As [`Parents::make`].
pub fn make_own_group(exec_root: &Path, group: &str) -> Result<(), ContainerError> {
    let inside = format!("{group}/");
    Parents::default()
        .make(&notes(exec_root), &inside)
        .map(drop)
}

/// Takes away what of it was made by an engine, as far as it is empty, when the engine ends.
pub fn leave_own_group(exec_root: &Path, group: &str) {
    Parents::default().leave(&notes(exec_root), &format!("{group}/"));
}

/// Where groups are written down that the engine makes above those of containers.
pub(crate) fn notes(exec_root: &Path) -> PathBuf {
    exec_root.join("groups")
}

impl Parents {
    /// With the levels of the engine's own group, which stay as long as it.
    pub(crate) fn below(own: &str) -> Self {
        let levels = levels_above(&format!("{own}/")).unwrap_or_default();
        let wanted = levels.into_iter().map(|level| (level, 1)).collect();
        Self {
            wanted: Mutex::new(wanted),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, usize>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the missing levels above the group `group`, each of them written down in `notes` first.
    ///
    /// # Errors
    /// One cannot be written down or made; what was made before it is taken away with the run.
    pub(crate) fn make(&self, notes: &Path, group: &str) -> Result<Kept<'_>, ContainerError> {
        let levels = levels_above(group)?;
        let mut wanted = self.lock();
        for directory in levels.iter().filter(|directory| !directory.is_dir()) {
            make_noted(notes, directory)?;
        }
        for level in &levels {
            *wanted.entry(level.clone()).or_default() += 1;
        }
        drop(wanted);
        let parents = self;
        Ok(Kept { parents, levels })
    }

    /// Takes away what the engine made above the group `group`, as far as it is empty.
    pub(crate) fn leave(&self, notes: &Path, group: &str) {
        if !notes.exists() {
            return;
        }
        let wanted = self.lock();
        for directory in levels_above(group).unwrap_or_default().iter().rev() {
            if note(notes, directory).is_symlink() {
                take_away(notes, directory, &wanted);
            }
        }
    }

    /// Takes away everything that was written down and is empty, whoever it was made for.
    pub(crate) fn sweep(&self, notes: &Path) {
        let wanted = self.lock();
        let entries = fs::read_dir(notes).into_iter().flatten().flatten();
        let mut directories: Vec<PathBuf> = entries
            .filter_map(|entry| Some(directory_of(entry.file_name().to_str()?)))
            .collect();
        // What lies in another comes after it.
        directories.sort_unstable();
        for directory in directories.iter().rev() {
            take_away(notes, directory, &wanted);
        }
    }
}

/// The directories above the group `group`, in every tree; none where it lies at the top.
fn levels_above(group: &str) -> Result<Vec<PathBuf>, ContainerError> {
    match group.rsplit_once('/') {
        Some((above, _)) if !above.is_empty() => Ok(cgroup::levels(above)?),
        _ => Ok(Vec::new()),
    }
}

fn make_noted(notes: &Path, directory: &Path) -> Result<(), ContainerError> {
    let failed = |source| ContainerError::Io {
        what: "write down the control group",
        id: directory.display().to_string(),
        source,
    };
    let note = note(notes, directory);
    let boot = boot_id().map_err(failed)?;
    if let Err(error) = symlink(&boot, &note) {
        match error.kind() {
            io::ErrorKind::NotFound => {
                fs::create_dir_all(notes).map_err(failed)?;
                symlink(&boot, &note).map_err(failed)?;
            }
            // It was the engine's before, and somebody took it away.
            io::ErrorKind::AlreadyExists => {
                fs::remove_file(&note).map_err(failed)?;
                symlink(&boot, &note).map_err(failed)?;
            }
            _ => return Err(failed(error)),
        }
    }
    failpoint::hit("parent.noted");
    if !cgroup::make_level(directory)? {
        // Somebody else was faster.
        fs::remove_file(&note).map_err(failed)?;
    }
    failpoint::hit("parent.made");
    Ok(())
}

/// Removes a directory that was written down and is empty and not wanted, and then the note.
fn take_away(notes: &Path, directory: &Path, wanted: &BTreeMap<PathBuf, usize>) {
    if wanted.contains_key(directory) {
        return;
    }
    let note = note(notes, directory);
    let of_this_boot =
        fs::read_link(&note).is_ok_and(|boot| boot_id().is_ok_and(|now| Path::new(&now) == boot));
    if of_this_boot {
        match fs::remove_dir(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Somebody has a group or a process in it.
            Err(_) => return,
        }
        failpoint::hit("parent.left");
    }
    if let Err(error) = fs::remove_file(&note) {
        let group = directory.display();
        tracing::warn!(%group, error = %chain(&error), "the note of a control group stays");
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

/// Where a directory is written down.
fn note(notes: &Path, directory: &Path) -> PathBuf {
    let text = directory.to_string_lossy();
    notes.join(text.replace('%', "%25").replace('/', "%2F"))
}

fn note_len(path: &str) -> usize {
    path.len() + 2 * path.matches(['/', '%']).count()
}

fn directory_of(note: &str) -> PathBuf {
    note.replace("%2F", "/").replace("%25", "%").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_sys::caps::CapSet;

    fn facts() -> HostFacts {
        HostFacts {
            cgroup_parent: "/berth/01020304".to_owned(),
            scopes: None,
            devices: Vec::new(),
            hostname: String::new(),
            capabilities: CapSet::DOCKER_DEFAULT,
            open_files: 1024,
        }
    }

    #[test]
    fn a_parent_is_a_path_of_nobodys() {
        let id: ContainerId = "ab".repeat(32).parse().unwrap();
        let check = |text: &str, expected: &str| {
            let found = group(text, id, &facts()).unwrap();
            assert_eq!(found, format!("{expected}/{id}"), "{text}");
        };
        check("/jobs", "/jobs");
        check("/jobs//a/./b/", "/jobs/a/b");
        check("jobs/a", "/berth/01020304/jobs/a");
        check("/", "");
        check("/berth/01020304", "/berth/01020304");
        check("/12345678", "/12345678");
        let refused = |text: &str, why: &str| {
            let error = group(text, id, &facts()).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        };
        refused("/jobs/../..", "leads upwards");
        refused("..", "leads upwards");
        refused("/a\nb", "control characters");
        refused("/system.slice/jobs", "systemd's");
        refused("/jobs/x.service", "systemd's");
        refused("/berth/0a0b0c0d", "another engine's");
        refused(&format!("/docker/{id}"), "container's own");
        refused(&format!("/{}", "a/".repeat(70)), "too long");
    }

    #[test]
    fn a_note_names_its_directory() {
        let notes = Path::new("/run/notes");
        for text in ["/sys/fs/cgroup/cpu,cpuacct/jobs/a b", "/sys/50%2F/x%"] {
            let note = note(notes, Path::new(text));
            assert_eq!(note.parent(), Some(notes));
            let name = note.file_name().unwrap().to_str().unwrap();
            assert_eq!(directory_of(name), Path::new(text));
        }
    }

    /// Real groups of this machine, of a name that nobody else has.
    #[test]
    fn what_is_made_is_taken_away_and_nothing_else() {
        let name = format!("/berth-test-parents-{}", std::process::id());
        let notes = std::env::temp_dir().join(&name[1..]);
        let top = cgroup::levels(&name).unwrap();
        assert!(cgroup::make_level(&top[0]).unwrap(), "somebody else's");
        let parents = Parents::default();
        let (one, two) = (format!("{name}/a/b/1"), format!("{name}/a/c/2"));
        let first = parents.make(&notes, &one).unwrap();
        let second = parents.make(&notes, &two).unwrap();
        parents.leave(&notes, &one);
        assert!(cgroup::exists(&format!("{name}/a/b")), "a start needs it");
        drop(first);
        parents.leave(&notes, &one);
        assert!(!cgroup::exists(&format!("{name}/a/b")));
        assert!(cgroup::exists(&format!("{name}/a/c")));
        drop(second);
        // An engine that knows nothing but the notes.
        Parents::default().sweep(&notes);
        assert!(!cgroup::exists(&format!("{name}/a")));
        assert_eq!(fs::read_dir(&notes).unwrap().count(), 0);
        assert!(top[0].is_dir(), "it was there before");
        assert!(top[1..].iter().all(|level| !level.is_dir()));
        fs::remove_dir(&top[0]).unwrap();
        fs::remove_dir(&notes).unwrap();
    }
}
