//! `version` and `info`.

use berth_api::system::{
    Commit, Info, PluginsInfo, RegistryServiceConfig, Runtime, Version, VersionComponent,
    VersionPlatform,
};
use berth_api::version::{MIN, NEWEST};
use berth_container::{Containers, Phase};
use berth_image::{Filter, Images};
use berth_types::{Caller, Timestamp};

use crate::config::Config;
use crate::host::Host;

/// What stands where Docker names its Go version.
const NO_GO: &str = "none (Rust)";
/// Berth's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What this engine is.
pub fn version(host: &Host) -> Version {
    let arch = berth_sys::arch::Arch::NATIVE
        .goarch()
        .unwrap_or("")
        .to_owned();
    let commit = option_env!("BERTH_COMMIT").unwrap_or("unknown");
    let details = [
        ("GitCommit", commit.to_owned()),
        // Berth has no Go in it; the clients only print it.
        ("GoVersion", NO_GO.to_owned()),
        ("BuildTime", String::new()),
        ("Experimental", "false".to_owned()),
        ("ApiVersion", NEWEST.to_string()),
        ("MinAPIVersion", MIN.to_string()),
        ("Arch", arch.clone()),
        ("Os", "linux".to_owned()),
        ("KernelVersion", host.kernel.clone()),
    ];
    Version {
        platform: VersionPlatform {
            name: "Berth".to_owned(),
        },
        components: vec![VersionComponent {
            name: "Engine".to_owned(),
            version: VERSION.to_owned(),
            details: details
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect(),
        }],
        version: VERSION.to_owned(),
        api_version: NEWEST.to_string(),
        min_api_version: MIN.to_string(),
        git_commit: commit.to_owned(),
        go_version: NO_GO.to_owned(),
        os: "linux".to_owned(),
        arch,
        kernel_version: host.kernel.clone(),
        ..Version::default()
    }
}

/// What this engine has and can do.
pub fn info(
    caller: &Caller,
    containers: &Containers,
    images: &Images,
    host: &Host,
    config: &Config,
) -> Info {
    let all = containers.all(caller);
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let running = all
        .iter()
        .filter(|r| matches!(r.state.phase, Phase::Running | Phase::Restarting))
        .count();
    let paused = all
        .iter()
        .filter(|r| r.state.phase == Phase::Paused)
        .count();
    let images = images.list(caller, &Filter::default()).len();
    let pair = |a: &str, b: String| [a.to_owned(), b];
    Info {
        id: containers
            .facts()
            .cgroup_parent
            .rsplit('/')
            .next()
            .unwrap_or("")
            .to_owned(),
        containers: count(all.len()),
        containers_running: count(running),
        containers_paused: count(paused),
        containers_stopped: count(all.len() - running - paused),
        images: count(images),
        driver: "overlay2".to_owned(),
        driver_status: vec![
            pair("Backing Filesystem", backing(&config.data_root)),
            pair("Supports d_type", "true".to_owned()),
            pair("Native Overlay Diff", "true".to_owned()),
        ],
        docker_root_dir: config.data_root.to_string_lossy().into_owned(),
        plugins: PluginsInfo {
            volume: vec!["local".to_owned()],
            network: ["bridge", "host", "null"].map(str::to_owned).to_vec(),
            authorization: Vec::new(),
            log: vec!["json-file".to_owned()],
        },
        memory_limit: host.support.memory,
        swap_limit: host.support.swap,
        cpu_cfs_period: host.support.cpu,
        cpu_cfs_quota: host.support.cpu,
        cpu_shares: host.support.cpu,
        cpu_set: host.support.cpuset,
        pids_limit: host.support.pids,
        ipv4_forwarding: read_flag("/proc/sys/net/ipv4/ip_forward"),
        debug: config.debug,
        open_files: count(entries("/proc/self/fd")),
        tasks: count(entries("/proc/self/task")),
        system_time: Timestamp::now().to_string(),
        logging_driver: config.defaults.log_driver.clone(),
        cgroup_driver: host.cgroup_driver.to_owned(),
        cgroup_version: host.cgroup_version.to_string(),
        kernel_version: host.kernel.clone(),
        operating_system: host.operating_system.clone(),
        os_version: host.os_version.clone(),
        os_type: "linux".to_owned(),
        architecture: host.machine.clone(),
        cpus: i64::from(host.cpus),
        mem_total: i64::try_from(host.memory).unwrap_or(i64::MAX),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: RegistryServiceConfig::default(),
        name: host.name.clone(),
        labels: config.labels.clone(),
        server_version: VERSION.to_owned(),
        runtimes: [(
            "berth".to_owned(),
            Runtime {
                path: "berth-shim".to_owned(),
                ..Runtime::default()
            },
        )]
        .into(),
        default_runtime: "berth".to_owned(),
        live_restore_enabled: true,
        init_binary: String::new(),
        runc_commit: Commit::default(),
        security_options: vec![
            "name=seccomp,profile=builtin".to_owned(),
            "name=cgroupns".to_owned(),
        ],
        warnings: [&config.notices[..], &host.support.warnings].concat(),
        ..Info::default()
    }
}

/// The type of the file system that the data root is on.
fn backing(path: &std::path::Path) -> String {
    let kind = berth_sys::rustix::fs::statfs(path).map_or(0, |fs| fs.f_type as u64 & 0xffff_ffff);
    // Magic numbers of linux/magic.h.
    match kind {
        0xef53 => "extfs".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        other => format!("{other:#x}"),
    }
}

fn read_flag(path: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}

fn entries(dir: &str) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}
