//! `GET /containers/{id}/top`: the processes of a container.

use serde::{Deserialize, Serialize};

/// `ContainerTopResponse`: a table of processes, as `ps` on the host prints it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TopResponse {
    /// The columns' titles.
    pub titles: Vec<String>,
    /// One row per process, in the order of the titles.
    pub processes: Vec<Vec<String>>,
}
