//! A state that could not be recorded: it is tried again until it is, so that what the next engine
//! finds is what this one shows.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause before another attempt; every further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Whether the record behind a container's state is older than the state.
#[derive(Debug, Default)]
pub(crate) struct Unrecorded {
    pause: Duration,
    retry_at: Option<Instant>,
}

impl Unrecorded {
    /// Whether it is.
    pub(crate) fn is_so(&self) -> bool {
        self.retry_at.is_some()
    }

    /// When it is tried again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// An attempt was made at the moment `now`.
    pub(crate) fn note(&mut self, recorded: bool, now: Instant) {
        if recorded {
            *self = Self::default();
            return;
        }
        self.pause = self.pause.saturating_mul(2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.retry_at = Some(now + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_until_one_succeeds() {
        let now = Instant::now();
        let mut unrecorded = Unrecorded::default();
        assert!(!unrecorded.is_so());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            unrecorded.note(false, now);
            let due = now + Duration::from_secs(seconds);
            assert_eq!(unrecorded.retry_at(), Some(due));
        }
        unrecorded.note(true, now);
        assert!(!unrecorded.is_so());
        unrecorded.note(false, now);
        assert_eq!(unrecorded.retry_at(), Some(now + PAUSE_MIN));
    }
}
