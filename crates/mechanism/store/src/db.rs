//! The handle that everyone holds.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc as blocking};
use std::thread::{self, JoinHandle, ThreadId};

use berth_types::InstallId;
use berth_types::task::{Wait, waits};
use tokio::sync::{mpsc, oneshot};

use crate::engine::Engine;
use crate::error::{StoreError, WriteError, cause};
use crate::events::Events;
use crate::txn::{ReadTxn, WriteTxn};
use crate::writer::{Counters, Job, Operation, QUEUE_MAX, Repeat, Reply, Room, Writer};

/// The open database; clones are the same one. The file is locked as long as one lives.
#[derive(Clone)]
pub struct Db {
    handle: Arc<Handle>,
}

struct Handle {
    engine: Arc<Engine>,
    install_id: InstallId,
    counters: Arc<Counters>,
    events: Events,
    room: Arc<Room>,
    /// Always there until the handle is dropped.
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
    writer_thread: ThreadId,
    /// The writer of a database without a thread.
    here: Option<Arc<Mutex<Writer>>>,
}

/// A database without a thread, its writer, and what that has to do.
type Here = (Db, Arc<Mutex<Writer>>, mpsc::Receiver<Box<dyn Job>>);

/// What the writer has done since the database was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Closures that were run.
    pub operations: u64,
    /// Transactions that were committed; fewer, where operations came at the same time.
    pub commits: u64,
}

