//! Every (state, input) pair, and the histories that matter.

use std::sync::OnceLock;

use super::*;
use berth_types::Timestamp;
use berth_types::launch::{EXIT_RECORD_VERSION, ExitRecord, ProcessIdentity};

/// So many milliseconds after the beginning of all tests.
pub(super) fn moment(ms: u64) -> Instant {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    *BEGIN.get_or_init(Instant::now) + Duration::from_millis(ms)
}

/// The beginning, dated as late as the nanosecond says.
pub(super) fn dated(nanos: i64) -> Now {
    Now {
        date: Timestamp::from_nanos(nanos),
        instant: moment(0),
    }
}

impl Lifecycle {
    /// A step at the beginning of time.
    fn take(&mut self, input: Input) -> Result<Done, Refused> {
        self.step(input, moment(0))
    }
}

const PHASES: [Phase; 8] = [
    Phase::Created,
    Phase::Starting,
    Phase::Running,
    Phase::Paused,
    Phase::Restarting,
    Phase::Exited,
    Phase::Removing,
    Phase::Removed,
];

pub(super) fn launched() -> Launched {
    let process = ProcessIdentity {
        pid: 7,
        start_time: 1,
    };
    Launched {
        init: process,
        monitor: process,
        at: Timestamp::from_nanos(5),
    }
}

pub(super) fn failure(kind: StartFailureKind) -> StartFailure {
    StartFailure {
        kind,
        message: "no".into(),
    }
}

pub(super) fn exit(code: i32) -> End {
    let at = Timestamp::from_nanos(9);
    End::Recorded(ExitRecord {
        version: EXIT_RECORD_VERSION,
        code,
        oom_killed: false,
        at,
        reason: None,
    })
}

fn in_phase(phase: Phase, auto_remove: bool) -> Lifecycle {
    Lifecycle::new(
        State {
            phase,
            ..State::created()
        },
        auto_remove,
        RestartPolicy::No,
        dated(9),
    )
}

/// A running container with a policy.
fn with_policy(policy: RestartPolicy) -> Lifecycle {
    let mut life = in_phase(Phase::Created, false);
    life.set_policy(policy);
    life.take(Input::Start).unwrap();
    life.take(Input::Started(launched())).unwrap();
    life
}

pub(super) fn stop(patience: Option<u64>) -> Input {
    Input::Stop {
        signal: 15,
        patience: patience.map(Duration::from_millis),
    }
}

pub(super) fn restart() -> Input {
    Input::Restart {
        signal: 15,
        patience: None,
    }
}

fn close() -> Input {
    Input::Close {
        signal: 2,
        patience: Duration::from_millis(7),
    }
}

/// The answer of `phase` to `input` in one word, and the phase afterwards.
fn answer(phase: Phase, input: Input) -> (String, Phase) {
    let mut life = in_phase(phase, false);
    let text = match life.take(input) {
        Ok(Done::Unchanged) => "unchanged".to_owned(),
        Ok(Done::Effects(list)) => format!("{list:?}"),
        Err(refused) => format!("{refused:?}"),
    };
    (text, life.state().phase)
}

/// One row: an input and what each phase answers, in the order of `PHASES`.
fn row(input: Input, expected: [(&str, Phase); 8]) {
    for (phase, (text, after)) in PHASES.into_iter().zip(expected) {
        let got = answer(phase, input.clone());
        assert_eq!(got, (text.to_owned(), after), "{phase:?} on {input:?}");
    }
}

/// A row of answers that leave every phase as it is.
fn unmoved(input: Input, answers: [&str; 8]) {
    let mut phases = PHASES.into_iter();
    row(
        input,
        answers.map(|text| (text, phases.next().unwrap_or(Phase::Removed))),
    );
}

