//! Limits as files and values: pure, so that both versions are tested on any machine.

use berth_types::oci::{Cpu, Memory, Pids, Resources};

use super::CgroupError;

/// One value to write into a file of a control group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The controller that the file belongs to.
    pub controller: &'static str,
    /// What a person calls it.
    pub limit: &'static str,
    /// File name inside the group.
    pub file: &'static str,
    /// What is written.
    pub value: String,
    /// Whether a kernel without the file is good enough.
    pub optional: bool,
}

fn setting(limit: &'static str, file: &'static str, value: impl ToString) -> Setting {
    let controller = file.split('.').next().unwrap_or(file);
    Setting {
        controller,
        limit,
        file,
        value: value.to_string(),
        optional: false,
    }
}

/// In an update the list of processors or memory nodes that stands for all that the parent has;
/// in the kernel's files there is no word for that on version 1.
pub const WHOLE_SET: &str = "*";

/// The period the kernel starts with, microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// A number, or the word for none.
fn or_max(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

/// Version 1 files, in an order the kernel accepts: a memory limit before that of memory and
/// swap, which may not be the lower one; a period before its quota.
pub(super) fn version_1(resources: &Resources) -> Result<Vec<Setting>, CgroupError> {
    let Resources {
        memory, cpu, pids, ..
    } = resources;
    check(memory)?;
    let mut list = Vec::new();
    if let Some(limit) = memory.limit {
        list.push(setting("memory limit", "memory.limit_in_bytes", limit));
    }
    if let Some(swap) = memory.swap {
        let file = "memory.memsw.limit_in_bytes";
        // Absent without swap accounting, where swap cannot be limited at all.
        list.push(Setting {
            optional: true,
            ..setting("memory and swap limit", file, swap)
        });
    }
    if let Some(reservation) = memory.reservation {
        list.push(setting(
            "memory reservation",
            "memory.soft_limit_in_bytes",
            reservation,
        ));
    }
    if let Some(shares) = cpu.shares.filter(|s| *s != 0) {
        list.push(setting("CPU shares", "cpu.shares", shares));
    }
    if let Some(period) = cpu.period.filter(|p| *p != 0) {
        list.push(setting("CPU period", "cpu.cfs_period_us", period));
    }
    if let Some(quota) = cpu.quota.filter(|q| *q != 0) {
        list.push(setting("CPU quota", "cpu.cfs_quota_us", quota));
    }
    list.extend(cpusets(cpu));
    list.extend(processes(pids));
    Ok(list)
}

/// Version 2 files.
pub(super) fn version_2(resources: &Resources) -> Result<Vec<Setting>, CgroupError> {
    let Resources {
        memory, cpu, pids, ..
    } = resources;
    check(memory)?;
    let mut list = Vec::new();
    if let Some(swap) = swap_alone(memory) {
        let file = "memory.swap.max";
        list.push(Setting {
            optional: true,
            ..setting("swap limit", file, or_max(swap))
        });
    }
    if let Some(limit) = memory.limit {
        list.push(setting("memory limit", "memory.max", or_max(limit)));
    }
    if let Some(reservation) = memory.reservation {
        // "max" would reserve the whole machine; no soft limit is no protection.
        list.push(setting(
            "memory reservation",
            "memory.low",
            reservation.max(0),
        ));
    }
    if let Some(shares) = cpu.shares.filter(|s| *s != 0) {
        list.push(setting(
            "CPU shares",
            "cpu.weight",
            weight_of_shares(shares),
        ));
    }
    let (quota, period) = (
        cpu.quota.filter(|q| *q != 0),
        cpu.period.filter(|p| *p != 0),
    );
    if quota.is_some() || period.is_some() {
        let quota = or_max(quota.unwrap_or(-1));
        let value = format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD));
        list.push(setting("CPU quota", "cpu.max", value));
    }
    list.extend(cpusets(cpu));
    list.extend(processes(pids));
    Ok(list)
}

fn cpusets(cpu: &Cpu) -> impl Iterator<Item = Setting> {
    let sets = [
        ("CPU set", "cpuset.cpus", &cpu.cpus),
        ("memory nodes", "cpuset.mems", &cpu.mems),
    ];
    let given = sets.into_iter().filter(|(_, _, value)| !value.is_empty());
    given.map(|(limit, file, value)| setting(limit, file, value))
}