impl Db {
    /// Opens the database at `path`, and makes it if there is none. Its directory has to be
    /// there. After an unclean end the last commit that is whole is found and every page of it
    /// checked.
    ///
    /// # Errors
    /// Another engine has it, a newer Berth made it, it is damaged, or the file system fails.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_if(path, |_, _| Ok(()))
    }

    /// As [`Db::open`], where `agrees` may refuse by the identity and by the number of the last
    /// commit. A file that is refused, by it or for what is in it, keeps every byte.
    ///
    /// # Errors
    /// As [`Db::open`], and what `agrees` returns.
    pub fn open_if<E: From<StoreError>>(
        path: &Path,
        agrees: impl FnOnce(InstallId, u64) -> Result<(), E>,
    ) -> Result<Self, E> {
        let engine = Engine::open_file(path)?;
        agrees(engine.meta()?.install_id, engine.sequence()?)?;
        engine.release()?;
        Ok(Self::start(engine)?)
    }

    pub(crate) fn start(engine: Engine) -> Result<Self, StoreError> {
        let install_id = engine.meta()?.install_id;
        let sequence = engine.sequence()?;
        let engine = Arc::new(engine);
        let counters = Arc::new(Counters::default());
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let room = Arc::new(Room::default());
        let writer = Writer::new(
            Arc::clone(&engine),
            Arc::clone(&counters),
            Arc::clone(&room),
            sequence,
        );
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(jobs))
            .map_err(|e| StoreError::Thread {
                path: engine.path.clone(),
                source: cause(e),
            })?;
        let writer_thread = thread.thread().id();
        let writer = Some(thread);
        let queue = Some(queue);
        let handle = Handle {
            engine,
            install_id,
            counters,
            events: Events::default(),
            room,
            queue,
            writer,
            writer_thread,
            here: None,
        };
        Ok(Self {
            handle: Arc::new(handle),
        })
    }

    /// As [`Db::start`], with a writer on the caller's thread.
    pub(crate) fn start_here(engine: Engine) -> Result<Here, StoreError> {
        let install_id = engine.meta()?.install_id;
        let sequence = engine.sequence()?;
        let (engine, counters, room) = (Arc::new(engine), Arc::default(), Arc::default());
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let writer = Writer::new(
            Arc::clone(&engine),
            Arc::clone(&counters),
            Arc::clone(&room),
            sequence,
        );
        let writer = Arc::new(Mutex::new(writer));
        let handle = Handle {
            engine,
            install_id,
            counters,
            events: Events::default(),
            room,
            queue: Some(queue),
            writer: None,
            writer_thread: thread::current().id(),
            here: Some(Arc::clone(&writer)),
        };
        let handle = Arc::new(handle);
        Ok((Self { handle }, writer, jobs))
    }

    /// The identity that was minted when this database was made.
    pub fn install_id(&self) -> InstallId {
        self.handle.install_id
    }

    /// Number of the last commit. A copy of the database that is older has a lower one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn sequence(&self) -> Result<u64, StoreError> {
        self.handle.engine.sequence()
    }

    /// The log of what happened. It lives as long as the process.
    pub fn events(&self) -> &Events {
        &self.handle.events
    }

    /// What the writer has done.
    pub fn stats(&self) -> Stats {
        Stats {
            operations: self.handle.counters.operations.load(Ordering::Relaxed),
            commits: self.handle.counters.commits.load(Ordering::Relaxed),
        }
    }

    /// Runs `work` on a consistent view of the last commit. It does not wait for writers, and
    /// must not call [`Db::read`] or [`Db::write`] itself.
    ///
    /// # Errors
    /// What `work` returns, or that the database cannot be read.
    pub fn read<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&ReadTxn) -> Result<T, E>,
    ) -> Result<T, E> {
        self.engine().read(work)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.handle.engine
    }

    /// Runs `work` as one operation and returns when it is on the disk, or refused. Operations
    /// run one after the other in the order they came. If `work` returns an error or panics, all
    /// that it wrote is taken back, and nobody else notices.
    ///
    /// It blocks the thread: async code calls [`Db::write_async`].
    ///
    /// # Errors
    /// What `work` returned, or the store's own failure.
    pub fn write<T, E, F>(&self, work: F) -> Result<T, WriteError<E>>
    where
        F: FnOnce(&mut WriteTxn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.blocking(work, None)
    }

    /// As [`Db::write`], but returns before the operation is on the disk: it gets there with the
    /// next operation that writes and waits for the disk, or when the database is closed. After a crash
    /// it may not have happened; after an I/O error it is run again, maybe behind operations that
    /// came later. For clean-up that is repeated at the next start anyway.
    ///
    /// # Errors
    /// What `work` returned, or the store's own failure.
    pub fn write_lazy<T, E, F>(&self, work: F) -> Result<T, WriteError<E>>
    where
        F: Fn(&mut WriteTxn<'_>) -> Result<T, E> + Clone + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let again = work.clone();
        let repeat: Repeat = Box::new(move |txn| again(txn).is_ok());
        self.blocking(work, Some(repeat))
    }

    /// As [`Db::write`], for async code of any runtime. Nothing happens before the future is
    /// polled; one that is dropped later takes nothing back.
    ///
    /// # Errors
    /// What `work` returned, or the store's own failure.
    pub fn write_async<T, E, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, WriteError<E>>> + Send + use<T, E, F>
    where
        F: FnOnce(&mut WriteTxn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let handle = Arc::clone(&self.handle);
        async move {
            let closed = || WriteError::Store(StoreError::Closed);
            let (reply, answer) = oneshot::channel();
            let job = operation(work, None, Reply::Task(reply));
            let queue = handle.queue.as_ref().ok_or_else(closed)?;
            let _waits = waits(Wait::Database, None);
            queue.send(job).await.map_err(|_| closed())?;
            answer.await.map_err(|_| closed())?
        }
    }

    fn blocking<T, E, F>(&self, work: F, repeat: Option<Repeat>) -> Result<T, WriteError<E>>
    where
        F: FnOnce(&mut WriteTxn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        if let Some(writer) = &self.handle.here {
            let (reply, answer) = blocking::channel();
            let mut writer = writer
                .try_lock()
                .map_err(|_| WriteError::Store(StoreError::Reentrant))?;
            writer.serve(vec![operation(work, repeat, Reply::Thread(reply))]);
            return answer
                .recv()
                .map_err(|_| WriteError::Store(StoreError::Closed))?;
        }
        if thread::current().id() == self.handle.writer_thread {
            return Err(WriteError::Store(StoreError::Reentrant));
        }
        let closed = || WriteError::Store(StoreError::Closed);
        let (reply, answer) = blocking::channel();
        let job = operation(work, repeat, Reply::Thread(reply));
        let _waits = waits(Wait::Database, None);
        let queue = self.handle.queue.as_ref().ok_or_else(closed)?;
        if !self.handle.room.send(queue, job) {
            return Err(closed());
        }
        answer.recv().map_err(|_| closed())?
    }
}

fn operation<T, E, F>(
    work: F,
    repeat: Option<Repeat>,
    reply: Reply<Result<T, WriteError<E>>>,
) -> Box<dyn Job>
where
    F: FnOnce(&mut WriteTxn<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    Box::new(Operation {
        work: Some(work),
        durable: repeat.is_none(),
        repeat,
        result: None,
        reply,
    })
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.queue.take());
        // The last clone may be dropped by a closure, on the writer's own thread.
        if let Some(writer) = self.writer.take()
            && thread::current().id() != self.writer_thread
        {
            let _ = writer.join();
        }
    }
}
