//! Limits: visible to the kernel, effective, and explained when they cannot be had.

use std::fs;

use berth_sys::cgroup::{Layout, Version};
use berth_sys::pidfd::Exit;
use berth_types::launch::StartFailureKind;
use berth_types::oci::{Cpu, Memory, Pids, Resources};

use super::Case as Entry;
use super::support::Case;

pub const CASES: &[Entry] = &[
    ("limits_reach_the_kernel", limits_reach_the_kernel),
    (
        "the_process_limit_is_effective",
        the_process_limit_is_effective,
    ),
    (
        "running_out_of_memory_is_noticed",
        running_out_of_memory_is_noticed,
    ),
    (
        "an_impossible_limit_is_explained",
        an_impossible_limit_is_explained,
    ),
];

const MIB: i64 = 1 << 20;

fn limits_reach_the_kernel() {
    let mut case = Case::new("limits");
    case.linux().resources = Resources {
        memory: Memory {
            limit: Some(64 * MIB),
            reservation: Some(32 * MIB),
            swap: Some(96 * MIB),
        },
        cpu: Cpu {
            shares: Some(512),
            quota: Some(50_000),
            period: Some(100_000),
            cpus: "0".to_owned(),
            mems: "0".to_owned(),
        },
        pids: Pids { limit: Some(77) },
        ..Resources::default()
    };
    let (running, output) = case.script("sleep 60").start().unwrap();
    let version = Layout::detect().unwrap().version;
    let files: &[(&str, &str)] = match version {
        Version::V1 => &[
            ("memory.limit_in_bytes", "67108864"),
            ("memory.soft_limit_in_bytes", "33554432"),
            ("memory.memsw.limit_in_bytes", "100663296"),
            ("cpu.shares", "512"),
            ("cpu.cfs_quota_us", "50000"),
            ("cpu.cfs_period_us", "100000"),
            ("cpuset.cpus", "0"),
            ("cpuset.mems", "0"),
            ("pids.max", "77"),
        ],
        Version::V2 => &[
            ("memory.max", "67108864"),
            ("memory.low", "33554432"),
            ("memory.swap.max", "33554432"),
            ("cpu.weight", "20"),
            ("cpu.max", "50000 100000"),
            ("pids.max", "77"),
        ],
    };
    let groups = case.groups();
    for (file, expected) in files {
        let found = groups
            .iter()
            .find_map(|g| fs::read_to_string(g.join(file)).ok());
        assert_eq!(found.as_deref().map(str::trim), Some(*expected), "{file}");
    }
    let pid = running.started.init.pid;
    for group in &groups {
        let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap();
        assert!(procs.lines().any(|l| l == pid.to_string()), "{group:?}");
    }
    assert_eq!(running.cgroup.pids().unwrap().len(), 1);
    running.cgroup.kill_all().unwrap();
    drop(output);
    super::support::finish(running, String::new());
    assert!(groups.iter().all(|g| !g.exists()));
}

fn the_process_limit_is_effective() {
    let mut case = Case::new("pids");
    case.linux().resources.pids.limit = Some(3);
    let script = "sleep 60 & sleep 60 & sleep 60 & echo more";
    let outcome = case.script(script).run().unwrap();
    assert!(
        outcome.output.contains("Resource temporarily unavailable"),
        "{}",
        outcome.output
    );
    assert_ne!(outcome.exit, Exit::Code(0));
}

fn running_out_of_memory_is_noticed() {
    let mut case = Case::new("oom");
    case.linux().resources.memory = Memory {
        limit: Some(16 * MIB),
        reservation: None,
        swap: Some(16 * MIB),
    };
    let outcome = case
        .script("exec dd if=/dev/zero of=/dev/null bs=256M count=1")
        .run()
        .unwrap();
    assert_eq!(outcome.exit, Exit::Signal(9), "{}", outcome.output);
    assert!(outcome.oom_killed);
    let outcome = case.script("kill -9 $$; exit 3").run().unwrap();
    assert!(!outcome.oom_killed);
}

fn an_impossible_limit_is_explained() {
    let mut case = Case::new("impossible");
    let mut check = |resources: Resources, expected: &str| {
        case.linux().resources = resources;
        let failure = case.failure();
        assert_eq!(failure.kind, StartFailureKind::BadLimit);
        assert!(failure.message.contains(expected), "{}", failure.message);
        assert!(
            case.groups().iter().all(|g| !g.exists()),
            "what was made is gone again"
        );
    };
    let cpu = Cpu {
        cpus: "4000".to_owned(),
        ..Cpu::default()
    };
    check(
        Resources {
            cpu,
            ..Resources::default()
        },
        "cpuset.cpus",
    );
    let memory = Memory {
        limit: Some(10 * MIB),
        reservation: None,
        swap: Some(MIB),
    };
    check(
        Resources {
            memory,
            ..Resources::default()
        },
        "swap",
    );
}
