//! Waiting from outside, always with an end.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition that no descriptor announces is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks again and again until `condition` gives a value.
///
/// # Panics
/// After `limit`, naming `what` was waited for. Limits are there to end a hung test, not to
/// measure: make them generous.
pub fn wait_until<T>(what: &str, limit: Duration, condition: impl FnMut() -> Option<T>) -> T {
    match try_until(limit, condition) {
        Some(value) => value,
        None => panic!("waited {} s in vain until {what}", limit.as_secs()),
    }
}

/// As [`wait_until`], with `None` after `limit`.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness watches other processes; this is the one place where it looks again"
)]
pub(crate) fn try_until<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Ends the whole test program when a test hangs. Dropping it disarms it.
///
/// The program is aborted, because a thread that hangs in the kernel cannot be unwound; the
/// guardians of its engines then kill what those engines had started.
#[derive(Debug)]
pub struct Watchdog {
    _disarm: Sender<()>,
}

impl Watchdog {
    /// Arms a watchdog for the work called `what`.
    pub fn start(what: &str, limit: Duration) -> Self {
        let (disarm, disarmed) = channel::<()>();
        let what = what.to_owned();
        thread::spawn(move || {
            if disarmed.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!(
                    "{what} hangs for more than {} s; ending this test program",
                    limit.as_secs()
                );
                std::process::abort();
            }
        });
        Self { _disarm: disarm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_value_or_with_the_limit() {
        let mut looks = 0;
        let value = wait_until("the third look", Duration::from_secs(60), || {
            looks += 1;
            (looks == 3).then_some("there")
        });
        assert_eq!((value, looks), ("there", 3));
        assert_eq!(try_until(Duration::ZERO, || None::<()>), None);
    }
}
