//! The archive of an image, and what is already in it.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;

use berth_sys::rustix::fs::Stat;
use tar::{Builder, EntryType, Header};

use crate::error::BootstrapError;

/// The time of what is made and not taken over: the beginning of 2026, for the same packages are
/// to give the same image.
pub const MADE: u64 = 1_767_225_600;
/// Bits of a mode that a program gets its owner's rights by.
const SET_ID: u32 = 0o6000;
/// How extended attributes are called in a pax header.
const CAPABILITY: &str = "SCHILY.xattr.security.capability";

/// Who a file belongs to and what may be done with it.
#[derive(Debug, Clone, Copy)]
pub struct Rights {
    /// Permissions, with the bits above them.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Rights {
    /// Root's, with this mode.
    pub fn root(mode: u32) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
        }
    }

    /// Those of a file on the machine.
    pub fn of(stat: &Stat) -> Self {
        Self {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }
}

/// An archive that is being written.
pub struct Archive<W: Write> {
    tar: Builder<W>,
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    made: BTreeSet<String>,
    inodes: HashMap<(u64, u64), String>,
    /// Bytes of files.
    pub bytes: u64,
    /// Entries that belonged to a user or group which the image does not have.
    pub reowned: u64,
}

impl<W: Write> Archive<W> {
    /// An empty archive of an image with these users and groups.
    pub fn new(out: W, uids: BTreeSet<u32>, gids: BTreeSet<u32>) -> Self {
        Self {
            tar: Builder::new(out),
            uids,
            gids,
            made: BTreeSet::new(),
            inodes: HashMap::new(),
            bytes: 0,
            reowned: 0,
        }
    }

    /// Whether something is at this place.
    pub fn has(&self, place: &str) -> bool {
        self.made.contains(place)
    }

    /// A directory; nothing where there is one already.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn directory(&mut self, place: &str, rights: Rights) -> Result<(), BootstrapError> {
        if place.is_empty() || !self.begin(place)? {
            return Ok(());
        }
        let mut header = self.header(EntryType::Directory, rights, MADE);
        self.append(&mut header, place, &[])
    }

    /// A symbolic link; nothing where the place is taken.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn link(&mut self, place: &str, target: &str) -> Result<(), BootstrapError> {
        if !self.begin(place)? {
            return Ok(());
        }
        let mut header = self.header(EntryType::Symlink, Rights::root(0o777), MADE);
        let linked = self.tar.append_link(&mut header, place, target);
        linked.map_err(BootstrapError::Write)
    }

    /// A file that is made here; nothing where the place is taken.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn file(
        &mut self,
        place: &str,
        rights: Rights,
        content: &[u8],
    ) -> Result<(), BootstrapError> {
        if !self.begin(place)? {
            return Ok(());
        }
        let mut header = self.header(EntryType::Regular, rights, MADE);
        self.append(&mut header, place, content)
    }

    /// A file of the machine, with its rights and time. A file that has several names is in the
    /// archive once.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn copy(
        &mut self,
        place: &str,
        stat: &Stat,
        capability: Option<&[u8]>,
        content: &[u8],
    ) -> Result<(), BootstrapError> {
        if !self.begin(place)? {
            return Ok(());
        }
        let time = u64::try_from(stat.st_mtime).unwrap_or_default();
        let rights = Rights::of(stat);
        if stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.inodes.get(&inode).cloned() {
                let mut header = self.header(EntryType::Link, rights, time);
                let linked = self.tar.append_link(&mut header, place, first);
                return linked.map_err(BootstrapError::Write);
            }
            self.inodes.insert(inode, place.to_owned());
        }
        if let Some(capability) = capability {
            let extended = self.tar.append_pax_extensions([(CAPABILITY, capability)]);
            extended.map_err(BootstrapError::Write)?;
        }
        let mut header = self.header(EntryType::Regular, rights, time);
        self.append(&mut header, place, content)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn finish(self) -> Result<(), BootstrapError> {
        let mut out = self.tar.into_inner().map_err(BootstrapError::Write)?;
        out.flush().map_err(BootstrapError::Write)
    }

    /// Takes a place, with the directories above it; false where it is taken already.
    fn begin(&mut self, place: &str) -> Result<bool, BootstrapError> {
        if self.made.contains(place) {
            return Ok(false);
        }
        if let Some((above, _)) = place.rsplit_once('/') {
            self.directory(above, Rights::root(0o755))?;
        }
        Ok(self.made.insert(place.to_owned()))
    }

    fn header(&mut self, kind: EntryType, mut rights: Rights, time: u64) -> Header {
        if !self.uids.contains(&rights.uid) || !self.gids.contains(&rights.gid) {
            // Never the rights of somebody else: a program that had its own group's is plain.
            self.reowned += 1;
            rights.mode &= !SET_ID;
            rights = Rights::root(rights.mode);
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(rights.mode);
        header.set_uid(rights.uid.into());
        header.set_gid(rights.gid.into());
        header.set_mtime(time);
        header.set_size(0);
        header
    }

    fn append(
        &mut self,
        header: &mut Header,
        place: &str,
        content: &[u8],
    ) -> Result<(), BootstrapError> {
        self.bytes += content.len() as u64;
        header.set_size(content.len() as u64);
        let appended = self.tar.append_data(header, place, content);
        appended.map_err(BootstrapError::Write)
    }
}
