//! `POST /containers/create`: from the wire to a request, refusing what is not built.

use std::collections::BTreeMap;

use berth_api::container::{ContainerConfig, ContainerCreateRequest, HostConfig, LogConfig};
use berth_api::version::ApiVersion;
use berth_container::{
    CreateRequest, DeviceMapping, HOST_GATEWAY, HostSettings, LOG_MAX_FILES, LOG_MAX_SIZE, Limits,
    Log, Network, RestartPolicy, Settings,
};
use berth_types::{ULIMITS, parse_size};

use super::{mounts, network, update};
use crate::config::Config;
use crate::rest::error::ApiError;

/// Most log files that a container may keep.
const LOG_FILES_MAX: u32 = 1000;
/// Least bytes of one log file.
const LOG_SIZE_MIN: u64 = 4 << 10;

/// Checks that a platform is the one that this engine runs.
pub fn check_platform(platform: &str) -> Result<(), ApiError> {
    let mut parts = platform.split('/');
    let (os, arch) = (parts.next().unwrap_or(""), parts.next());
    let native = berth_sys::arch::Arch::NATIVE.goarch().unwrap_or("");
    let aliases = [native, berth_sys::arch::Arch::NATIVE.machine()];
    if os == "linux" && arch.is_none_or(|a| aliases.contains(&a)) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "platform {platform:?} cannot run here: this engine runs linux/{native}"
    )))
}

/// Reads a request.
pub fn create_request(
    name: Option<String>,
    wire: ContainerCreateRequest,
    version: ApiVersion,
    config: &Config,
) -> Result<CreateRequest, ApiError> {
    let ContainerCreateRequest {
        config: own,
        host_config: host,
        networking_config,
    } = wire;
    refuse_config(&own)?;
    refuse_host(&host)?;
    network::check_endpoints(&networking_config)?;
    let image = own.image.clone();
    if image.is_empty() {
        return Err(ApiError::invalid(
            "no image specified: name one in \"Image\"",
        ));
    }
    Ok(CreateRequest {
        name,
        owner: None,
        image,
        host: HostSettings {
            mac: network::mac(&networking_config)?,
            ..host_settings(host, own.network_disabled, version, config)?
        },
        settings: settings(own),
    })
}

/// One refusal for each option that is set and not built.
fn refuse(options: &[(bool, &str)]) -> Result<(), ApiError> {
    match options.iter().find(|(set, _)| *set) {
        Some((_, what)) => Err(ApiError::not_built(what)),
        None => Ok(()),
    }
}

fn refuse_config(own: &ContainerConfig) -> Result<(), ApiError> {
    let health = own
        .healthcheck
        .as_ref()
        .is_some_and(|h| !h.test.is_empty() && h.test.first().is_none_or(|t| t != "NONE"));
    refuse(&[
        (health, "a health check"),
        (!own.volumes.is_empty(), "an anonymous volume (-v /path)"),
        (!own.mac_address.is_empty(), "a MAC address"),
    ])
}

fn refuse_host(host: &HostConfig) -> Result<(), ApiError> {
    refuse(&[
        (
            !host.volume_driver.is_empty() && host.volume_driver != "local",
            "a volume driver",
        ),
        (!host.volumes_from.is_empty(), "--volumes-from"),
        (!host.links.is_empty(), "--link"),
        (!host.storage_opt.is_empty(), "--storage-opt"),
        (
            !matches!(host.userns_mode.as_str(), "" | "host"),
            "a user namespace",
        ),
        (
            !matches!(host.runtime.as_str(), "" | "berth" | "runc"),
            "another runtime",
        ),
        (
            !matches!(host.isolation.as_str(), "" | "default"),
            "an isolation technology",
        ),
        (!host.cgroup.is_empty(), "a cgroup of another container"),
        (host.init == Some(true), "--init"),
        (!host.device_requests.is_empty(), "--gpus"),
        (
            host.memory_swappiness.is_some_and(|n| n != -1),
            "--memory-swappiness",
        ),
        (host.oom_kill_disable == Some(true), "--oom-kill-disable"),
        (
            host.kernel_memory != 0 || host.kernel_memory_tcp != 0,
            "a kernel memory limit",
        ),
        (
            host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0,
            "real-time CPU",
        ),
        (
            host.blkio_weight != 0
                || !host.blkio_weight_device.is_empty()
                || !host.blkio_device_read_bps.is_empty()
                || !host.blkio_device_write_bps.is_empty()
                || !host.blkio_device_read_iops.is_empty()
                || !host.blkio_device_write_iops.is_empty(),
            "a block I/O limit",
        ),
        (
            host.cpu_count != 0 || host.cpu_percent != 0,
            "a limit of Windows",
        ),
        (
            host.io_maximum_iops != 0 || host.io_maximum_bandwidth != 0,
            "a limit of Windows",
        ),
    ])?;
    for (mode, flag) in [
        (&host.ipc_mode, "--ipc"),
        (&host.pid_mode, "--pid"),
        (&host.uts_mode, "--uts"),
        (&host.cgroupns_mode, "--cgroupns"),
    ] {
        let built = matches!(mode.as_str(), "" | "private" | "host")
            || (flag == "--ipc" && mode == "shareable");
        if mode.starts_with("container:") || mode == "none" {
            return Err(ApiError::not_built(format!("{flag} {mode}")));
        }
        if !built {
            return Err(ApiError::invalid(format!("invalid {flag} mode: {mode}")));
        }
    }
    Ok(())
}

