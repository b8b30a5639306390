//! What is in flight: every request, every piece of work that it caused, and what each waits for
//! at this moment.
//!
//! A [`Task`] is listed from [`begin`] until the last hold on it is dropped, wherever the work
//! went meanwhile. The task that a thread works on is ambient: [`Task::run`] sets it while a
//! future is polled, [`blocking`] takes it along to another thread, and whoever is about to wait,
//! however deep below, says so with [`waits`] or [`waiting`]. So no signature carries it, and code
//! that runs without a task says it to nobody.
//!
//! Reading ([`list`]) takes a lock for as long as it takes to copy pointers, which no work holds
//! for longer than that either: the list is there when everything else stands still.

mod future;
mod registry;
mod wait;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::{ContainerId, Scope};

pub use registry::{InFlight, LISTED_MAX, begun, list};
use registry::{Place, REGISTRY};
use wait::NO_LIMIT;
pub use wait::Wait;

thread_local! {
    static CURRENT: RefCell<Option<Task>> = const { RefCell::new(None) };
}

/// What a task is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The engine as a whole.
    Engine,
    /// A container.
    Container(ContainerId),
    /// A path, an image, a further process: as a person would name it.
    Named(Box<str>),
}

impl From<ContainerId> for Subject {
    fn from(id: ContainerId) -> Self {
        Self::Container(id)
    }
}

impl From<String> for Subject {
    fn from(name: String) -> Self {
        Self::Named(name.into())
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Engine => f.write_str("engine"),
            Self::Container(id) => f.write_str(&id.short()),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// A hold on something in flight. Clones are holds on the same.
#[derive(Debug, Clone)]
pub struct Task(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    number: u64,
    parent: Option<u64>,
    kind: &'static str,
    subject: Subject,
    /// Whose it is; none for what the engine does on its own account.
    owner: Option<Arc<Scope>>,
    /// In microseconds since the first task.
    began: u64,
    /// What it waits for, and since when; see [`wait::pack`].
    now: AtomicU64,
    /// Until when at most, in microseconds since the first task; [`NO_LIMIT`] for ever.
    until: AtomicU64,
    place: Option<Place>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        REGISTRY.leave(self.place);
    }
}

/// Begins something on behalf of the current task, or of the engine itself where there is none.
/// `kind` is one word for programs, such as `start`.
pub fn begin(kind: &'static str, subject: impl Into<Subject>) -> Task {
    let parent = current();
    let owner = parent.as_ref().and_then(|task| task.0.owner.clone());
    REGISTRY.enter(
        kind,
        subject.into(),
        owner,
        parent.map(|task| task.0.number),
    )
}

/// Begins something that a caller of this scope asked for.
pub fn begin_for(owner: Scope, kind: &'static str, subject: impl Into<Subject>) -> Task {
    REGISTRY.enter(kind, subject.into(), Some(Arc::new(owner)), None)
}

/// The task that this thread works on.
pub fn current() -> Option<Task> {
    CURRENT.with_borrow(Clone::clone)
}

/// Runs a future as a part of the current task, wherever it is polled: for what is spawned.
pub fn here<F: Future>(future: F) -> impl Future<Output = F::Output> {
    within(current(), future)
}

/// Runs a future as a part of `task`, where there is one.
pub fn within<F: Future>(task: Option<Task>, future: F) -> impl Future<Output = F::Output> {
    future::Within::new(task, future)
}

/// Takes the current task along to the thread that runs `work`. From now until that begins, the
/// task waits for a [`Wait::BlockingThread`].
pub fn blocking<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let task = current();
    if let Some(task) = &task {
        task.0.set(Wait::BlockingThread, None);
    }
    move || {
        let Some(task) = task else { return work() };
        task.0.set(Wait::Nothing, None);
        let _here = task.enter();
        work()
    }
}

/// Says what the current task waits for, until the guard is dropped; for at most `limit`, or for
/// as long as it takes.
#[must_use = "the wait is over when the guard is dropped"]
pub fn waits(wait: Wait, limit: Option<Duration>) -> Waits {
    let task = current();
    let before = task.as_ref().map_or((0, NO_LIMIT), |task| {
        let inner = &task.0;
        let before = (
            inner.now.load(Ordering::Relaxed),
            inner.until.load(Ordering::Relaxed),
        );
        inner.set(wait, limit);
        before
    });
    Waits { task, before }
}

/// As [`waits`], around a future.
pub fn waiting<F: Future>(
    wait: Wait,
    limit: Option<Duration>,
    future: F,
) -> impl Future<Output = F::Output> {
    future::Waiting::new(wait, limit, future)
}

/// Takes a lock. Where somebody else has it, the current task waits for `wait`. What a thread that
/// panicked left under it counts as whole.
pub fn lock<T>(mutex: &Mutex<T>, wait: Wait) -> MutexGuard<'_, T> {
    match mutex.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(left)) => left.into_inner(),
        Err(TryLockError::WouldBlock) => {
            let _waits = waits(wait, None);
            mutex.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

impl Task {
    /// Runs a future as this task, and keeps the task listed until it is over.
    pub fn run<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        within(Some(self), future)
    }

    /// Makes this the thread's task until the guard is dropped.
    #[must_use = "the thread goes back to its former task when the guard is dropped"]
    pub fn enter(&self) -> Entered {
        Entered {
            before: CURRENT.replace(Some(self.clone())),
            _of_this_thread: PhantomData,
        }
    }
}

impl Inner {
    fn set(&self, wait: Wait, limit: Option<Duration>) {
        let now = registry::micros();
        let limit = limit.and_then(|limit| u64::try_from(limit.as_micros()).ok());
        let until = limit.map_or(NO_LIMIT, |limit| now.saturating_add(limit));
        self.now.store(wait::pack(wait, now), Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
    }
}

/// While this lives, its thread works on a task.
#[derive(Debug)]
pub struct Entered {
    before: Option<Task>,
    _of_this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(CURRENT.replace(self.before.take()));
    }
}

/// While this lives, a task waits.
#[derive(Debug)]
pub struct Waits {
    task: Option<Task>,
    before: (u64, u64),
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.0.now.store(self.before.0, Ordering::Relaxed);
            task.0.until.store(self.before.1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[path = "task/tests.rs"]
mod tests;