/// The rows of requests.
#[test]
fn every_pair_with_a_request_is_decided() {
    use Phase::{Created, Exited, Paused, Removed, Removing, Restarting, Running, Starting};
    let removing = [("Removing", Removing), ("Removing", Removed)];
    row(
        Input::Start,
        [
            ("[Launch]", Starting),
            ("unchanged", Starting),
            ("unchanged", Running),
            ("Paused", Paused),
            ("unchanged", Restarting),
            ("[Launch]", Starting),
            removing[0],
            removing[1],
        ],
    );
    row(
        Input::Signal {
            signal: 1,
            ends: false,
        },
        [
            ("NotRunning", Created),
            ("NotRunning", Starting),
            ("[Signal(1)]", Running),
            ("[Signal(1)]", Paused),
            ("[Commit]", Restarting),
            ("NotRunning", Exited),
            removing[0],
            removing[1],
        ],
    );
    row(
        Input::Signal {
            signal: 9,
            ends: true,
        },
        [
            ("NotRunning", Created),
            ("NotRunning", Starting),
            ("[Signal(9)]", Running),
            ("[Signal(9), Thaw]", Paused),
            ("[Commit]", Exited),
            ("NotRunning", Exited),
            removing[0],
            removing[1],
        ],
    );
    row(
        stop(None),
        [
            ("unchanged", Created),
            ("unchanged", Starting),
            ("[Signal(15)]", Running),
            ("[Signal(15), Thaw]", Paused),
            ("[Commit]", Exited),
            ("unchanged", Exited),
            removing[0],
            removing[1],
        ],
    );
    row(
        restart(),
        [
            ("[Launch]", Starting),
            ("unchanged", Starting),
            ("[Commit, Signal(15)]", Running),
            ("[Commit, Signal(15), Thaw]", Paused),
            ("[Launch]", Starting),
            ("[Launch]", Starting),
            removing[0],
            removing[1],
        ],
    );
    row(
        close(),
        [
            ("unchanged", Created),
            ("unchanged", Starting),
            ("[Signal(2)]", Running),
            ("[Signal(2), Thaw]", Paused),
            ("unchanged", Restarting),
            ("unchanged", Exited),
            ("unchanged", Removing),
            ("unchanged", Removed),
        ],
    );
    let no = "NotRunning";
    let gone = "Removing";
    let pause = [no, no, "[Freeze]", "Paused", "Restarting", no, gone, gone];
    unmoved(Input::Pause, pause);
    let no = "NotPaused";
    let unpause = [no, no, no, "[Thaw]", no, no, gone, gone];
    unmoved(Input::Unpause, unpause);
    unmoved(
        Input::Change,
        ["[]", "[]", "[]", "[]", "[]", "[]", gone, gone],
    );
    row(
        Input::Remove { force: false },
        [
            ("[Remove]", Removing),
            ("Running", Starting),
            ("Running", Running),
            ("Running", Paused),
            ("Running", Restarting),
            ("[Remove]", Removing),
            removing[0],
            removing[1],
        ],
    );
    row(
        Input::Remove { force: true },
        [
            ("[Remove]", Removing),
            ("Running", Starting),
            ("[Signal(9)]", Running),
            ("[Signal(9), Thaw]", Paused),
            ("[Remove]", Removing),
            ("[Remove]", Removing),
            removing[0],
            removing[1],
        ],
    );
}

