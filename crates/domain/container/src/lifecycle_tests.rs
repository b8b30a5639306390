//! Every (state, input) pair, and the histories that matter.

use super::*;
use berth_types::launch::EXIT_RECORD_VERSION;

const PHASES: [Phase; 6] = [
    Phase::Created,
    Phase::Starting,
    Phase::Running,
    Phase::Exited,
    Phase::Removing,
    Phase::Removed,
];

fn launched() -> Launched {
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

fn failure(kind: StartFailureKind) -> StartFailure {
    StartFailure {
        kind,
        message: "no".into(),
    }
}

fn exit(code: i32) -> End {
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
    )
}

/// The answer of `phase` to `input` in one word, and the phase afterwards.
fn answer(phase: Phase, input: Input) -> (String, Phase) {
    let mut life = in_phase(phase, false);
    let text = match life.step(input) {
        Ok(Done::Unchanged) => "unchanged".to_owned(),
        Ok(Done::Effects(list)) => format!("{list:?}"),
        Err(refused) => format!("{refused:?}"),
    };
    (text, life.state().phase)
}

/// One row: an input and what each phase answers, in the order of `PHASES`.
fn row(input: Input, expected: [(&str, Phase); 6]) {
    for (phase, (text, after)) in PHASES.into_iter().zip(expected) {
        let got = answer(phase, input.clone());
        assert_eq!(got, (text.to_owned(), after), "{phase:?} on {input:?}");
    }
}

#[test]
fn every_pair_is_decided() {
    use Phase::{Created, Exited, Removed, Removing, Running, Starting};
    let removing = [("Removing", Removing), ("Removing", Removed)];
    let stray = |p| ("Stray", p);
    row(
        Input::Start,
        [
            ("[Launch]", Starting),
            ("unchanged", Starting),
            ("unchanged", Running),
            ("[Launch]", Starting),
            removing[0],
            removing[1],
        ],
    );
    row(
        Input::Started(launched()),
        [
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
            stray(Exited),
            stray(Removing),
            stray(Removed),
        ],
    );
    row(
        Input::Signal(1),
        [
            ("NotRunning", Created),
            ("NotRunning", Starting),
            ("[Signal(1)]", Running),
            ("NotRunning", Exited),
            removing[0],
            removing[1],
        ],
    );
    row(
        Input::Stop {
            signal: 15,
            kill_at: None,
        },
        [
            ("unchanged", Created),
            ("unchanged", Starting),
            ("[Signal(15)]", Running),
            ("unchanged", Exited),
            removing[0],
            removing[1],
        ],
    );
    row(
        Input::Tick(Timestamp::from_nanos(1)),
        PHASES.map(|p| ("unchanged", p)),
    );
    row(
        Input::Remove { force: false },
        [
            ("[Remove]", Removing),
            ("Running", Starting),
            ("Running", Running),
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
            ("[Remove]", Removing),
            removing[0],
            removing[1],
        ],
    );
    row(
        Input::Ended(exit(3)),
        [
            stray(Created),
            stray(Starting),
            ("[ClearRuntime, Commit]", Exited),
            stray(Exited),
            stray(Removing),
            stray(Removed),
        ],
    );
    row(
        Input::RemoveDone,
        [
            stray(Created),
            stray(Starting),
            stray(Running),
            stray(Exited),
            ("[]", Removed),
            stray(Removed),
        ],
    );
    row(
        Input::RemoveFailed,
        [
            stray(Created),
            stray(Starting),
            stray(Running),
            stray(Exited),
            ("unchanged", Created),
            stray(Removed),
        ],
    );
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
        life.step(Input::StartFailed(failure(kind))).unwrap();
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
    );
    life.step(Input::Start).unwrap();
    life.step(Input::StartFailed(failure(StartFailureKind::Internal)))
        .unwrap();
    assert_eq!(life.state().phase, Phase::Exited);
}

#[test]
fn patience_ends_once_and_a_second_stop_only_shortens_it() {
    let at = |s: i64| Timestamp::from_nanos(s);
    let mut life = in_phase(Phase::Running, false);
    life.step(Input::Stop {
        signal: 15,
        kill_at: Some(at(100)),
    })
    .unwrap();
    life.step(Input::Stop {
        signal: 15,
        kill_at: Some(at(200)),
    })
    .unwrap();
    assert_eq!(life.deadline(), Some(at(100)));
    life.step(Input::Stop {
        signal: 15,
        kill_at: Some(at(50)),
    })
    .unwrap();
    assert_eq!(life.step(Input::Tick(at(49))), Ok(Done::Unchanged));
    assert_eq!(
        life.step(Input::Tick(at(50))),
        Ok(effects([Effect::Signal(9)]))
    );
    assert_eq!(life.step(Input::Tick(at(200))), Ok(Done::Unchanged));
}

#[test]
fn a_stop_that_waits_for_ever_can_still_be_given_an_end() {
    let mut life = in_phase(Phase::Running, false);
    life.step(Input::Stop {
        signal: 15,
        kill_at: None,
    })
    .unwrap();
    assert_eq!(life.deadline(), None);
    let soon = Some(Timestamp::from_nanos(1));
    life.step(Input::Stop {
        signal: 15,
        kill_at: soon,
    })
    .unwrap();
    assert_eq!(life.deadline(), soon);
}

#[test]
fn an_end_removes_where_that_was_asked_for() {
    let removal = Ok(effects([Effect::ClearRuntime, Effect::Remove]));
    let mut auto = in_phase(Phase::Running, true);
    assert_eq!(auto.step(Input::Ended(exit(0))), removal);

    let mut forced = in_phase(Phase::Running, false);
    forced.step(Input::Remove { force: true }).unwrap();
    assert_eq!(forced.step(Input::Ended(exit(137))), removal);
    assert_eq!(forced.state().exit_code, 137);

    let mut failed = in_phase(Phase::Starting, true);
    assert_eq!(
        failed.step(Input::StartFailed(failure(StartFailureKind::Internal))),
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
    life.step(Input::Ended(end)).unwrap();
    assert_eq!(life.state().exit_code, EXIT_UNKNOWN);
    assert_eq!(life.state().error, "the monitor was killed");
    assert_eq!(life.state().finished_at, Timestamp::from_nanos(3));
}

#[test]
fn adoption_of_the_same_process_changes_nothing() {
    let mut life = in_phase(Phase::Created, false);
    assert_eq!(
        life.step(Input::Started(launched())),
        Ok(effects([Effect::Commit]))
    );
    assert_eq!(life.step(Input::Started(launched())), Ok(Done::Unchanged));
}

#[test]
fn a_removal_that_failed_does_not_come_back_after_the_next_run() {
    let mut life = in_phase(Phase::Running, false);
    life.step(Input::Remove { force: true }).unwrap();
    life.step(Input::Ended(exit(137))).unwrap();
    assert_eq!(life.state().phase, Phase::Removing);
    life.step(Input::RemoveFailed).unwrap();
    life.step(Input::Start).unwrap();
    life.step(Input::Started(launched())).unwrap();
    // Those who waited for the end of the first run still find its code.
    assert_eq!(life.state().exit_code, 137);
    life.step(Input::Ended(exit(0))).unwrap();
    assert_eq!(life.state().phase, Phase::Exited);
    assert_eq!(life.state().exit_code, 0);
}
