//! Every state that a container can come to, with everything that can happen in it.
//!
//! Beside the state machine stands a world as small as can be: what is recorded, whether a program
//! runs, what the exec root says. From a new container on, every input is given in every state, what
//! an effect may lead to is all tried, and the engine is killed before every effect and in between.
//! What has to hold is asserted in each of the states, and from each there is a way to the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write as _};

use super::tests::{dated, exit, failure, launched, moment, restart, stop};
use super::*;
use berth_types::Timestamp;
use berth_types::launch::StartFailureKind;

/// What a person asked of the run, and was told that it is done or under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    None,
    /// That it ends, and no other follows by itself.
    End,
    /// That it ends and another follows.
    Again,
}

/// A container, its engine and its machine.
#[derive(Debug, Clone)]
struct World {
    life: Lifecycle,
    /// The row; none once it is removed.
    durable: Option<State>,
    alive: bool,
    frozen: bool,
    /// The runtime directory is there.
    announced: bool,
    /// The last run's exit record, until the next launch.
    record: Option<i32>,
    wish: Wish,
    /// The shortest way here.
    story: Vec<Move>,
}

/// Tells the story of what went wrong.
struct Teller<'a>(&'a [Move], &'a Move);

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Captured by no test runner, and heard by whoever reads why it failed.
            let _ = writeln!(io::stderr(), "after {:?}\nat {:?}", self.0, self.1);
        }
    }
}

/// What happens next.
#[derive(Debug, Clone)]
enum Move {
    Request(Input),
    /// Another restart policy, recorded.
    Policy(RestartPolicy),
    /// The moment has come that the state waits for.
    Wait,
    /// The program ends with this code.
    Exit(i32),
    /// The monitor is killed, and the program with it.
    MonitorKilled,
    /// The kernel kills a process of it, not the program, for want of memory.
    Oom,
    /// The engine is killed and started again.
    EngineKilled,
}

/// Decisions that the machine takes; every sequence of them is gone through.
#[derive(Default)]
struct Choices {
    script: Vec<bool>,
    at: usize,
}

impl Choices {
    fn choose(&mut self) -> bool {
        if self.at == self.script.len() {
            self.script.push(false);
        }
        self.at += 1;
        self.script[self.at - 1]
    }

    /// The next sequence; false when there is none.
    fn next(&mut self) -> bool {
        self.at = 0;
        while self.script.pop_if(|last| *last).is_some() {}
        match self.script.last_mut() {
            Some(last) => {
                *last = true;
                true
            }
            None => false,
        }
    }
}

/// The engine was killed in the middle.
struct Killed;

impl World {
    fn new(policy: RestartPolicy, auto_remove: bool) -> Self {
        let state = State::created();
        Self {
            life: Lifecycle::new(state.clone(), auto_remove, policy, dated(9)),
            durable: Some(state),
            alive: false,
            frozen: false,
            announced: false,
            record: None,
            wish: Wish::None,
            story: Vec::new(),
        }
    }

    /// As the actor does: steps, carries out, feeds what comes of it back.
    fn give(&mut self, input: Input, choices: &mut Choices) -> Result<bool, Killed> {
        let mut queue = VecDeque::from([input]);
        while let Some(input) = queue.pop_front() {
            let before = self.life.clone();
            let now = match input {
                Input::Tick => self.life.deadline().unwrap_or(moment(0)),
                _ => moment(0),
            };
            let list = match self.life.step(input.clone(), now) {
                Ok(Done::Effects(list)) => list,
                Ok(Done::Unchanged) => {
                    let same = matches!(input, Input::Started(_)) || before == self.life;
                    assert!(same, "{input:?} was to change nothing");
                    continue;
                }
                Err(refused) => {
                    assert_eq!(before, self.life, "{input:?} was refused");
                    assert_ne!(refused, Refused::Stray, "{input:?} in {before:?}");
                    return Ok(false);
                }
            };
            self.check_effects(&before, &input, &list);
            for effect in list {
                if choices.choose() {
                    return Err(Killed);
                }
                queue.extend(self.perform(effect, choices));
            }
        }
        Ok(true)
    }

