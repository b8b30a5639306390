//! Changes of a container that is there: its name, its limits, its restart policy.

use std::fs;
use std::sync::Arc;

use berth_store::{WriteError, WriteTxn, failpoint};
use berth_sys::cgroup::WHOLE_SET;
use berth_types::{ContainerId, chain, oci};

use crate::create::HostCapacity;
use crate::effects;
use crate::error::ContainerError;
use crate::limits;
use crate::record::{Limits, Record, RestartPolicy};
use crate::shared::Shared;
use crate::tables;
use crate::threads::Work;

/// CPU weight of a group that has none of its own.
const SHARES_DEFAULT: u64 = 1024;
/// The period the kernel starts with, microseconds.
const PERIOD_DEFAULT: u64 = 100_000;

/// The file in a container's runtime directory that holds the limits on their way into its group,
/// until the record has them.
const INTENT: &str = "update.json";

/// What is to change. A limit that is zero, empty or absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// New limits.
    pub limits: Limits,
    /// A new restart policy.
    pub restart: Option<RestartPolicy>,
}

/// The limits after a change, and warnings: pure.
///
/// # Errors
/// A value is out of its range or contradicts another, which may be one that stays.
fn merge(
    old: &Limits,
    change: &Limits,
    host: HostCapacity,
) -> Result<(Limits, Vec<String>), ContainerError> {
    let conflict = |text: &str| Err(ContainerError::Conflict(text.to_owned()));
    let mut new = old.clone();
    if change.nano_cpus != 0 && (old.cpu_period != 0 || old.cpu_quota != 0) {
        return conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period or Quota has already been set",
        );
    }
    if (change.cpu_period != 0 || change.cpu_quota != 0) && old.nano_cpus != 0 {
        return conflict(
            "Conflicting options: CPU Period and Quota cannot be updated as NanoCPUs has already been set",
        );
    }
    if change.memory > 0
        && change.memory_swap == 0
        && old.memory_swap > 0
        && change.memory > old.memory_swap
    {
        return conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
    }
    for (field, value) in [
        (&mut new.memory, change.memory),
        (&mut new.memory_swap, change.memory_swap),
        (&mut new.memory_reservation, change.memory_reservation),
        (&mut new.nano_cpus, change.nano_cpus),
        (&mut new.cpu_shares, change.cpu_shares),
        (&mut new.cpu_period, change.cpu_period),
        (&mut new.cpu_quota, change.cpu_quota),
    ] {
        if value != 0 {
            *field = value;
        }
    }
    for (field, value) in [
        (&mut new.cpuset_cpus, &change.cpuset_cpus),
        (&mut new.cpuset_mems, &change.cpuset_mems),
    ] {
        if !value.is_empty() {
            field.clone_from(value);
        }
    }
    new.pids = change.pids.or(new.pids);
    let warnings = limits::check(&mut new, host)?;
    Ok((new, warnings))
}

/// What is written into the group of a running container to get from limits to limits: all that
/// either sets, with the kernel's words for "none" where the new ones do not.
fn resources(old: &Limits, new: &Limits) -> oci::Resources {
    let (was, mut now) = (limits::resources(old), limits::resources(new));
    let none = |was: Option<i64>| was.map(|_| -1);
    now.memory.limit = now.memory.limit.or(none(was.memory.limit));
    now.memory.swap = now.memory.swap.or(none(was.memory.swap));
    now.memory.reservation = now.memory.reservation.or(none(was.memory.reservation));
    now.cpu.quota = now.cpu.quota.or(none(was.cpu.quota));
    now.cpu.period = now.cpu.period.or(was.cpu.period.map(|_| PERIOD_DEFAULT));
    now.cpu.shares = now.cpu.shares.or(was.cpu.shares.map(|_| SHARES_DEFAULT));
    now.pids.limit = now.pids.limit.or(none(was.pids.limit));
    for (was, now) in [
        (was.cpu.cpus, &mut now.cpu.cpus),
        (was.cpu.mems, &mut now.cpu.mems),
    ] {
        if now.is_empty() && !was.is_empty() {
            WHOLE_SET.clone_into(now);
        }
    }
    now
}

/// Applies a change and records it. Refused by the kernel or the disk, nothing is changed.
pub(crate) async fn update(
    shared: &Arc<Shared>,
    record: &mut Record,
    change: &Change,
) -> Result<Vec<String>, ContainerError> {
    if record.host.auto_remove && change.restart.is_some_and(|p| p != RestartPolicy::No) {
        return Err(ContainerError::Conflict(
            "Restart policy cannot be updated because AutoRemove is enabled for the container"
                .to_owned(),
        ));
    }
    let (new, warnings) = merge(&record.host.limits, &change.limits, shared.capacity)?;
    let mut next = record.clone();
    next.host.limits = new;
    next.host.restart = change.restart.unwrap_or(record.host.restart);
    let live = record.state.phase.is_live() && next.host.limits != record.host.limits;
    let (old, new) = (&record.host.limits, &next.host.limits);
    if live {
        apply(shared, record.id, old, new, true).await?;
    }
    if let Err(error) = shared.commit(&next).await {
        if live && let Err(error) = apply(shared, record.id, new, old, false).await {
            tracing::warn!(id = %record.id, %error, "limits not taken back before the next start of the engine");
        }
        return Err(error);
    }
    if live {
        forget_intent(shared, record.id);
    }
    *record = next;
    Ok(warnings)
}

