//! Further processes in containers that run: what they are, and who remembers them.
//!
//! They are kept in memory only. The processes themselves belong to their container's monitor and
//! go on when the engine is replaced; the new engine does not know them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_types::oci::ConsoleSize;
use berth_types::{ContainerId, ExecId};
use tokio::sync::watch;

use crate::error::ContainerError;

/// Processes that are remembered, over all containers. At the limit the oldest that has ended is
/// forgotten, then the oldest that was never started.
pub const EXECS_MAX: usize = 1024;
/// Bytes that their settings may take, over all containers: the same goes at this limit.
const EXECS_BYTES_MAX: usize = 16 << 20;

/// What is to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSettings {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables over the container's, `NAME=value`; a bare `NAME` takes one away.
    pub env: Vec<String>,
    /// `user[:group]`; empty for the container's.
    pub user: String,
    /// Working directory; empty for the container's.
    pub working_dir: String,
    /// All rights of the host's root.
    pub privileged: bool,
    /// A terminal of its own.
    pub tty: bool,
    /// Which streams the starting client gets: input, output, errors.
    pub attach: [bool; 3],
    /// Size of the terminal at its start, where the creating client said.
    pub console_size: Option<ConsoleSize>,
    /// The keys that detach a client, as they were given; empty for the default.
    pub detach_keys: String,
}

/// Where such a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecState {
    /// Never started.
    Created,
    /// On its way.
    Starting,
    /// Runs, with this process id on the host.
    Running(i32),
    /// Is over.
    Ended {
        /// Exit code as a shell counts; 126 or 127 where it could not be started.
        code: i32,
        /// The process id that it had; 0 for one that could not be started.
        pid: i32,
    },
}

impl ExecState {
    /// Whether it is over.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Ended { .. })
    }
}

/// A further process in a container.
#[derive(Debug)]
pub struct Exec {
    /// Its identity.
    pub id: ExecId,
    /// The container.
    pub container: ContainerId,
    /// What runs.
    pub settings: ExecSettings,
    state: watch::Sender<ExecState>,
}

impl Exec {
    pub(crate) fn new(id: ExecId, container: ContainerId, settings: ExecSettings) -> Self {
        Self {
            id,
            container,
            settings,
            state: watch::Sender::new(ExecState::Created),
        }
    }

    /// Bytes that it takes, about.
    fn weight(&self) -> usize {
        let own = &self.settings;
        let texts = own.command.iter().chain(&own.env);
        let texts = texts.chain([&own.user, &own.working_dir, &own.detach_keys]);
        let texts: usize = texts.map(|text| size_of::<String>() + text.len()).sum();
        size_of::<Self>() + texts
    }

    /// Where it is in its life.
    pub fn state(&self) -> ExecState {
        *self.state.borrow()
    }

    /// Resolves when its exit code is recorded.
    pub async fn ended(&self) {
        let mut state = self.state.subscribe();
        // The sender lives in `self`.
        let _ = state.wait_for(|state| state.has_ended()).await;
    }

    /// Resolves when it runs, or is over.
    pub(crate) async fn begun(&self) -> ExecState {
        let mut state = self.state.subscribe();
        let over = |state: &ExecState| !matches!(state, ExecState::Created | ExecState::Starting);
        // The sender lives in `self`.
        let _ = state.wait_for(over).await;
        self.state()
    }

    /// Takes the one start that there is.
    pub(crate) fn claim(&self) -> Result<(), ContainerError> {
        let free = self.state.send_if_modified(|state| {
            let free = *state == ExecState::Created;
            if free {
                *state = ExecState::Starting;
            }
            free
        });
        if free {
            return Ok(());
        }
        let how = if self.state().has_ended() {
            "has already run"
        } else {
            "is already running"
        };
        Err(ContainerError::Conflict(format!(
            "Error: Exec command {} {how}: create another",
            self.id
        )))
    }

    pub(crate) fn set(&self, state: ExecState) {
        self.state.send_replace(state);
    }
}

/// The processes that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<ExecId, Arc<Exec>>,
    /// Oldest first.
    order: VecDeque<ExecId>,
    /// The sum of their weights.
    bytes: usize,
}

impl Execs {
    /// Remembers one more.
    pub(crate) fn insert(&self, exec: Arc<Exec>) -> Result<(), ContainerError> {
        let mut table = self.table();
        let weight = exec.weight();
        while table.by_id.len() >= EXECS_MAX || table.bytes + weight > EXECS_BYTES_MAX {
            if !table.make_room() {
                return Err(ContainerError::Conflict(format!(
                    "{} further processes run in containers already; {EXECS_MAX}, with {EXECS_BYTES_MAX} bytes of arguments and environment, are the most: end some first",
                    table.by_id.len()
                )));
            }
        }
        table.bytes += weight;
        table.order.push_back(exec.id);
        table.by_id.insert(exec.id, exec);
        Ok(())
    }

