//! Room on the disk that the database already has.
//!
//! redb doubles its file when it needs pages, and stops working with a file at its first failed
//! write. So that a full disk never reaches it, blocks are allocated (`fallocate(2)`) for the whole
//! file, and behind its end for the next doubling:
//!
//! ```text
//!   0            length                          2 × length
//!   |-- the file --|-- reserved, not yet its own --|
//! ```
//!
//! A growth takes what is reserved, and needs nothing of the disk. Then the next is reserved.
//! While that does not work the disk is full: operations that add something are refused
//! ([`crate::WriteTxn::claim_room`]), and those that end or remove something go on in what is there.
//! Where a file system cannot allocate ahead, nothing is refused ahead.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_sys::rustix::fs::{FallocateFlags, fallocate, fstat};
use berth_sys::rustix::io::Errno;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::hold::{Change, Hold};

/// Most bytes that are reserved; of a database that is larger the free half is enough to remove
/// things in.
const RESERVE_MAX: u64 = 256 << 20;

/// Whether the next growth has its blocks, for one database over all its openings, and the changes
/// of the first of them.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    state: Mutex<State>,
    hold: Hold,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    /// What the last attempt came to.
    held: bool,
}

impl Reserve {
    /// Of a file that is not changed before [`Reserve::release`].
    pub(crate) fn holding() -> Self {
        Self {
            hold: Hold::begun(),
            ..Self::default()
        }
    }

    /// Makes the changes that were held, and holds no more.
    ///
    /// # Errors
    /// The file cannot be written; it is then as after a crash.
    pub(crate) fn release(&self) -> io::Result<()> {
        let changes = self.hold.end();
        let file = match &self.state().file {
            Some(file) => file.try_clone()?,
            None => return Ok(()),
        };
        for change in changes {
            match change {
                Change::Write(offset, bytes) => file.write_all_at(&bytes, offset)?,
                Change::Length(length) => self.set_length(&file, length)?,
                Change::Sync => file.sync_data()?,
            }
        }
        Ok(())
    }

    /// Gives the file another length, where it grows with its blocks, and reserves anew.
    fn set_length(&self, file: &File, length: u64) -> io::Result<()> {
        let old = file.metadata()?.len();
        let grown = length.saturating_sub(old);
        // Before the length: a hole is found out only when it is written to.
        if !allocate(file.as_fd(), FallocateFlags::KEEP_SIZE, old, grown)? {
            self.renew();
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.set_len(length)?;
        self.renew();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a newly opened file up: allocates what is not allocated, and the reserve. A full disk is
    /// no error.
    fn take_up(&self, file: File) {
        let held = reserve(file.as_fd()).unwrap_or(false);
        *self.state() = State {
            file: Some(file),
            held,
        };
    }

    /// Whether something may be added. Where the reserve is missing it is asked for again.
    pub(crate) fn has_room(&self) -> bool {
        let mut state = self.state();
        if !state.held
            && let Some(file) = &state.file
        {
            state.held = reserve(file.as_fd()).unwrap_or(false);
        }
        state.held || state.file.is_none()
    }

    /// After a change of the length. Whoever adds something next learns what came of it.
    fn renew(&self) {
        self.state().held = false;
        self.has_room();
    }
}

/// Allocates the file's blocks and the reserve; false for a full disk.
fn reserve(file: BorrowedFd<'_>) -> io::Result<bool> {
    let length = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
    let ahead = length.min(RESERVE_MAX);
    allocate(file, FallocateFlags::KEEP_SIZE, 0, length + ahead)
}

/// `fallocate(2)`; false for a full disk, true where the file system cannot do it.
fn allocate(
    file: BorrowedFd<'_>,
    flags: FallocateFlags,
    offset: u64,
    length: u64,
) -> io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    loop {
        return match fallocate(file, flags, offset, length) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(true),
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Ok(false),
            Err(Errno::INTR) => continue,
            Err(e) => Err(e.into()),
        };
    }
}

/// redb's file, whose growth has its blocks before it happens.
#[derive(Debug)]
pub(crate) struct ReservedFile {
    inner: FileBackend,
    file: File,
    reserve: Arc<Reserve>,
}

impl ReservedFile {
    /// Uses an open file, and takes the reserve up for it.
    pub(crate) fn new(file: File, reserve: &Arc<Reserve>) -> Result<Self, redb::DatabaseError> {
        let (own, other) = (file.try_clone()?, file.try_clone()?);
        reserve.take_up(other);
        Ok(Self {
            inner: FileBackend::new(file)?,
            file: own,
            reserve: Arc::clone(reserve),
        })
    }
}

impl StorageBackend for ReservedFile {
    fn len(&self) -> io::Result<u64> {
        let length = self.inner.len()?;
        let hold = &self.reserve.hold;
        Ok(if hold.holds() {
            hold.length(length)
        } else {
            length
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let hold = &self.reserve.hold;
        if !hold.holds() {
            return self.inner.read(offset, out);
        }
        // What the file has not got yet is in what is held, or zeros.
        let there = self.inner.len()?.saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
        let (known, new) = out.split_at_mut(there);
        self.inner.read(offset, known)?;
        if !new.is_empty() && self.len()? < offset + (there + new.len()) as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        new.fill(0);
        hold.lay_over(offset, out);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if self.reserve.hold.holds() {
            self.reserve.hold.keep(Change::Length(length));
            return Ok(());
        }
        self.reserve.set_length(&self.file, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.reserve.hold.holds() {
            self.reserve.hold.keep(Change::Sync);
            return Ok(());
        }
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.reserve.hold.holds() {
            let change = Change::Write(offset, data.to_vec());
            self.reserve.hold.keep(change);
            return Ok(());
        }
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
