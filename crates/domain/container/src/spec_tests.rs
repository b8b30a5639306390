//! What a record becomes.

use super::*;
use crate::record::{Bind, Settings, State};
use berth_types::{ContainerId, Digest, Scope, Timestamp};

fn record(host: HostSettings) -> Record {
    Record {
        id: ContainerId::from_bytes([0xcd; 32]),
        name: "box".into(),
        owner: Scope::root(),
        created: Timestamp::from_nanos(0),
        image: Digest::from_sha256([1; 32]),
        image_owner: Scope::root(),
        image_name: "img".into(),
        layers: vec![],
        settings: Settings {
            cmd: Some(vec!["sh".into()]),
            hostname: "cdcd".into(),
            ..Settings::default()
        },
        host,
        state: State::created(),
        forms: crate::Forms::default(),
    }
}

fn facts() -> HostFacts {
    HostFacts {
        cgroup_parent: "/berth/01020304".into(),
        scopes: None,
        devices: vec![],
        hostname: "host".into(),
        capabilities: CapSet::ALL,
        open_files: 1 << 20,
    }
}

fn spec(host: HostSettings) -> oci::Spec {
    let dirs = Dirs {
        state: Path::new("/data/c"),
        lower: &[],
        upper: "/u",
        work: "/w",
    };
    launch(&record(host), &facts(), dirs).unwrap().bundle.spec
}

fn find<'a>(spec: &'a oci::Spec, target: &str) -> &'a Mount {
    spec.mounts
        .iter()
        .rev()
        .find(|m| m.destination == target)
        .unwrap()
}

#[test]
fn the_default_is_isolated_in_every_respect() {
    let spec = spec(HostSettings::default());
    let kinds: Vec<_> = spec.linux.namespaces.iter().map(|n| n.kind).collect();
    use NamespaceKind::*;
    assert_eq!(kinds, [Mount, Pid, Network, Uts, Ipc, Cgroup]);
    let caps = spec.process.capabilities.unwrap();
    assert_eq!(caps.effective.len(), 14);
    assert!(caps.inheritable.is_empty() && caps.ambient.is_empty());
    assert_eq!(spec.linux.masked_paths.len(), 12);
    assert_eq!(spec.linux.readonly_paths.len(), 5);
    assert!(!spec.linux.resources.devices[0].allow);
    assert_eq!(
        spec.linux.cgroups_path,
        format!("/berth/01020304/{}", "cd".repeat(32))
    );
    assert!(find_options(&spec.mounts, "/sys").contains(&"ro".to_owned()));
    assert_eq!(
        spec.process.env,
        [crate::process::DEFAULT_PATH, "HOSTNAME=cdcd"]
    );
    assert_eq!(spec.process.cwd, "/");
}

fn find_options(mounts: &[Mount], target: &str) -> Vec<String> {
    mounts
        .iter()
        .find(|m| m.destination == target)
        .unwrap()
        .options
        .clone()
}

#[test]
fn privileged_takes_the_fences_down_and_host_modes_share() {
    let spec = spec(HostSettings {
        privileged: true,
        network: Network::Host,
        host_pid: true,
        host_ipc: true,
        host_uts: true,
        host_cgroupns: true,
        ..HostSettings::default()
    });
    let kinds: Vec<_> = spec.linux.namespaces.iter().map(|n| n.kind).collect();
    assert_eq!(kinds, [NamespaceKind::Mount]);
    assert!(spec.linux.masked_paths.is_empty());
    assert!(spec.linux.resources.devices.iter().all(|d| d.allow));
    assert!(spec.hostname.is_empty());
    assert!(spec.linux.sysctl.is_empty());
    assert_eq!(find(&spec, "/dev/shm").source, "/dev/shm");
}

#[test]
fn capabilities_add_and_drop() {
    let caps = |add: &[&str], drop: &[&str]| {
        let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect();
        let host = HostSettings {
            cap_add: list(add),
            cap_drop: list(drop),
            ..HostSettings::default()
        };
        capabilities(&host, CapSet::ALL)
            .map(|set| set.iter().count())
            .map_err(|e| e.to_string())
    };
    assert_eq!(caps(&["net_admin"], &[]), Ok(15));
    assert_eq!(caps(&[], &["CAP_CHOWN"]), Ok(13));
    assert_eq!(caps(&["CHOWN"], &["ALL"]), Ok(1));
    assert_eq!(caps(&["ALL"], &["SYS_ADMIN"]), caps(&["ALL"], &["MKNOD"]));
    assert!(caps(&["FLY"], &[]).unwrap_err().contains("FLY"));
}

#[test]
fn a_request_may_replace_the_networks_files_and_widen_propagation() {
    let bind = |source: &str, target: &str, propagation: &str| Bind {
        source: source.into(),
        target: target.into(),
        read_only: true,
        propagation: propagation.into(),
        flat: false,
        short: None,
    };
    let binds = vec![
        bind("/my/hosts", "/etc/hosts", ""),
        bind("/data", "/data", "rshared"),
    ];
    let spec = spec(HostSettings {
        binds,
        ..HostSettings::default()
    });
    assert_eq!(
        spec.mounts
            .iter()
            .filter(|m| m.destination == "/etc/hosts")
            .count(),
        1
    );
    assert_eq!(find(&spec, "/etc/hosts").source, "/my/hosts");
    assert_eq!(
        find(&spec, "/etc/hosts").options,
        ["rbind", "rprivate", "ro"]
    );
    assert_eq!(find(&spec, "/data").options, ["rbind", "rshared", "ro"]);
    assert_eq!(find(&spec, "/etc/hostname").source, "/data/c/hostname");
    assert_eq!(spec.linux.rootfs_propagation, "shared");
}

#[test]
fn limits_and_ulimits_arrive() {
    let spec = spec(HostSettings {
        limits: crate::record::Limits {
            memory: 8 << 20,
            pids: Some(9),
            ..Default::default()
        },
        ulimits: vec![("nofile".into(), 10, 20), ("core".into(), -1, -1)],
        security_opt: vec!["no-new-privileges".into()],
        ..HostSettings::default()
    });
    assert_eq!(spec.linux.resources.memory.limit, Some(8 << 20));
    assert_eq!(spec.linux.resources.pids.limit, Some(9));
    assert!(spec.process.no_new_privileges);
    let limits: Vec<_> = spec
        .process
        .rlimits
        .iter()
        .map(|l| (l.kind.as_str(), l.soft, l.hard))
        .collect();
    assert_eq!(
        limits,
        [
            ("RLIMIT_NOFILE", 10, 20),
            ("RLIMIT_CORE", u64::MAX, u64::MAX)
        ]
    );
}