fn settings(own: ContainerConfig) -> Settings {
    Settings {
        hostname: own.hostname,
        domainname: own.domainname,
        user: own.user,
        env: own.env,
        entrypoint: own.entrypoint,
        cmd: own.cmd,
        working_dir: own.working_dir,
        labels: own.labels,
        exposed_ports: own.exposed_ports.into_keys().collect(),
        attach: [own.attach_stdin, own.attach_stdout, own.attach_stderr],
        open_stdin: own.open_stdin,
        stdin_once: own.stdin_once,
        tty: own.tty,
        stop_signal: own.stop_signal,
        stop_timeout: own.stop_timeout,
    }
}

fn host_settings(
    host: HostConfig,
    network_disabled: bool,
    version: ApiVersion,
    config: &Config,
) -> Result<HostSettings, ApiError> {
    let network = if network_disabled {
        Network::None
    } else {
        network::mode(&host.network_mode, config)?
    };
    let ports = network::ports(&host, config.network.publish_on)?;
    let restart = update::policy(&host.restart_policy)?;
    if host.auto_remove && restart != RestartPolicy::No {
        return Err(ApiError::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    let (binds, tmpfs) = mounts::read(&host)?;
    let defaults = &config.defaults;
    let host_mode = |mode: &str| mode == "host";
    let host_cgroupns = match host.cgroupns_mode.as_str() {
        "host" => true,
        "private" => false,
        _ => defaults.host_cgroupns || (host.privileged && !has_unified_groups()),
    };
    let mut security_opt = host.security_opt;
    let says = |o: &String| o.starts_with("no-new-privileges");
    if defaults.no_new_privileges && !security_opt.iter().any(says) {
        security_opt.push("no-new-privileges".to_owned());
    }
    let mut ulimits: Vec<_> = host
        .ulimits
        .into_iter()
        .map(|u| (u.name, u.soft, u.hard))
        .collect();
    for default in &defaults.ulimits {
        if !ulimits.iter().any(|(name, ..)| *name == default.0) {
            ulimits.push(default.clone());
        }
    }
    check_ulimits(&ulimits)?;
    // Before 1.44 there was no console size; a stray one is not an error.
    let console = if version < ApiVersion::new(1, 42) {
        [0, 0]
    } else {
        host.console_size
    };
    let cells = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    Ok(HostSettings {
        network,
        ports,
        publish_all: host.publish_all_ports.then_some(config.network.publish_on),
        binds,
        tmpfs,
        auto_remove: host.auto_remove,
        restart,
        privileged: host.privileged,
        cap_add: host.cap_add,
        cap_drop: host.cap_drop,
        security_opt,
        readonly_rootfs: host.readonly_rootfs,
        limits: Limits {
            memory: host.memory,
            memory_swap: host.memory_swap,
            memory_reservation: host.memory_reservation,
            nano_cpus: host.nano_cpus,
            cpu_shares: host.cpu_shares,
            cpu_period: host.cpu_period,
            cpu_quota: host.cpu_quota,
            cpuset_cpus: host.cpuset_cpus,
            cpuset_mems: host.cpuset_mems,
            pids: host.pids_limit,
        },
        device_rules: host.device_cgroup_rules,
        devices: host.devices.into_iter().map(device).collect(),
        cgroup_parent: host.cgroup_parent,
        ulimits,
        group_add: host.group_add,
        oom_score_adj: i32::try_from(host.oom_score_adj)
            .map_err(|_| ApiError::invalid("OomScoreAdj is out of range"))?,
        shm_size: match u64::try_from(host.shm_size) {
            Ok(0) => defaults.shm_size,
            Ok(size) => size,
            Err(_) => return Err(ApiError::invalid("SHM size can not be less than 0")),
        },
        sysctls: host.sysctls,
        host_cgroupns,
        host_pid: host_mode(&host.pid_mode),
        host_ipc: host_mode(&host.ipc_mode),
        host_uts: host_mode(&host.uts_mode),
        extra_hosts: checked_hosts(host.extra_hosts)?,
        dns: or_default(host.dns, &defaults.dns),
        dns_search: or_default(host.dns_search, &defaults.dns_search),
        dns_options: or_default(host.dns_options, &defaults.dns_options),
        log: log(host.log_config, config)?,
        masked_paths: host.masked_paths,
        readonly_paths: host.readonly_paths,
        console_size: console.map(cells),
        annotations: host.annotations,
        mac: None,
    })
}

/// What is left out has Docker's defaults.
fn device(wire: berth_api::container::DeviceMapping) -> DeviceMapping {
    let or = |text: String, default: &str| {
        if text.is_empty() {
            default.to_owned()
        } else {
            text
        }
    };
    DeviceMapping {
        target: or(wire.path_in_container, &wire.path_on_host),
        access: or(wire.cgroup_permissions, "rwm"),
        source: wire.path_on_host,
    }
}

/// Whether control groups are of version 2, where a privileged container has a view of its own
/// as others do; on version 1 it has the host's. As Docker decides.
fn has_unified_groups() -> bool {
    use berth_sys::cgroup::{Layout, Version};
    Layout::detect().is_ok_and(|layout| layout.version == Version::V2)
}

fn or_default(own: Vec<String>, default: &[String]) -> Vec<String> {
    if own.is_empty() {
        default.to_vec()
    } else {
        own
    }
}

fn checked_hosts(hosts: Vec<String>) -> Result<Vec<String>, ApiError> {
    for entry in &hosts {
        let fine = entry.split_once(':').is_some_and(|(name, ip)| {
            !name.is_empty()
                && !name.contains(|c: char| c.is_whitespace() || c.is_control())
                && (ip == HOST_GATEWAY
                    || ip
                        .trim_matches(['[', ']'])
                        .parse::<std::net::IpAddr>()
                        .is_ok())
        });
        if !fine {
            return Err(ApiError::invalid(format!(
                "bad format for add-host: {entry:?}: expected name:address"
            )));
        }
    }
    Ok(hosts)
}

/// Docker's client does not take `as`; its API does.
fn check_ulimits(list: &[(String, i64, i64)]) -> Result<(), ApiError> {
    match list
        .iter()
        .find(|(name, ..)| !ULIMITS.contains(&name.as_str()) && name != "as")
    {
        Some((name, ..)) => Err(ApiError::invalid(format!(
            "invalid ulimit type: {name}: expected one of {}, as",
            ULIMITS.join(", ")
        ))),
        None => Ok(()),
    }
}

fn log(own: LogConfig, config: &Config) -> Result<Log, ApiError> {
    let defaults = &config.defaults;
    let own_driver = !own.driver.is_empty();
    let driver = if own_driver {
        own.driver.as_str()
    } else {
        defaults.log_driver.as_str()
    };
    match driver {
        "none" => Ok(Log::None),
        "json-file" => {
            // The engine's options belong to the engine's driver.
            let mut options: BTreeMap<String, String> =
                if own_driver && driver != defaults.log_driver {
                    BTreeMap::new()
                } else {
                    defaults.log_opts.clone()
                };
            options.extend(own.config);
            json_file(options)
        }
        "local" | "journald" | "syslog" | "gelf" | "fluentd" | "awslogs" | "gcplogs" | "splunk" => {
            Err(ApiError::not_built(format!(
                "the log driver {driver} (json-file and none are built)"
            )))
        }
        other => Err(ApiError::invalid(format!(
            "logger: no log driver named '{other}' is registered"
        ))),
    }
}

fn json_file(options: BTreeMap<String, String>) -> Result<Log, ApiError> {
    let (mut max_size, mut max_files) = (LOG_MAX_SIZE, LOG_MAX_FILES);
    for (key, value) in &options {
        let bad =
            |why: String| ApiError::invalid(format!("invalid log option {key}={value}: {why}"));
        match key.as_str() {
            "max-size" if value == "-1" => max_size = u64::MAX,
            "max-size" => {
                max_size = parse_size(value).map_err(|e| bad(e.to_string()))?;
                if max_size < LOG_SIZE_MIN {
                    return Err(bad(format!("at least {LOG_SIZE_MIN} bytes")));
                }
            }
            "max-file" => {
                let files = value
                    .parse()
                    .ok()
                    .filter(|n| (1..=LOG_FILES_MAX).contains(n));
                max_files =
                    files.ok_or_else(|| bad(format!("a number from 1 to {LOG_FILES_MAX}")))?;
            }
            "mode" if value == "blocking" => {}
            "compress" if value == "false" => {}
            "compress" | "mode" | "max-buffer-size" | "labels" | "labels-regex" | "env"
            | "env-regex" | "tag" => {
                return Err(ApiError::not_built(format!("log option {key}={value}")));
            }
            _ => {
                return Err(ApiError::invalid(format!(
                    "unknown log opt '{key}' for json-file log driver"
                )));
            }
        }
    }
    Ok(Log::JsonFile {
        max_size,
        max_files,
        options,
    })
}
