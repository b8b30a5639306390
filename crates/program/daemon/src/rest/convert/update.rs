//! `POST /containers/{id}/update`, and restart policies in both directions.

use berth_api::container::RestartPolicy as WirePolicy;
use berth_api::update::ContainerUpdateRequest;
use berth_container::{Change, Limits, RestartPolicy};

use crate::rest::error::ApiError;

/// Reads a request for new limits; what cannot be changed is refused by its name.
pub fn change(wire: ContainerUpdateRequest) -> Result<Change, ApiError> {
    let fixed = [
        (!wire.cgroup_parent.is_empty(), "the parent control group"),
        (
            wire.blkio_weight != 0
                || !wire.blkio_weight_device.is_empty()
                || !wire.blkio_device_read_bps.is_empty()
                || !wire.blkio_device_write_bps.is_empty()
                || !wire.blkio_device_read_iops.is_empty()
                || !wire.blkio_device_write_iops.is_empty(),
            "block I/O limits",
        ),
        (
            wire.cpu_realtime_period != 0 || wire.cpu_realtime_runtime != 0,
            "real-time CPU",
        ),
        (
            !wire.devices.is_empty()
                || !wire.device_cgroup_rules.is_empty()
                || !wire.device_requests.is_empty(),
            "devices",
        ),
        (
            wire.memory_swappiness.is_some_and(|n| n != -1),
            "the swappiness",
        ),
        (wire.oom_kill_disable == Some(true), "--oom-kill-disable"),
        (!wire.ulimits.is_empty(), "ulimits"),
    ];
    if let Some((_, what)) = fixed.iter().find(|(set, _)| *set) {
        return Err(ApiError::not_built(format!("an update of {what}")));
    }
    let restart = (!wire.restart_policy.name.is_empty())
        .then(|| policy(&wire.restart_policy))
        .transpose()?;
    Ok(Change {
        limits: Limits {
            memory: wire.memory,
            memory_swap: wire.memory_swap,
            memory_reservation: wire.memory_reservation,
            nano_cpus: wire.nano_cpus,
            cpu_shares: wire.cpu_shares,
            cpu_period: wire.cpu_period,
            cpu_quota: wire.cpu_quota,
            cpuset_cpus: wire.cpuset_cpus,
            cpuset_mems: wire.cpuset_mems,
            pids: wire.pids_limit,
        },
        restart,
    })
}

/// Reads a restart policy, with Docker's sentences for what is none.
pub fn policy(wire: &WirePolicy) -> Result<RestartPolicy, ApiError> {
    let count = wire.maximum_retry_count;
    let policy = match wire.name.as_str() {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => {
            return match u32::try_from(count) {
                Ok(max) => Ok(RestartPolicy::OnFailure { max }),
                Err(_) => Err(ApiError::invalid(
                    "invalid restart policy: maximum retry count cannot be negative",
                )),
            };
        }
        other => {
            return Err(ApiError::invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )));
        }
    };
    if count != 0 {
        return Err(ApiError::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ));
    }
    Ok(policy)
}

/// A restart policy as inspect shows it.
pub fn restart_policy(policy: RestartPolicy) -> WirePolicy {
    let (name, count) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { max } => ("on-failure", max),
    };
    WirePolicy {
        name: name.to_owned(),
        maximum_retry_count: i64::from(count),
    }
}
