//! `berth update`

use berth_api::container::RestartPolicy;
use berth_api::update::ContainerUpdateRequest;
use clap::Args;

use crate::engine::{Context, sentence};
use crate::exit::{Exit, FAILED, Outcome};
use crate::options::{resolve, value};
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Update configuration of one or more containers",
    aliases: "berth container update, berth update",
    arity: Arity::Some,
};

#[derive(Debug, Default, Args)]
struct Flags {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16", value_parser = value::short)]
    blkio_weight: Option<u16>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int", value_parser = value::integer)]
    cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", value_parser = value::integer)]
    cpu_quota: Option<i64>,
    /// Limit the CPU real-time period in microseconds
    #[arg(long, value_name = "int", value_parser = value::integer)]
    cpu_rt_period: Option<i64>,
    /// Limit the CPU real-time runtime in microseconds
    #[arg(long, value_name = "int", value_parser = value::integer)]
    cpu_rt_runtime: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(long, short = 'c', value_name = "int", value_parser = value::integer)]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", value_parser = value::nano_cpus)]
    cpus: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(long, short = 'm', value_name = "bytes", value_parser = value::bytes)]
    memory: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", value_parser = value::bytes)]
    memory_reservation: Option<i64>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = value::bytes_or_unlimited)]
    memory_swap: Option<i64>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", value_parser = value::integer)]
    pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    arguments: Vec<String>,
}

/// Changes the containers one after the other.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let request = request(&flags).map_err(Exit::failed)?;
    let client = context.client().await?;
    let mut warnings = Vec::new();
    let mut failures = Vec::new();
    for name in &flags.arguments {
        match client.containers().update(name, &request).await {
            Ok(done) => {
                say!("{name}");
                warnings.extend(done.warnings);
            }
            Err(e) => failures.push(sentence(&e)),
        }
    }
    for warning in warnings {
        say!("{warning}");
    }
    match failures.is_empty() {
        true => Ok(0),
        false => Err(Exit {
            code: FAILED,
            message: failures.join("\n"),
        }),
    }
}

/// The request that the flags mean.
fn request(flags: &Flags) -> Result<ContainerUpdateRequest, String> {
    let restart_policy = match flags.restart.as_deref() {
        Some(text) => resolve::restart_policy(text)?,
        None => RestartPolicy::default(),
    };
    let request = ContainerUpdateRequest {
        blkio_weight: flags.blkio_weight.unwrap_or(0),
        cpu_period: flags.cpu_period.unwrap_or(0),
        cpu_quota: flags.cpu_quota.unwrap_or(0),
        cpu_realtime_period: flags.cpu_rt_period.unwrap_or(0),
        cpu_realtime_runtime: flags.cpu_rt_runtime.unwrap_or(0),
        cpu_shares: flags.cpu_shares.unwrap_or(0),
        nano_cpus: flags.cpus.unwrap_or(0),
        cpuset_cpus: flags.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: flags.cpuset_mems.clone().unwrap_or_default(),
        memory: flags.memory.unwrap_or(0),
        memory_reservation: flags.memory_reservation.unwrap_or(0),
        memory_swap: flags.memory_swap.unwrap_or(0),
        pids_limit: flags.pids_limit,
        restart_policy,
        ..ContainerUpdateRequest::default()
    };
    if request == ContainerUpdateRequest::default() {
        return Err("you must provide one or more flags when using this command".to_owned());
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::{Flags, request};

    #[test]
    fn what_is_not_said_stays() {
        assert!(request(&Flags::default()).is_err());
        let flags = Flags {
            memory: Some(64 << 20),
            restart: Some("on-failure:3".to_owned()),
            ..Flags::default()
        };
        let request = request(&flags).unwrap();
        assert_eq!((request.memory, request.nano_cpus), (64 << 20, 0));
        assert_eq!(request.restart_policy.name, "on-failure");
        assert_eq!(request.restart_policy.maximum_retry_count, 3);
        assert_eq!(request.pids_limit, None);
    }
}
