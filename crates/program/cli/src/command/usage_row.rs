//! One line of `berth stats`: what a container uses, for people.

use berth_api::stats::{BlkioEntry, ContainerStats};

use crate::format::list::{Field, Row};
use crate::format::{human, text};

/// What a row has, by its name in templates, with its heading.
pub const FIELDS: [Field; 9] = [
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
];

/// What there is about a container.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The name or id that it was asked for by.
    pub asked: &'a str,
    /// Its newest sample.
    pub sample: Option<&'a ContainerStats>,
    /// Whether ids are shown whole.
    pub whole: bool,
}

/// The row of a container.
pub fn row(shown: &Shown<'_>) -> Row {
    let id = |id: &str| match shown.whole {
        true => id.to_owned(),
        false => text::short_id(id).to_owned(),
    };
    let Some(sample) = shown.sample else {
        return vec![
            "-- / --".into(),
            "--".into(),
            shown.asked.into(),
            "--".into(),
            "--".into(),
            "-- / --".into(),
            "--".into(),
            "-- / --".into(),
            "--".into(),
        ];
    };
    let (received, sent) = network(sample);
    let (read, written) = blocks(sample);
    let (used, limit) = (used_memory(sample), sample.memory_stats.limit);
    vec![
        pair(read, written).into(),
        percent(cpu_percent(sample)).into(),
        shown.asked.into(),
        id(&sample.id).into(),
        percent(share(used, limit)).into(),
        format!("{} / {}", binary(used), binary(limit)).into(),
        sample.name.trim_start_matches('/').into(),
        pair(received, sent).into(),
        sample.pids_stats.current.to_string().into(),
    ]
}

fn percent(number: f64) -> String {
    format!("{number:.2}%")
}

fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64 * 100.0,
    }
}

fn binary(bytes: u64) -> String {
    human::binary_size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn pair(a: u64, b: u64) -> String {
    let size = |n: u64| human::decimal_size(i64::try_from(n).unwrap_or(i64::MAX), 3);
    format!("{} / {}", size(a), size(b))
}

/// Of one processor; above 100 where several were busy.
fn cpu_percent(sample: &ContainerStats) -> f64 {
    let (now, before) = (&sample.cpu_stats, &sample.precpu_stats);
    let own = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let machine = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let processors = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.len() as f64,
        count => f64::from(count),
    };
    if own > 0.0 && machine > 0.0 {
        own / machine * processors * 100.0
    } else {
        0.0
    }
}

/// Without pages that were read from files and are not in use.
fn used_memory(sample: &ContainerStats) -> u64 {
    let memory = &sample.memory_stats;
    let idle = ["total_inactive_file", "inactive_file"]
        .iter()
        .find_map(|name| memory.stats.get(*name))
        .copied()
        .filter(|idle| *idle < memory.usage);
    memory.usage - idle.unwrap_or(0)
}

fn network(sample: &ContainerStats) -> (u64, u64) {
    let all = sample.networks.iter().flat_map(|all| all.values());
    all.fold((0, 0), |(received, sent), one| {
        (
            received.saturating_add(one.rx_bytes),
            sent.saturating_add(one.tx_bytes),
        )
    })
}

fn blocks(sample: &ContainerStats) -> (u64, u64) {
    let entries: &[BlkioEntry] = &sample.blkio_stats.io_service_bytes_recursive;
    let sum = |letter: char| {
        entries
            .iter()
            .filter(|entry| entry.op.to_ascii_lowercase().starts_with(letter))
            .fold(0u64, |sum, entry| sum.saturating_add(entry.value))
    };
    (sum('r'), sum('w'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_container() {
        let mut sample = ContainerStats {
            id: "4f5e6d7c8b9a0f1e".to_owned(),
            name: "/web".to_owned(),
            ..ContainerStats::default()
        };
        sample.cpu_stats.cpu_usage.total_usage = 3_000;
        sample.precpu_stats.cpu_usage.total_usage = 1_000;
        sample.cpu_stats.system_cpu_usage = 20_000;
        sample.precpu_stats.system_cpu_usage = 10_000;
        sample.cpu_stats.online_cpus = 2;
        sample.memory_stats.usage = 3 << 20;
        sample.memory_stats.limit = 8 << 20;
        sample
            .memory_stats
            .stats
            .insert("inactive_file".to_owned(), 1 << 20);
        sample.pids_stats.current = 7;
        let shown = Shown {
            asked: "web",
            sample: Some(&sample),
            whole: false,
        };
        let texts: Vec<String> = row(&shown)
            .iter()
            .map(|value| value.as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(
            texts,
            [
                "0B / 0B",
                "40.00%",
                "web",
                "4f5e6d7c8b9a",
                "25.00%",
                "2MiB / 8MiB",
                "web",
                "0B / 0B",
                "7"
            ]
        );
    }
}
