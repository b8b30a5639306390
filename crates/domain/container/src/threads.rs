//! Threads for what blocks, shared out so that what hangs takes nobody else's.
//!
//! Work that may never come back (a look into a container whose file system does not answer, a
//! question to a monitor that is stopped) runs in a [`Pool`] of its kind:
//!
//! ```text
//!   request ──▶ share of its container ──▶ place in the pool ──▶ thread
//!                 (SHARE at a time)          (WIDTH at a time)      │ after YOUNG: the place goes
//!                                                                   │ to the next one, and the
//!                                                                   │ thread counts among the OLD
//!                                                                   │ after its patience: the
//!                                                                   ▼ request is answered
//! ```
//!
//! One container can thus hold no more than its share of a pool, and what hangs gives its place
//! back after [`YOUNG`]. A thread that hangs in the kernel cannot be ended: it is left alone, is
//! counted, and keeps its container's share until it comes back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_types::{ContainerId, task};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::error::ContainerError;
use crate::machine;

/// How long work has its place in the pool to itself.
const YOUNG: Duration = Duration::from_secs(3);
/// How long a look at what the kernel knows may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(30);
/// How long a request without a patience of its own waits for its container's share.
const SHARE_PATIENCE: Duration = Duration::from_secs(60);

/// What kind of work it is. Kinds do not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Pool {
    /// What a container's actor does: starts, ends, freezing. One at a time for each container.
    Life,
    /// Looking for the monitors of an earlier engine.
    Adoption,
    /// Asking a monitor: attach, exec, terminals.
    Monitor,
    /// Reading what the kernel knows of a container's processes.
    Look,
    /// Reading what a control group uses: much work in little time, so few at a time.
    Sample,
    /// Reading and writing a container's files.
    Files,
}

const POOLS: usize = 6;

/// How much of a kind is done at a time.
struct Extent {
    /// Of all containers, while it is young.
    width: usize,
    /// Of all containers, older than [`YOUNG`].
    old: usize,
    /// Of one container, of whatever age.
    share: usize,
}

impl Pool {
    /// The sum of widths and old ones stays below the threads that the engine may have.
    const fn extent(self) -> Extent {
        let (width, old, share) = match self {
            Self::Life => (16, 128, 4),
            Self::Adoption => (32, 64, 2),
            Self::Monitor => (16, 64, 8),
            Self::Look => (16, 64, 4),
            Self::Sample => (2, 64, 2),
            Self::Files => (32, 128, 8),
        };
        Extent { width, old, share }
    }

    const ALL: [Self; POOLS] = [
        Self::Life,
        Self::Adoption,
        Self::Monitor,
        Self::Look,
        Self::Sample,
        Self::Files,
    ];
}

/// Most threads that work in threads at once.
pub const POOL_THREADS: usize = {
    let mut sum = 0;
    let mut at = 0;
    while at < POOLS {
        let extent = Pool::ALL[at].extent();
        sum += extent.width + extent.old;
        at += 1;
    }
    sum
};

/// A piece of work, for its place and for the error if it hangs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// Where it belongs.
    pub pool: Pool,
    /// Whose it is.
    pub container: ContainerId,
    /// What is done, as in "cannot {what}".
    pub what: &'static str,
    /// When it is answered for though it goes on; none for work that ends by itself.
    pub patience: Option<Duration>,
}

impl Work {
    /// A step of a container's life, which has its own limits.
    pub(crate) fn living(container: ContainerId, what: &'static str) -> Self {
        Self {
            pool: Pool::Life,
            container,
            what,
            patience: None,
        }
    }

    /// A look for the monitor of an earlier engine, which has its own limits.
    pub(crate) fn adopting(container: ContainerId, what: &'static str) -> Self {
        Self {
            pool: Pool::Adoption,
            container,
            what,
            patience: None,
        }
    }

    /// A question to a container's monitor, which answers within its own limits.
    pub(crate) fn asking(container: ContainerId, what: &'static str) -> Self {
        Self {
            pool: Pool::Monitor,
            container,
            what,
            patience: None,
        }
    }

    /// A look at what the kernel knows of a container.
    pub(crate) fn looking(container: ContainerId, what: &'static str) -> Self {
        Self {
            pool: Pool::Look,
            container,
            what,
            patience: Some(LOOK_PATIENCE),
        }
    }

    /// A look at what the container uses.
    pub(crate) fn sampling(container: ContainerId, what: &'static str) -> Self {
        Self {
            pool: Pool::Sample,
            ..Self::looking(container, what)
        }
    }

    /// Reading or writing files of a container, which takes as long as it does.
    pub(crate) fn with_files(container: ContainerId, what: &'static str) -> Self {
        Self {
            pool: Pool::Files,
            container,
            what,
            patience: None,
        }
    }

    /// The same, answered for after `patience`.
    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }
}

