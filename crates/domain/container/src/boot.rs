//! Start of the engine: the same state machine, fed with what was found.
//!
//! For each record the monitor is adopted, or the exit record read, or the loss noted; then what
//! no record claims is swept. The sweep has brakes: it runs after the database was read whole,
//! touches only names that are container ids below this install's own directories, and leaves
//! alone what belongs to a row that could not be read.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, PoisonError};

use berth_shim::{AdoptError, Task};
use berth_store::Row;
use berth_types::launch::ProcessIdentity;
use berth_types::{ContainerId, Timestamp, chain};

use crate::actor;
use crate::effects;
use crate::error::ContainerError;
use crate::groups;
use crate::lifecycle::{End, Input, Launched};
use crate::network;
use crate::record::{Phase, Record};
use crate::service::Containers;
use crate::shared::{Deps, Shared};
use crate::tables;

/// What the boot found, for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootReport {
    /// Records read.
    pub containers: usize,
    /// Monitors adopted.
    pub adopted: usize,
    /// Runs that ended while no engine was there.
    pub ended: usize,
    /// Leftovers swept.
    pub swept: usize,
    /// Rows that could not be read.
    pub damaged: usize,
}

/// What a record's run turned out to be.
enum Found {
    /// Nothing to do.
    Settled,
    /// Its monitor lives.
    Alive(Box<dyn Task>),
    /// It is over.
    Over(End),
    /// It began and ended, and no engine ever knew.
    Missed(End),
    /// Its monitor is there and cannot be talked to: it runs, and is left alone.
    OutOfReach,
}

impl Containers {
    /// Reads the records, adopts the monitors, settles what ended, sweeps what nobody claims.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open(deps: Deps) -> Result<(Self, BootReport), ContainerError> {
        let shared = Arc::new(Shared::new(deps));
        let mut report = BootReport::default();
        let records = load(&shared, &mut report)?;
        let known: HashSet<ContainerId> = records.iter().map(|r| r.id).collect();
        for record in records {
            take_up(&shared, record, &mut report).await;
        }
        let sweeper = Arc::clone(&shared);
        report.swept = tokio::task::spawn_blocking(move || sweep(&sweeper, &known))
            .await
            .map_err(|_| ContainerError::ShuttingDown)?;
        shared.set_swept();
        Ok((Self { shared }, report))
    }
}

fn load(shared: &Shared, report: &mut BootReport) -> Result<Vec<Record>, ContainerError> {
    let rows = shared
        .db
        .read(|txn| txn.scan(&tables::CONTAINERS).map_err(ContainerError::from))?;
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        match row {
            Row::Whole(_, record) => records.push(record),
            Row::Damaged {
                key: id, reason, ..
            } => {
                tracing::error!(?id, %reason, "container record cannot be read and is left alone");
                shared.write_index().damaged.push((id, reason));
                report.damaged += 1;
            }
        }
    }
    report.containers = records.len();
    Ok(records)
}

async fn take_up(shared: &Arc<Shared>, mut record: Record, report: &mut BootReport) {
    let looker = Arc::clone(shared);
    let (id, phase) = (record.id, record.state.phase);
    let found = tokio::task::spawn_blocking(move || {
        let found = look(&looker, id, phase);
        let runs = matches!(found, Found::Alive(_) | Found::OutOfReach);
        let endpoint = runs.then(|| network::adopt(&looker, id)).flatten();
        (found, endpoint)
    });
    let (found, endpoint) = found.await.unwrap_or((Found::Settled, None));
    record.state.endpoint = endpoint;
    let (adopted, first) = match found {
        Found::Alive(task) => {
            report.adopted += 1;
            (Some(task), None)
        }
        Found::Over(end) => {
            report.ended += 1;
            (None, Some(Input::Ended(end)))
        }
        Found::Missed(end) => {
            report.ended += 1;
            let at = match &end {
                End::Recorded(exit) => exit.at,
                End::Unseen { at, .. } => *at,
            };
            begin_unseen(&mut record, at);
            (None, Some(Input::Ended(end)))
        }
        Found::OutOfReach => {
            if !phase.is_live() {
                begin_unseen(&mut record, Timestamp::now());
            }
            (None, None)
        }
        // A container that removes itself was on its way out when the engine was killed.
        Found::Settled if record.host.auto_remove && phase == Phase::Exited => {
            (None, Some(Input::Remove { force: false }))
        }
        Found::Settled => (None, None),
    };
    let name = record.name.clone();
    let handle = actor::spawn(Arc::clone(shared), record, adopted, first);
    let mut index = shared.write_index();
    index.by_name.insert(name, id);
    index.by_id.insert(id, handle);
}

