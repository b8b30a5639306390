//! The one thread that writes.
//!
//! ```text
//!   callers ──► queue (QUEUE_MAX) ──► batch (what waits, at most BATCH_MAX)
//!                                        │ run each closure; take back the refused ones
//!                                        │ one commit, one sync
//!                                        ▼
//!                          for each, in order: hooks, then the answer
//! ```
//!
//! If the commit fails the file is opened again, and the number of its last commit tells whether
//! the batch is in it. Only if even that cannot be seen the callers are told so, and nothing is
//! written until it can.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc as blocking};

use redb::Durability;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use crate::engine::{Engine, SEQUENCE, SEQUENCE_KEY};
use crate::error::{Cause, StoreError, WriteError, cause, panic_text};
use crate::failpoint;
use crate::txn::{Hook, WriteTxn};

/// Operations that wait for the writer; a caller beyond that waits to be let in.
pub const QUEUE_MAX: usize = 1024;
/// Operations in one commit, so that the first of them does not wait for long.
pub const BATCH_MAX: usize = 256;

/// Operations that were committed without waiting for the disk; one more, and the disk is waited for.
const LAZY_MAX: usize = 1024;

/// A lazy operation, to be run again where a failure took it back; tells whether its writes shall
/// stay.
pub(crate) type Repeat = Box<dyn Fn(&mut WriteTxn<'_>) -> bool + Send>;

/// How often the writer did what.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) operations: AtomicU64,
    pub(crate) commits: AtomicU64,
}

/// Where a blocking caller waits for room in the queue. It is not the queue's own blocking call
/// because that one panics on a thread that runs async code.
#[derive(Default)]
pub(crate) struct Room {
    lock: Mutex<()>,
    made: Condvar,
}

impl Room {
    /// Puts `job` into the queue as soon as there is room; false if nobody reads the queue.
    pub(crate) fn send(&self, queue: &mpsc::Sender<Box<dyn Job>>, mut job: Box<dyn Job>) -> bool {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            job = match queue.try_send(job) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(job)) => job,
            };
            guard = self
                .made
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn announce(&self) {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.made.notify_all();
    }
}

/// The way back to a caller.
pub(crate) enum Reply<R> {
    Task(oneshot::Sender<R>),
    Thread(blocking::Sender<R>),
}

impl<R> Reply<R> {
    fn send(self, result: R) {
        // A caller that went away does not want to know.
        match self {
            Self::Task(sender) => drop(sender.send(result)),
            Self::Thread(sender) => drop(sender.send(result)),
        }
    }
}

/// An operation in the queue.
pub(crate) trait Job: Send {
    /// Runs the closure; tells whether its writes shall stay.
    fn run(&mut self, txn: &mut WriteTxn<'_>) -> bool;
    /// What to run again after a failure; nothing where the answer has to wait for the disk.
    fn repeat(&mut self) -> Option<Repeat>;
    /// Whether the answer has to wait for the disk.
    fn is_durable(&self) -> bool;
    /// Sends the caller its own result, or the store's failure.
    fn answer(self: Box<Self>, outcome: Result<(), &StoreError>);
}

/// A closure with the way back to its caller.
pub(crate) struct Operation<F, T, E> {
    pub(crate) work: Option<F>,
    /// Of an operation whose answer does not wait for the disk.
    pub(crate) repeat: Option<Repeat>,
    pub(crate) durable: bool,
    pub(crate) result: Option<Result<T, WriteError<E>>>,
    pub(crate) reply: Reply<Result<T, WriteError<E>>>,
}

impl<F, T, E> Job for Operation<F, T, E>
where
    F: FnOnce(&mut WriteTxn<'_>) -> Result<T, E> + Send,
    T: Send,
    E: Send,
{
    fn run(&mut self, txn: &mut WriteTxn<'_>) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        let result = match catch_unwind(AssertUnwindSafe(|| work(txn))) {
            Ok(result) => result.map_err(WriteError::Refused),
            Err(payload) => {
                let message = panic_text(&*payload);
                Err(WriteError::Store(StoreError::Panicked { message }))
            }
        };
        self.result.insert(result).is_ok()
    }

    fn repeat(&mut self) -> Option<Repeat> {
        self.repeat.take()
    }

    fn is_durable(&self) -> bool {
        self.durable
    }

    fn answer(self: Box<Self>, outcome: Result<(), &StoreError>) {
        let result = match outcome {
            Ok(()) => self
                .result
                .unwrap_or(Err(WriteError::Store(StoreError::Closed))),
            // Also a refusal: it may rest on what was written by another one of the batch.
            Err(e) => Err(WriteError::Store(e.clone())),
        };
        self.reply.send(result);
    }
}

enum State {
    Ready,
    /// A commit failed and the file could not be opened to see what became of it.
    Unsettled {
        attempted: u64,
    },
    /// The file holds what its callers were told had failed.
    Diverged,
}

/// What a transaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Committed {
    Nothing,
    /// It gets to the disk with the next one that waits for it.
    Lazily,
    Durably,
}