/// All threads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Threads {
    inner: Arc<Inner>,
}

struct Inner {
    young: [Arc<Semaphore>; POOLS],
    old: [Arc<Semaphore>; POOLS],
    shares: Mutex<HashMap<(Pool, ContainerId), Arc<Semaphore>>>,
}

/// A container's share of a pool, for as long as the work goes on.
struct Share {
    inner: Arc<Inner>,
    key: (Pool, ContainerId),
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Share {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut shares = self.inner.shares();
        // The table's own hold is the last where nobody works and nobody waits.
        if let Some(share) = shares.get(&self.key)
            && Arc::strong_count(share) == 1
        {
            shares.remove(&self.key);
        }
    }
}

impl Inner {
    fn shares(&self) -> MutexGuard<'_, HashMap<(Pool, ContainerId), Arc<Semaphore>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Threads {
    fn default() -> Self {
        let all = |size: fn(Extent) -> usize| {
            Pool::ALL.map(|pool| Arc::new(Semaphore::new(size(pool.extent()))))
        };
        let inner = Inner {
            young: all(|extent| extent.width),
            old: all(|extent| extent.old),
            shares: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl Threads {
    /// Runs `job` on a thread of the pool.
    ///
    /// # Errors
    /// [`ContainerError::Hung`] when the patience is over, [`ContainerError::Crowded`] when the
    /// container's share did not become free before that.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: Work,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ContainerError> {
        // Until a thread takes it up, the task waits for one.
        let job = task::blocking(job);
        let began = Instant::now();
        let left = || {
            let patience = work.patience;
            patience.map(|patience| patience.saturating_sub(began.elapsed()))
        };
        let share = timeout(left().unwrap_or(SHARE_PATIENCE), self.share(work)).await;
        let share = share.map_err(|_| crowded(work))??;
        let place = acquire(&self.inner.young, work.pool);
        let place = match left() {
            Some(left) => timeout(left, place).await.map_err(|_| crowded(work))?,
            None => place.await,
        }?;
        // Given up by the thread when it is done, and by nobody else.
        let place = Arc::new(Mutex::new(place));
        let held = Arc::clone(&place);
        let thread = machine::blocking(task::blocking(move || {
            let done = job();
            drop((held, share));
            done
        }));
        self.wait(work, thread, &place, left).await
    }

    async fn wait<T>(
        &self,
        work: Work,
        mut thread: JoinHandle<T>,
        place: &Mutex<OwnedSemaphorePermit>,
        left: impl Fn() -> Option<Duration>,
    ) -> Result<T, ContainerError> {
        let ended = |ended: Result<T, _>| ended.map_err(|_| ContainerError::ShuttingDown);
        let young = left().map_or(YOUNG, |left| left.min(YOUNG));
        if let Ok(done) = timeout(young, &mut thread).await {
            return ended(done);
        }
        // Where too many are old already it stays among the young, and the pool is as narrow.
        let old = self.inner.old.get(work.pool as usize).cloned();
        if let Some(Ok(old)) = old.map(Semaphore::try_acquire_owned) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = old;
        }
        match left() {
            Some(left) => match timeout(left, thread).await {
                Ok(done) => ended(done),
                Err(_) => {
                    tracing::warn!(id = %work.container, what = work.what, "hangs; its thread is left alone");
                    Err(ContainerError::Hung {
                        what: work.what,
                        id: work.container.short(),
                        seconds: work.patience.map_or(0, |patience| patience.as_secs()),
                    })
                }
            },
            None => ended(thread.await),
        }
    }

    async fn share(&self, work: Work) -> Result<Share, ContainerError> {
        let key = (work.pool, work.container);
        let size = work.pool.extent().share;
        let semaphore = {
            let mut shares = self.inner.shares();
            let share = shares
                .entry(key)
                .or_insert_with(|| Arc::new(Semaphore::new(size)));
            Arc::clone(share)
        };
        // Made before the wait, so that one that is given up tidies the table as well.
        let mut share = Share {
            inner: Arc::clone(&self.inner),
            key,
            permit: None,
        };
        let permit = semaphore.acquire_owned().await;
        share.permit = Some(permit.map_err(|_| ContainerError::ShuttingDown)?);
        Ok(share)
    }
}

async fn acquire(
    semaphores: &[Arc<Semaphore>; POOLS],
    pool: Pool,
) -> Result<OwnedSemaphorePermit, ContainerError> {
    let Some(semaphore) = semaphores.get(pool as usize).cloned() else {
        return Err(ContainerError::ShuttingDown);
    };
    let permit = semaphore.acquire_owned().await;
    permit.map_err(|_| ContainerError::ShuttingDown)
}

fn crowded(work: Work) -> ContainerError {
    ContainerError::Crowded {
        what: work.what,
        id: work.container.short(),
    }
}

#[cfg(test)]
#[path = "threads_tests.rs"]
mod tests;
