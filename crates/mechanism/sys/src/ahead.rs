//! Things made ahead of their use: a bounded stock, filled by a thread of its own.
//!
//! ```text
//!  path   ── take ──► one, or none: never waits
//!         ── refill ► "my answer is on its way"
//!  thread    rest, make one, rest, make one … until the stock is full
//!            one ended by itself ──► dropped, and another one is made, not at once
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// How long the thread rests before each piece: what was started a moment ago comes first.
const REST: Duration = Duration::from_millis(2);
/// How long after a piece that could not be made, or that ended unused, before the next one.
const PATIENCE: Duration = Duration::from_secs(1);
/// Enough for making one piece.
const STACK: usize = 256 << 10;

/// Something that can be made before anybody needs it. What is dropped unused leaves nothing.
pub trait Spare: Send + 'static {
    /// A descriptor that becomes readable when this has ended by itself and is of no use any more.
    fn ended(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}

/// A stock of spares. Dropping it drops them.
#[derive(Debug)]
pub struct Stock<T> {
    shared: Arc<Shared<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared<T> {
    size: usize,
    wake: OwnedFd,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    /// Oldest first.
    spares: VecDeque<T>,
    /// When the next one may be made.
    due: Option<Instant>,
    closed: bool,
}

impl<T: Spare> Stock<T> {
    /// A stock of `size` spares, which come from `make`. It is empty at first; a `size` of 0 stays
    /// so, and costs nothing. What `make` says when it fails is its own to report; it is asked
    /// again later.
    ///
    /// # Errors
    /// When there is no thread or descriptor to be had.
    pub fn open(
        name: &str,
        size: usize,
        make: impl FnMut() -> Option<T> + Send + 'static,
    ) -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let shared = Arc::new(Shared {
            size,
            wake: eventfd(0, flags)?,
            state: Mutex::new(State {
                spares: VecDeque::new(),
                due: Some(Instant::now() + REST),
                closed: false,
            }),
        });
        let thread = match size {
            0 => None,
            _ => {
                let shared = Arc::clone(&shared);
                let builder = thread::Builder::new().name(name.to_owned());
                Some(
                    builder
                        .stack_size(STACK)
                        .spawn(move || keep(&shared, make))?,
                )
            }
        };
        Ok(Self {
            shared,
            thread: Mutex::new(thread),
        })
    }

    /// Takes the oldest spare, if there is one.
    pub fn take(&self) -> Option<T> {
        self.shared.state().spares.pop_front()
    }

    /// Says that this is a good moment to fill the stock.
    pub fn refill(&self) {
        let mut state = self.shared.state();
        if self.shared.size > state.spares.len() && state.due.is_none() && !state.closed {
            state.due = Some(Instant::now() + REST);
            self.shared.wake();
        }
    }

    /// Makes no more, and gives up those there are.
    pub fn close(&self) -> Vec<T> {
        self.shared.state().closed = true;
        self.shared.wake();
        let thread = self.thread.lock();
        if let Some(thread) = thread.unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        self.shared.state().spares.drain(..).collect()
    }
}