    fn perform(&mut self, effect: Effect, choices: &mut Choices) -> Option<Input> {
        match effect {
            Effect::Launch => {
                (self.announced, self.record) = (true, None);
                // It was of the run before.
                self.wish = Wish::None;
                if choices.choose() {
                    return Some(Input::StartFailed(failure(StartFailureKind::Internal)));
                }
                (self.alive, self.frozen) = (true, false);
                Some(Input::Started(launched()))
            }
            // Whether and when it dies of it is the program's business: `Move::Exit`.
            Effect::Signal(_) => None,
            Effect::Freeze | Effect::Thaw if choices.choose() => None,
            Effect::Freeze => {
                self.frozen = true;
                Some(Input::Frozen)
            }
            Effect::Thaw => {
                self.frozen = false;
                Some(Input::Thawed)
            }
            Effect::ClearRuntime => {
                self.announced = false;
                None
            }
            Effect::Commit => {
                self.durable = Some(self.life.state().clone());
                None
            }
            Effect::Remove if choices.choose() => Some(Input::RemoveFailed),
            Effect::Remove => {
                self.durable = None;
                Some(Input::RemoveDone)
            }
        }
    }

    /// What holds of every list of effects.
    fn check_effects(&self, before: &Lifecycle, input: &Input, list: &[Effect]) {
        let after = self.life.state();
        if list.contains(&Effect::Launch) {
            assert!(!self.alive, "{input:?} launches a second run");
            let asked = matches!(input, Input::Start | Input::Restart { .. });
            let always =
                matches!(input, Input::EngineStarted) && before.policy == RestartPolicy::Always;
            let wanted = asked || always || self.wish != Wish::End;
            assert!(wanted, "{input:?} starts what a person stopped: {before:?}");
        }
        let lasting = |phase| !matches!(phase, Phase::Starting | Phase::Removing | Phase::Removed);
        if before.state.phase != after.phase && lasting(after.phase) {
            assert_eq!(list.last(), Some(&Effect::Commit), "{input:?}: {list:?}");
        }
        if let Some(at) = list.iter().position(|e| matches!(e, Effect::Signal(_))) {
            let recorded = list[..at].contains(&Effect::Commit);
            let row = self.durable.as_ref().map(|row| &row.restart);
            // Without a policy, only a restart that was asked for can start it.
            let none = before.policy == RestartPolicy::No
                && row.is_none_or(|row| row.asked == after.restart.asked);
            let tick = matches!(input, Input::Tick);
            assert!(
                recorded || none || tick || row == Some(&after.restart),
                "{input:?} is done before it is recorded"
            );
        }
        if matches!(input, Input::Ended(_)) && self.wish == Wish::Again && !self.life.remove_at_end
        {
            assert_eq!(after.phase, Phase::Restarting, "a restart was promised");
        }
    }

    /// As the boot does: the same machine, fed with what is found.
    fn boot(&mut self, choices: &mut Choices) -> Result<(), Killed> {
        let Some(mut state) = self.durable.clone() else {
            return Ok(());
        };
        let (auto_remove, policy) = (self.life.auto_remove, self.life.policy);
        let open = |state| Lifecycle::new(state, auto_remove, policy, dated(9));
        let live = state.phase.is_live();
        let mut first = None;
        if self.alive {
            first = Some(Input::Started(launched()));
        } else if live || (self.announced && self.record.is_some()) {
            if !live {
                let mut life = open(state);
                life.step(Input::Started(launched()), moment(0)).unwrap();
                state = life.state().clone();
            }
            first = Some(Input::Ended(self.end()));
        } else {
            self.announced = false;
            if auto_remove && state.phase == Phase::Exited {
                first = Some(Input::Remove { force: false });
            }
        }
        self.life = open(state);
        if let Some(input) = first {
            self.give(input, choices)?;
        }
        if self.alive {
            let frozen = if self.frozen {
                Input::Frozen
            } else {
                Input::Thawed
            };
            self.give(frozen, choices)?;
        }
        if self.life.state().phase != Phase::Created {
            self.give(Input::EngineStarted, choices)?;
        }
        Ok(())
    }