/// Brings the record of a run whose start no engine recorded to where it runs.
fn begin_unseen(record: &mut Record, at: Timestamp) {
    let nobody = ProcessIdentity {
        pid: 0,
        start_time: 0,
    };
    let launched = Launched {
        init: nobody,
        monitor: nobody,
        at,
    };
    let mut life =
        crate::lifecycle::Lifecycle::new(record.state.clone(), false, record.host.restart);
    if life.step(Input::Started(launched)).is_ok() {
        record.state = life.state().clone();
    }
}

/// Looks for the run of one container.
fn look(shared: &Shared, id: ContainerId, phase: Phase) -> Found {
    let announced = shared.runtime_dir(id).exists();
    if !announced && !phase.is_live() {
        return Found::Settled;
    }
    match shared.launcher.adopt(&id) {
        Ok(task) => {
            crate::images::resume(shared, id);
            return Found::Alive(task);
        }
        Err(AdoptError::Gone { .. }) => {}
        Err(error) => {
            tracing::error!(%id, error = %chain(&error), "monitor not adopted");
            return Found::OutOfReach;
        }
    }
    let record = effects::read_exit_record(shared, id);
    effects::kill_cgroup(shared, id);
    match (phase.is_live(), record) {
        (true, Some(record)) => Found::Over(End::Recorded(record)),
        (true, None) => Found::Over(End::Unseen {
            at: Timestamp::now(),
            reason: "the container's monitor was gone when the engine started: it was killed, or the machine restarted".to_owned(),
        }),
        (_, Some(record)) => Found::Missed(End::Recorded(record)),
        (_, None) => {
            if let Err(error) = effects::clear_runtime(shared, id) {
                tracing::warn!(%id, %error, "runtime directory of an interrupted start not cleared");
            }
            Found::Settled
        }
    }
}

/// Sweeps what no record claims. Returns how many things that were.
fn sweep(shared: &Shared, known: &HashSet<ContainerId>) -> usize {
    let damaged: HashSet<ContainerId> = shared
        .read_index()
        .damaged
        .iter()
        .filter_map(|(id, _)| *id)
        .collect();
    let orphan = |id: &ContainerId| !known.contains(id) && !damaged.contains(id);
    let mut swept = 0;
    for id in ids_in(&shared.exec_root.join("containers")).filter(orphan) {
        effects::kill_cgroup(shared, id);
        match effects::clear_runtime(shared, id) {
            Ok(()) => swept += 1,
            Err(error) => tracing::warn!(%id, %error, "orphaned runtime directory not removed"),
        }
    }
    let running = running(shared, known);
    for (id, path) in groups::found(shared, |id| known.contains(id)) {
        if !running.contains(&id) && !damaged.contains(&id) {
            effects::kill_group(id, &path);
            swept += 1;
        }
    }
    sweep_network(shared, known, damaged);
    swept
}

/// The containers that run, or are about to.
fn running(shared: &Shared, known: &HashSet<ContainerId>) -> HashSet<ContainerId> {
    let index = shared.read_index();
    let live = |id: &&ContainerId| {
        index
            .by_id
            .get(id)
            .is_some_and(|h| h.snapshot.borrow().state.phase.is_live())
            || shared.runtime_dir(**id).exists()
    };
    known.iter().filter(live).copied().collect()
}

/// Gives back the places on the network that no run has any more. A container whose row cannot be
/// read may run: it keeps what its runtime directory tells of.
fn sweep_network(shared: &Shared, known: &HashSet<ContainerId>, damaged: HashSet<ContainerId>) {
    for id in &damaged {
        network::adopt(shared, *id);
    }
    let _gate = shared.gate.write().unwrap_or_else(PoisonError::into_inner);
    let live: BTreeSet<ContainerId> = running(shared, known).into_iter().chain(damaged).collect();
    shared.networks.sweep(&live);
}

/// The entries of a directory that are container ids.
pub(crate) fn ids_in(dir: &Path) -> impl Iterator<Item = ContainerId> + use<> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