pub(crate) struct Writer {
    engine: Arc<Engine>,
    counters: Arc<Counters>,
    room: Arc<Room>,
    /// Number of the last commit.
    sequence: u64,
    state: State,
    /// What was committed and may not be on the disk yet: an opening anew loses it.
    lazy: Vec<Repeat>,
}

impl Writer {
    pub(crate) fn new(
        engine: Arc<Engine>,
        counters: Arc<Counters>,
        room: Arc<Room>,
        sequence: u64,
    ) -> Self {
        Self {
            engine,
            counters,
            room,
            sequence,
            state: State::Ready,
            lazy: Vec::new(),
        }
    }

    /// Serves the queue until its last sender is gone.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX {
                let Ok(next) = queue.try_recv() else { break };
                batch.push(next);
            }
            self.room.announce();
            self.serve(batch);
        }
        // Whoever waits now learns that the queue is closed.
        drop(queue);
        self.room.announce();
    }

    /// Runs, commits and answers what came together.
    pub(crate) fn serve(&mut self, mut batch: Vec<Box<dyn Job>>) {
        self.counters
            .operations
            .fetch_add(batch.len() as u64, Ordering::Relaxed);
        let outcome = self.settle().and_then(|()| self.commit(&mut batch));
        match outcome {
            Ok(hooks) => {
                for (job, hooks) in batch.into_iter().zip(hooks) {
                    hooks.into_iter().for_each(announce);
                    job.answer(Ok(()));
                }
            }
            Err(error) => batch.into_iter().for_each(|job| job.answer(Err(&error))),
        }
    }

    /// Clears up what an earlier failure left open.
    fn settle(&mut self) -> Result<(), StoreError> {
        let diverged = || StoreError::Diverged {
            path: self.engine.path.clone(),
        };
        match self.state {
            State::Ready => Ok(()),
            State::Diverged => Err(diverged()),
            State::Unsettled { attempted } => {
                let found = self.engine.reopen().and_then(|()| self.engine.sequence())?;
                if found == attempted {
                    self.state = State::Diverged;
                    return Err(diverged());
                }
                tracing::info!(path = %self.engine.path.display(), "the database works again");
                self.sequence = found;
                self.state = State::Ready;
                self.repeat_lazy();
                Ok(())
            }
        }
    }

    /// Runs and commits the batch; returns the hooks of each operation.
    fn commit(&mut self, batch: &mut [Box<dyn Job>]) -> Result<Vec<Vec<Hook>>, StoreError> {
        let attempted = self.sequence + 1;
        let mut hooks = Vec::with_capacity(batch.len());
        let result = catch_unwind(AssertUnwindSafe(|| {
            self.attempt(batch, attempted, &mut hooks)
        }));
        let failed = match result {
            Ok(Ok(committed)) => {
                if committed != Committed::Nothing {
                    self.sequence = attempted;
                    self.counters.commits.fetch_add(1, Ordering::Relaxed);
                }
                match committed {
                    Committed::Nothing => {}
                    Committed::Lazily => {
                        let repeats = batch.iter_mut().filter_map(|job| job.repeat());
                        self.lazy.extend(repeats);
                    }
                    Committed::Durably => self.lazy.clear(),
                }
                return Ok(hooks);
            }
            Ok(Err(e)) => e,
            Err(payload) => StoreError::Panicked {
                message: panic_text(&*payload),
            },
        };
        let path = self.engine.path.clone();
        tracing::error!(path = %path.display(), error = %berth_types::chain(&failed), "a commit failed");
        match self.engine.reopen().and_then(|()| self.engine.sequence()) {
            Ok(found) if found == attempted => {
                self.sequence = attempted;
                self.lazy.clear();
                Ok(hooks)
            }
            Ok(found) => {
                self.sequence = found;
                self.repeat_lazy();
                Err(failed)
            }
            Err(e) => {
                self.state = State::Unsettled { attempted };
                Err(StoreError::Unsettled {
                    path,
                    source: cause(e),
                })
            }
        }
    }

    /// Runs again what an opening anew has taken back. Where that fails, too, the next opening
    /// anew tries.
    fn repeat_lazy(&mut self) {
        if self.lazy.is_empty() {
            return;
        }
        let attempted = self.sequence + 1;
        let repeated = catch_unwind(AssertUnwindSafe(|| self.attempt_lazy(attempted)));
        match repeated {
            Ok(Ok(())) => self.sequence = attempted,
            Ok(Err(error)) => {
                tracing::warn!(error = %berth_types::chain(&error), "a clean-up was not repeated");
            }
            Err(payload) => {
                tracing::error!(message = panic_text(&*payload), "a clean-up panicked");
            }
        }
    }

    fn attempt_lazy(&self, attempted: u64) -> Result<(), StoreError> {
        let failed = |source: Cause| StoreError::Commit {
            path: self.engine.path.clone(),
            source,
        };
        self.engine.with(|database| {
            let mut txn = database.begin_write().map_err(|e| failed(cause(e)))?;
            let mut view = WriteTxn::new(&txn, Some(&self.engine));
            for repeat in &self.lazy {
                if !repeat(&mut view) {
                    view.roll_back();
                }
                // They were announced the first time.
                drop(view.finish());
            }
            view.put(&SEQUENCE, SEQUENCE_KEY, &attempted)
                .map_err(|e| failed(cause(e)))?;
            txn.set_durability(Durability::None)
                .map_err(|e| failed(cause(e)))?;
            txn.commit().map_err(|e| failed(cause(e)))
        })
    }

    /// One transaction; tells what was committed.
    fn attempt(
        &self,
        batch: &mut [Box<dyn Job>],
        attempted: u64,
        hooks: &mut Vec<Vec<Hook>>,
    ) -> Result<Committed, StoreError> {
        let failed = |source: Cause| StoreError::Commit {
            path: self.engine.path.clone(),
            source,
        };
        let batch_length = batch.len();
        self.engine.with(|database| {
            let mut txn = database.begin_write().map_err(|e| failed(cause(e)))?;
            let mut changed = false;
            let mut durable = false;
            let mut view = WriteTxn::new(&txn, Some(&self.engine));
            for job in batch {
                if job.run(&mut view) {
                    changed |= view.has_changed();
                    durable |= view.has_changed() && job.is_durable();
                } else {
                    view.roll_back();
                }
                hooks.push(view.finish());
                if let Some(error) = view.failure() {
                    return Err(failed(cause(error)));
                }
            }
            if !changed {
                txn.abort().map_err(|e| failed(cause(e)))?;
                return Ok(Committed::Nothing);
            }
            // Not without end.
            durable |= self.lazy.len() + batch_length > LAZY_MAX;
            view.put(&SEQUENCE, SEQUENCE_KEY, &attempted)
                .map_err(|e| failed(cause(e)))?;
            if !durable {
                txn.set_durability(Durability::None)
                    .map_err(|e| failed(cause(e)))?;
            }
            failpoint::hit("store.commit.before");
            txn.commit().map_err(|e| failed(cause(e)))?;
            failpoint::hit("store.commit.after");
            Ok(if durable {
                Committed::Durably
            } else {
                Committed::Lazily
            })
        })
    }
}

fn announce(hook: Hook) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(hook)) {
        tracing::error!(message = panic_text(&*payload), "an announcement panicked");
    }
}
