//! `GET /containers/{id}/json`.

use std::collections::BTreeMap;

use berth_api::container::{
    ContainerConfig, ContainerInspect, ContainerState, DeviceMapping, Empty, HostConfig, LogConfig,
    Ulimit,
};
use berth_api::image::DriverData;
use berth_container::{
    Containers, HostSettings, Log, Phase, Record, SHM_SIZE, State, default_paths,
};

use super::{mounts, network, restart_policy};

/// A container as inspect shows it.
pub fn inspect(record: &Record, containers: &Containers, size: bool) -> ContainerInspect {
    let dir = containers.state_dir(record);
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let command = record.command();
    let usage = size.then(|| containers.usage(record));
    ContainerInspect {
        id: record.id.to_string(),
        created: record.created.to_string(),
        path: command.first().cloned().unwrap_or_default(),
        args: command.into_iter().skip(1).collect(),
        state: state(&record.state),
        image: record.image.to_string(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: containers
            .log_path(record)
            .map(|p| p.to_string_lossy().into_owned())
            .unwrap_or_default(),
        name: format!("/{}", record.name),
        restart_count: i64::from(record.state.restart.count),
        driver: "overlay2".to_owned(),
        platform: "linux".to_owned(),
        exec_ids: containers
            .exec_ids(record.id)
            .iter()
            .map(ToString::to_string)
            .collect(),
        host_config: host_config(&record.host, record),
        graph_driver: Some(graph_driver(record, containers)),
        size_rw: usage.map(|u| u.0),
        size_root_fs: usage.map(|u| u.1),
        mounts: mounts::points(record),
        config: config(record),
        network_settings: network::network_settings(record, containers),
        ..ContainerInspect::default()
    }
}

fn state(state: &State) -> ContainerState {
    ContainerState {
        status: state.phase.word().to_owned(),
        // A container that waits for its next start counts as running, as Docker has it.
        running: state.phase.is_live() || state.phase == Phase::Restarting,
        paused: state.phase == Phase::Paused,
        restarting: state.phase == Phase::Restarting,
        oom_killed: state.oom_killed,
        pid: state.init.map_or(0, |init| i64::from(init.pid)),
        exit_code: if state.phase.is_live() {
            0
        } else {
            i64::from(state.exit_code)
        },
        error: state.error.clone(),
        started_at: state.started_at.to_string(),
        finished_at: state.finished_at.to_string(),
        ..ContainerState::default()
    }
}

fn graph_driver(record: &Record, containers: &Containers) -> DriverData {
    let snapshot = containers.snapshot_paths(record);
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let lower: Vec<String> = snapshot.lower.iter().map(|p| text(p)).collect();
    let merged = snapshot.upper.with_file_name("merged");
    let data = [
        ("LowerDir", lower.join(":")),
        ("MergedDir", text(&merged)),
        ("UpperDir", text(&snapshot.upper)),
        ("WorkDir", text(&snapshot.work)),
        ("ID", record.id.to_string()),
    ];
    DriverData {
        name: "overlay2".to_owned(),
        data: data.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
    }
}

fn config(record: &Record) -> ContainerConfig {
    let own = &record.settings;
    ContainerConfig {
        hostname: own.hostname.clone(),
        domainname: own.domainname.clone(),
        user: own.user.clone(),
        attach_stdin: own.attach[0],
        attach_stdout: own.attach[1],
        attach_stderr: own.attach[2],
        exposed_ports: own
            .exposed_ports
            .iter()
            .map(|p| (p.clone(), Empty {}))
            .collect(),
        open_stdin: own.open_stdin,
        stdin_once: own.stdin_once,
        tty: own.tty,
        env: own.env.clone(),
        cmd: own.cmd.clone(),
        image: record.image_name.clone(),
        working_dir: own.working_dir.clone(),
        entrypoint: own.entrypoint.clone(),
        labels: own.labels.clone(),
        stop_signal: own.stop_signal.clone(),
        stop_timeout: own.stop_timeout,
        ..ContainerConfig::default()
    }
}

fn host_config(host: &HostSettings, record: &Record) -> HostConfig {
    let mode = |shared: bool, own: &str| {
        if shared {
            "host".to_owned()
        } else {
            own.to_owned()
        }
    };
    let (masked, read_only) = default_paths();
    let paths = |own: &Option<Vec<String>>, default: Vec<String>| match own {
        Some(list) => Some(list.clone()),
        None if host.privileged => None,
        None => Some(default),
    };
    let (binds, mounts) = mounts::as_asked(record);
    let limits = &host.limits;
    HostConfig {
        binds,
        mounts,
        log_config: log_config(&host.log),
        network_mode: host.network.name(),
        port_bindings: network::port_bindings(host),
        publish_all_ports: host.publish_all.is_some(),
        restart_policy: restart_policy(host.restart),
        auto_remove: host.auto_remove,
        device_cgroup_rules: host.device_rules.clone(),
        devices: host.devices.iter().map(device).collect(),
        cgroup_parent: host.cgroup_parent.clone(),
        console_size: host.console_size.map(u32::from),
        annotations: host.annotations.clone(),
        cap_add: host.cap_add.clone(),
        cap_drop: host.cap_drop.clone(),
        cgroupns_mode: mode(host.host_cgroupns, "private"),
        dns: host.dns.clone(),
        dns_options: host.dns_options.clone(),
        dns_search: host.dns_search.clone(),
        extra_hosts: host.extra_hosts.clone(),
        group_add: host.group_add.clone(),
        ipc_mode: mode(host.host_ipc, "private"),
        oom_score_adj: i64::from(host.oom_score_adj),
        pid_mode: mode(host.host_pid, ""),
        privileged: host.privileged,
        readonly_rootfs: host.readonly_rootfs,
        security_opt: host.security_opt.clone(),
        tmpfs: host.tmpfs.clone(),
        uts_mode: mode(host.host_uts, ""),
        shm_size: i64::try_from(if host.shm_size == 0 {
            SHM_SIZE
        } else {
            host.shm_size
        })
        .unwrap_or(i64::MAX),
        sysctls: host.sysctls.clone(),
        runtime: "berth".to_owned(),
        cpu_shares: limits.cpu_shares,
        memory: limits.memory,
        nano_cpus: limits.nano_cpus,
        cpu_period: limits.cpu_period,
        cpu_quota: limits.cpu_quota,
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
        memory_reservation: limits.memory_reservation,
        memory_swap: limits.memory_swap,
        pids_limit: limits.pids,
        ulimits: ulimits(host),
        masked_paths: paths(&host.masked_paths, masked),
        readonly_paths: paths(&host.readonly_paths, read_only),
        ..HostConfig::default()
    }
}

fn device(own: &berth_container::DeviceMapping) -> DeviceMapping {
    DeviceMapping {
        path_on_host: own.source.clone(),
        path_in_container: own.target.clone(),
        cgroup_permissions: own.access.clone(),
    }
}

fn ulimits(host: &HostSettings) -> Vec<Ulimit> {
    let one = |(name, soft, hard): &(String, i64, i64)| Ulimit {
        name: name.clone(),
        soft: *soft,
        hard: *hard,
    };
    host.ulimits.iter().map(one).collect()
}

fn log_config(log: &Log) -> LogConfig {
    match log {
        Log::None => LogConfig {
            driver: "none".to_owned(),
            config: BTreeMap::new(),
        },
        Log::JsonFile { options, .. } => LogConfig {
            driver: "json-file".to_owned(),
            config: options.clone(),
        },
    }
}
