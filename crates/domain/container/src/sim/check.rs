//! What holds when nothing is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use berth_image::Images;
use berth_storage::Storage;
use berth_store::{Db, Event, EventKind, Row, Table};
use berth_types::{Caller, ContainerId};

use super::board::Board;
use super::world::World;
use crate::boot::ids_in;
use crate::record::{Phase, Record, RestartPolicy};
use crate::service::Containers;
use crate::tables;

/// One engine, from inside and from below.
pub(super) struct View<'a> {
    pub containers: &'a Containers,
    pub db: &'a Db,
    pub storage: &'a Storage,
    pub images: &'a Images,
    pub world: &'a World,
    pub board: &'a Board,
    pub exec_root: &'a Path,
    pub data_root: &'a Path,
}

fn rows<K: berth_store::Key + Ord, V: serde::Serialize + serde::de::DeserializeOwned>(
    view: &View<'_>,
    table: &Table<K, V>,
) -> BTreeMap<K, V> {
    let found = view.db.read(|txn| txn.scan(table)).unwrap_or_default();
    let whole = found.into_iter().filter_map(|row| match row {
        Row::Whole(key, value) => Some((key, value)),
        Row::Damaged { reason, .. } => {
            view.board.wrong(format!("a damaged row: {reason}"));
            None
        }
    });
    whole.collect()
}

impl View<'_> {
    fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.board.wrong(what());
        }
    }

    /// Who is there, as `ps -a` shows it.
    fn shown(&self) -> BTreeMap<ContainerId, Record> {
        let all = self.containers.all(&Caller::root());
        all.into_iter().map(|r| (r.id, Record::clone(&r))).collect()
    }

    /// What was promised of each container is so: after a boot, and at the end.
    pub(super) fn promises(&self) {
        for own in self.board.owns() {
            let found = self.containers.get(&Caller::root(), &own.id).ok();
            self.expect(own.exists.may_be(&found.is_some()), || {
                let is = if found.is_some() { "is" } else { "is not" };
                format!("{} {is} there: {own:?}", own.id)
            });
            let Some(record) = found else { continue };
            self.expect(own.name.may_be(&record.name), || {
                format!("{} is called {}: {own:?}", own.id, record.name)
            });
            self.expect(own.policy.may_be(&record.host.restart), || {
                format!("{} has another policy: {own:?}", own.id)
            });
        }
    }

    /// Whom somebody stopped stays so, whatever engine there is; but `always` comes back with it.
    pub(super) fn stopped(&self) {
        for own in self.board.owns() {
            let Ok(record) = self.containers.get(&Caller::root(), &own.id) else {
                continue;
            };
            let sure = own.stopped.certain() == Some(&true);
            if sure && !own.policy.may_be(&RestartPolicy::Always) {
                self.expect(!record.state.phase.is_active(), || {
                    format!("{} was stopped and is {:?}", own.id, record.state.phase)
                });
            }
        }
    }

    /// Records, names, programs and directories are of one mind.
    pub(super) fn quiet(&self) {
        let shown = self.shown();
        let durable = rows(self, &tables::CONTAINERS);
        let names = rows(self, &tables::NAMES);
        let running: BTreeSet<ContainerId> = self.world.running().into_iter().collect();
        let ids: BTreeSet<ContainerId> = shown.keys().copied().collect();
        self.expect(durable.keys().eq(ids.iter()), || {
            "the rows are not those that are shown".to_owned()
        });
        for (id, record) in &shown {
            let state = &record.state;
            let lives = running.contains(id);
            self.expect(state.phase.is_live() == lives, || {
                format!("{} is {:?} and its program lives: {lives}", id, state.phase)
            });
            let frozen = self.world.is_frozen_now(id);
            self.expect((state.phase == Phase::Paused) == frozen, || {
                format!("{} is {:?} and frozen: {frozen}", id, state.phase)
            });
            self.expect(state.init.is_some() == lives, || {
                format!(
                    "{} is {:?} and has process {:?}",
                    id, state.phase, state.init
                )
            });
            let between = matches!(
                state.phase,
                Phase::Starting | Phase::Removing | Phase::Removed | Phase::Restarting
            );
            self.expect(!between, || format!("{id} stays {:?}", state.phase));
            self.expect(names.get(&record.name) == Some(id), || {
                format!("the name {} is not that of {id}", record.name)
            });
            if let Some(row) = durable.get(id) {
                self.recorded(record, row);
            }
        }
        self.expect(names.len() == shown.len(), || {
            format!("{} names of {} containers", names.len(), shown.len())
        });
        self.expect(running.is_subset(&ids), || {
            "a program without a record".to_owned()
        });
        let announced: BTreeSet<_> = ids_in(&self.exec_root.join("containers")).collect();
        self.expect(announced == running, || {
            format!("runtime directories of {announced:?}, programs of {running:?}")
        });
        self.directories(&ids);
        self.expect(self.world.doubles().is_empty(), || {
            "a second run was launched beside the first".to_owned()
        });
    }

    /// A record is as it is shown, as far as the next engine would act on it.
    fn recorded(&self, shown: &Record, row: &Record) {
        let of = |record: &Record| {
            let state = &record.state;
            let code = (state.phase != Phase::Running).then_some(state.exit_code);
            let acts = record.host.restart != RestartPolicy::No;
            (
                (record.name.clone(), record.host.clone()),
                (state.phase, code, state.init),
                acts.then_some((state.restart.manually_stopped, state.restart.cancelled)),
                (state.restart.asked, state.restart.due),
            )
        };
        self.expect(of(shown) == of(row), || {
            format!("shown is {:?}, recorded {:?}", shown.state, row.state)
        });
    }

    fn directories(&self, ids: &BTreeSet<ContainerId>) {
        for dir in ["containers", "overlay2"].map(|name| self.data_root.join(name)) {
            let there: BTreeSet<_> = ids_in(&dir).collect();
            self.expect(there.is_subset(ids), || {
                format!("{} has what belongs to nobody", dir.display())
            });
        }
        for finding in self.containers.fsck() {
            // The programs of this world are not in the process table.
            if finding.kind != "process" {
                self.board.wrong(format!("fsck: {}", finding.message));
            }
        }
        // That files are deleted is not waited for: a disk that fails may forget it, until the next
        // engine looks.
        for finding in self.storage.fsck().unwrap_or_default() {
            if !self.board.faults() {
                self.board.wrong(format!("fsck: {}", finding.message));
            }
        }
        for finding in self.images.fsck().unwrap_or_default() {
            self.board.wrong(format!("fsck: {}", finding.message));
        }
    }

    /// Nothing is left of anything.
    pub(super) fn nothing(&self) {
        self.expect(self.shown().is_empty(), || "a container is left".to_owned());
        self.expect(self.world.running().is_empty(), || {
            "a program is left".to_owned()
        });
        self.quiet();
        for dir in ["containers", "overlay2"].map(|name| self.data_root.join(name)) {
            let left = std::fs::read_dir(&dir).map_or(0, Iterator::count);
            self.expect(left == 0, || {
                format!("{left} things are left in {}", dir.display())
            });
        }
    }
}

