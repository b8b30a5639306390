//! `ContainerConfig`: what of a container does not depend on its host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decode::words;
use crate::nil;

/// `{}`: the value of maps that are sets of their keys (`ExposedPorts`, `Volumes`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Empty {}

/// `ContainerConfig`: the portable half of a container's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// Host name inside; empty lets the engine choose the short id.
    pub hostname: String,
    /// Domain name inside.
    pub domainname: String,
    /// `user[:group]`, names or numbers; empty for the image's.
    pub user: String,
    /// Whether standard input is attached.
    pub attach_stdin: bool,
    /// Whether standard output is attached.
    pub attach_stdout: bool,
    /// Whether standard error is attached.
    pub attach_stderr: bool,
    /// Ports the container listens on, `port/protocol`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Whether the process gets a terminal.
    pub tty: bool,
    /// Whether standard input stays open without a client.
    pub open_stdin: bool,
    /// Whether standard input closes when the first client goes.
    pub stdin_once: bool,
    /// Environment, `NAME=value`; a bare `NAME` removes it.
    pub env: Vec<String>,
    /// Arguments or command; `None` for the image's.
    #[serde(deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// Health check; `None` for the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    /// Whether the command is already escaped (Windows).
    #[serde(skip_serializing_if = "nil::is_false")]
    pub args_escaped: bool,
    /// The image, as the user named it.
    pub image: String,
    /// Paths that are to be anonymous volumes.
    #[serde(serialize_with = "nil::map")]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory; empty for the image's.
    pub working_dir: String,
    /// Entry point; `None` for the image's, `[""]` for none.
    #[serde(deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    /// Whether the container has no network.
    #[serde(skip_serializing_if = "nil::is_false")]
    pub network_disabled: bool,
    /// Link-layer address for the whole container: read from clients below API 1.52 only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    /// `ONBUILD` instructions of the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the container to stop, name or number; empty for SIGTERM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds between the stop signal and SIGKILL; `None` for the engine's default, −1 for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Shell for the shell form of instructions.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub shell: Option<Vec<String>>,
}

/// `HealthConfig`: how to tell whether a container is well. Durations are nanoseconds; 0 takes
/// the image's or the engine's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthConfig {
    /// The test: `[]` inherits, `["NONE"]` disables, `["CMD", …]`, `["CMD-SHELL", command]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(skip_serializing_if = "zero")]
    pub interval: i64,
    /// Time after which a check counts as hung.
    #[serde(skip_serializing_if = "zero")]
    pub timeout: i64,
    /// Grace after start in which failures do not count.
    #[serde(skip_serializing_if = "zero")]
    pub start_period: i64,
    /// Time between checks during the grace.
    #[serde(skip_serializing_if = "zero")]
    pub start_interval: i64,
    /// Failures in a row that make a container unhealthy.
    #[serde(skip_serializing_if = "zero")]
    pub retries: i64,
}

fn zero(value: &i64) -> bool {
    *value == 0
}