    /// The one with this id.
    pub(crate) fn get(&self, id: &ExecId) -> Option<Arc<Exec>> {
        self.table().by_id.get(id).cloned()
    }

    /// Those of a container that are not over, oldest first.
    pub(crate) fn of(&self, container: ContainerId) -> Vec<ExecId> {
        let table = self.table();
        let open = |id: &&ExecId| {
            let exec = table.by_id.get(id);
            exec.is_some_and(|e| e.container == container && !e.state().has_ended())
        };
        table.order.iter().filter(open).copied().collect()
    }

    /// Forgets those of a container that was removed.
    pub(crate) fn forget(&self, container: ContainerId) {
        let mut table = self.table();
        let Table {
            by_id,
            order,
            bytes,
        } = &mut *table;
        by_id.retain(|_, exec| {
            let stays = exec.container != container;
            if !stays {
                *bytes = bytes.saturating_sub(exec.weight());
            }
            stays
        });
        order.retain(|id| by_id.contains_key(id));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn make_room(&mut self) -> bool {
        let oldest = |test: &dyn Fn(ExecState) -> bool| {
            let fits = |id: &ExecId| self.by_id.get(id).is_some_and(|e| test(e.state()));
            self.order.iter().position(fits)
        };
        let at =
            oldest(&ExecState::has_ended).or_else(|| oldest(&|state| state == ExecState::Created));
        match at.and_then(|at| self.order.remove(at)) {
            Some(id) => match self.by_id.remove(&id) {
                Some(exec) => {
                    self.bytes = self.bytes.saturating_sub(exec.weight());
                    true
                }
                None => false,
            },
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(number: u32, container: u8) -> Arc<Exec> {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        let container = ContainerId::from_bytes([container; 32]);
        let id = ExecId::from_bytes(bytes);
        Arc::new(Exec::new(id, container, ExecSettings::default()))
    }

    const ENDED: ExecState = ExecState::Ended { code: 3, pid: 7 };

    #[test]
    fn what_is_over_makes_room_and_what_runs_does_not() {
        let execs = Execs::default();
        let all: Vec<_> = (0..u32::try_from(EXECS_MAX).unwrap())
            .map(|n| exec(n, 1))
            .collect();
        for one in &all {
            execs.insert(Arc::clone(one)).unwrap();
            one.set(ExecState::Running(1));
        }
        execs.insert(exec(5000, 1)).unwrap_err();
        all[7].set(ExecState::Created);
        all[9].set(ENDED);
        execs.insert(exec(5001, 1)).unwrap();
        assert!(execs.get(&all[9].id).is_none() && execs.get(&all[7].id).is_some());
        execs.insert(exec(5002, 1)).unwrap();
        assert!(execs.get(&all[7].id).is_none() && execs.get(&all[0].id).is_some());
    }

    #[test]
    fn long_arguments_make_room_as_well() {
        let execs = Execs::default();
        let long = |number: u32| {
            let exec = exec(number, 1);
            let settings = ExecSettings {
                command: vec!["x".repeat(EXECS_BYTES_MAX / 4)],
                ..ExecSettings::default()
            };
            Arc::new(Exec::new(exec.id, exec.container, settings))
        };
        let all: Vec<_> = (0..4).map(long).collect();
        for one in &all[..3] {
            execs.insert(Arc::clone(one)).unwrap();
            one.set(ExecState::Running(1));
        }
        execs.insert(Arc::clone(&all[3])).unwrap_err();
        all[1].set(ENDED);
        execs.insert(Arc::clone(&all[3])).unwrap();
        assert!(execs.get(&all[1].id).is_none() && execs.get(&all[0].id).is_some());
        execs.forget(all[0].container);
        assert_eq!(execs.table().bytes, 0);
    }

    #[test]
    fn they_go_with_their_container() {
        let execs = Execs::default();
        let (one, other, ended) = (exec(1, 1), exec(2, 2), exec(3, 1));
        for e in [&one, &other, &ended] {
            execs.insert(Arc::clone(e)).unwrap();
        }
        ended.set(ENDED);
        assert_eq!(execs.of(one.container), [one.id]);
        execs.forget(one.container);
        assert!(execs.get(&one.id).is_none() && execs.get(&ended.id).is_none());
        assert_eq!(execs.of(other.container), [other.id]);
    }

    #[test]
    fn it_is_started_once() {
        let exec = exec(1, 1);
        exec.claim().unwrap();
        let twice = exec.claim().unwrap_err().to_string();
        assert!(twice.contains("is already running"), "{twice}");
        exec.set(ENDED);
        let again = exec.claim().unwrap_err().to_string();
        assert!(again.contains("has already run"), "{again}");
    }
}
