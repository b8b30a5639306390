//! Monitors, programs and control groups without any of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_shim::fake::{ExecOutcome, FakeLauncher, Outcome};
use berth_shim::protocol::{AttachWant, LaunchRequest};
use berth_shim::{AdoptError, ExecRequest, ExecTask, LaunchError, Launcher, Task, TerminalState};
use berth_types::ContainerId;
use berth_types::launch::{
    EXIT_RECORD_VERSION, ExitRecord, ProcessIdentity, StartFailure, StartFailureKind, Started,
};
use berth_types::oci::ConsoleSize;
use tokio::time::sleep;

use super::seam::{Chance, chance, date, spawn};
use crate::error::ContainerError;
use crate::lifecycle::EXIT_UNKNOWN;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// How long a program in the kernel's hands survives SIGKILL.
const HANGS: Duration = Duration::from_secs(15);

/// A program that runs.
#[derive(Debug)]
struct Run {
    number: u64,
    frozen: bool,
    /// What it dies of once it is thawed.
    pending: Option<i32>,
    /// Whether SIGTERM ends it.
    obeys: bool,
    /// Whether SIGKILL takes its time.
    hangs: bool,
    /// It ends with this code in a moment.
    ending: Option<i32>,
}

#[derive(Debug, Default)]
struct State {
    runs: BTreeMap<ContainerId, Run>,
    /// Runs that were ever started, and how those that are over ended.
    started: BTreeMap<ContainerId, u64>,
    ended: BTreeMap<ContainerId, Vec<(u64, i32)>>,
    /// Nothing fails, and nothing ends on its own.
    calm: bool,
    /// Launches while another run of the container lived.
    doubles: Vec<ContainerId>,
}

