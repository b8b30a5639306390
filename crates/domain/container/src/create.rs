//! From a request and an image to a record: pure, and the only place that validates either.

use std::collections::BTreeMap;

use berth_sys::caps::CapSet;
use berth_types::oci::ImageDefaults;
use berth_types::{ContainerId, Digest, LayerId, Scope, Timestamp};

use crate::devices;
use crate::error::ContainerError;
use crate::forms::Forms;
use crate::limits;
use crate::record::{Bind, HostSettings, Network, Record, Settings, State};
use crate::signal;
use crate::spec::capabilities;

/// A request to create a container, in domain terms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreateRequest {
    /// Name without a slash; absent for a minted one.
    pub name: Option<String>,
    /// Who owns it, where the administrator says so; otherwise whoever asks.
    pub owner: Option<Scope>,
    /// Image as the client named it.
    pub image: String,
    /// What runs; absent and empty members come from the image.
    pub settings: Settings,
    /// How it is isolated and limited.
    pub host: HostSettings,
}

/// What the host can give, for checking limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostCapacity {
    /// Processors.
    pub cpus: u32,
    /// Whether swap can be limited.
    pub swap_limit: bool,
}

/// The image, as far as a new container needs to know it.
#[derive(Debug, Clone, Copy)]
pub struct ImageFacts<'a> {
    /// Image id.
    pub id: Digest,
    /// Who owns it.
    pub owner: &'a Scope,
    /// Layers, bottom first.
    pub layers: &'a [LayerId],
    /// Its defaults.
    pub defaults: &'a ImageDefaults,
}

/// Merges a request with its image and checks the whole.
///
/// # Errors
/// The request is wrong or asks for what is not built; the text says what and how to mend it.
pub fn record(
    id: ContainerId,
    name: String,
    owner: Scope,
    request: CreateRequest,
    image: ImageFacts<'_>,
    capacity: HostCapacity,
    now: Timestamp,
) -> Result<(Record, Vec<String>), ContainerError> {
    let CreateRequest {
        image: image_name,
        settings,
        mut host,
        ..
    } = request;
    let settings = merge(settings, image.defaults, &host, id)?;
    let mut warnings = limits::check(&mut host.limits, capacity)?;
    check_host(&host)?;
    check_network(&host)?;
    if host.network == Network::Host && (!host.ports.is_empty() || host.publish_all.is_some()) {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    let record = Record {
        id,
        name,
        owner,
        created: now,
        image: image.id,
        image_owner: image.owner.clone(),
        image_name,
        layers: image.layers.to_vec(),
        settings,
        host,
        state: State::created(),
        forms: Forms::default(),
    };
    if record.command().first().is_none_or(String::is_empty) {
        return Err(invalid(
            "no command specified: the image has none, so give one",
        ));
    }
    let env = record.settings.env.iter();
    if let Some(text) = record
        .command()
        .iter()
        .chain(env)
        .find(|t| t.contains('\0'))
    {
        return Err(invalid(format!(
            "invalid argument {text:?}: commands and environment variables cannot hold a NUL byte"
        )));
    }
    Ok((record, warnings))
}

/// Checks a name that a person chose.
///
/// # Errors
/// It has a character that a name cannot have, or is too short.
pub fn check_name(name: &str) -> Result<(), ContainerError> {
    let mut chars = name.chars();
    let head = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let tail = chars.as_str();
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if head && !tail.is_empty() && tail.len() < 255 && tail.chars().all(word) {
        return Ok(());
    }
    Err(invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and two to 255 characters"
    )))
}

fn invalid(text: impl Into<String>) -> ContainerError {
    ContainerError::Invalid(text.into())
}

fn merge(
    mut own: Settings,
    image: &ImageDefaults,
    host: &HostSettings,
    id: ContainerId,
) -> Result<Settings, ContainerError> {
    // An entry point of the request discards the image's command, which was meant as arguments
    // of the image's entry point. `[""]` is how a client says "no entry point".
    if own.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if own.cmd.as_ref().is_none_or(Vec::is_empty) {
            own.cmd.clone_from(&image.cmd);
        }
        own.entrypoint.clone_from(&image.entrypoint);
    } else if own.entrypoint.as_deref() == Some(&[String::new()]) {
        own.entrypoint = None;
    }
    if own.user.is_empty() {
        own.user.clone_from(&image.user);
    }
    if own.working_dir.is_empty() {
        own.working_dir.clone_from(&image.working_dir);
    }
    if !own.working_dir.is_empty() && !own.working_dir.starts_with('/') {
        return Err(invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            own.working_dir
        )));
    }
    own.env = merge_env(&image.env, own.env)?;
    for (key, value) in &image.labels {
        own.labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    for port in image.exposed_ports.keys() {
        if !own.exposed_ports.contains(port) {
            own.exposed_ports.push(port.clone());
        }
    }
    if own.stop_signal.is_empty() {
        own.stop_signal.clone_from(&image.stop_signal);
    }
    if !own.stop_signal.is_empty() {
        signal::parse(&own.stop_signal)?;
    }
    if own.hostname.is_empty() && !host.host_uts && host.network != Network::Host {
        own.hostname = id.short();
    }
    check_hostname(&own.hostname)?;
    Ok(own)
}

