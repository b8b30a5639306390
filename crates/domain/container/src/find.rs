//! Containers by name, and what is known of them without asking their actors.

use std::path::PathBuf;
use std::sync::Arc;

use berth_storage::Snapshot;
use berth_types::{Caller, ContainerId};
use tokio::sync::watch;

use crate::actor::Handle;
use crate::error::ContainerError;
use crate::record::{Log, Network, Phase, Record};
use crate::service::Containers;
use crate::spec::HostFacts;

impl Containers {
    /// The newest snapshot of a container.
    ///
    /// # Errors
    /// No such container, or the id prefix fits several.
    pub fn get(&self, caller: &Caller, key: &str) -> Result<Arc<Record>, ContainerError> {
        Ok(Arc::clone(&self.find(caller, key)?.snapshot.borrow()))
    }

    /// Snapshots of all containers that the caller sees, newest first.
    pub fn all(&self, caller: &Caller) -> Vec<Arc<Record>> {
        let index = self.shared.read_index();
        let mut list: Vec<Arc<Record>> = index
            .by_id
            .values()
            .map(|handle| Arc::clone(&handle.snapshot.borrow()))
            .filter(|r| caller.scope.sees(&r.owner) && r.state.phase != Phase::Removed)
            .collect();
        list.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        list
    }

    /// `containers/<id>` below the data root.
    pub fn state_dir(&self, record: &Record) -> PathBuf {
        self.shared.storage.paths().state(record.id)
    }

    /// The file that a container's output goes to, if it keeps one.
    pub fn log_path(&self, record: &Record) -> Option<PathBuf> {
        (record.host.log != Log::None).then(|| {
            self.state_dir(record)
                .join(berth_shim::log::file_name(&record.id))
        })
    }

    /// Changes of a container's state, for who follows something of it.
    ///
    /// # Errors
    /// No such container.
    pub fn watch(
        &self,
        caller: &Caller,
        key: &str,
    ) -> Result<watch::Receiver<Arc<Record>>, ContainerError> {
        Ok(self.find(caller, key)?.snapshot)
    }

    /// Bytes of a container's own files, and of its whole root file system. What cannot be
    /// counted counts as nothing.
    pub fn usage(&self, record: &Record) -> (i64, i64) {
        let bytes = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let own = self
            .shared
            .storage
            .usage(record.id)
            .map_or(0, |usage| usage.bytes);
        let layers = record
            .layers
            .iter()
            .filter_map(|id| self.shared.storage.layer(*id).ok());
        let image: u64 = layers.map(|layer| layer.bytes).sum();
        (bytes(own), bytes(own.saturating_add(image)))
    }

    /// Where the parts of a container's root file system are.
    pub fn snapshot_paths(&self, record: &Record) -> Snapshot {
        self.shared
            .storage
            .paths()
            .snapshot(record.id, &record.layers)
    }

    /// The id of the network that a container is on; none in another container's namespace.
    pub fn network_id(&self, network: Network) -> Option<String> {
        crate::network::network_id(&self.shared, network)
    }

    /// What the host adds to containers.
    pub fn facts(&self) -> &HostFacts {
        &self.shared.facts
    }

    /// By full id, then by exact name (a leading slash is allowed), then by unique prefix.
    pub(crate) fn find(&self, caller: &Caller, key: &str) -> Result<Handle, ContainerError> {
        let missing = || ContainerError::NotFound(key.to_owned());
        let index = self.shared.read_index();
        let visible = |handle: &&Handle| caller.scope.sees(&handle.snapshot.borrow().owner);
        if let Some(handle) = key
            .parse()
            .ok()
            .and_then(|id: ContainerId| index.by_id.get(&id))
        {
            return Some(handle).filter(visible).cloned().ok_or_else(missing);
        }
        let name = key.strip_prefix('/').unwrap_or(key);
        let named = index.by_name.get(name).and_then(|id| index.by_id.get(id));
        if let Some(handle) = named.filter(visible) {
            return Ok(handle.clone());
        }
        let prefix = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        if key.is_empty() || !key.chars().all(prefix) {
            return Err(missing());
        }
        let mut fitting = index
            .by_id
            .iter()
            .filter(|(id, _)| id.to_string().starts_with(key))
            .map(|(_, handle)| handle)
            .filter(visible);
        match (fitting.next(), fitting.next()) {
            (Some(handle), None) => Ok(handle.clone()),
            (Some(_), Some(_)) => Err(ContainerError::Ambiguous(key.to_owned())),
            (None, _) => Err(missing()),
        }
    }
}