/// Brings the group of a running container from limits to limits: on the way to a commit with an
/// intent that stays behind, or back, which ends with none.
async fn apply(
    shared: &Arc<Shared>,
    id: ContainerId,
    old: &Limits,
    new: &Limits,
    onward: bool,
) -> Result<(), ContainerError> {
    let (threads, shared) = (shared.threads.clone(), Arc::clone(shared));
    let (old, new) = (old.clone(), new.clone());
    let write = move || {
        if onward {
            // Limits always serialise.
            let text = serde_json::to_vec(&new).unwrap_or_default();
            let noted = fs::write(shared.runtime_dir(id).join(INTENT), text);
            noted.map_err(|source| ContainerError::Io {
                what: "note the new limits",
                id: id.to_string(),
                source,
            })?;
        }
        let written = write_limits(&shared, id, &old, &new);
        if onward != written.is_ok() {
            forget_intent(&shared, id);
        }
        failpoint::hit("update.applied");
        written
    };
    let work = Work::living(id, "set the limits");
    threads.run(work, write).await?
}

fn write_limits(
    shared: &Shared,
    id: ContainerId,
    old: &Limits,
    new: &Limits,
) -> Result<(), ContainerError> {
    Ok(effects::group(shared, id)?.update(&resources(old, new))?)
}

fn forget_intent(shared: &Shared, id: ContainerId) {
    // It is gone, or the next start compares once more.
    let _ = fs::remove_file(shared.runtime_dir(id).join(INTENT));
}

/// Takes back what an update that was cut off before its commit has written into the group of a
/// container that was adopted: its record never had it.
pub(crate) fn settle(shared: &Shared, id: ContainerId, limits: &Limits) {
    let Ok(text) = fs::read(shared.runtime_dir(id).join(INTENT)) else {
        return;
    };
    // A file that was not finished announces nothing that was begun.
    if let Ok(written) = serde_json::from_slice::<Limits>(&text)
        && let Err(error) = write_limits(shared, id, &written, limits)
    {
        tracing::warn!(%id, error = %chain(&error), "limits of an interrupted update not taken back");
        return;
    }
    forget_intent(shared, id);
}

/// Gives a container another name, in both tables at once. Returns the old one.
pub(crate) async fn rename(
    shared: &Shared,
    record: &mut Record,
    name: String,
) -> Result<String, ContainerError> {
    let id = record.id;
    let mut next = record.clone();
    next.name.clone_from(&name);
    let old_key = record.name.clone();
    let new_key = name.clone();
    let row = next.clone();
    let swap =
        move |txn: &mut WriteTxn<'_>| -> Result<Option<berth_types::ContainerId>, ContainerError> {
            if let Some(holder) = txn.get(&tables::NAMES, &new_key)? {
                return Ok(Some(holder));
            }
            txn.remove(&tables::NAMES, &old_key)?;
            txn.put(&tables::NAMES, &new_key, &id)?;
            txn.put(&tables::CONTAINERS, &id, &row)?;
            Ok(None)
        };
    let taken = shared
        .db
        .write_async(swap)
        .await
        .map_err(WriteError::flatten)?;
    if let Some(holder) = taken {
        return Err(ContainerError::NameTaken {
            name,
            id: holder.to_string(),
        });
    }
    let old = std::mem::replace(record, next).name;
    let mut index = shared.write_index();
    index.forget_name(&old, id);
    index.by_name.insert(name, id);
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostCapacity = HostCapacity {
        cpus: 2,
        swap_limit: true,
    };

    fn memory(memory: i64, memory_swap: i64) -> Limits {
        Limits {
            memory,
            memory_swap,
            ..Limits::default()
        }
    }

    #[test]
    fn what_is_not_named_stays_and_what_contradicts_is_refused() {
        let old = Limits {
            pids: Some(7),
            cpuset_cpus: "0".to_owned(),
            ..memory(64 << 20, 128 << 20)
        };
        let (new, _) = merge(&old, &memory(32 << 20, 0), HOST).unwrap();
        let expected = Limits {
            memory: 32 << 20,
            ..old.clone()
        };
        assert_eq!(new, expected);
        let refused =
            |old: &Limits, change: &Limits| merge(old, change, HOST).unwrap_err().to_string();
        assert!(refused(&old, &memory(256 << 20, 0)).contains("update the memoryswap"));
        assert!(refused(&old, &memory(1, 0)).contains("Minimum memory limit"));
        let cpus = Limits {
            nano_cpus: 1_000_000_000,
            ..Limits::default()
        };
        let quota = Limits {
            cpu_quota: 5000,
            ..Limits::default()
        };
        assert!(refused(&quota, &cpus).contains("Nano CPUs cannot be updated"));
        assert!(refused(&cpus, &quota).contains("NanoCPUs has already been set"));
    }

    #[test]
    fn a_limit_that_goes_is_written_as_none() {
        let old = Limits {
            pids: Some(7),
            ..memory(64 << 20, 128 << 20)
        };
        let written = resources(
            &old,
            &Limits {
                pids: Some(-1),
                ..Limits::default()
            },
        );
        assert_eq!(
            (
                written.memory.limit,
                written.memory.swap,
                written.pids.limit
            ),
            (Some(-1), Some(-1), Some(-1))
        );
        let written = resources(&Limits::default(), &old);
        assert_eq!(
            (written.memory.limit, written.pids.limit),
            (Some(64 << 20), Some(7))
        );
        assert_eq!(written.cpu.quota, None);
        let set = Limits {
            cpuset_cpus: "0".to_owned(),
            ..Limits::default()
        };
        assert_eq!(resources(&set, &Limits::default()).cpu.cpus, WHOLE_SET);
    }
}
