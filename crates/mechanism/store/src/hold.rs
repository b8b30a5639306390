//! Changes of a file that is being opened, kept in memory until it is known that it may be changed.
//!
//! redb writes into a file as it opens it: that it is in use, and what a recovery has found out. A
//! file that is refused after that (damaged, another's, a copy that is too old) would no longer
//! be what its owner put there. So an opening begins with everything held: what redb writes is
//! seen by what it reads, and nobody else. Then it is let go in its order, with its syncs, or
//! forgotten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One change, in the order they were made.
#[derive(Debug)]
pub(crate) enum Change {
    /// Bytes at an offset.
    Write(u64, Vec<u8>),
    /// Another length.
    Length(u64),
    /// Everything before is on the disk before anything behind it.
    Sync,
}

/// What is held. By default nothing is.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    holds: AtomicBool,
    changes: Mutex<Vec<Change>>,
}

impl Hold {
    /// Holds from the first change.
    pub(crate) fn begun() -> Self {
        Self {
            holds: AtomicBool::new(true),
            changes: Mutex::default(),
        }
    }

    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether changes are held.
    pub(crate) fn holds(&self) -> bool {
        self.holds.load(Ordering::Acquire)
    }

    /// Keeps a change.
    pub(crate) fn keep(&self, change: Change) {
        self.changes().push(change);
    }

    /// The length that a file of `length` bytes would have.
    pub(crate) fn length(&self, length: u64) -> u64 {
        self.changes()
            .iter()
            .fold(length, |length, change| match change {
                Change::Write(offset, bytes) => length.max(offset + bytes.len() as u64),
                Change::Length(length) => *length,
                Change::Sync => length,
            })
    }

    /// Makes the bytes at `offset`, as they are in the file, what they would be.
    pub(crate) fn lay_over(&self, offset: u64, out: &mut [u8]) {
        let end = offset + out.len() as u64;
        for change in &*self.changes() {
            match change {
                Change::Write(start, bytes) => {
                    let (first, last) = (offset.max(*start), end.min(start + bytes.len() as u64));
                    let place = within(first, last, offset).and_then(|range| out.get_mut(range));
                    let new = within(first, last, *start).and_then(|range| bytes.get(range));
                    if let (Some(place), Some(new)) = (place, new) {
                        place.copy_from_slice(new);
                    }
                }
                Change::Length(length) => {
                    let gone = within(offset.max(*length), end, offset);
                    if let Some(gone) = gone.and_then(|range| out.get_mut(range)) {
                        gone.fill(0);
                    }
                }
                Change::Sync => {}
            }
        }
    }

    /// Holds no longer; what was held, for the file.
    pub(crate) fn end(&self) -> Vec<Change> {
        let changes = std::mem::take(&mut *self.changes());
        self.holds.store(false, Ordering::Release);
        changes
    }
}

/// The part from `first` to `last` of what begins at `base`; nothing where it is empty.
fn within(first: u64, last: u64, base: u64) -> Option<std::ops::Range<usize>> {
    let index = |at: u64| usize::try_from(at.checked_sub(base)?).ok();
    (first < last).then_some(())?;
    Some(index(first)?..index(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file holds that goes through the same changes.
    fn file(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
        for change in changes {
            match change {
                Change::Write(offset, new) => {
                    let end = *offset as usize + new.len();
                    bytes.resize(bytes.len().max(end), 0);
                    bytes[*offset as usize..end].copy_from_slice(new);
                }
                Change::Length(length) => bytes.resize(*length as usize, 0),
                Change::Sync => {}
            }
        }
        bytes
    }

    #[test]
    fn what_is_held_is_what_a_reader_sees() {
        let before: Vec<u8> = (1..=20).collect();
        let make = || {
            [
                Change::Write(3, vec![100; 4]),
                Change::Sync,
                Change::Write(5, vec![101; 9]),
                Change::Length(10),
                Change::Length(30),
                Change::Write(25, vec![102; 8]),
            ]
        };
        for count in 0..=make().len() {
            let hold = Hold::begun();
            let changes: Vec<_> = make().into_iter().take(count).collect();
            let after = file(before.clone(), &changes);
            changes.into_iter().for_each(|change| hold.keep(change));
            assert_eq!(hold.length(20), after.len() as u64);
            for start in 0..after.len() {
                for end in start..=after.len() {
                    let mut seen = vec![0; end - start];
                    let known = before.get(start..end.min(before.len())).unwrap_or(&[]);
                    seen[..known.len()].copy_from_slice(known);
                    hold.lay_over(start as u64, &mut seen);
                    assert_eq!(seen, after[start..end], "{count} {start} {end}");
                }
            }
        }
    }
}
