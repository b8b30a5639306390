//! What the same entry means in a layer, and in a tree that is in use.

use berth_sys::rustix::fs::FileType;
use berth_unpack::protocol::{Destination, text_to_path};

use crate::directory::{Directory, find, kind};
use crate::failure::{Failure, Name, Result};
use crate::limits::Meter;
use crate::names::{self, Path, Place, split};
use crate::tar::{Entry, Kind};

/// How entries are understood.
pub enum Manner {
    /// As a layer's.
    Layer,
    /// As files for a tree that is in use.
    Into {
        /// What names are relative to.
        directory: Path,
        /// See [`Destination::keep_kinds`].
        keep_kinds: bool,
        /// See [`Destination::owner`].
        owner: Option<(u32, u32)>,
    },
}

impl Manner {
    /// Reads what was asked for.
    pub fn new(into: Option<Destination>) -> Result<Self> {
        let Some(into) = into else {
            return Ok(Self::Layer);
        };
        let directory = text_to_path(&into.directory);
        Ok(Self::Into {
            directory: directory
                .ok_or_else(|| Failure::refused("the directory to unpack into has no path"))?,
            keep_kinds: into.keep_kinds,
            owner: into.owner,
        })
    }

    /// Gives the entry its owner.
    pub fn rewrite(&self, entry: &mut Entry) {
        if let Self::Into {
            owner: Some((uid, gid)),
            ..
        } = self
        {
            entry.uid = *uid;
            entry.gid = *gid;
        }
    }

    /// What an entry's name means.
    pub fn place(&self, entry: &Entry, meter: &Meter) -> Result<Place> {
        match self {
            Self::Layer => names::place(&entry.name, meter),
            Self::Into { directory, .. } => {
                let path = names::path(&entry.name, meter)?;
                // The directory itself is its owner's business.
                if path.is_empty() && entry.kind == Kind::Directory {
                    return Ok(Place::Ignored);
                }
                Ok(match split(&below(directory, path)) {
                    Some((parent, name)) => Place::Child { parent, name },
                    None => Place::Root,
                })
            }
        }
    }

    /// The path that a hard link's target has.
    pub fn path(&self, name: &[u8], meter: &Meter) -> Result<Path> {
        let path = names::path(name, meter)?;
        Ok(match self {
            Self::Layer => path,
            Self::Into { directory, .. } => below(directory, path),
        })
    }

    /// Refuses an entry that would change what a name is.
    pub fn check(&self, entry: &Entry, parent: &Directory, name: &[u8]) -> Result<()> {
        let Self::Into {
            keep_kinds: true, ..
        } = self
        else {
            return Ok(());
        };
        let Some(found) = find(parent, name)? else {
            return Ok(());
        };
        let path = parent.child(name);
        let there = kind(&found) == FileType::Directory;
        match (there, entry.kind == Kind::Directory) {
            (true, false) => Err(Failure::refused(format!(
                "cannot overwrite directory {} with non-directory",
                Name(&path)
            ))),
            (false, true) => Err(Failure::refused(format!(
                "cannot overwrite non-directory {} with directory",
                Name(&path)
            ))),
            _ => Ok(()),
        }
    }
}

fn below(directory: &[u8], path: Path) -> Path {
    if directory.is_empty() || path.is_empty() {
        return [directory, &path].concat();
    }
    [directory, b"/", &path].concat()
}