/// The rows of completions and facts.
#[test]
fn every_pair_with_a_fact_is_decided() {
    use Phase::{Created, Exited, Paused, Removed, Removing, Restarting, Running, Starting};
    let stray = |p| ("Stray", p);
    row(
        Input::Started(launched()),
        [
            ("[Commit]", Running),
            ("[Commit]", Running),
            ("[Commit]", Running),
            ("[Commit]", Running),
            ("[Commit]", Running),
            ("[Commit]", Running),
            stray(Removing),
            stray(Removed),
        ],
    );
    row(
        Input::StartFailed(failure(StartFailureKind::Internal)),
        [
            stray(Created),
            ("[ClearRuntime, Commit]", Created),
            stray(Running),
            stray(Paused),
            stray(Restarting),
            stray(Exited),
            stray(Removing),
            stray(Removed),
        ],
    );
    row(
        Input::Frozen,
        [
            stray(Created),
            stray(Starting),
            ("[Commit]", Paused),
            ("unchanged", Paused),
            stray(Restarting),
            stray(Exited),
            stray(Removing),
            stray(Removed),
        ],
    );
    row(
        Input::Thawed,
        [
            stray(Created),
            stray(Starting),
            ("unchanged", Running),
            ("[Commit]", Running),
            stray(Restarting),
            stray(Exited),
            stray(Removing),
            stray(Removed),
        ],
    );
    row(
        Input::Tick,
        PHASES.map(|p| match p {
            Restarting => ("[Launch]", Starting),
            other => ("unchanged", other),
        }),
    );
    unmoved(Input::EngineStarted, ["unchanged"; 8]);
    row(
        Input::OomKilled(1),
        PHASES.map(|p| match p {
            Running | Paused => ("[Commit]", p),
            other => ("unchanged", other),
        }),
    );
    row(
        Input::Ended(exit(3)),
        [
            stray(Created),
            stray(Starting),
            ("[ClearRuntime, Commit]", Exited),
            ("[ClearRuntime, Commit]", Exited),
            stray(Restarting),
            stray(Exited),
            stray(Removing),
            stray(Removed),
        ],
    );
    let strays = PHASES.map(stray);
    let mut removed = strays;
    removed[6] = ("[]", Removed);
    row(Input::RemoveDone, removed);
    let mut back = strays;
    back[6] = ("[Commit]", Created);
    row(Input::RemoveFailed, back);
}

#[test]
fn a_failed_start_keeps_the_exit_code_of_a_shell() {
    for (kind, code) in [
        (StartFailureKind::CommandNotFound, 127),
        (StartFailureKind::NotExecutable, 126),
        (StartFailureKind::BadMount, 127),
        (StartFailureKind::UnknownUser, 128),
    ] {
        let mut life = in_phase(Phase::Starting, false);
        life.take(Input::StartFailed(failure(kind))).unwrap();
        assert_eq!(life.state().exit_code, code);
        assert_eq!(life.state().error, "no");
    }
}

#[test]
fn a_container_that_ran_is_exited_after_a_failed_start() {
    let state = State {
        finished_at: Timestamp::from_nanos(1),
        ..State::created()
    };
    let mut life = Lifecycle::new(
        State {
            phase: Phase::Exited,
            ..state
        },
        false,
        RestartPolicy::No,
        dated(9),
    );
    life.take(Input::Start).unwrap();
    life.take(Input::StartFailed(failure(StartFailureKind::Internal)))
        .unwrap();
    assert_eq!(life.state().phase, Phase::Exited);
}

#[test]
fn patience_ends_once_and_a_second_stop_only_shortens_it() {
    let mut life = in_phase(Phase::Running, false);
    life.take(stop(Some(100))).unwrap();
    life.take(stop(Some(200))).unwrap();
    assert_eq!(life.deadline(), Some(moment(100)));
    life.take(stop(Some(50))).unwrap();
    assert_eq!(life.step(Input::Tick, moment(49)), Ok(Done::Unchanged));
    let killed = Ok(effects([Effect::Signal(9)]));
    assert_eq!(life.step(Input::Tick, moment(50)), killed);
    assert_eq!(life.step(Input::Tick, moment(200)), Ok(Done::Unchanged));
}

#[test]
fn a_stop_that_waits_for_ever_can_still_be_given_an_end() {
    let mut life = in_phase(Phase::Running, false);
    life.take(stop(None)).unwrap();
    assert_eq!(life.deadline(), None);
    life.take(stop(Some(1))).unwrap();
    assert_eq!(life.deadline(), Some(moment(1)));
    // Further away than the clock goes is never, too.
    let mut life = in_phase(Phase::Running, false);
    life.take(stop(Some(u64::MAX))).unwrap();
    life.take(Input::Stop {
        signal: 15,
        patience: Some(Duration::MAX),
    })
    .unwrap();
    assert_ne!(life.deadline(), Some(moment(0)));
}