    fn end(&self) -> End {
        match self.record {
            Some(code) => exit(code),
            None => End::Unseen {
                at: Timestamp::from_nanos(9),
                reason: "gone".to_owned(),
            },
        }
    }

    /// Makes a move, if it is possible.
    fn make(&mut self, step: &Move, choices: &mut Choices) -> bool {
        let done = match step {
            Move::Request(input) => {
                let was = self.life.state().phase;
                let given = self.give(input.clone(), choices);
                match given {
                    Ok(true) => self.note(was, input),
                    Ok(false) => {}
                    // Nobody was told what became of it.
                    Err(Killed) => self.wish = Wish::None,
                }
                given.map(drop)
            }
            Move::Policy(policy) => {
                self.life.set_policy(*policy);
                self.durable = Some(self.life.state().clone());
                // Without a policy a stop is recorded with the end that it leads to: of one that
                // another engine has found, a policy that comes later does not know.
                if !self.life.state().restart.cancelled {
                    self.wish = Wish::None;
                }
                Ok(())
            }
            Move::Wait if self.life.deadline().is_some() => {
                let restarting = self.life.state().phase == Phase::Restarting;
                let given = self.give(Input::Tick, choices).map(drop);
                let moved = self.life.state().phase != Phase::Restarting;
                assert!(!restarting || moved || given.is_err(), "it waits for ever");
                given
            }
            Move::Exit(code) if self.alive && !self.frozen => {
                (self.alive, self.record) = (false, Some(*code));
                self.give(Input::Ended(exit(*code)), choices).map(drop)
            }
            Move::MonitorKilled if self.alive => {
                (self.alive, self.frozen) = (false, false);
                self.give(Input::Ended(self.end()), choices).map(drop)
            }
            Move::Oom if self.alive => self.give(Input::OomKilled(1), choices).map(drop),
            Move::EngineKilled => Err(Killed),
            _ => return false,
        };
        // Killed again while it boots, until it is through.
        let mut done = done;
        while done.is_err() {
            done = self.boot(choices);
            if self.durable.is_none() {
                return false;
            }
        }
        true
    }

    /// Remembers what a person was promised.
    fn note(&mut self, was: Phase, input: &Input) {
        let ran = was.is_live() || was == Phase::Restarting;
        match input {
            Input::Signal { ends: true, .. } | Input::Stop { .. } if ran => self.wish = Wish::End,
            Input::Remove { .. } if was.is_live() => self.wish = Wish::End,
            Input::Restart { .. } if was.is_live() => self.wish = Wish::Again,
            Input::Restart { .. } => self.wish = Wish::None,
            Input::Start if !ran => self.wish = Wish::None,
            _ => {}
        }
    }

    /// What holds in every state between two inputs.
    fn check(&self) {
        let (life, state) = (&self.life, self.life.state());
        let phase = state.phase;
        if phase == Phase::Removed {
            assert_eq!(self.durable, None);
            assert_eq!(life.deadline(), None);
            return;
        }
        assert!(!matches!(phase, Phase::Starting | Phase::Removing));
        assert_eq!(phase.is_live(), self.alive);
        assert_eq!(phase == Phase::Paused, self.alive && self.frozen);
        assert_eq!(state.init.is_some(), phase.is_live());
        assert_eq!(state.monitor.is_some(), phase.is_live());
        assert_eq!(life.restart_at.is_some(), phase == Phase::Restarting);
        assert!(life.kill_at.is_none() || (phase.is_live() && life.stopping));
        assert!(phase.is_live() || !(life.stopping || life.killed || life.remove_at_end));
        assert!(!(life.killed && phase == Phase::Paused) || self.frozen);
        let waits = phase == Phase::Restarting;
        assert!(waits || state.restart.due.is_none(), "a date for nothing");
        assert!(!(state.restart.asked && state.restart.cancelled));
        let ended = state.finished_at.is_set();
        assert!(ended || !matches!(phase, Phase::Exited | Phase::Restarting));
        let durable = self.durable.as_ref().expect("removed, and nobody knows");
        assert_eq!(durable.phase, phase);
        assert_eq!(durable.exit_code, state.exit_code);
        assert_eq!(durable.restart.due, state.restart.due);
    }

