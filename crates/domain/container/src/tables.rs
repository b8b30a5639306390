//! The tables of this domain.

use berth_store::Table;
use berth_types::ContainerId;

use crate::record::Record;

/// One row per container.
pub(crate) const CONTAINERS: Table<ContainerId, Record> = Table::new("containers", 1);
/// Names. One name is one container whoever owns it: the administrator, who sees the containers of
/// all owners, names them as everyone does.
pub(crate) const NAMES: Table<String, ContainerId> = Table::new("container_names", 1);