fn processes(pids: &Pids) -> Option<Setting> {
    // Zero has always meant "no limit" in Docker's API.
    let limit = pids.limit.filter(|limit| *limit > 0)?;
    Some(setting("number of processes", "pids.max", limit))
}

/// The setting that takes a limit of processes away.
pub(super) fn no_process_limit() -> Setting {
    setting("number of processes", "pids.max", "max")
}

/// Version 1's swap value counts memory too; version 2's does not.
fn swap_alone(memory: &Memory) -> Option<i64> {
    match (memory.swap?, memory.limit) {
        (swap, _) if swap < 0 => Some(-1),
        (0, _) => None,
        (swap, Some(limit)) if limit >= 0 => Some(swap - limit),
        _ => Some(-1),
    }
}

fn check(memory: &Memory) -> Result<(), CgroupError> {
    match (memory.limit, memory.swap) {
        (Some(limit), Some(swap)) if swap > 0 && (limit < 0 || swap < limit) => {
            Err(CgroupError::SwapBelowMemory { limit, swap })
        }
        _ => Ok(()),
    }
}

/// Version 1's shares (2 to 262144) on version 2's scale (1 to 10000), as the OCI runtime
/// specification's users convert it.
pub fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(settings: Result<Vec<Setting>, CgroupError>) -> Vec<String> {
        let line = |s: Setting| format!("{}={}", s.file, s.value);
        settings.unwrap().into_iter().map(line).collect()
    }

    fn full() -> Resources {
        Resources {
            memory: Memory {
                limit: Some(100),
                reservation: Some(50),
                swap: Some(300),
            },
            cpu: Cpu {
                shares: Some(1024),
                quota: Some(20_000),
                period: Some(50_000),
                cpus: "0-1".to_owned(),
                mems: "0".to_owned(),
            },
            pids: Pids { limit: Some(7) },
            ..Resources::default()
        }
    }

    #[test]
    fn both_versions_write_every_limit() {
        let v1 = [
            "memory.limit_in_bytes=100",
            "memory.memsw.limit_in_bytes=300",
            "memory.soft_limit_in_bytes=50",
            "cpu.shares=1024",
            "cpu.cfs_period_us=50000",
            "cpu.cfs_quota_us=20000",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "pids.max=7",
        ];
        let v2 = [
            "memory.swap.max=200",
            "memory.max=100",
            "memory.low=50",
            "cpu.weight=39",
            "cpu.max=20000 50000",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "pids.max=7",
        ];
        assert_eq!(rendered(version_1(&full())), v1);
        assert_eq!(rendered(version_2(&full())), v2);
        assert_eq!(rendered(version_1(&Resources::default())), [""; 0]);
        assert_eq!(rendered(version_2(&Resources::default())), [""; 0]);
    }

    #[test]
    fn swap_is_counted_without_memory() {
        let check = |limit, swap, expected| {
            let memory = Memory {
                limit,
                swap,
                reservation: None,
            };
            assert_eq!(swap_alone(&memory), expected, "{limit:?} {swap:?}");
        };
        check(Some(100), Some(100), Some(0));
        check(Some(100), Some(-1), Some(-1));
        check(Some(100), Some(0), None);
        check(Some(100), None, None);
        check(Some(-1), Some(-1), Some(-1));
        check(None, Some(5), Some(-1));
    }

    #[test]
    fn swap_below_memory_is_refused() {
        let memory = Memory {
            limit: Some(100),
            swap: Some(99),
            reservation: None,
        };
        let resources = Resources {
            memory,
            ..Resources::default()
        };
        assert!(version_1(&resources).is_err() && version_2(&resources).is_err());
    }

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in [
            (0, 1),
            (2, 1),
            (1024, 39),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(weight_of_shares(shares), weight);
        }
    }

    #[test]
    fn no_limit_has_a_word_of_its_own() {
        let resources = Resources {
            memory: Memory {
                limit: Some(-1),
                reservation: None,
                swap: Some(-1),
            },
            cpu: Cpu {
                quota: Some(-1),
                ..Cpu::default()
            },
            pids: Pids { limit: Some(-1) },
            ..Resources::default()
        };
        let v2 = [
            "memory.swap.max=max",
            "memory.max=max",
            "cpu.max=max 100000",
        ];
        assert_eq!(rendered(version_2(&resources)), v2);
    }
}
