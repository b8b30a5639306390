//! `GET /events`: what happened, one JSON object a line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `EventMessage`: one thing that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EventMessage {
    /// The sort of object: `container`, `image`, `network`, `volume`, `daemon`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened to it: `start`, `die`, `exec_create: sh`.
    pub action: String,
    /// The object.
    pub actor: EventActor,
    /// `local`, or `swarm` for events of a cluster.
    #[serde(rename = "scope")]
    pub scope: String,
    /// When, in seconds since the epoch.
    #[serde(rename = "time")]
    pub time: i64,
    /// When, in nanoseconds since the epoch.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// `EventActor`: the object that an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EventActor {
    /// Id of a container, an image or a network; name of a volume.
    #[serde(rename = "ID")]
    pub id: String,
    /// Facts about it: `name`, `image`, `exitCode`, and the labels.
    pub attributes: BTreeMap<String, String>,
}
