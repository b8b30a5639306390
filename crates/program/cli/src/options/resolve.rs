//! From what was typed to what was meant: the create request of `create` and `run`.

use std::collections::BTreeMap;

use berth_api::container::{
    ContainerConfig, ContainerCreateRequest, DeviceRequest, Empty, HealthConfig, HostConfig,
    LogConfig, Mount, RestartPolicy,
};

use super::device::{self, Device};
use super::flags::CreateFlags;
use super::port::Ports;
use super::sources::{self, Surroundings, absolute_if_dotted, pair};
use super::{network, security};

/// The create request that the flags mean.
///
/// # Errors
/// Options contradict each other, have an impossible value, or name a file that cannot be read.
pub fn request(
    flags: &CreateFlags,
    from: &dyn Surroundings,
) -> Result<ContainerCreateRequest, String> {
    refuse_unbuilt(flags)?;
    let ports = ports(flags)?;
    let volumes = volumes(flags, from)?;
    let security = security::resolve(&flags.security_opt, from)?;
    let (network_mode, networking_config) = network::resolve(flags)?;
    let config = config(flags, from, &ports, volumes.anonymous)?;
    let mut host = resources(flags)?;
    host.binds = volumes.binds;
    host.mounts = mounts(flags, from);
    host.container_id_file = text(&flags.cidfile);
    host.log_config = log(flags)?;
    host.network_mode = network_mode;
    host.port_bindings = ports.bindings;
    host.restart_policy = restart(flags)?;
    host.auto_remove = flags.rm;
    host.volume_driver = text(&flags.volume_driver);
    host.volumes_from.clone_from(&flags.volumes_from);
    host.annotations = map(&flags.annotation);
    host.cap_add = security::capabilities(&flags.cap_add);
    host.cap_drop = security::capabilities(&flags.cap_drop);
    host.dns.clone_from(&flags.dns);
    host.dns_options.clone_from(&flags.dns_option);
    host.dns_search.clone_from(&flags.dns_search);
    host.extra_hosts.clone_from(&flags.add_host);
    host.group_add.clone_from(&flags.group_add);
    host.links.clone_from(&flags.link);
    host.privileged = flags.privileged;
    host.publish_all_ports = flags.publish_all;
    host.readonly_rootfs = flags.read_only;
    host.security_opt = security.options;
    host.masked_paths = security.bare_system_paths.then(Vec::new);
    host.readonly_paths = security.bare_system_paths.then(Vec::new);
    host.storage_opt = storage(flags)?;
    host.tmpfs = flags.tmpfs.iter().map(|t| split_pair(t, ':')).collect();
    host.sysctls = map(&flags.sysctl);
    host.runtime = text(&flags.runtime);
    host.isolation = text(&flags.isolation);
    host.init = flags.init;
    host.ipc_mode = text(&flags.ipc);
    host.pid_mode = namespace("pid", "PID", &flags.pid, &["host"], true)?;
    host.uts_mode = namespace("uts", "UTS", &flags.uts, &["host"], false)?;
    host.userns_mode = namespace("userns", "USER", &flags.userns, &["host"], false)?;
    host.cgroupns_mode = namespace(
        "cgroupns",
        "CGROUP",
        &flags.cgroupns,
        &["host", "private"],
        false,
    )?;
    Ok(ContainerCreateRequest {
        config,
        host_config: host,
        networking_config,
    })
}

/// Flags that mean something to the client alone, which it cannot do.
fn refuse_unbuilt(flags: &CreateFlags) -> Result<(), String> {
    if flags.use_api_socket {
        return Err("--use-api-socket is not built yet: mount the engine's socket with -v".into());
    }
    if flags.platform.is_some() {
        return Err("--platform is not built yet: images have one platform here".into());
    }
    Ok(())
}

