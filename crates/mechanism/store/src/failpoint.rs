//! Places where a test may end the process, as `kill -9` or a power cut would.
//!
//! The environment variable `BERTH_FAILPOINT` names one place, `image.import.after-rename`, or
//! its N-th passing, `image.import.after-rename:3`. Without the variable a place costs one load.
//! Every crate lists its places in a constant `FAILPOINTS`, so that a test can try them all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_sys::rustix::process::{Signal, getpid, kill_process};

/// The environment variable that names the place.
pub const VARIABLE: &str = "BERTH_FAILPOINT";

struct Armed {
    name: String,
    passings_left: AtomicU64,
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED
        .get_or_init(|| std::env::var(VARIABLE).ok().as_deref().and_then(parse))
        .as_ref()
}

/// `name` or `name:N`; a text that is neither arms nothing.
fn parse(text: &str) -> Option<Armed> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, count.parse().ok().filter(|&n| n > 0)?),
        None => (text, 1),
    };
    (!name.is_empty()).then(|| Armed {
        name: name.to_owned(),
        passings_left: AtomicU64::new(count),
    })
}

/// Passes the place `name`: ends the process with `SIGKILL` if it is the armed one.
pub fn hit(name: &str) {
    let Some(armed) = armed() else { return };
    if armed.name == name && armed.passings_left.fetch_sub(1, Ordering::SeqCst) == 1 {
        // Killing oneself cannot be refused, and the signal cannot be caught.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_carry_a_count() {
        let read =
            |text| parse(text).map(|a| (a.name.clone(), a.passings_left.load(Ordering::SeqCst)));
        assert_eq!(read("a.b"), Some(("a.b".to_owned(), 1)));
        assert_eq!(read("a.b:3"), Some(("a.b".to_owned(), 3)));
        for bad in ["", ":1", "a:0", "a:x", "a:"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
