//! Does what is recorded agree with what is on disk and in the kernel?

use std::collections::{BTreeMap, HashSet};

use berth_network::Endpoint;
use berth_types::ContainerId;

use crate::boot::ids_in;
use crate::groups;
use crate::record::{Network, Record};
use crate::service::Containers;

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which sort, one word.
    pub kind: &'static str,
    /// The object.
    pub subject: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Containers {
    /// Compares records, directories, control groups and processes. Blocking. A container that
    /// changes while it is looked at may be reported; ask again.
    pub fn fsck(&self) -> Vec<Finding> {
        let shared = &self.shared;
        let mut findings = Vec::new();
        let mut running = HashSet::new();
        let endpoints = shared.networks.summary().map(|s| s.endpoints);
        let endpoints: BTreeMap<ContainerId, Endpoint> = endpoints.into_iter().flatten().collect();
        {
            let index = shared.read_index();
            for (id, reason) in &index.damaged {
                let subject = id.map_or_else(|| "(no id)".to_owned(), |id| id.to_string());
                findings.push(Finding {
                    kind: "damaged-record",
                    subject,
                    message: format!("{reason}; its files are left alone: move them away by hand"),
                });
            }
            for (id, handle) in &index.by_id {
                let record = handle.snapshot.borrow();
                if record.state.phase.is_active() {
                    running.insert(*id);
                }
                if record.state.phase.is_live() && !endpoint_fits(&endpoints, &record) {
                    findings.push(Finding {
                        kind: "endpoint",
                        subject: id.to_string(),
                        message: format!(
                            "container {} runs on the default network, which does not know it; \
                             restart the container",
                            id.short()
                        ),
                    });
                }
                if record.state.phase.is_live() {
                    let init = record.state.init.map_or(0, |p| p.pid);
                    if !std::path::Path::new(&format!("/proc/{init}")).exists() {
                        findings.push(finding(
                            "process",
                            id,
                            "is recorded as running, but its process is gone",
                        ));
                    }
                }
            }
        }
        for id in ids_in(&shared.exec_root.join("containers")).filter(|id| !running.contains(id)) {
            findings.push(finding(
                "runtime-directory",
                &id,
                "has one, but does not run",
            ));
        }
        for (id, _) in endpoints {
            let damaged = shared.read_index().damaged.clone();
            if !running.contains(&id) && damaged.iter().all(|(other, _)| *other != Some(id)) {
                findings.push(finding("endpoint", &id, "has one, but does not run"));
            }
        }
        let known: HashSet<ContainerId> = shared.read_index().by_id.keys().copied().collect();
        for (id, _) in groups::found(shared, |id| known.contains(id)) {
            if !running.contains(&id) {
                findings.push(finding("control-group", &id, "has one, but does not run"));
            }
        }
        findings
    }
}

/// Whether a running container has the place on the default network that its snapshot tells of.
fn endpoint_fits(endpoints: &BTreeMap<ContainerId, Endpoint>, record: &Record) -> bool {
    let told = record.state.endpoint.as_ref();
    record.host.network != Network::Bridge
        || told.is_some_and(|endpoint| endpoints.get(&record.id) == Some(endpoint))
}

fn finding(kind: &'static str, id: &ContainerId, what: &str) -> Finding {
    Finding {
        kind,
        subject: id.to_string(),
        message: format!(
            "container {} {what}; restart the engine to have it settled",
            id.short()
        ),
    }
}