/// What is told of a container comes in an order that can be.
#[derive(Default)]
pub(super) struct Order {
    /// Whether it runs, where that is known; nothing is told of one that is gone.
    runs: BTreeMap<String, Option<bool>>,
    gone: BTreeSet<String>,
}

impl Order {
    pub(super) fn take(&mut self, event: &Event, board: &Board) {
        if event.kind != EventKind::Container || event.action.starts_with("exec_") {
            return;
        }
        let wrong = |why: &str| board.wrong(format!("{} {}: {why}", event.action, event.id));
        if self.gone.contains(&event.id) && event.action != "attach" {
            wrong("told of what is destroyed");
        }
        let runs = self.runs.entry(event.id.clone()).or_insert(None);
        match event.action.as_str() {
            "create" => *runs = Some(false),
            "start" => {
                if *runs == Some(true) {
                    wrong("it ran already");
                }
                *runs = Some(true);
            }
            "die" => {
                if *runs == Some(false) {
                    wrong("it did not run");
                }
                *runs = Some(false);
            }
            "pause" | "unpause" => {
                if *runs == Some(false) {
                    wrong("it did not run");
                }
                *runs = Some(true);
            }
            "destroy" => {
                if *runs == Some(true) {
                    wrong("it still ran");
                }
                self.gone.insert(event.id.clone());
            }
            _ => {}
        }
    }
}