fn config(
    flags: &CreateFlags,
    from: &dyn Surroundings,
    ports: &Ports,
    volumes: BTreeMap<String, Empty>,
) -> Result<ContainerConfig, String> {
    let attached = |stream: &str| flags.attach.iter().any(|a| a == stream);
    let attach_stdin = flags.interactive || attached("stdin");
    let default_output = flags.attach.is_empty();
    let (image, command) = match flags.arguments.split_first() {
        Some((image, command)) => (image.clone(), command.to_vec()),
        None => (String::new(), Vec::new()),
    };
    Ok(ContainerConfig {
        hostname: text(&flags.hostname),
        domainname: text(&flags.domainname),
        user: text(&flags.user),
        attach_stdin,
        attach_stdout: default_output || attached("stdout"),
        attach_stderr: default_output || attached("stderr"),
        exposed_ports: ports.exposed.clone(),
        tty: flags.tty,
        open_stdin: flags.interactive,
        stdin_once: flags.interactive && attach_stdin,
        env: sources::environment(&flags.env_file, &flags.env, from)?,
        cmd: (!command.is_empty()).then_some(command),
        healthcheck: health(flags)?,
        image,
        volumes,
        working_dir: text(&flags.workdir),
        entrypoint: flags.entrypoint.clone().map(|program| vec![program]),
        labels: sources::labels(&flags.label_file, &flags.label, from)?,
        stop_signal: text(&flags.stop_signal),
        stop_timeout: flags.stop_timeout,
        ..ContainerConfig::default()
    })
}

/// Limits and devices.
fn resources(flags: &CreateFlags) -> Result<HostConfig, String> {
    if let Some(n) = flags.memory_swappiness
        && !(-1..=100).contains(&n)
    {
        return Err(format!(
            "invalid value: {n}. Valid memory swappiness range is 0-100"
        ));
    }
    let mut devices = Vec::new();
    let mut requests = flags.gpus.clone();
    for text in &flags.device {
        match device::parse(text)? {
            Device::Node(node) => devices.push(node),
            Device::Cdi(name) => requests.push(DeviceRequest {
                driver: "cdi".to_owned(),
                device_ids: vec![name],
                ..DeviceRequest::default()
            }),
        }
    }
    let mut ulimits = flags.ulimit.clone();
    ulimits.sort_by(|a, b| a.name.cmp(&b.name));
    let number = |n: Option<i64>| n.unwrap_or(0);
    Ok(HostConfig {
        oom_score_adj: number(flags.oom_score_adj),
        shm_size: number(flags.shm_size),
        cpu_shares: number(flags.cpu_shares),
        memory: number(flags.memory),
        nano_cpus: number(flags.cpus),
        cgroup_parent: text(&flags.cgroup_parent),
        blkio_weight: flags.blkio_weight.unwrap_or(0),
        blkio_weight_device: flags.blkio_weight_device.clone(),
        blkio_device_read_bps: flags.device_read_bps.clone(),
        blkio_device_write_bps: flags.device_write_bps.clone(),
        blkio_device_read_iops: flags.device_read_iops.clone(),
        blkio_device_write_iops: flags.device_write_iops.clone(),
        cpu_period: number(flags.cpu_period),
        cpu_quota: number(flags.cpu_quota),
        cpu_realtime_period: number(flags.cpu_rt_period),
        cpu_realtime_runtime: number(flags.cpu_rt_runtime),
        cpuset_cpus: text(&flags.cpuset_cpus),
        cpuset_mems: text(&flags.cpuset_mems),
        devices,
        device_cgroup_rules: flags.device_cgroup_rule.clone(),
        device_requests: requests,
        memory_reservation: number(flags.memory_reservation),
        memory_swap: number(flags.memory_swap),
        memory_swappiness: Some(flags.memory_swappiness.unwrap_or(-1)),
        oom_kill_disable: Some(flags.oom_kill_disable),
        pids_limit: Some(number(flags.pids_limit)),
        ulimits,
        cpu_count: number(flags.cpu_count),
        cpu_percent: number(flags.cpu_percent),
        io_maximum_iops: flags.io_maxiops.unwrap_or(0),
        io_maximum_bandwidth: number(flags.io_maxbandwidth).unsigned_abs(),
        kernel_memory: number(flags.kernel_memory),
        ..HostConfig::default()
    })
}

fn ports(flags: &CreateFlags) -> Result<Ports, String> {
    let mut ports = Ports::default();
    flags
        .publish
        .iter()
        .try_for_each(|text| ports.publish(text))?;
    flags
        .expose
        .iter()
        .try_for_each(|text| ports.expose(text))?;
    Ok(ports)
}

#[derive(Default)]
struct Volumes {
    binds: Vec<String>,
    anonymous: BTreeMap<String, Empty>,
}

