//! The tables of this domain.

use berth_store::Table;
use berth_types::{ContainerId, Scope};

use crate::record::Record;

/// One row per container.
pub(crate) const CONTAINERS: Table<ContainerId, Record> = Table::new("containers", 1);
/// Names, unique per scope; see [`name_key`].
pub(crate) const NAMES: Table<String, ContainerId> = Table::new("container_names", 1);

/// The key of a name: a scope's name has no slash, nor has a container's.
pub(crate) fn name_key(owner: &Scope, name: &str) -> String {
    format!("{}/{name}", owner.name())
}