    /// As much of it as makes a difference.
    fn key(&self) -> String {
        let state = |s: &State| {
            let restart = &s.restart;
            (
                (s.phase, s.exit_code == 0, s.error.is_empty()),
                (s.started_at.is_set(), s.finished_at.is_set()),
                (s.oom_killed, s.oom_kills > 0),
                (restart.count.min(2), restart.due.is_some()),
                (restart.manually_stopped, restart.cancelled, restart.asked),
            )
        };
        let life = &self.life;
        let timers = [life.kill_at, life.restart_at, life.launched_at].map(|t| t.is_some());
        format!(
            "{:?} {:?} {timers:?} {:?} {:?}",
            state(life.state()),
            self.durable.as_ref().map(state),
            (life.policy, life.remove_at_end, life.stopping, life.killed),
            (
                self.alive,
                self.frozen,
                self.announced,
                self.record,
                self.wish
            ),
        )
    }
}

fn moves() -> Vec<Move> {
    let signal = |signal, ends| Input::Signal { signal, ends };
    let requests = [
        Input::Start,
        signal(1, false),
        signal(15, true),
        signal(9, true),
        stop(None),
        stop(Some(0)),
        restart(),
        Input::Pause,
        Input::Unpause,
        Input::Change,
        Input::Remove { force: false },
        Input::Remove { force: true },
    ];
    let policies = [
        RestartPolicy::No,
        RestartPolicy::Always,
        RestartPolicy::UnlessStopped,
        RestartPolicy::OnFailure { max: 2 },
    ];
    let mut list: Vec<Move> = requests.into_iter().map(Move::Request).collect();
    list.extend(policies.map(Move::Policy));
    list.extend([
        Move::Wait,
        Move::Exit(0),
        Move::Exit(1),
        Move::MonitorKilled,
        Move::Oom,
        Move::EngineKilled,
    ]);
    list
}

/// Decisions of one move that are gone through.
const KILLS_MAX: usize = 6;

/// Goes through everything from a new container on. Returns how many states and steps there were.
fn explore(auto_remove: bool) -> (usize, usize) {
    let first = World::new(RestartPolicy::No, auto_remove);
    let mut known = BTreeMap::from([(first.key(), 0)]);
    let mut queue = VecDeque::from([first]);
    // From where a state was come to; those that are gone are number `GONE`.
    const GONE: usize = usize::MAX;
    let mut into: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let (mut at, mut steps) = (0, 0);
    while let Some(world) = queue.pop_front() {
        for step in moves() {
            // What removes itself has no policy.
            if auto_remove && matches!(step, Move::Policy(_)) {
                continue;
            }
            let mut choices = Choices::default();
            loop {
                let mut next = world.clone();
                next.story.push(step.clone());
                let _teller = Teller(&world.story, &step);
                let possible = next.make(&step, &mut choices);
                steps += 1;
                let gone = next.durable.is_none();
                if possible && !gone {
                    next.check();
                    let number = known.len();
                    let number = *known.entry(next.key()).or_insert_with(|| {
                        queue.push_back(next);
                        number
                    });
                    into.entry(number).or_default().insert(at);
                } else if gone {
                    into.entry(GONE).or_default().insert(at);
                }
                // Ever more kills during one boot lead to nothing new.
                let kills = choices.script.len() > KILLS_MAX;
                if kills {
                    choices.script.truncate(KILLS_MAX);
                }
                if !choices.next() {
                    break;
                }
            }
        }
        at += 1;
    }
    let mut reached = BTreeSet::new();
    let mut open = vec![GONE];
    while let Some(number) = open.pop() {
        for from in into.get(&number).into_iter().flatten() {
            if reached.insert(*from) {
                open.push(*from);
            }
        }
    }
    assert_eq!(reached.len(), known.len(), "from some there is no way out");
    (known.len(), steps)
}

#[test]
fn whatever_happens_in_whatever_state_the_rules_hold() {
    for (auto_remove, least) in [(false, 200), (true, 30)] {
        let (states, steps) = explore(auto_remove);
        assert!(
            states > least,
            "{states} states in {steps} steps are too few to be all, removes itself: {auto_remove}"
        );
    }
}
