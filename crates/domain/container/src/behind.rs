//! What is left for after a reply: the files of what was removed.
//!
//! It is bounded in both directions. At most [`PLACES_MAX`] deletions wait or run; who comes then
//! waits for one to be over, before the answer. And only what is small ([`SMALL`]) is left at all:
//! a large tree is deleted first and answered then, by whoever asked for its end, who alone waits
//! for it. So what a reply leaves is gone within a second, and the engine's next request does not
//! find the disk busy with the last hundred.

use std::sync::Arc;

use berth_storage::Small;
use berth_types::task::{self, Subject, Wait};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::machine;

/// Deletions that run at the same time.
const COLLECTORS: usize = 2;
/// Deletions that are left for after a reply, those that run among them.
const PLACES_MAX: usize = 32;
/// What a deletion may be to be left for after the reply: some 20 ms of a disk's time.
pub const SMALL: Small = Small {
    inodes: 2_000,
    bytes: 64 << 20,
};

/// The deletions of one engine.
pub(crate) struct Behind {
    places: Arc<Semaphore>,
    collectors: Arc<Semaphore>,
    /// Deletions that are not over.
    pending: watch::Sender<usize>,
}

impl Default for Behind {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES_MAX)),
            collectors: Arc::new(Semaphore::new(COLLECTORS)),
            pending: watch::Sender::new(0),
        }
    }
}

impl Behind {
    /// Has `work` done on a thread for what blocks. Returns at once where it is `small` and there
    /// is a place for it, and otherwise when it is done.
    pub(crate) async fn leave(
        self: &Arc<Self>,
        subject: impl Into<Subject>,
        small: bool,
        work: impl FnOnce() + Send + 'static,
    ) {
        let place = Arc::clone(&self.places).acquire_owned();
        // Nobody closes it.
        let Ok(place) = task::waiting(Wait::Turn, None, place).await else {
            return;
        };
        let (this, (done, over)) = (Arc::clone(self), oneshot::channel::<()>());
        this.pending.send_modify(|count| *count += 1);
        machine::spawn(task::begin("delete", subject).run(async move {
            let turn = task::waiting(Wait::Turn, None, this.collectors.acquire()).await;
            // A panic in it is in the log; its files stay until the next start.
            let _ = machine::blocking(task::blocking(work)).await;
            drop((turn, place, done));
            this.pending
                .send_modify(|count| *count = count.saturating_sub(1));
        }));
        if !small {
            let _ = task::waiting(Wait::Deletion, None, over).await;
        }
    }

    /// Resolves when nothing is left.
    pub(crate) async fn settled(&self) {
        let mut pending = self.pending.subscribe();
        // The sender lives as long as `self`.
        let _ = pending.wait_for(|count| *count == 0).await;
    }
}

impl crate::Containers {
    /// Has files deleted on a thread for what blocks: behind the reply where they are `small`
    /// ([`SMALL`]) and few others are on their way, before it otherwise.
    pub async fn delete_behind(
        &self,
        subject: impl Into<Subject>,
        small: bool,
        work: impl FnOnce() + Send + 'static,
    ) {
        self.shared.behind.leave(subject, small, work).await;
    }
}

impl crate::shared::Shared {
    /// Whether the files of a container are few enough to be deleted behind a reply. What cannot
    /// be looked at counts as many.
    pub(crate) async fn is_small(&self, id: berth_types::ContainerId) -> bool {
        let storage = self.storage.clone();
        let look = task::blocking(move || storage.is_small(id, SMALL));
        machine::blocking(look).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn what_is_large_is_waited_for_and_what_is_small_is_not() {
        let behind = Arc::new(Behind::default());
        let (go, gone) = mpsc::channel::<()>();
        let subject = || "x".to_owned();
        // Would hang if it were waited for.
        behind
            .leave(subject(), true, move || gone.recv().unwrap())
            .await;
        assert_eq!(*behind.pending.borrow(), 1);
        let (said, heard) = mpsc::channel();
        let tell = move || said.send(()).unwrap();
        behind.leave(subject(), false, tell).await;
        heard.try_recv().unwrap();
        go.send(()).unwrap();
        behind.settled().await;
        assert_eq!(behind.places.available_permits(), PLACES_MAX);
    }

    #[tokio::test]
    async fn there_are_only_so_many() {
        let behind = Arc::new(Behind::default());
        let (go, gone) = mpsc::channel::<()>();
        let gone = Arc::new(std::sync::Mutex::new(gone));
        for _ in 0..PLACES_MAX {
            let gone = Arc::clone(&gone);
            let wait = move || {
                let _ = gone.lock().unwrap().recv();
            };
            behind.leave("x".to_owned(), true, wait).await;
        }
        let one_more = behind.leave("y".to_owned(), true, || ());
        tokio::pin!(one_more);
        let early = tokio::time::timeout(Duration::from_millis(30), &mut one_more).await;
        early.unwrap_err();
        go.send(()).unwrap();
        one_more.await;
        drop(go);
        behind.settled().await;
    }
}