fn volumes(flags: &CreateFlags, from: &dyn Surroundings) -> Result<Volumes, String> {
    let mut volumes = Volumes::default();
    for text in &flags.volume {
        match text.split_once(':') {
            None if text.is_empty() => return Err("invalid empty volume spec".to_owned()),
            None => {
                volumes.anonymous.insert(text.clone(), Empty {});
            }
            Some((source, rest)) => {
                let source = absolute_if_dotted(source, &from.directory());
                volumes.binds.push(format!("{source}:{rest}"));
            }
        }
    }
    Ok(volumes)
}

fn mounts(flags: &CreateFlags, from: &dyn Surroundings) -> Vec<Mount> {
    let absolute = |mount: &Mount| {
        let dotted = mount.source == "." || mount.source.starts_with("./");
        let mut mount = mount.clone();
        if mount.kind == "bind" && dotted {
            mount.source = absolute_if_dotted(&mount.source, &from.directory());
        }
        mount
    };
    flags.mount.iter().map(absolute).collect()
}

fn health(flags: &CreateFlags) -> Result<Option<HealthConfig>, String> {
    let times = [
        ("--health-interval", flags.health_interval),
        ("--health-timeout", flags.health_timeout),
        ("--health-start-period", flags.health_start_period),
        ("--health-start-interval", flags.health_start_interval),
        ("--health-retries", flags.health_retries),
    ];
    let given = flags.health_cmd.is_some() || times.iter().any(|(_, n)| n.unwrap_or(0) != 0);
    if flags.no_healthcheck {
        if given {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        let test = vec!["NONE".to_owned()];
        return Ok(Some(HealthConfig {
            test,
            ..HealthConfig::default()
        }));
    }
    if let Some((name, _)) = times.iter().find(|(_, n)| n.is_some_and(|n| n < 0)) {
        return Err(format!("{name} cannot be negative"));
    }
    let shell = |command: &String| vec!["CMD-SHELL".to_owned(), command.clone()];
    Ok(given.then(|| HealthConfig {
        test: flags.health_cmd.as_ref().map(shell).unwrap_or_default(),
        interval: flags.health_interval.unwrap_or(0),
        timeout: flags.health_timeout.unwrap_or(0),
        start_period: flags.health_start_period.unwrap_or(0),
        start_interval: flags.health_start_interval.unwrap_or(0),
        retries: flags.health_retries.unwrap_or(0),
    }))
}

fn log(flags: &CreateFlags) -> Result<LogConfig, String> {
    let driver = text(&flags.log_driver);
    if driver == "none" && !flags.log_opt.is_empty() {
        return Err("invalid logging opts for driver none".to_owned());
    }
    Ok(LogConfig {
        driver,
        config: map(&flags.log_opt),
    })
}

fn restart(flags: &CreateFlags) -> Result<RestartPolicy, String> {
    let policy = restart_policy(flags.restart.as_deref().unwrap_or("no"))?;
    if flags.rm && !matches!(policy.name.as_str(), "" | "no") {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    Ok(policy)
}

/// A restart policy as people write it: `always`, `on-failure:3`.
///
/// # Errors
/// The text is none, in Docker's words; whether the name is one is for the engine to say.
pub fn restart_policy(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = match text.split_once(':') {
        Some(("", _)) => {
            return Err("invalid restart policy format: no policy provided before colon".into());
        }
        Some((name, count)) => (
            name,
            count.parse().map_err(|_| {
                "invalid restart policy format: maximum retry count must be an integer".to_owned()
            })?,
        ),
        None => (text, 0),
    };
    Ok(RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: count,
    })
}

fn storage(flags: &CreateFlags) -> Result<BTreeMap<String, String>, String> {
    match flags.storage_opt.iter().all(|text| text.contains('=')) {
        true => Ok(map(&flags.storage_opt)),
        false => Err("invalid storage option".to_owned()),
    }
}

/// A namespace mode: empty, one of `words`, or, if `joins`, `container:…`.
fn namespace(
    flag: &str,
    name: &str,
    value: &Option<String>,
    words: &[&str],
    joins: bool,
) -> Result<String, String> {
    let value = text(value);
    let container = joins
        && value
            .strip_prefix("container:")
            .is_some_and(|id| !id.is_empty());
    if value.is_empty() || container || words.contains(&value.as_str()) {
        Ok(value)
    } else {
        Err(format!("--{flag}: invalid {name} mode"))
    }
}

fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn map(pairs: &[String]) -> BTreeMap<String, String> {
    pairs.iter().map(|text| pair(text)).collect()
}

fn split_pair(text: &str, separator: char) -> (String, String) {
    let (key, value) = text.split_once(separator).unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