impl<T> Drop for Stock<T> {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.wake();
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // Fails only when it is awake already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// The thread's life.
fn keep<T: Spare>(shared: &Shared<T>, mut make: impl FnMut() -> Option<T>) {
    loop {
        let state = shared.state();
        if state.closed {
            return;
        }
        let now = Instant::now();
        let wait = state.due.map(|due| due.saturating_duration_since(now));
        if wait != Some(Duration::ZERO) {
            let ends: Vec<_> = state.spares.iter().filter_map(Spare::ended).collect();
            drop(state);
            let ended = sleep(shared, &ends, wait);
            bury(shared, &ended);
            continue;
        }
        drop(state);
        let made = make();
        let mut state = shared.state();
        let pause = if made.is_some() { REST } else { PATIENCE };
        state.spares.extend(made);
        let missing = state.spares.len() < shared.size;
        state.due = missing.then(|| Instant::now() + pause);
    }
}

/// Waits until somebody calls, a spare ends, or the time is over. Says which ended.
fn sleep<T>(
    shared: &Shared<T>,
    ends: &[Arc<OwnedFd>],
    wait: Option<Duration>,
) -> Vec<Arc<OwnedFd>> {
    let mut watched = vec![PollFd::new(&shared.wake, PollFlags::IN)];
    watched.extend(ends.iter().map(|end| PollFd::new(&**end, PollFlags::IN)));
    let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
    if poll(&mut watched, wait.as_ref()).is_err() {
        // Interrupted: whoever asks again finds the same.
        return Vec::new();
    }
    let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
    if ready.first() == Some(&true) {
        let _ = rustix::io::read(&shared.wake, &mut [0; 8]);
    }
    let ends = ends.iter().zip(ready.iter().skip(1));
    ends.filter(|(_, ready)| **ready)
        .map(|(end, _)| Arc::clone(end))
        .collect()
}

/// Drops the spares that ended, unless somebody took them meanwhile.
fn bury<T: Spare>(shared: &Shared<T>, ended: &[Arc<OwnedFd>]) {
    if ended.is_empty() {
        return;
    }
    let is_dead = |spare: &T| {
        let end = spare.ended();
        end.is_some_and(|end| ended.iter().any(|dead| Arc::ptr_eq(dead, &end)))
    };
    let mut state = shared.state();
    let (dead, alive): (VecDeque<T>, VecDeque<T>) =
        state.spares.drain(..).partition(|spare| is_dead(spare));
    state.spares = alive;
    if !dead.is_empty() {
        state.due = Some(Instant::now() + PATIENCE);
    }
    drop(state);
    drop(dead);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(20);

    struct Piece {
        number: u32,
        end: Arc<OwnedFd>,
        dropped: mpsc::Sender<u32>,
    }

    impl Spare for Piece {
        fn ended(&self) -> Option<Arc<OwnedFd>> {
            Some(Arc::clone(&self.end))
        }
    }

    impl Drop for Piece {
        fn drop(&mut self) {
            let _ = self.dropped.send(self.number);
        }
    }

    struct Bench {
        stock: Stock<Piece>,
        made: mpsc::Receiver<(u32, OwnedFd)>,
        dropped: mpsc::Receiver<u32>,
    }

    fn bench(size: usize) -> Bench {
        let (tell, made) = mpsc::channel();
        let (drop_sender, dropped) = mpsc::channel();
        let mut number = 0;
        let make = move || {
            let (end, kill) = rustix::pipe::pipe().unwrap();
            number += 1;
            tell.send((number, kill)).unwrap();
            let (end, dropped) = (Arc::new(end), drop_sender.clone());
            Some(Piece {
                number,
                end,
                dropped,
            })
        };
        let stock = Stock::open("test", size, make).unwrap();
        Bench {
            stock,
            made,
            dropped,
        }
    }

    fn take(stock: &Stock<Piece>) -> u32 {
        let end = Instant::now() + LONG;
        loop {
            match stock.take() {
                Some(piece) => return piece.number,
                None => assert!(Instant::now() < end, "nothing comes into the stock"),
            }
        }
    }

    #[test]
    fn a_stock_is_filled_to_its_size_and_no_further() {
        let Bench {
            stock,
            made,
            dropped,
        } = bench(2);
        let kills: Vec<_> = (0..2).map(|_| made.recv_timeout(LONG).unwrap()).collect();
        assert!(made.recv_timeout(10 * REST).is_err());
        assert_eq!(take(&stock), 1);
        stock.refill();
        assert_eq!(made.recv_timeout(LONG).unwrap().0, 3);
        drop(kills);
        drop(stock.close());
        let gone: std::collections::BTreeSet<u32> = dropped.iter().take(3).collect();
        assert_eq!(gone, [1, 2, 3].into());
        assert!(stock.take().is_none());
    }

    #[test]
    fn one_that_ended_is_replaced() {
        let Bench {
            stock,
            made,
            dropped,
        } = bench(1);
        let (first, kill) = made.recv_timeout(LONG).unwrap();
        drop(kill);
        assert_eq!(dropped.recv_timeout(LONG), Ok(first));
        let (second, _kept) = made.recv_timeout(LONG).unwrap();
        assert_eq!(take(&stock), second);
    }

    #[test]
    fn an_empty_stock_has_no_thread() {
        let Bench { stock, made, .. } = bench(0);
        stock.refill();
        assert!(stock.take().is_none() && made.recv().is_err());
    }
}
