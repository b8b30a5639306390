//! Limits that a request gives: what is allowed, and what follows from what.

use berth_types::oci;

use crate::create::HostCapacity;
use crate::error::ContainerError;
use crate::record::Limits;

/// Least memory in bytes with which a container's init can start.
pub const MEMORY_MIN: i64 = 6 << 20;
/// Least CPU weight.
const SHARES_MIN: i64 = 2;
/// Bounds of a CPU period in microseconds (`sched-bwc.rst`).
const PERIOD: std::ops::RangeInclusive<i64> = 1_000..=1_000_000;
/// Least CPU time per period in microseconds.
const QUOTA_MIN: i64 = 1_000;
/// Period in microseconds that a number of CPUs is expressed in.
const NANO_CPUS_PERIOD: i64 = 100_000;

fn invalid<T>(text: impl Into<String>) -> Result<T, ContainerError> {
    Err(ContainerError::Invalid(text.into()))
}

/// Checks the limits and completes what Docker completes: swap is twice the memory where only
/// the memory is given. Returns warnings.
///
/// # Errors
/// A value is out of its range or contradicts another; Docker's sentence where it has one.
pub fn check(limits: &mut Limits, host: HostCapacity) -> Result<Vec<String>, ContainerError> {
    let mut warnings = Vec::new();
    memory(limits, host, &mut warnings)?;
    cpu(limits, host)?;
    if limits.pids.is_some_and(|n| n < -1) {
        return invalid("invalid pids limit: give a positive number, or -1 for no limit");
    }
    Ok(warnings)
}