#[test]
fn what_is_being_killed_is_not_frozen() {
    for input in [
        Input::Signal {
            signal: 9,
            ends: true,
        },
        Input::Remove { force: true },
        Input::Stop {
            signal: 9,
            patience: None,
        },
    ] {
        let mut life = in_phase(Phase::Running, false);
        life.take(input).unwrap();
        assert_eq!(life.take(Input::Pause), Err(Refused::NotRunning));
        life.take(Input::Ended(exit(137))).unwrap();
        if life.take(Input::Start).is_ok() {
            life.take(Input::Started(launched())).unwrap();
            assert_eq!(life.take(Input::Pause), Ok(effects([Effect::Freeze])));
        }
    }
    let mut life = in_phase(Phase::Running, false);
    life.take(stop(Some(1))).unwrap();
    assert_eq!(life.take(Input::Pause), Ok(effects([Effect::Freeze])));
}

#[test]
fn a_pause_is_as_long_as_it_is_whatever_the_date() {
    let second = 1_000_000_000;
    let mut life = with_policy(RestartPolicy::Always);
    life.take(Input::Ended(exit(1))).unwrap();
    assert_eq!(life.deadline(), Some(moment(100)));
    // The next engine waits for what the date leaves of it, and at most for all of it, also where
    // the clock was set back or forward meanwhile.
    for (date, left) in [(9 + 40_000_000, 60), (-second, 100), (second, 0)] {
        let state = life.state().clone();
        let next = Lifecycle::new(state, false, RestartPolicy::Always, dated(date));
        assert_eq!(next.deadline(), Some(moment(left)), "{date}");
    }
    // A good run is one of ten seconds, also under a clock that was set back.
    life.step(Input::Tick, moment(100)).unwrap();
    life.step(Input::Started(launched()), moment(100)).unwrap();
    life.step(Input::Ended(exit(1)), moment(10_099)).unwrap();
    assert_eq!(life.state().restart.pause_ms, 200);
    life.step(Input::Tick, moment(10_299)).unwrap();
    life.step(Input::Started(launched()), moment(10_299))
        .unwrap();
    life.step(Input::Ended(exit(1)), moment(20_299)).unwrap();
    assert_eq!(life.state().restart.pause_ms, 100);
}

#[test]
fn an_end_removes_where_that_was_asked_for() {
    let removal = Ok(effects([Effect::ClearRuntime, Effect::Remove]));
    let mut auto = in_phase(Phase::Running, true);
    assert_eq!(auto.take(Input::Ended(exit(0))), removal);

    let mut forced = in_phase(Phase::Running, false);
    forced.take(Input::Remove { force: true }).unwrap();
    assert_eq!(forced.take(Input::Ended(exit(137))), removal);
    assert_eq!(forced.state().exit_code, 137);

    let mut failed = in_phase(Phase::Starting, true);
    assert_eq!(
        failed.take(Input::StartFailed(failure(StartFailureKind::Internal))),
        removal
    );
}

#[test]
fn an_unseen_end_says_why() {
    let mut life = in_phase(Phase::Running, false);
    let end = End::Unseen {
        at: Timestamp::from_nanos(3),
        reason: "the monitor was killed".into(),
    };
    life.take(Input::Ended(end)).unwrap();
    assert_eq!(life.state().exit_code, EXIT_UNKNOWN);
    assert_eq!(life.state().error, "the monitor was killed");
    assert_eq!(life.state().finished_at, Timestamp::from_nanos(3));
}

#[test]
fn adoption_of_the_same_process_changes_nothing() {
    let mut life = in_phase(Phase::Created, false);
    assert_eq!(
        life.take(Input::Started(launched())),
        Ok(effects([Effect::Commit]))
    );
    assert_eq!(life.take(Input::Started(launched())), Ok(Done::Unchanged));
}

