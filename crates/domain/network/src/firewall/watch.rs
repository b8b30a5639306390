//! Puts the table back after others took it away: `nft flush ruleset`, a firewall service that
//! starts anew, an administrator.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use berth_sys::netlink::nft::Changes;
use berth_sys::rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use berth_types::task::{self, Subject};

use super::Table;
use crate::wait::poll_for;

/// How long nothing more must happen before the table is put back: a flush comes in pieces.
const QUIET: Duration = Duration::from_millis(5);
/// The longest that others' changes, one after the other, put it off.
const QUIET_LAST: Duration = Duration::from_millis(100);
/// The wait before the table is put back again soon after it was, doubled each time.
const AGAIN_FIRST: Duration = Duration::from_millis(50);
/// The longest such wait: two programs that fight for a table do not keep a core busy.
const AGAIN_LAST: Duration = Duration::from_secs(5);
/// After so long without a removal the wait is short again.
const CALM: Duration = Duration::from_secs(10);

/// The thread that watches. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    end: Arc<OwnedFd>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Watcher {
    /// Starts it. What is asked for through the socket of number `own` is no cause for anything.
    pub(super) fn start(table: Arc<Table>, own: u32) -> io::Result<Self> {
        let changes = Changes::listen()?;
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let mut watch = Watch {
            table,
            changes,
            own,
            end: Arc::clone(&end),
            again: AGAIN_FIRST,
            restored: None,
        };
        let thread = thread::Builder::new()
            .name("firewall".to_owned())
            .spawn(move || watch.run())?;
        Ok(Self {
            end,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends it, and returns when it has ended.
    pub(super) fn stop(&self) {
        // The counter is full only if it was told so before.
        let _ = berth_sys::rustix::io::write(&*self.end, &1_u64.to_ne_bytes());
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Watch {
    table: Arc<Table>,
    changes: Changes,
    own: u32,
    end: Arc<OwnedFd>,
    again: Duration,
    restored: Option<Instant>,
}

/// What a wait ended with.
#[derive(PartialEq)]
enum Wake {
    /// It is over.
    End,
    /// There are notifications.
    Change,
    /// Nothing happened for so long.
    Time,
}

impl Watch {
    fn run(&mut self) {
        if let Err(error) = self.watch() {
            tracing::error!(%error, "the firewall is not watched any more; a flushed table stays away until a port is published");
        }
    }

    fn watch(&mut self) -> io::Result<()> {
        let mut removed: Option<Instant> = None;
        loop {
            let late = removed.is_some_and(|since| since.elapsed() > QUIET_LAST);
            match self.wait(removed.map(|_| QUIET))? {
                Wake::End => return Ok(()),
                Wake::Change if !late => {
                    let (table, own) = (&self.table.layout.table, self.own);
                    if self.changes.removed_from(table, own)? {
                        removed = removed.or_else(|| Some(Instant::now()));
                    }
                }
                Wake::Change | Wake::Time => {
                    if self.hold_back()? == Wake::End {
                        return Ok(());
                    }
                    removed = (!self.restore()).then(Instant::now);
                }
            }
        }
    }

    /// Waits before another restoration that follows the last one too soon.
    fn hold_back(&mut self) -> io::Result<Wake> {
        match self.restored.map(|at| at.elapsed()) {
            Some(since) if since < CALM => {
                let until = Instant::now() + self.again;
                self.again = (2 * self.again).min(AGAIN_LAST);
                self.wait_out(until)
            }
            _ => {
                self.again = AGAIN_FIRST;
                Ok(Wake::Time)
            }
        }
    }

    /// Waits until a moment, for nothing but the end.
    fn wait_out(&self, until: Instant) -> io::Result<Wake> {
        let mut watched = [PollFd::new(&*self.end, PollFlags::IN)];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Wake::Time);
            }
            if poll_for(&mut watched, Some(left))? > 0 {
                return Ok(Wake::End);
            }
        }
    }

    fn restore(&mut self) -> bool {
        self.restored = Some(Instant::now());
        let _task = task::begin("repair-firewall", Subject::Engine).enter();
        match self.table.apply() {
            Ok(()) => {
                tracing::warn!(
                    table = self.table.layout.table,
                    "another program removed rules of the firewall table; it is whole again"
                );
                true
            }
            Err(error) => {
                tracing::error!(table = self.table.layout.table, %error, "cannot put the firewall table back; trying again");
                false
            }
        }
    }

    fn wait(&self, limit: Option<Duration>) -> io::Result<Wake> {
        let changes = self.changes.as_fd();
        let mut watched = [
            PollFd::new(&*self.end, PollFlags::IN),
            PollFd::new(&changes, PollFlags::IN),
        ];
        poll_for(&mut watched, limit)?;
        let [end, changes] = watched.map(|one| !one.revents().is_empty());
        Ok(match (end, changes) {
            (true, _) => Wake::End,
            (_, true) => Wake::Change,
            _ => Wake::Time,
        })
    }
}