fn memory(
    limits: &mut Limits,
    host: HostCapacity,
    warnings: &mut Vec<String>,
) -> Result<(), ContainerError> {
    let Limits {
        memory,
        memory_swap,
        memory_reservation,
        ..
    } = *limits;
    if memory < 0 || memory_reservation < 0 || memory_swap < -1 {
        return invalid("a memory limit cannot be negative");
    }
    if memory != 0 && memory < MEMORY_MIN {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if memory_swap > 0 && memory == 0 {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if memory_swap > 0 && memory_swap < memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory_reservation != 0 && memory_reservation < MEMORY_MIN {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if memory != 0 && memory_reservation > memory {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    if memory > 0 && !host.swap_limit && memory_swap != -1 {
        warnings.push(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. \
             Memory limited without swap."
                .to_owned(),
        );
        limits.memory_swap = -1;
    } else if memory > 0 && memory_swap == 0 {
        limits.memory_swap = memory.saturating_mul(2);
    }
    Ok(())
}

fn cpu(limits: &Limits, host: HostCapacity) -> Result<(), ContainerError> {
    let cpus = host.cpus;
    if limits.nano_cpus != 0 {
        if limits.cpu_period != 0 || limits.cpu_quota != 0 {
            return invalid(
                "Conflicting options: Nano CPUs and CPU Period/Quota cannot both be set",
            );
        }
        if limits.nano_cpus < 0 || limits.nano_cpus > i64::from(cpus) * 1_000_000_000 {
            return invalid(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            ));
        }
        if limits.nano_cpus < 10_000_000 {
            return invalid(format!("range of CPUs is from 0.01 to {cpus}.00"));
        }
    }
    if limits.cpu_shares != 0 && limits.cpu_shares < SHARES_MIN {
        return invalid(format!("The minimum allowed cpu-shares is {SHARES_MIN}"));
    }
    if limits.cpu_period != 0 && !PERIOD.contains(&limits.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if limits.cpu_quota > 0 && limits.cpu_quota < QUOTA_MIN {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    cpuset("cpuset-cpus", &limits.cpuset_cpus, Some(cpus))?;
    cpuset("cpuset-mems", &limits.cpuset_mems, None)
}

/// Checks a list like `0-2,4`.
fn cpuset(what: &str, list: &str, count: Option<u32>) -> Result<(), ContainerError> {
    if list.is_empty() {
        return Ok(());
    }
    for part in list.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (Ok(low), Ok(high)) = (low.trim().parse::<u32>(), high.trim().parse::<u32>()) else {
            return invalid(format!(
                "invalid {what} {list:?}: expected a list like 0-2,4"
            ));
        };
        if low > high || count.is_some_and(|n| high >= n) {
            return invalid(format!(
                "Requested CPUs are not available - requested {list}, available: 0-{}",
                count.unwrap_or(high).saturating_sub(1)
            ));
        }
    }
    Ok(())
}

/// The limits in the runtime specification's terms.
pub fn resources(limits: &Limits) -> oci::Resources {
    let positive = |n: i64| (n > 0).then_some(n);
    let (quota, period) = if limits.nano_cpus > 0 {
        let quota = limits.nano_cpus / (1_000_000_000 / NANO_CPUS_PERIOD);
        (
            Some(quota.max(QUOTA_MIN)),
            u64::try_from(NANO_CPUS_PERIOD).ok(),
        )
    } else {
        let period = positive(limits.cpu_period).and_then(|n| u64::try_from(n).ok());
        ((limits.cpu_quota != 0).then_some(limits.cpu_quota), period)
    };
    oci::Resources {
        devices: Vec::new(),
        memory: oci::Memory {
            limit: positive(limits.memory),
            reservation: positive(limits.memory_reservation),
            swap: (limits.memory > 0 && limits.memory_swap != 0).then_some(limits.memory_swap),
        },
        cpu: oci::Cpu {
            shares: positive(limits.cpu_shares).and_then(|n| u64::try_from(n).ok()),
            quota,
            period,
            cpus: limits.cpuset_cpus.clone(),
            mems: limits.cpuset_mems.clone(),
        },
        pids: oci::Pids {
            limit: limits.pids.filter(|n| *n > 0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostCapacity = HostCapacity {
        cpus: 2,
        swap_limit: true,
    };

    #[track_caller]
    fn refused(limits: Limits, part: &str) {
        let error = check(&mut limits.clone(), HOST).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn impossible_limits_are_refused_with_dockers_sentences() {
        let base = Limits::default();
        refused(
            Limits {
                memory: MEMORY_MIN - 1,
                ..base.clone()
            },
            "Minimum memory limit allowed",
        );
        refused(
            Limits {
                memory: -5,
                ..base.clone()
            },
            "cannot be negative",
        );
        refused(
            Limits {
                memory_swap: 1 << 30,
                ..base.clone()
            },
            "always set the Memory limit",
        );
        refused(
            Limits {
                memory: 1 << 30,
                memory_swap: 1 << 20,
                ..base.clone()
            },
            "larger than memory limit",
        );
        refused(
            Limits {
                nano_cpus: 3_000_000_000,
                ..base.clone()
            },
            "only 2 CPUs available",
        );
        refused(
            Limits {
                nano_cpus: 1,
                ..base.clone()
            },
            "0.01",
        );
        refused(
            Limits {
                nano_cpus: 1_000_000_000,
                cpu_quota: 5000,
                ..base.clone()
            },
            "Conflicting options",
        );
        refused(
            Limits {
                cpu_shares: 1,
                ..base.clone()
            },
            "minimum allowed cpu-shares",
        );
        refused(
            Limits {
                cpu_period: 10,
                ..base.clone()
            },
            "period",
        );
        refused(
            Limits {
                cpu_quota: 10,
                ..base.clone()
            },
            "quota",
        );
        refused(
            Limits {
                cpuset_cpus: "0-7".into(),
                ..base.clone()
            },
            "not available",
        );
        refused(
            Limits {
                cpuset_cpus: "a".into(),
                ..base.clone()
            },
            "expected a list",
        );
        refused(
            Limits {
                pids: Some(-2),
                ..base
            },
            "pids",
        );
    }

    #[test]
    fn swap_is_twice_the_memory_unless_said_otherwise() {
        let mut limits = Limits {
            memory: 64 << 20,
            ..Limits::default()
        };
        assert!(check(&mut limits, HOST).unwrap().is_empty());
        assert_eq!(limits.memory_swap, 128 << 20);

        let mut limits = Limits {
            memory: 64 << 20,
            ..Limits::default()
        };
        let host = HostCapacity {
            swap_limit: false,
            ..HOST
        };
        assert_eq!(check(&mut limits, host).unwrap().len(), 1);
        assert_eq!(resources(&limits).memory.swap, Some(-1));
    }

    #[test]
    fn a_number_of_cpus_becomes_a_quota() {
        let limits = Limits {
            nano_cpus: 1_500_000_000,
            ..Limits::default()
        };
        let cpu = resources(&limits).cpu;
        assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
        assert_eq!(resources(&Limits::default()), oci::Resources::default());
    }
}