#[test]
fn a_removal_that_failed_does_not_come_back_after_the_next_run() {
    let mut life = in_phase(Phase::Running, false);
    life.take(Input::Remove { force: true }).unwrap();
    life.take(Input::Ended(exit(137))).unwrap();
    assert_eq!(life.state().phase, Phase::Removing);
    life.take(Input::RemoveFailed).unwrap();
    life.take(Input::Start).unwrap();
    life.take(Input::Started(launched())).unwrap();
    // Those who waited for the end of the first run still find its code.
    assert_eq!(life.state().exit_code, 137);
    life.take(Input::Ended(exit(0))).unwrap();
    assert_eq!(life.state().phase, Phase::Exited);
    assert_eq!(life.state().exit_code, 0);
}

#[test]
fn a_policy_starts_it_again_with_growing_pauses_until_it_is_stopped() {
    let mut life = with_policy(RestartPolicy::OnFailure { max: 2 });
    for count in 1..=2 {
        life.take(Input::Ended(exit(1))).unwrap();
        assert_eq!(life.state().phase, Phase::Restarting);
        let due = life.deadline().unwrap();
        let early = due - Duration::from_nanos(1);
        assert_eq!(life.step(Input::Tick, early), Ok(Done::Unchanged));
        let launch = Ok(effects([Effect::Launch]));
        assert_eq!(life.step(Input::Tick, due), launch);
        life.take(Input::Started(launched())).unwrap();
        assert_eq!(life.state().restart.count, count);
    }
    assert_eq!(life.state().restart.pause_ms, 200);
    life.take(Input::Ended(exit(1))).unwrap();
    assert_eq!(life.state().phase, Phase::Exited, "two tries are over");
    life.take(Input::Start).unwrap();
    life.take(Input::Started(launched())).unwrap();
    assert_eq!(life.state().restart, Restarts::default());

    // What was asked is recorded before it is done, and once.
    let recorded = Ok(effects([Effect::Commit, Effect::Signal(15)]));
    assert_eq!(life.take(stop(None)), recorded);
    assert_eq!(life.take(stop(None)), Ok(effects([Effect::Signal(15)])));
    life.take(Input::Ended(exit(143))).unwrap();
    assert_eq!(life.state().phase, Phase::Exited);
}

#[test]
fn a_stopped_container_comes_back_with_the_engine_only_under_always() {
    for (policy, comes) in [
        (RestartPolicy::Always, true),
        (RestartPolicy::UnlessStopped, false),
        (RestartPolicy::OnFailure { max: 0 }, false),
    ] {
        let mut life = with_policy(policy);
        life.take(stop(None)).unwrap();
        // The engine is killed here: what the record says is all that is left.
        let mut next = Lifecycle::new(life.state().clone(), false, policy, dated(9));
        next.take(Input::Ended(exit(143))).unwrap();
        assert_eq!(next.state().phase, Phase::Exited, "{policy:?}");
        let done = next.take(Input::EngineStarted).unwrap();
        assert_eq!(done == effects([Effect::Launch]), comes, "{policy:?}");
    }
    // The machine went down under it: nobody stopped it.
    let mut life = with_policy(RestartPolicy::UnlessStopped);
    life.take(Input::Ended(exit(EXIT_UNKNOWN))).unwrap();
    assert_eq!(life.state().phase, Phase::Restarting);
}

#[test]
fn a_restart_survives_the_engine_and_keeps_what_removes_itself() {
    let mut life = in_phase(Phase::Running, true);
    life.take(restart()).unwrap();
    let mut next = Lifecycle::new(life.state().clone(), true, RestartPolicy::No, dated(9));
    next.take(Input::Ended(exit(143))).unwrap();
    assert_eq!(next.state().phase, Phase::Restarting);
    assert_eq!(next.deadline(), Some(moment(0)));
    // Found by the engine after next, already started.
    next.take(Input::Started(launched())).unwrap();
    assert_eq!(next.state().restart, Restarts::default());
    next.take(Input::Ended(exit(0))).unwrap();
    assert_eq!(next.state().phase, Phase::Removing);
}

