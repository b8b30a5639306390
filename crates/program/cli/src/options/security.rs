//! Capabilities and `--security-opt`.

use super::sources::{Surroundings, open_failed};
use crate::format::json;

/// What `--security-opt` comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// The options for the engine.
    pub options: Vec<String>,
    /// Whether no path of /proc and /sys is hidden or read-only (`systempaths=unconfined`).
    pub bare_system_paths: bool,
}

/// Reads the options; the file of a seccomp profile is read here and sent along.
pub fn resolve(options: &[String], from: &dyn Surroundings) -> Result<Security, String> {
    let mut security = Security::default();
    for option in options {
        if option == "systempaths=unconfined" {
            security.bare_system_paths = true;
            continue;
        }
        let parts = option.split_once('=').or_else(|| option.split_once(':'));
        let resolved = match parts {
            None if option == "no-new-privileges" => option.clone(),
            Some((_, "")) | None => return Err(format!("Invalid --security-opt: {option:?}")),
            Some(("seccomp", file)) if !matches!(file, "unconfined" | "builtin") => {
                format!("seccomp={}", seccomp_profile(file, from)?)
            }
            Some(_) => option.clone(),
        };
        security.options.push(resolved);
    }
    Ok(security)
}

fn seccomp_profile(file: &str, from: &dyn Surroundings) -> Result<String, String> {
    let text = from.read(file).map_err(|e| {
        format!(
            "opening seccomp profile ({file}) failed: {}",
            open_failed(file, &e)
        )
    })?;
    json::compact(&text)
        .map_err(|e| format!("compacting json for seccomp profile ({file}) failed: {e}"))
}

/// Capabilities in the form the engine knows them: `CAP_…` or `ALL`, sorted, each once.
pub fn capabilities(names: &[String]) -> Vec<String> {
    let mut normal: Vec<String> = names
        .iter()
        .map(|name| {
            let upper = name.trim().to_uppercase();
            match upper.as_str() {
                "ALL" => upper,
                _ if upper.starts_with("CAP_") => upper,
                _ => format!("CAP_{upper}"),
            }
        })
        .collect();
    normal.sort();
    normal.dedup();
    normal
}
