//! `HEAD` and `GET /_ping`: an answer that is all headers.

/// Names of the headers the engine sends, in lower case as HTTP libraries keep them.
pub mod header {
    /// Newest API version of the engine; on every routed answer.
    pub const API_VERSION: &str = "api-version";
    /// `true` or `false`; on every routed answer.
    pub const EXPERIMENTAL: &str = "docker-experimental";
    /// `linux`; on every routed answer.
    pub const OS_TYPE: &str = "ostype";
    /// `Docker/<version> (linux)`; on every routed answer.
    pub const SERVER: &str = "server";
    /// The builder clients should use, `1` or `2`; on ping only.
    pub const BUILDER_VERSION: &str = "builder-version";
    /// State of swarm mode; on ping only.
    pub const SWARM: &str = "swarm";
}

/// What a ping said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ping {
    /// Newest API version of the engine; empty from an engine that does not say.
    pub api_version: String,
    /// Operating system of containers.
    pub os_type: String,
    /// Whether experimental features are on.
    pub experimental: bool,
    /// The builder clients should use; empty where not said.
    pub builder_version: String,
    /// State of swarm mode; empty where not said.
    pub swarm: String,
}