#[test]
fn what_removes_itself_goes_when_it_is_stopped_between_two_runs() {
    let mut life = in_phase(Phase::Running, true);
    life.take(restart()).unwrap();
    life.take(Input::Ended(exit(143))).unwrap();
    assert_eq!(life.state().phase, Phase::Restarting);
    assert_eq!(life.take(stop(None)), Ok(effects([Effect::Remove])));
    assert_eq!(life.state().phase, Phase::Removing);
}

#[test]
fn a_stop_takes_a_restart_back() {
    let mut life = in_phase(Phase::Running, false);
    life.take(restart()).unwrap();
    // The restart is recorded, and the next engine would carry it out: so is its end.
    let recorded = Ok(effects([Effect::Commit, Effect::Signal(15)]));
    assert_eq!(life.take(stop(None)), recorded);
    assert_eq!(life.take(stop(None)), Ok(effects([Effect::Signal(15)])));
    life.take(Input::Ended(exit(143))).unwrap();
    assert_eq!(life.state().phase, Phase::Exited);
    assert!(!life.state().restart.asked);
}

#[test]
fn a_removal_between_two_runs_that_failed_leaves_no_start_behind() {
    let mut life = with_policy(RestartPolicy::Always);
    life.take(Input::Ended(exit(1))).unwrap();
    life.take(Input::Remove { force: true }).unwrap();
    assert_eq!(life.deadline(), None);
    // The row says that it is started again: the next engine would.
    assert_eq!(
        life.take(Input::RemoveFailed),
        Ok(effects([Effect::Commit]))
    );
    assert_eq!(life.state().phase, Phase::Exited);
    assert_eq!(life.state().restart.due, None);
}

#[test]
fn rows_of_earlier_versions_are_read() {
    let mut row = serde_json::to_value(State::created()).unwrap();
    row.as_object_mut().unwrap().remove("restart");
    let state: State = serde_json::from_value(row).unwrap();
    assert_eq!(state, State::created());
}

#[test]
fn what_the_machine_stops_starts_with_the_next_engine_and_not_before() {
    use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
    for (policy, after) in [
        (No, Phase::Exited),
        (Always, Phase::Exited),
        (UnlessStopped, Phase::Exited),
        // Its next start is due, and comes with the next engine.
        (OnFailure { max: 0 }, Phase::Restarting),
    ] {
        let mut life = with_policy(policy);
        life.take(close()).unwrap();
        assert_eq!(life.deadline(), Some(moment(7)));
        let killed = life.step(Input::Tick, moment(7)).unwrap();
        assert_eq!(killed, Done::Effects(vec![Effect::Signal(SIGKILL)]));
        life.take(Input::Ended(exit(143))).unwrap();
        assert_eq!(
            (life.state().phase, life.deadline()),
            (after, None),
            "{policy:?}"
        );
        assert!(!life.state().restart.manually_stopped, "{policy:?}");
        assert_eq!(life.take(Input::Start), Err(Refused::Closing));
        assert_eq!(life.take(Input::EngineStarted), Ok(Done::Unchanged));
        assert_eq!(life.step(Input::Tick, moment(1 << 40)), Ok(Done::Unchanged));
        let mut next = Lifecycle::new(life.state().clone(), false, policy, dated(9));
        let started = next.take(Input::EngineStarted).unwrap() != Done::Unchanged;
        assert_eq!(
            started,
            matches!(policy, Always | UnlessStopped),
            "{policy:?}"
        );
        assert_eq!(next.deadline().is_some(), after == Phase::Restarting);
    }
    // A stop that a person asked for goes on as it was, but not for longer.
    let mut life = with_policy(UnlessStopped);
    life.take(stop(Some(99))).unwrap();
    assert_eq!(life.take(close()), Ok(Done::Unchanged));
    assert_eq!(life.deadline(), Some(moment(7)));
    life.take(Input::Ended(exit(0))).unwrap();
    assert!(life.state().restart.manually_stopped);
}