/// The request's variables over the image's. A name without `=` takes the image's one away.
fn merge_env(image: &[String], own: Vec<String>) -> Result<Vec<String>, ContainerError> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut merged: Vec<String> = Vec::with_capacity(image.len() + own.len());
    let mut position: BTreeMap<String, usize> = BTreeMap::new();
    for entry in image.iter().cloned().chain(own) {
        let key = name(&entry);
        if key.is_empty() {
            return Err(invalid(format!("invalid environment variable: {entry}")));
        }
        if let Some(&at) = position.get(&key) {
            merged[at] = entry;
        } else {
            position.insert(key, merged.len());
            merged.push(entry);
        }
    }
    merged.retain(|entry| entry.contains('='));
    Ok(merged)
}

fn check_hostname(name: &str) -> Result<(), ContainerError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.len() > 63 || !name.chars().all(fine) {
        return Err(invalid(format!(
            "invalid hostname {name:?}: at most 63 letters, digits, '-', '_' and '.'"
        )));
    }
    Ok(())
}

fn check_host(host: &HostSettings) -> Result<(), ContainerError> {
    // Only the names are checked here; what can be given is known when it is started.
    capabilities(host, CapSet::ALL)?;
    check_mounts(host)?;
    for text in &host.device_rules {
        devices::parse(text)?;
    }
    host.devices.iter().try_for_each(devices::check)?;
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    if host.host_uts && !host.sysctls.is_empty() {
        let hit = host
            .sysctls
            .keys()
            .find(|k| k.starts_with("kernel.hostname"));
        if let Some(key) = hit {
            return Err(invalid(format!(
                "sysctl {key:?} is not allowed with the host's UTS"
            )));
        }
    }
    for (name, soft, hard) in &host.ulimits {
        if *hard != -1 && (*soft > *hard || *soft == -1) {
            return Err(invalid(format!(
                "ulimit {name}: soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
    }
    Ok(())
}

/// Options that have no meaning in the network of another container.
fn check_network(host: &HostSettings) -> Result<(), ContainerError> {
    let Network::Container(_) = host.network else {
        return Ok(());
    };
    let options = [
        (
            !host.ports.is_empty() || host.publish_all.is_some(),
            "port publishing and the container type network mode",
        ),
        (!host.dns.is_empty(), "dns and the network mode"),
        (
            !host.extra_hosts.is_empty(),
            "custom host-to-IP mapping and the network mode",
        ),
        (host.mac.is_some(), "mac-address and the network mode"),
    ];
    match options.iter().find(|(set, _)| *set) {
        Some((_, what)) => Err(invalid(format!("conflicting options: {what}"))),
        None => Ok(()),
    }
}

fn check_mounts(host: &HostSettings) -> Result<(), ContainerError> {
    let mut targets: Vec<&str> = Vec::new();
    let all = host
        .binds
        .iter()
        .map(|b| &b.target)
        .chain(host.tmpfs.keys());
    for target in all {
        if !target.starts_with('/') {
            return Err(invalid(format!(
                "invalid mount path: '{target}' mount path must be absolute"
            )));
        }
        let clean = target.trim_end_matches('/');
        if clean.is_empty() {
            return Err(invalid("invalid mount: destination can't be '/'"));
        }
        if clean.split('/').any(|part| part == "..") {
            return Err(invalid(format!(
                "invalid mount path: '{target}' must not contain '..'"
            )));
        }
        if targets.contains(&clean) {
            return Err(invalid(format!("Duplicate mount point: {clean}")));
        }
        targets.push(clean);
    }
    host.binds.iter().try_for_each(check_bind)
}

fn check_bind(bind: &Bind) -> Result<(), ContainerError> {
    if !bind.source.starts_with('/') {
        return Err(ContainerError::Unsupported(format!(
            "named volumes are not built yet: {:?} is not an absolute path on the host",
            bind.source
        )));
    }
    let known = [
        "", "private", "rprivate", "shared", "rshared", "slave", "rslave",
    ];
    if !known.contains(&bind.propagation.as_str()) {
        return Err(invalid(format!(
            "invalid propagation mode: {}",
            bind.propagation
        )));
    }
    Ok(())
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
