//! What an interrupted start or a killed monitor left: groups that may be there in some trees
//! and missing from others.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use super::{Cgroup, CgroupError, Layout, Member, create, open_directory};

impl Cgroup {
    /// The group at `path`, with those of its directories that are there; none where there are
    /// none.
    ///
    /// # Errors
    /// A directory is there and cannot be opened.
    pub fn find(path: &str) -> Result<Option<Self>, CgroupError> {
        let layout = Layout::detect().map_err(CgroupError::Detect)?;
        let mut members = Vec::new();
        for tree in layout.trees {
            let path = create::place(&tree, path)?;
            match open_directory(&path) {
                Ok(directory) => members.push(Member {
                    tree,
                    path,
                    directory,
                }),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(CgroupError::Read { path, source }),
            }
        }
        let version = layout.version;
        Ok((!members.is_empty()).then_some(Self { version, members }))
    }
}

/// Names of the groups directly below `path`, in whichever tree they are. Empty where `path`
/// does not exist.
pub fn children(path: &str) -> BTreeSet<String> {
    let Ok(layout) = Layout::detect() else {
        return BTreeSet::new();
    };
    let directories = layout
        .trees
        .iter()
        .filter_map(|tree| create::place(tree, path).ok());
    let entries =
        directories.flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
