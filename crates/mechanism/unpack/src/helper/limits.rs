//! Counting against the budget.

use berth_unpack::{Budget, Devices};

use crate::failure::{Failure, Result};

/// What has been asked for so far.
pub struct Meter {
    budget: Budget,
    names: u64,
    bytes: u64,
    xattr_bytes: u64,
}

/// Takes `amount` from what is left below `limit`.
fn spend(spent: &mut u64, amount: u64, field: &'static str, limit: u64) -> Result<()> {
    *spent = spent.saturating_add(amount);
    within(*spent, field, limit)
}

fn within(amount: u64, field: &'static str, limit: u64) -> Result<()> {
    if amount > limit {
        return Err(Failure::budget(field, limit));
    }
    Ok(())
}

impl Meter {
    pub fn new(budget: &Budget) -> Meter {
        Meter {
            budget: budget.clone(),
            names: 0,
            bytes: 0,
            xattr_bytes: 0,
        }
    }

    /// One more name in a directory.
    pub fn name(&mut self) -> Result<()> {
        spend(&mut self.names, 1, "inodes", self.budget.inodes)
    }

    /// One more regular file.
    pub fn file(&mut self, bytes: u64) -> Result<()> {
        within(bytes, "file_bytes", self.budget.file_bytes)?;
        spend(&mut self.bytes, bytes, "bytes", self.budget.bytes)
    }

    /// The attributes of one entry.
    pub fn xattrs(&mut self, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let sizes = xattrs.iter().map(|(name, value)| name.len() + value.len());
        let bytes = sizes.sum::<usize>() as u64;
        within(bytes, "xattr_bytes", self.budget.xattr_bytes)?;
        let limit = self.budget.xattr_total_bytes;
        spend(&mut self.xattr_bytes, bytes, "xattr_total_bytes", limit)
    }

    /// A file that has this many links is to get another.
    pub fn link(&self, links: impl Into<u64>) -> Result<()> {
        let links = links.into().saturating_add(1);
        within(links, "links", self.budget.links)
    }

    /// A whole path, also one that symbolic links made.
    pub fn path(&self, bytes: usize) -> Result<()> {
        within(bytes as u64, "path_bytes", self.budget.path_bytes)
    }

    /// One component, the `depth`-th of its path.
    pub fn component(&self, bytes: usize, depth: u64) -> Result<()> {
        let limit = self.budget.component_bytes;
        within(bytes as u64, "component_bytes", limit)?;
        within(depth, "depth", self.budget.depth)
    }

    /// A device node.
    pub fn device(&self) -> Result<()> {
        match self.budget.devices {
            Devices::Allow => Ok(()),
            Devices::Refuse => Err(Failure::refused(
                "device nodes are refused here (budget devices = refuse)",
            )),
        }
    }
}
