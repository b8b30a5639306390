//! Which control group a container has: that of the driver it was started with, whichever the engine
//! uses now.

use berth_sys::cgroup;
use berth_types::ContainerId;

use crate::error::ContainerError;
use crate::parents;
use crate::record::Record;
use crate::scopes;
use crate::shared::Shared;
use crate::spec::{self, HostFacts};

/// The group of a container that runs or ran, absolute in the hierarchy.
pub(crate) fn path(shared: &Shared, id: ContainerId) -> String {
    scopes::read_link(&shared.runtime_dir(id)).unwrap_or_else(|| plain(id, &shared.facts))
}

/// The group that a container gets when it is started.
///
/// # Errors
/// It has a parent of its own that it cannot have; see [`parents::group`].
pub(crate) fn planned(record: &Record, facts: &HostFacts) -> Result<String, ContainerError> {
    match record.host.cgroup_parent.as_str() {
        "" => Ok(spec::cgroup_path(record.id, facts)),
        parent => parents::group(parent, record.id, facts),
    }
}

/// The group without a scope.
pub(crate) fn plain(id: ContainerId, facts: &HostFacts) -> String {
    format!("{}/{id}", facts.cgroup_parent.trim_end_matches('/'))
}

/// The groups that exist, by container. Those below this engine's own parent are its own; a scope
/// may be another engine's, and counts only where `is_known` knows the container. An empty scope of
/// nobody's goes by itself. In a parent of one container's own only that container's is looked for.
pub(crate) fn found(
    shared: &Shared,
    is_known: impl Fn(&ContainerId) -> bool,
) -> Vec<(ContainerId, String)> {
    let facts = &shared.facts;
    let names = cgroup::children(&facts.cgroup_parent).into_iter();
    let ids = names.filter_map(|name| name.parse().ok());
    let mut found: Vec<_> = ids.map(|id| (id, plain(id, facts))).collect();
    if let Some(place) = &facts.scopes {
        let known = place.found().filter(is_known);
        found.extend(known.map(|id| (id, spec::cgroup_path(id, facts))));
    }
    let index = shared.read_index();
    let elsewhere = index.by_id.iter().filter_map(|(id, handle)| {
        let record = handle.snapshot.borrow();
        if record.host.cgroup_parent.is_empty() {
            return None;
        }
        Some((*id, planned(&record, facts).ok()?))
    });
    found.extend(elsewhere.filter(|(_, path)| cgroup::exists(path)));
    found
}
