//! Groups above a container's own, one directory at a time: whoever makes one that is missing can
//! write down before that it is his, and take away later what he has written down.

use std::io;
use std::path::{Path, PathBuf};

use super::{CgroupError, Layout, create};

/// The directory of group `path` (absolute, below every mount point) and those above it, in every
/// tree, each after the one it lies in.
///
/// # Errors
/// The path is none, or no control groups are mounted.
pub fn levels(path: &str) -> Result<Vec<PathBuf>, CgroupError> {
    let layout = Layout::detect().map_err(CgroupError::Detect)?;
    let mut found = Vec::new();
    for tree in &layout.trees {
        let own = create::place(tree, path)?;
        let above = own.ancestors().take_while(|p| *p != tree.mount_point);
        let mut above: Vec<PathBuf> = above.map(Path::to_owned).collect();
        above.reverse();
        found.append(&mut above);
    }
    Ok(found)
}

/// Makes one directory of [`levels`]. Whether it was missing.
///
/// # Errors
/// The kernel's answer.
pub fn make_level(directory: &Path) -> Result<bool, CgroupError> {
    match std::fs::create_dir(directory) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(CgroupError::Create {
            path: directory.to_owned(),
            source,
        }),
    }
}

/// Whether the group `path` is there, in any tree.
pub fn exists(path: &str) -> bool {
    let trees = Layout::detect().map(|l| l.trees).unwrap_or_default();
    let mut places = trees.iter().filter_map(|t| create::place(t, path).ok());
    places.any(|place| place.is_dir())
}
