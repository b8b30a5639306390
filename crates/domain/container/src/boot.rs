//! Start of the engine: the same state machine, fed with what was found.
//!
//! The records are published as they are, and each container's own task looks for its run: the
//! monitor is adopted, or the exit record read, or the loss noted. They look side by side, and who
//! asks for a container whose run is not found yet waits for that. A monitor that is there and
//! does not answer is asked again and again.
//!
//! What no record claims is swept before anything is started. The sweep has brakes: it runs after
//! the database was read whole, touches only names that are container ids below this install's
//! own directories, and leaves alone what belongs to a row that could not be read.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use berth_shim::{AdoptError, Task};
use berth_store::Row;
use berth_types::launch::ProcessIdentity;
use berth_types::task::Subject;
use berth_types::{ContainerId, Timestamp, chain, task};
use tokio::task::JoinHandle;

use crate::actor::{self, Origin};
use crate::effects;
use crate::error::ContainerError;
use crate::groups;
use crate::lifecycle::{End, Input, Launched, Lifecycle};
use crate::machine;
use crate::network;
use crate::record::{Phase, Record};
use crate::service::Containers;
use crate::shared::{Deps, Shared};
use crate::tables;
use crate::threads::Work;

/// How long the first answer of an engine that starts waits for what its containers are: those
/// that are well have been found by then, unless there are very many.
const PROMPT: Duration = Duration::from_millis(1500);
/// Before a monitor that did not answer is asked again; doubled each time up to the second.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What the boot found, for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootReport {
    /// Records read.
    pub containers: usize,
    /// Monitors adopted so far.
    pub adopted: usize,
    /// Runs that ended while no engine was there.
    pub ended: usize,
    /// Containers whose run is still looked for.
    pub sought: usize,
    /// Leftovers swept.
    pub swept: usize,
    /// Rows that could not be read.
    pub damaged: usize,
}

/// How far the containers' tasks are with looking for their runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Search {
    /// Those that look for the first time.
    pub sought: usize,
    pub adopted: usize,
    pub ended: usize,
}

/// What a record's run turned out to be.
pub(crate) enum Found {
    /// Nothing to do.
    Settled,
    /// Its monitor lives.
    Alive(Box<dyn Task>),
    /// It is over.
    Over(End),
    /// It began and ended, and no engine ever knew.
    Missed(End),
    /// Its monitor is there and cannot be talked to: it runs. It may answer later if it is silent;
    /// one that speaks another protocol will not.
    OutOfReach { silent: bool },
}

/// A run that is looked for.
pub(crate) struct Looking {
    found: JoinHandle<Found>,
    pause: Duration,
}

impl Looking {
    /// Looks for the first time.
    pub(crate) fn first(shared: &Arc<Shared>, id: ContainerId, phase: Phase) -> Self {
        Self::after(shared, id, phase, Duration::ZERO)
    }

    /// Looks once more, after a pause.
    pub(crate) fn after(
        shared: &Arc<Shared>,
        id: ContainerId,
        phase: Phase,
        pause: Duration,
    ) -> Self {
        let shared = Arc::clone(shared);
        let found = async move {
            tokio::time::sleep(pause).await;
            let looker = Arc::clone(&shared);
            let work = Work::adopting(id, "find the run");
            let found = shared.threads.run(work, move || look(&looker, id, phase));
            found.await.unwrap_or(Found::OutOfReach { silent: true })
        };
        Self {
            found: machine::spawn(task::begin("take-up", id).run(found)),
            pause,
        }
    }

    /// The pause before the look after this one.
    pub(crate) fn next_pause(&self) -> Duration {
        self.pause.saturating_mul(2).clamp(ASK_AGAIN.0, ASK_AGAIN.1)
    }

    /// Resolves to what was found.
    pub(crate) async fn found(&mut self) -> Found {
        let found = (&mut self.found).await;
        found.unwrap_or(Found::OutOfReach { silent: true })
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        // A thread that looks already finishes, for nobody.
        self.found.abort();
    }
}

impl Containers {
    /// Reads the records, publishes them, sweeps what nobody claims, and has every container look
    /// for its run. Waits for those that are found promptly, and not for the others.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open(deps: Deps) -> Result<(Self, BootReport), ContainerError> {
        let shared = Arc::new(Shared::new(deps));
        let mut report = BootReport::default();
        let records = load(&shared, &mut report)?;
        let known: HashSet<ContainerId> = records.iter().map(|r| r.id).collect();
        let adopter = Arc::clone(&shared);
        let places = task::begin("take-up-places", Subject::Engine);
        let records = places.run(async {
            machine::blocking(task::blocking(move || endpoints(&adopter, records))).await
        });
        let records = records.await.map_err(|_| ContainerError::ShuttingDown)?;
        shared
            .search
            .send_modify(|search| search.sought = records.len());
        for record in records {
            let (id, name) = (record.id, record.name.clone());
            let handle = actor::spawn(Arc::clone(&shared), record, Origin::Boot);
            let mut index = shared.write_index();
            index.by_name.insert(name, id);
            index.by_id.insert(id, handle);
        }
        let sweeper = Arc::clone(&shared);
        let sweeping = task::begin("sweep", Subject::Engine).run(async {
            machine::blocking(task::blocking(move || sweep(&sweeper, &known))).await
        });
        report.swept = sweeping.await.map_err(|_| ContainerError::ShuttingDown)?;
        shared.set_swept();
        let mut search = shared.search.subscribe();
        let over = search.wait_for(|search| search.sought == 0);
        if tokio::time::timeout(PROMPT, over).await.is_err() {
            machine::spawn(note_the_end(search.clone()));
        }
        let search = *search.borrow();
        report.adopted = search.adopted;
        report.ended = search.ended;
        report.sought = search.sought;
        Ok((Self { shared }, report))
    }
}

/// Tells the log when the last run was found, where the boot did not wait for it.
async fn note_the_end(mut search: tokio::sync::watch::Receiver<Search>) {
    if let Ok(search) = search.wait_for(|search| search.sought == 0).await {
        tracing::info!(
            search.adopted,
            search.ended,
            "every container's run was looked for"
        );
    }
}

/// Takes up the places on the network of all that may run, before any of it is given to others.
fn endpoints(shared: &Shared, mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        record.state.endpoint = network::adopt(shared, record.id);
    }
    records
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

/// Brings the state of a run whose start no engine recorded to where it runs.
pub(crate) fn begin_unseen(life: &mut Lifecycle, at: Timestamp) {
    let nobody = ProcessIdentity {
        pid: 0,
        start_time: 0,
    };
    let launched = Launched {
        init: nobody,
        monitor: nobody,
        at,
    };
    // A run that is in no state to begin has been seen.
    let _ = life.step(Input::Started(launched), actor::now().instant);
}

/// When a run was over, as far as anybody knows.
pub(crate) fn end_of(end: &End) -> Timestamp {
    match end {
        End::Recorded(exit) => exit.at,
        End::Unseen { at, .. } => *at,
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
            let silent = !matches!(error, AdoptError::Version { .. });
            return Found::OutOfReach { silent };
        }
    }
    let record = effects::read_exit_record(shared, id);
    effects::clear_unfinished_record(shared, id);
    effects::kill_cgroup(shared, id);
    match (phase.is_live(), record) {
        (true, Some(record)) => Found::Over(End::Recorded(record)),
        (true, None) => Found::Over(End::Unseen {
            at: machine::date(),
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
    shared.parents.sweep(&shared.parent_notes());
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
