//! `GET /containers/{id}/stats`: one sample a second for as long as somebody reads, or one.

use std::time::Duration;

use berth_api::stats::{
    BlkioEntry, BlkioStats, ContainerStats, CpuStats, CpuUsage, MemoryStats, NetworkStats,
    PidsStats, ThrottlingData,
};
use berth_container::{Containers, Record, Sample, Traffic};
use berth_sys::cgroup::IoEntry;
use berth_types::task::{self, Wait, waiting};
use berth_types::{Caller, Timestamp};
use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::error::ApiResult;
use super::reply;
use super::router::Call;
use crate::http::{Sender, channel};

/// Time between two samples.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) async fn answer(containers: &Containers, call: &Call, id: &str) -> ApiResult {
    // Followed by its id from here on: a rename does not end the stream.
    let id = containers.get(&call.caller, id)?.id.to_string();
    if call.query.get("stream").is_none() || call.query.switch("stream") {
        let (sender, body) = channel();
        let (containers, caller) = (containers.clone(), call.caller.clone());
        tokio::spawn(task::here(stream(containers, caller, id, sender)));
        return Ok(reply::stream(body, "application/json"));
    }
    let (record, first) = containers.sample(&call.caller, &id).await?;
    if call.query.switch("one-shot") || first.is_none() {
        return Ok(reply::ok(&wire(&record, first.as_ref(), None)));
    }
    // Without a sample before it a reader cannot tell how busy the container is.
    sleep(PERIOD).await;
    let (record, second) = containers.sample(&call.caller, &id).await?;
    Ok(reply::ok(&wire(&record, second.as_ref(), first.as_ref())))
}

/// Sends samples until the client or the container is gone.
async fn stream(containers: Containers, caller: Caller, id: String, sender: Sender) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<Sample> = None;
    loop {
        tokio::select! {
            () = sender.closed() => return,
            _ = waiting(Wait::News, None, ticks.tick()) => {}
        }
        let Ok((record, now)) = containers.sample(&caller, &id).await else {
            return;
        };
        let stats = wire(&record, now.as_ref(), before.as_ref());
        // Wire types always serialise.
        let mut line = serde_json::to_vec(&stats).unwrap_or_default();
        line.push(b'\n');
        let sent = sender.send(Bytes::from(line));
        if waiting(Wait::ClientToRead, None, sent).await.is_err() {
            return;
        }
        before = now;
    }
}

/// A sample as clients read it, with the processor time of the one before.
fn wire(record: &Record, now: Option<&Sample>, before: Option<&Sample>) -> ContainerStats {
    let at = |sample: Option<&Sample>| sample.map_or(Timestamp::NEVER, |s| s.at).to_string();
    let head = ContainerStats {
        id: record.id.to_string(),
        name: format!("/{}", record.name),
        os_type: "linux".to_owned(),
        read: at(now),
        preread: at(before.filter(|_| now.is_some())),
        ..ContainerStats::default()
    };
    let Some(sample) = now else { return head };
    let usage = &sample.usage;
    let networks = sample.networks.as_ref().map(|list| {
        let one = |(name, traffic): (&String, &Traffic)| (name.clone(), network(*traffic));
        list.iter().map(one).collect()
    });
    ContainerStats {
        cpu_stats: cpu(sample),
        precpu_stats: before.map(cpu).unwrap_or_default(),
        memory_stats: MemoryStats {
            usage: usage.memory,
            max_usage: usage.memory_max,
            stats: usage.memory_parts.clone(),
            failcnt: usage.memory_failures,
            limit: usage.memory_limit.min(sample.machine_memory),
        },
        networks,
        pids_stats: PidsStats {
            current: usage.pids,
            limit: usage.pids_limit,
        },
        blkio_stats: BlkioStats {
            io_service_bytes_recursive: usage.io_bytes.iter().map(entry).collect(),
            io_serviced_recursive: (!usage.io_operations.is_empty())
                .then(|| usage.io_operations.iter().map(entry).collect()),
            ..BlkioStats::default()
        },
        ..head
    }
}

fn cpu(sample: &Sample) -> CpuStats {
    let usage = &sample.usage;
    let [periods, throttled_periods, throttled_time] = usage.throttling;
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: usage.cpu,
            percpu_usage: usage.cpu_each.clone(),
            usage_in_kernelmode: usage.cpu_kernel,
            usage_in_usermode: usage.cpu_user,
        },
        system_cpu_usage: sample.machine_cpu,
        online_cpus: sample.cpus,
        throttling_data: ThrottlingData {
            periods,
            throttled_periods,
            throttled_time,
        },
    }
}

fn network(traffic: Traffic) -> NetworkStats {
    let [rx_bytes, rx_packets, rx_errors, rx_dropped] = traffic.received;
    let [tx_bytes, tx_packets, tx_errors, tx_dropped] = traffic.sent;
    NetworkStats {
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
    }
}

fn entry(entry: &IoEntry) -> BlkioEntry {
    BlkioEntry {
        major: entry.device.0,
        minor: entry.device.1,
        op: entry.operation.clone(),
        value: entry.value,
    }
}
