//! Where the tasks of this process are found.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::wait::{NO_LIMIT, pack, unpack};
use super::{Inner, Subject, Task, Wait};
use crate::Scope;

/// Parts that are locked apart from each other.
const SHARDS: usize = 16;
/// Tasks in one of them.
const SHARD_MAX: usize = 1024;
/// Tasks that are listed at once. One beyond them works all the same, and is only counted.
pub const LISTED_MAX: usize = SHARDS * SHARD_MAX;

pub(super) static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the first task.
pub(super) fn micros() -> u64 {
    u64::try_from(EPOCH.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Where a listed task is: its shard, and its slot there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize, usize);

#[derive(Debug, Default)]
pub(super) struct Registry {
    shards: [Mutex<Shard>; SHARDS],
    numbers: AtomicU64,
    unlisted: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Weak<Inner>>,
    free: Vec<usize>,
}

impl Registry {
    pub(super) fn enter(
        &self,
        kind: &'static str,
        subject: Subject,
        owner: Option<Arc<Scope>>,
        parent: Option<u64>,
    ) -> Task {
        let number = 1 + self.numbers.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(number).unwrap_or_default() % SHARDS;
        let now = micros();
        let mut shard = self.shard(at);
        let slot = shard.take();
        if slot.is_none() {
            self.unlisted.fetch_add(1, Ordering::Relaxed);
        }
        let inner = Arc::new(Inner {
            number,
            parent,
            kind,
            subject,
            owner,
            began: now,
            now: AtomicU64::new(pack(Wait::Nothing, now)),
            until: AtomicU64::new(NO_LIMIT),
            place: slot.map(|slot| Place(at, slot)),
        });
        if let Some(slot) = slot
            && let Some(place) = shard.slots.get_mut(slot)
        {
            *place = Arc::downgrade(&inner);
        }
        Task(inner)
    }

    pub(super) fn leave(&self, place: Option<Place>) {
        match place {
            Some(Place(at, slot)) => {
                let mut shard = self.shard(at);
                if let Some(place) = shard.slots.get_mut(slot) {
                    *place = Weak::new();
                }
                shard.free.push(slot);
            }
            None => {
                self.unlisted.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// `at` is below [`SHARDS`], by its makers.
    #[allow(clippy::indexing_slicing)]
    fn shard(&self, at: usize) -> MutexGuard<'_, Shard> {
        let shard = self.shards[at].lock();
        shard.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// A free slot, if there is one.
    fn take(&mut self) -> Option<usize> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let slot = self.slots.len();
        if slot >= SHARD_MAX {
            return None;
        }
        self.slots.push(Weak::new());
        Some(slot)
    }
}

/// One task as it was at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// Its number in this process, from 1.
    pub number: u64,
    /// The task that caused it, which may be over already.
    pub parent: Option<u64>,
    /// What is done, one word.
    pub kind: &'static str,
    /// What it is about.
    pub subject: Subject,
    /// How long it has been in flight.
    pub age: Duration,
    /// What it waits for.
    pub wait: Wait,
    /// For how long it has been waiting for that, or working since its last wait.
    pub waited: Duration,
    /// How long it waits at most from now on; none without a limit.
    pub left: Option<Duration>,
}

/// How many tasks were begun in this process: who looks twice sees how busy it is.
pub fn begun() -> u64 {
    REGISTRY.numbers.load(Ordering::Relaxed)
}

/// The tasks that `scope` may see, oldest first, and how many there are that are not listed.
pub fn list(scope: &Scope) -> (Vec<InFlight>, usize) {
    let mut list = Vec::new();
    for at in 0..SHARDS {
        // Upgraded, a task may turn out to be the last hold on it: it must not go under the lock.
        let held: Vec<Arc<Inner>> = {
            let shard = REGISTRY.shard(at);
            shard.slots.iter().filter_map(Weak::upgrade).collect()
        };
        let seen = |task: &&Arc<Inner>| match &task.owner {
            Some(owner) => scope.sees(owner),
            None => scope.is_root(),
        };
        list.extend(held.iter().filter(seen).map(|task| shown(task)));
    }
    list.sort_unstable_by_key(|task| task.number);
    (list, REGISTRY.unlisted.load(Ordering::Relaxed))
}

fn shown(task: &Inner) -> InFlight {
    let (wait, since) = unpack(task.now.load(Ordering::Relaxed));
    let until = task.until.load(Ordering::Relaxed);
    let now = micros();
    InFlight {
        number: task.number,
        parent: task.parent,
        kind: task.kind,
        subject: task.subject.clone(),
        age: Duration::from_micros(now.saturating_sub(task.began)),
        wait,
        waited: Duration::from_micros(now.saturating_sub(since)),
        left: (until != NO_LIMIT).then(|| Duration::from_micros(until.saturating_sub(now))),
    }
}
