//! Whether rows and directories tell the same story.

use std::collections::HashSet;

use berth_store::{Key, Row, StoreError};
use berth_types::LayerId;

use crate::error::StorageError;
use crate::layers::unfinished;
use crate::layout::{Name, exists, names};
use crate::record::{CLAIMS, GARBAGE, LAYERS, SNAPSHOTS};
use crate::service::Inner;
use crate::sweep::Known;

/// What sort of disagreement was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// A row cannot be read.
    DamagedRow,
    /// A row names a directory or another row that is not there.
    Missing,
    /// A directory that no row knows.
    Unknown,
    /// A removal or a making that was not finished.
    Leftover,
}

impl FindingKind {
    /// The kind in one word, for a report.
    pub fn word(self) -> &'static str {
        match self {
            Self::DamagedRow => "damaged-record",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Leftover => "leftover",
        }
    }
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What sort.
    pub kind: FindingKind,
    /// The layer, container or row.
    pub subject: String,
    /// One sentence for a person.
    pub message: String,
}

struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, kind: FindingKind, subject: impl ToString, message: impl Into<String>) {
        self.0.push(Finding {
            kind,
            subject: subject.to_string(),
            message: message.into(),
        });
    }

    /// The whole rows; the damaged ones are reported.
    fn whole<K: Key, V>(&mut self, table: &str, rows: Vec<Row<K, V>>) -> Vec<(K, V)> {
        let mut whole = Vec::new();
        for row in rows {
            match row {
                Row::Whole(key, value) => whole.push((key, value)),
                Row::Damaged { hex, reason, .. } => {
                    let message = format!("row {hex} of table {table} is damaged: {reason}");
                    self.add(FindingKind::DamagedRow, hex, message);
                }
            }
        }
        whole
    }
}

pub(crate) fn check(inner: &Inner) -> Result<Vec<Finding>, StorageError> {
    let mut report = Report(Vec::new());
    check_rows(inner, &mut report)?;
    check_directories(inner, &mut report)?;
    Ok(report.0)
}

fn check_rows(inner: &Inner, report: &mut Report) -> Result<(), StorageError> {
    let (layers, snapshots, claims, garbage) = inner.db.read(|txn| {
        let layers = report.whole(LAYERS.name(), txn.scan(&LAYERS)?);
        let snapshots = report.whole(SNAPSHOTS.name(), txn.scan(&SNAPSHOTS)?);
        let claims = report.whole(CLAIMS.name(), txn.scan(&CLAIMS)?);
        let garbage = report.whole(GARBAGE.name(), txn.scan(&GARBAGE)?);
        Ok::<_, StoreError>((layers, snapshots, claims, garbage))
    })?;
    let present: HashSet<LayerId> = layers.iter().map(|(id, _)| *id).collect();
    let is_missing = |layer: &LayerId| !present.contains(layer);
    for (id, layer) in &layers {
        let directory = format!("{id}/diff");
        if !exists(&inner.root.overlay, &directory)
            .map_err(StorageError::io("look into", inner.root.paths.overlay()))?
        {
            report.add(
                FindingKind::Missing,
                id,
                format!("layer {id} has no directory"),
            );
        }
        if let Some(parent) = layer.parent.filter(is_missing) {
            let message = format!("layer {id} lies upon {parent}, which does not exist");
            report.add(FindingKind::Missing, id, message);
        }
    }
    for (id, row) in snapshots {
        if let Some(top) = row.top.filter(is_missing) {
            let message = format!("container {id} lies upon layer {top}, which does not exist");
            report.add(FindingKind::Missing, id, message);
        }
    }
    for ((layer, owner), _) in claims {
        if is_missing(&layer) {
            let message = format!("{owner} claims layer {layer}, which does not exist");
            report.add(FindingKind::Missing, layer, message);
        }
    }
    for (id, _) in garbage {
        let message = format!("container {id} is removed, and its directories are not yet");
        report.add(FindingKind::Leftover, id, message);
    }
    Ok(())
}

fn check_directories(inner: &Inner, report: &mut Report) -> Result<(), StorageError> {
    let known = Known::read(inner)?;
    let in_use = unfinished(inner).clone();
    let paths = &inner.root.paths;
    for (directory, path) in [
        (&inner.root.overlay, paths.overlay()),
        (&inner.root.containers, paths.containers()),
    ] {
        for name in names(directory).map_err(StorageError::io("list", &path))? {
            let shown = path.join(&name).display().to_string();
            match Name::of(&name) {
                Name::Id(id) if !known.ids.contains(&id) => {
                    report.add(FindingKind::Unknown, name, format!("nothing knows {shown}"));
                }
                Name::Temporary | Name::Removing if in_use.contains(&name) => {}
                Name::Temporary | Name::Removing => {
                    report.add(
                        FindingKind::Leftover,
                        name,
                        format!("{shown} was left behind"),
                    );
                }
                Name::Foreign => {
                    let message = format!("{shown} is not of Berth's making");
                    report.add(FindingKind::Unknown, name, message);
                }
                Name::Id(_) => {}
            }
        }
    }
    Ok(())
}
