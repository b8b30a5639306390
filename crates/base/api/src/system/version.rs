//! `GET /version`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::nil;

/// `SystemVersion`: what the engine is and what it runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Version {
    /// The product.
    pub platform: VersionPlatform,
    /// Its parts; the first is the engine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<VersionComponent>,
    /// Version of the engine.
    pub version: String,
    /// Newest API version.
    pub api_version: String,
    /// Oldest API version.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// Commit it was built from.
    pub git_commit: String,
    /// Version of the compiler. The name is Docker's.
    pub go_version: String,
    /// `linux`.
    pub os: String,
    /// Architecture in Go's words.
    pub arch: String,
    /// Version of the kernel.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel_version: String,
    /// Whether experimental features are on.
    #[serde(skip_serializing_if = "nil::is_false")]
    pub experimental: bool,
    /// When it was built, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub build_time: String,
}

/// The product an engine belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VersionPlatform {
    /// Its name.
    pub name: String,
}

/// One part of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VersionComponent {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Further facts, as texts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}
