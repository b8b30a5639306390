//! The threads that run requests, and come before those that start containers.
//!
//! An engine that starts, stops or measures many containers has more threads at work than the
//! machine has processors. An answer that is ready to be given must not stand in line with them:
//! the workers, which never block and never compute for long, have precedence. What they make,
//! threads as well as processes, has not: the kernel takes it away at the clone.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use berth_sys::precedence::precede;
use tokio::runtime::{Builder, Runtime};

/// Threads that run requests. What blocks runs elsewhere.
const WORKERS: usize = 2;
/// Their nice value. Low enough that a worker which wakes up takes the place of whatever runs;
/// far from those of what keeps a machine alive.
const NICE: i32 = -10;
/// Their slices, nanoseconds: requests are shorter than that.
const SLICE: u64 = 1_000_000;

/// How long a thread for what blocks is kept without work. They are woken in turn, so that a little
/// work keeps as many as come to something in this time.
const IDLE_THREAD: Duration = Duration::from_secs(5);

/// The engine's threads: the workers, and up to `blocking` others for what blocks, made when
/// needed only.
///
/// # Errors
/// When there are no threads or descriptors to be had.
pub fn runtime(blocking: usize) -> io::Result<Runtime> {
    let (started, starts) = mpsc::channel();
    let count = AtomicUsize::new(0);
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(blocking)
        .thread_keep_alive(IDLE_THREAD)
        .enable_all()
        .on_thread_start(move || {
            // The workers are the first ones: nobody has asked for another thread yet.
            let number = count.fetch_add(1, Ordering::Relaxed);
            if number < WORKERS {
                first_come(number);
                // Nobody waits any more where this engine is about to end.
                let _ = started.send(());
            }
        })
        .build()?;
    for _ in 0..WORKERS {
        // A worker that does not start has been an error above.
        let _ = starts.recv();
    }
    Ok(runtime)
}

fn first_come(number: usize) {
    match precede(NICE, SLICE) {
        Err(error) if number == 0 => {
            tracing::info!(%error, "answers have no precedence over starts: the engine may not lower its nice value (CAP_SYS_NICE)");
        }
        // Said once; and a nice value that somebody gave the engine stays.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_sys::rustix::process::getpriority_process;

    #[test]
    fn workers_alone_come_first() {
        let own = getpriority_process(None).unwrap();
        let expected = if own == 0 { NICE } else { own };
        let runtime = runtime(4).unwrap();
        let nice = || getpriority_process(None).unwrap();
        let (worker, blocking) = runtime.block_on(async {
            let worker = tokio::spawn(async move {
                // From a worker, as requests do it.
                let blocking = tokio::task::spawn_blocking(nice).await.unwrap();
                (nice(), blocking)
            });
            worker.await.unwrap()
        });
        assert_eq!((worker, blocking), (expected, own));
    }
}
