//! What the crate under test has instead of the machine.
//!
//! Chance is drawn from streams: every task has one of its own, split off that of the task which
//! began it, so that what one task draws does not depend on when others run.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_types::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::machine::ordinary;

/// A stream of numbers: splitmix64.
#[derive(Debug)]
pub(crate) struct Chance(Mutex<u64>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(seed)))
    }

    pub(crate) fn number(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `limit`.
    pub(crate) fn below(&self, limit: u64) -> u64 {
        self.number() % limit.max(1)
    }

    /// True so many times of a hundred.
    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&self, list: &[T]) -> T {
        let at = usize::try_from(self.below(list.len() as u64)).unwrap_or(0);
        list[at]
    }

    /// Up to so many milliseconds.
    pub(crate) fn millis(&self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit))
    }

    pub(crate) fn split(&self) -> Arc<Self> {
        Self::new(self.number())
    }
}

tokio::task_local! {
    static CHANCE: Arc<Chance>;
}

/// What all tasks of an engine share.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// When this engine began, and the date then.
    pub began: Instant,
    pub date: Timestamp,
    /// How far somebody has set the clock since, nanoseconds.
    pub skew: Arc<AtomicI64>,
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

impl Stage {
    /// Has everything on this thread happen here until [`Stage::leave`].
    pub(super) fn enter(self) {
        STAGE.set(Some(self));
    }

    pub(super) fn leave() {
        STAGE.set(None);
    }

    fn now(&self) -> Timestamp {
        let since = Instant::now().duration_since(self.began).as_nanos();
        let nanos = self.date.as_nanos() + i64::try_from(since).unwrap_or(0);
        Timestamp::from_nanos(nanos + self.skew.load(Ordering::Relaxed))
    }
}

/// The stream of the task that asks; none outside of a simulation.
pub(super) fn chance() -> Option<Arc<Chance>> {
    CHANCE.try_with(Arc::clone).ok()
}

/// Runs `task` with a stream of its own.
pub(super) fn with<T: Send + 'static>(
    chance: Arc<Chance>,
    task: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send + 'static {
    CHANCE.scope(chance, task)
}

/// How long something takes on the machine: mostly nothing to speak of.
pub(super) fn delay(chance: &Chance) -> Duration {
    match chance.below(100) {
        0..80 => chance.millis(4),
        80..97 => chance.millis(120),
        _ => chance.millis(4000),
    }
}

/// A thread that may block is a task that takes its time before and after.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let Some(chance) = chance() else {
        return ordinary::blocking(work);
    };
    let (before, after) = (delay(&chance), delay(&chance));
    tokio::spawn(with(chance.split(), async move {
        sleep(before).await;
        let result = work();
        sleep(after).await;
        result
    }))
}

pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    match chance() {
        Some(chance) => tokio::spawn(with(chance.split(), task)),
        None => ordinary::spawn(task),
    }
}

pub(crate) fn date() -> Timestamp {
    let stage = STAGE.with_borrow(|stage| stage.as_ref().map(Stage::now));
    stage.unwrap_or_else(ordinary::date)
}

pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    let Some(chance) = chance() else {
        return ordinary::random(bytes);
    };
    for byte in bytes {
        *byte = chance.number().to_le_bytes()[0];
    }
    Ok(())
}

/// As [`with`], for a future that stays on this thread.
pub(super) fn scope<T>(
    chance: Arc<Chance>,
    task: impl Future<Output = T>,
) -> impl Future<Output = T> {
    CHANCE.scope(chance, task)
}