/// The machine below the engines of one history.
#[derive(Clone, Default)]
pub(crate) struct World {
    fake: FakeLauncher,
    state: Arc<Mutex<State>>,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// The control groups of the history that this thread is in.
pub(crate) fn groups() -> Option<World> {
    WORLD.with_borrow(Option::clone)
}

/// The world that this thread has from now on.
pub(super) fn set(world: Option<World>) {
    WORLD.set(world);
}

fn draw() -> Arc<Chance> {
    chance().unwrap_or_else(|| Chance::new(0))
}

impl World {
    pub(super) fn new(data_root: &std::path::Path) -> Self {
        Self {
            fake: FakeLauncher::new().with_data_root(data_root),
            ..Self::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn calm(&self, calm: bool) {
        let mut state = self.state();
        state.calm = calm;
        for run in state.runs.values_mut() {
            run.hangs &= !calm;
        }
    }

    pub(super) fn running(&self) -> Vec<ContainerId> {
        self.state().runs.keys().copied().collect()
    }

    /// The number of the run that lives, if one does.
    pub(super) fn run(&self, id: &ContainerId) -> Option<u64> {
        self.state().runs.get(id).map(|run| run.number)
    }

    pub(super) fn is_frozen_now(&self, id: &ContainerId) -> bool {
        self.state().runs.get(id).is_some_and(|run| run.frozen)
    }

    pub(super) fn hangs(&self, id: &ContainerId) -> bool {
        self.state().runs.get(id).is_some_and(|run| run.hangs)
    }

    pub(super) fn started(&self, id: &ContainerId) -> u64 {
        self.state().started.get(id).copied().unwrap_or(0)
    }

    /// How a run ended, if it has.
    pub(super) fn code_of(&self, id: &ContainerId, number: u64) -> Option<i32> {
        let state = self.state();
        let all = state.ended.get(id)?;
        all.iter()
            .find(|(run, _)| *run == number)
            .map(|(_, code)| *code)
    }

    pub(super) fn doubles(&self) -> Vec<ContainerId> {
        self.state().doubles.clone()
    }

    /// Ends a run with its record, as its monitor does.
    pub(super) fn end(&self, id: ContainerId, number: u64, code: i32) {
        let mut state = self.state();
        match state.runs.get_mut(&id) {
            Some(run) if run.number == number && run.frozen => run.pending = Some(code),
            Some(run) if run.number == number => {
                state.runs.remove(&id);
                state.ended.entry(id).or_default().push((number, code));
                let record = ExitRecord {
                    version: EXIT_RECORD_VERSION,
                    code,
                    oom_killed: false,
                    at: date(),
                    reason: None,
                };
                self.fake.exit_with(&id, &record);
            }
            _ => {}
        }
    }

    /// Kills a monitor: its program dies with it, and nobody writes a record.
    pub(super) fn kill_monitor(&self, id: ContainerId) {
        let mut state = self.state();
        if let Some(run) = state.runs.remove(&id) {
            let ended = state.ended.entry(id).or_default();
            ended.push((run.number, EXIT_UNKNOWN));
            self.fake.kill_monitor(&id);
        }
    }

    fn later(&self, after: Duration, id: ContainerId, number: u64, code: i32) {
        let world = self.clone();
        spawn(async move {
            sleep(after).await;
            world.end(id, number, code);
        });
    }

    fn dies(&self, after: Duration, id: ContainerId, code: i32) {
        let number = {
            let mut state = self.state();
            let Some(run) = state.runs.get_mut(&id) else {
                return;
            };
            if run.frozen {
                run.pending = Some(code);
                return;
            }
            run.ending = Some(code);
            run.number
        };
        self.later(after, id, number, code);
    }

    /// A program ends on its own, with any code, or its monitor is killed.
    pub(super) fn disturb(&self, chance: &Chance) {
        let calm = self.state().calm;
        let running = self.running();
        if calm || running.is_empty() {
            return;
        }
        let id = chance.pick(&running);
        let frozen = self.is_frozen_now(&id);
        match chance.below(4) {
            0 => self.kill_monitor(id),
            _ if frozen => {}
            _ => self.dies(chance.millis(5), id, chance.pick(&[0, 0, 1, 3, 139])),
        }
    }

    /// The engine is gone: what was about to end does so now, or when the next one is there.
    pub(super) fn without_engine(&self, chance: &Chance) {
        let ending: Vec<_> = {
            let state = self.state();
            let runs = state.runs.iter();
            runs.filter_map(|(id, run)| Some((*id, run.number, run.ending?)))
                .collect()
        };
        for (id, number, code) in ending {
            if chance.percent(60) {
                self.end(id, number, code);
            }
        }
    }

    /// The next engine is there: what is still about to end gets its turn.
    pub(super) fn with_engine(&self) {
        let ending: Vec<_> = {
            let state = self.state();
            let runs = state.runs.iter();
            runs.filter_map(|(id, run)| Some((*id, run.number, run.ending?)))
                .collect()
        };
        for (id, number, code) in ending {
            self.later(draw().millis(300), id, number, code);
        }
    }

    /// The power goes: every process is gone, and no record was written.
    pub(super) fn power_cut(&self) {
        for id in self.running() {
            self.kill_monitor(id);
        }
    }

    fn signal(&self, id: ContainerId, signal: i32) {
        let chance = draw();
        let (obeys, hangs) = match self.state().runs.get(&id) {
            Some(run) => (run.obeys, run.hangs),
            None => return,
        };
        let after = match signal {
            SIGKILL if hangs => HANGS,
            SIGKILL => chance.millis(30),
            SIGTERM if obeys => chance.millis(3000),
            _ => return,
        };
        self.dies(after, id, 128 + signal);
    }

    /// What is left in a group dies.
    pub(crate) fn kill(&self, id: ContainerId) {
        self.kill_monitor(id);
    }

    pub(crate) fn freeze(&self, id: ContainerId, on: bool) -> Result<(), ContainerError> {
        let gone = || ContainerError::Conflict(format!("container {id} has no control group"));
        let pending = {
            let mut state = self.state();
            let calm = state.calm;
            let run = state.runs.get_mut(&id).ok_or_else(gone)?;
            if on && !calm && draw().percent(3) {
                return Err(ContainerError::Conflict("it cannot be frozen".to_owned()));
            }
            run.frozen = on;
            if on {
                // What was on its way to end it does not get to it any more.
                run.pending = run.ending.take();
                None
            } else {
                run.pending.take()
            }
        };
        if let Some(code) = pending {
            self.dies(Duration::from_millis(1), id, code);
        }
        Ok(())
    }

    pub(crate) fn is_frozen(&self, id: ContainerId) -> Result<bool, ContainerError> {
        Ok(self.is_frozen_now(&id))
    }

    fn wrap(&self, id: ContainerId, inner: Box<dyn Task>) -> Box<dyn Task> {
        let started = Started {
            at: date(),
            ..inner.started().clone()
        };
        Box::new(SimTask {
            world: self.clone(),
            id,
            started,
            inner,
        })
    }
}

impl Launcher for World {
    fn launch(
        &self,
        request: &LaunchRequest,
        filter: Option<&[u8]>,
        parked: Vec<OwnedFd>,
    ) -> Result<Box<dyn Task>, LaunchError> {
        let chance = draw();
        let id = request.launch.id;
        let calm = self.state().calm;
        if self.run(&id).is_some() {
            self.state().doubles.push(id);
        }
        let luck = if calm { 99 } else { chance.below(100) };
        let kind = match luck {
            0..4 => Some(StartFailureKind::CommandNotFound),
            4..7 => Some(StartFailureKind::Internal),
            _ => None,
        };
        if let Some(kind) = kind {
            let message = "it cannot be started".to_owned();
            self.fake
                .script(Outcome::Fails(StartFailure { kind, message }));
        } else if luck < 10 {
            self.fake.script(Outcome::MonitorDies);
        }
        let task = self.fake.launch(request, filter, parked)?;
        let number = {
            let mut state = self.state();
            let number = state.started.entry(id).or_default();
            *number += 1;
            let number = *number;
            let run = Run {
                number,
                frozen: false,
                pending: None,
                obeys: calm || chance.percent(70),
                hangs: !calm && chance.percent(3),
                ending: None,
            };
            state.runs.insert(id, run);
            number
        };
        if !calm && chance.percent(35) {
            let after = match chance.below(4) {
                0 => Duration::ZERO,
                1 => chance.millis(20),
                2 => chance.millis(1000),
                _ => chance.millis(30_000),
            };
            if after.is_zero() {
                self.end(id, number, 0);
            } else {
                self.later(after, id, number, chance.pick(&[0, 1, 2, 137]));
            }
        }
        Ok(self.wrap(id, task))
    }

    fn adopt(&self, id: &ContainerId) -> Result<Box<dyn Task>, AdoptError> {
        Ok(self.wrap(*id, self.fake.adopt(id)?))
    }
}

struct SimTask {
    world: World,
    id: ContainerId,
    started: Started,
    inner: Box<dyn Task>,
}

impl Task for SimTask {
    fn started(&self) -> &Started {
        &self.started
    }

    fn monitor(&self) -> ProcessIdentity {
        self.inner.monitor()
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        if signal != SIGKILL {
            self.inner.signal(signal)?;
        }
        self.world.signal(self.id, signal);
        Ok(())
    }

    fn attach(&self, want: AttachWant) -> io::Result<UnixStream> {
        self.inner.attach(want)
    }

    fn exec(
        &self,
        request: &ExecRequest,
        filter: Option<&[u8]>,
        parked: Option<OwnedFd>,
    ) -> Result<Box<dyn ExecTask>, LaunchError> {
        let chance = draw();
        match chance.below(10) {
            0 => self
                .world
                .fake
                .script_exec(ExecOutcome::Fails(StartFailure {
                    kind: StartFailureKind::CommandNotFound,
                    message: "no such program".to_owned(),
                })),
            1..5 => {
                let outcome = ExecOutcome::Exits(b"out".to_vec(), 7);
                self.world.fake.script_exec(outcome);
            }
            _ => {
                self.world.fake.script_exec(ExecOutcome::Runs);
                let (world, id, exec) = (self.world.clone(), self.id, request.exec.id.clone());
                let after = chance.millis(2000);
                spawn(async move {
                    sleep(after).await;
                    world.fake.exec_exit(&id, &exec, 7);
                });
            }
        }
        self.inner.exec(request, filter, parked)
    }

    fn resize(&self, exec: Option<&str>, size: ConsoleSize) -> io::Result<()> {
        self.inner.resize(exec, size)
    }

    fn terminal(&self) -> io::Result<Option<TerminalState>> {
        self.inner.terminal()
    }

    fn take_link(&mut self) -> Option<UnixStream> {
        self.inner.take_link()
    }

    fn reap(&self) {
        self.inner.reap();
    }
}
