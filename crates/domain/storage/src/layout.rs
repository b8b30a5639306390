//! The data root: its directories, their names, and whose root it is.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use berth_store::Db;
use berth_sys::rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmodat, mkdirat, openat};
use berth_sys::rustix::io::Errno;
use berth_sys::rustix::rand::{GetRandomFlags, getrandom};
use berth_types::{ContainerId, LayerId};

use crate::error::StorageError;
use crate::identity;

/// As Docker has it: the group may pass through, and nobody else.
pub(crate) const PRIVATE: u32 = 0o710;
/// The root directory of a layer and of a snapshot, which is `/` inside a container.
pub(crate) const ROOT_OF_CONTAINER: u32 = 0o755;
const OWN: u32 = 0o700;

const DIRECTORIES: [(&str, u32); 6] = [
    ("overlay2", PRIVATE),
    ("containers", PRIVATE),
    ("volumes", 0o701),
    ("content", PRIVATE),
    ("content/sha256", PRIVATE),
    ("tmp", OWN),
];

/// Where things are below a data root.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The paths below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files of a layer.
    pub fn layer(&self, layer: LayerId) -> PathBuf {
        self.overlay().join(layer.to_string()).join("diff")
    }

    /// A container's own files: the overlay's upper directory.
    pub fn upper(&self, container: ContainerId) -> PathBuf {
        self.overlay().join(container.to_string()).join("diff")
    }

    /// The overlay's work directory.
    pub fn work(&self, container: ContainerId) -> PathBuf {
        self.overlay().join(container.to_string()).join("work")
    }

    /// The directory of a container's log and exit record.
    pub fn state(&self, container: ContainerId) -> PathBuf {
        self.containers().join(container.to_string())
    }

    pub(crate) fn overlay(&self) -> PathBuf {
        self.root.join("overlay2")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }
}

/// The opened data root.
pub(crate) struct Root {
    pub paths: Paths,
    pub overlay: OwnedFd,
    pub containers: OwnedFd,
}

impl Root {
    /// Makes what is missing and checks that the root belongs to the database.
    pub fn open(path: &Path, db: &Db) -> Result<Self, StorageError> {
        let paths = Paths::new(path);
        for (name, mode) in DIRECTORIES {
            let directory = path.join(name);
            make_directory(CWD, &directory, mode)
                .map_err(StorageError::io("make the directory", &directory))?;
        }
        identity::check(path, db)?;
        let open = |path: PathBuf| {
            open_directory(CWD, &path).map_err(StorageError::io("open the directory", path))
        };
        let overlay = open(paths.overlay())?;
        let containers = open(paths.containers())?;
        Ok(Self {
            paths,
            overlay,
            containers,
        })
    }
}

/// Makes a directory with exactly `mode`, whatever the umask; one that is there keeps its own.
pub(crate) fn make_directory(
    parent: impl AsFd,
    name: impl AsRef<Path>,
    mode: u32,
) -> Result<(), Errno> {
    let name = name.as_ref();
    match mkdirat(&parent, name, Mode::from(mode)) {
        Ok(()) => chmodat(&parent, name, Mode::from(mode), AtFlags::empty()),
        Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Opens a directory for use as a base of others; not through a symbolic link at its end.
pub(crate) fn open_directory(parent: impl AsFd, name: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name.as_ref(), flags, Mode::empty())
}

/// The names in a directory, in no order. Those that are no UTF-8 are not Berth's.
pub(crate) fn names(directory: impl AsFd) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        if let Ok(name) = entry?.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Whether `name` is in the directory.
pub(crate) fn exists(directory: impl AsFd, name: &str) -> Result<bool, Errno> {
    match berth_sys::rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

const RANDOM_DIGITS: usize = 16;

/// A name for something that is being made.
pub(crate) fn temporary_name() -> Result<String, Errno> {
    Ok(format!("tmp-{}", random()?))
}

/// A name for something that is being removed, so that its own is free at once.
pub(crate) fn removing_name(name: &str) -> Result<String, Errno> {
    Ok(format!("removing-{name}-{}", random()?))
}

fn random() -> Result<String, Errno> {
    let mut bytes = [0; RANDOM_DIGITS / 2];
    getrandom(&mut bytes[..], GetRandomFlags::empty())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

/// What a name below `overlay2` or `containers` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// A layer or a container.
    Id([u8; 32]),
    /// Half made.
    Temporary,
    /// Half removed.
    Removing,
    /// None of Berth's.
    Foreign,
}

impl Name {
    pub fn of(text: &str) -> Self {
        let is_random = |text: &str| {
            text.len() == RANDOM_DIGITS
                && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        };
        if let Ok(id) = text.parse::<LayerId>() {
            return Self::Id(*id.as_bytes());
        }
        if text.strip_prefix("tmp-").is_some_and(is_random) {
            return Self::Temporary;
        }
        let removed = text
            .strip_prefix("removing-")
            .and_then(|rest| rest.split_once('-'));
        match removed {
            Some((id, random)) if id.parse::<LayerId>().is_ok() && is_random(random) => {
                Self::Removing
            }
            _ => Self::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_making_are_ours() {
        let id = "ab".repeat(32);
        assert_eq!(Name::of(&id), Name::Id([0xab; 32]));
        assert_eq!(Name::of(&temporary_name().unwrap()), Name::Temporary);
        assert_eq!(Name::of(&removing_name(&id).unwrap()), Name::Removing);
        for foreign in [
            "",
            "tmp",
            "tmp-",
            "tmp-old",
            "removing-x",
            "l",
            &id.to_uppercase(),
        ] {
            assert_eq!(Name::of(foreign), Name::Foreign, "{foreign}");
        }
        assert_eq!(Name::of(&format!("removing-{id}")), Name::Foreign);
        assert_eq!(Name::of(&format!("tmp-{id}")), Name::Foreign);
    }
}
