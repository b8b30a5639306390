//! When a container that ended is started again: pure.

use std::time::Duration;

use berth_types::Timestamp;

use crate::record::{RestartPolicy, State};

/// The first pause before a restart; every further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A run of this length was a good one: the pauses begin anew.
const GOOD_RUN: Duration = Duration::from_secs(10);

impl RestartPolicy {
    /// Whether a run that ended as `state` tells is followed by another.
    pub(crate) fn follows(self, state: &State) -> bool {
        match self {
            _ if state.restart.cancelled => false,
            Self::No => false,
            Self::Always => true,
            Self::UnlessStopped => !state.restart.manually_stopped,
            Self::OnFailure { max } => {
                state.exit_code != 0 && (max == 0 || state.restart.count < max)
            }
        }
    }

    /// Whether an ended container is started when the engine is.
    pub(crate) fn returns(self, state: &State) -> bool {
        match self {
            Self::No | Self::OnFailure { .. } => false,
            Self::Always => true,
            Self::UnlessStopped => !state.restart.manually_stopped,
        }
    }
}

/// Notes in an ended container, which `ran` so long, when it is started again. Returns the pause
/// before that.
pub(crate) fn schedule(state: &mut State, ran: Duration) -> Duration {
    let pause = if state.restart.asked {
        Duration::ZERO
    } else {
        let good = ran >= GOOD_RUN;
        let last = Duration::from_millis(state.restart.pause_ms);
        let next = if good {
            PAUSE_MIN
        } else {
            last.saturating_mul(2)
        };
        let pause = next.clamp(PAUSE_MIN, PAUSE_MAX);
        state.restart.pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        pause
    };
    let nanos = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
    let due = state.finished_at.as_nanos().saturating_add(nanos);
    state.restart.due = Some(Timestamp::from_nanos(due));
    pause
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit_code: i32, seconds: i64) -> State {
        State {
            exit_code,
            started_at: Timestamp::from_nanos(0),
            finished_at: Timestamp::from_nanos(seconds * 1_000_000_000),
            ..State::created()
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_a_good_run() {
        let mut state = ended(1, 0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            schedule(&mut state, Duration::ZERO);
            pauses.push(state.restart.pause_ms);
        }
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[10..], [60_000, 60_000]);
        let mut good = ended(1, 10);
        good.restart = state.restart.clone();
        schedule(&mut good, GOOD_RUN);
        assert_eq!(good.restart.pause_ms, 100);
        assert_eq!(
            good.restart.due,
            Some(Timestamp::from_nanos(10_100_000_000))
        );
        good.restart.asked = true;
        assert_eq!(schedule(&mut good, GOOD_RUN), Duration::ZERO);
        assert_eq!(good.restart.due, Some(good.finished_at));
    }

    #[test]
    fn each_policy_follows_its_own_ends() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        let counted = |count| {
            let mut state = ended(3, 1);
            state.restart.count = count;
            state
        };
        let mut by_hand = ended(3, 1);
        by_hand.restart.manually_stopped = true;
        let mut cancelled = by_hand.clone();
        cancelled.restart.cancelled = true;
        // An end, and whether no, always, unless-stopped, on-failure and on-failure:2 follow it.
        for (state, expected) in [
            (ended(0, 1), [false, true, true, false, false]),
            (counted(1), [false, true, true, true, true]),
            (counted(2), [false, true, true, true, false]),
            (by_hand.clone(), [false, true, false, true, true]),
            (cancelled.clone(), [false; 5]),
        ] {
            let policies = [
                No,
                Always,
                UnlessStopped,
                OnFailure { max: 0 },
                OnFailure { max: 2 },
            ];
            assert_eq!(policies.map(|p| p.follows(&state)), expected, "{state:?}");
        }
        let policies = [No, Always, UnlessStopped, OnFailure { max: 0 }];
        let returns = |state: &State| policies.map(|p| p.returns(state));
        assert_eq!(returns(&cancelled), [false, true, false, false]);
        assert_eq!(returns(&ended(0, 1)), [false, true, true, false]);
    }
}
