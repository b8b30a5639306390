//! Who writes into the files of a container from outside. A stopped container's files are written
//! through a mount of their own, and the kernel does not allow two such mounts of the same files:
//! so a start waits for the writer, and a writer for the start.
//!
//! A second table of the same kind says who is stopped for a commit.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_types::ContainerId;
use berth_types::task::{self, Wait};

/// How long a start waits for files that are being copied in, and the other way round.
const PATIENCE: Duration = Duration::from_secs(10);

/// The containers whose files are taken.
#[derive(Default)]
pub(crate) struct Busy {
    taken: Mutex<HashSet<ContainerId>>,
    freed: Condvar,
}

/// A container's files are taken as long as this lives.
pub(crate) struct Taken<'a> {
    busy: &'a Busy,
    id: ContainerId,
}

impl Busy {
    /// Takes the files of a container; nothing when somebody else keeps them too long. Blocks.
    pub(crate) fn take(&self, id: ContainerId) -> Option<Taken<'_>> {
        self.take_within(id, PATIENCE)
    }

    /// As [`Busy::take`], without waiting for who has them.
    pub(crate) fn try_take(&self, id: ContainerId) -> Option<Taken<'_>> {
        self.take_within(id, Duration::ZERO)
    }

    fn take_within(&self, id: ContainerId, patience: Duration) -> Option<Taken<'_>> {
        let _waits = task::waits(Wait::Turn, Some(patience));
        let waited = self
            .freed
            .wait_timeout_while(self.lock(), patience, |taken| taken.contains(&id));
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // Made only where it is free: dropped, it gives back what is another's.
        taken.insert(id).then(|| Taken { busy: self, id })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ContainerId>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.id);
        self.busy.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_wait_gets_only_what_is_free() {
        let (busy, one) = (Busy::default(), ContainerId::from_bytes([1; 32]));
        let taken = busy.try_take(one).unwrap();
        assert!(busy.try_take(one).is_none());
        assert!(
            busy.try_take(one).is_none(),
            "who was refused took nothing away"
        );
        assert!(busy.try_take(ContainerId::from_bytes([2; 32])).is_some());
        drop(taken);
        assert!(busy.take(one).is_some());
    }
}
