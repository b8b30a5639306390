//! What a group uses: the kernel's counters of both versions in one form.

use std::collections::BTreeMap;

use super::{Cgroup, CgroupError, Layout, Version, counter};

/// Clock ticks of user space to nanoseconds (`USER_HZ` is 100 on every supported machine).
const TICK_NS: u64 = 10_000_000;

/// What a group uses. A counter that the machine does not have is zero or absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, nanoseconds.
    pub cpu: u64,
    /// Of that, outside of the kernel.
    pub cpu_user: u64,
    /// Of that, in the kernel.
    pub cpu_kernel: u64,
    /// By processor, nanoseconds; version 1 only.
    pub cpu_each: Vec<u64>,
    /// Periods of the processor limit, those in which it held back, and for how long (ns).
    pub throttling: [u64; 3],
    /// Memory in use, bytes, the page cache among it.
    pub memory: u64,
    /// The most it ever was; version 1 only.
    pub memory_max: u64,
    /// How often the limit was hit; on version 2, how often it could not be kept either.
    pub memory_failures: u64,
    /// The limit, bytes; `u64::MAX` for none.
    pub memory_limit: u64,
    /// The lines of `memory.stat`.
    pub memory_parts: BTreeMap<String, u64>,
    /// Processes and threads.
    pub pids: u64,
    /// How many there may be. No limit is 0 on version 1 and `u64::MAX` on version 2, as Docker
    /// reports it.
    pub pids_limit: u64,
    /// Bytes from and to block devices.
    pub io_bytes: Vec<IoEntry>,
    /// Operations; version 1 only.
    pub io_operations: Vec<IoEntry>,
}

/// One counter of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoEntry {
    /// Major and minor number.
    pub device: (u64, u64),
    /// `read`, `write` and so on, in lower case.
    pub operation: String,
    /// Bytes or operations.
    pub value: u64,
}

/// Controllers that count something, on version 1.
const COUNTING: [&str; 5] = ["cpu", "cpuacct", "memory", "pids", "blkio"];

impl Cgroup {
    /// Opens the group at `path` for reading its counters alone, with what is known of the
    /// machine: a third of the system calls of [`Cgroup::open`].
    ///
    /// # Errors
    /// When there is no such group.
    pub fn open_counters(layout: &Layout, path: &str) -> Result<Self, CgroupError> {
        Self::open_in(layout, path, |tree| {
            layout.version == Version::V2 || COUNTING.iter().any(|name| tree.has(name))
        })
    }

    /// Reads the counters. What cannot be read counts as nothing: a statistic is no reason to
    /// fail.
    pub fn usage(&self) -> Usage {
        let read =
            |controller: &'static str, file: &str| self.read(controller, file).unwrap_or_default();
        match self.version {
            Version::V1 => version_1(read),
            Version::V2 => version_2(read),
        }
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// A number, or `max` for none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Lines of a name and a number.
fn table(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn version_1(read: impl Fn(&'static str, &str) -> String) -> Usage {
    let cpu = table(&read("cpuacct", "cpuacct.stat"));
    let throttled = table(&read("cpu", "cpu.stat"));
    let get = |table: &BTreeMap<String, u64>, key: &str| table.get(key).copied().unwrap_or(0);
    let limit_bytes = number(&read("memory", "memory.limit_in_bytes"));
    let each = read("cpuacct", "cpuacct.usage_percpu");
    Usage {
        cpu: number(&read("cpuacct", "cpuacct.usage")),
        cpu_user: get(&cpu, "user").saturating_mul(TICK_NS),
        cpu_kernel: get(&cpu, "system").saturating_mul(TICK_NS),
        cpu_each: each.split_whitespace().map(number).collect(),
        throttling: ["nr_periods", "nr_throttled", "throttled_time"].map(|k| get(&throttled, k)),
        memory: number(&read("memory", "memory.usage_in_bytes")),
        memory_max: number(&read("memory", "memory.max_usage_in_bytes")),
        memory_failures: number(&read("memory", "memory.failcnt")),
        memory_limit: if limit_bytes == 0 {
            u64::MAX
        } else {
            limit_bytes
        },
        memory_parts: table(&read("memory", "memory.stat")),
        pids: number(&read("pids", "pids.current")),
        pids_limit: limit(&read("pids", "pids.max")).unwrap_or(0),
        io_bytes: io_lines(&first_with_text(
            &read,
            &[
                "blkio.throttle.io_service_bytes_recursive",
                "blkio.throttle.io_service_bytes",
            ],
        )),
        io_operations: io_lines(&first_with_text(
            &read,
            &[
                "blkio.throttle.io_serviced_recursive",
                "blkio.throttle.io_serviced",
            ],
        )),
    }
}

fn first_with_text(read: &impl Fn(&'static str, &str) -> String, files: &[&str]) -> String {
    let texts = files.iter().map(|file| read("blkio", file));
    texts
        .into_iter()
        .find(|t| !t.is_empty())
        .unwrap_or_default()
}

fn version_2(read: impl Fn(&'static str, &str) -> String) -> Usage {
    let cpu = table(&read("cpu", "cpu.stat"));
    let get = |key: &str| cpu.get(key).copied().unwrap_or(0);
    let ns = |key: &str| get(key).saturating_mul(1000);
    Usage {
        cpu: ns("usage_usec"),
        cpu_user: ns("user_usec"),
        cpu_kernel: ns("system_usec"),
        throttling: [get("nr_periods"), get("nr_throttled"), ns("throttled_usec")],
        memory: number(&read("memory", "memory.current")),
        memory_failures: counter(&read("memory", "memory.events"), "oom").unwrap_or(0),
        memory_limit: limit(&read("memory", "memory.max")).unwrap_or(u64::MAX),
        memory_parts: table(&read("memory", "memory.stat")),
        pids: number(&read("pids", "pids.current")),
        pids_limit: match read("pids", "pids.max").trim() {
            "max" => u64::MAX,
            number => limit(number).unwrap_or(0),
        },
        io_bytes: io_stat(&read("io", "io.stat")),
        ..Usage::default()
    }
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `8:0 Read 4096`; the last line is a total without a device.
fn io_lines(text: &str) -> Vec<IoEntry> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let device = device(words.next()?)?;
        Some(IoEntry {
            device,
            operation: words.next()?.to_ascii_lowercase(),
            value: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(line).collect()
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 …`
fn io_stat(text: &str) -> Vec<IoEntry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(device) = words.next().and_then(device) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let operation = match key {
                "rbytes" => "read",
                "wbytes" => "write",
                _ => continue,
            };
            entries.push(IoEntry {
                device,
                operation: operation.to_owned(),
                value: number(value),
            });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_into_one_form() {
        let v2 = version_2(|_, file| {
            match file {
                "cpu.stat" => "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_throttled 2\n",
                "memory.current" => "4096\n",
                "memory.events" => "max 9\noom 6\noom_kill 5\n",
                "memory.stat" => "anon 10\ninactive_file 20\n",
                "pids.current" => "3\n",
                "memory.max" | "pids.max" => "max\n",
                "io.stat" => "8:0 rbytes=5 wbytes=6 rios=1\n",
                _ => "",
            }
            .to_owned()
        });
        assert_eq!((v2.cpu, v2.cpu_user, v2.cpu_kernel), (7000, 4000, 3000));
        assert_eq!((v2.memory, v2.memory_limit), (4096, u64::MAX));
        assert_eq!(v2.memory_failures, 6);
        assert_eq!((v2.pids, v2.pids_limit), (3, u64::MAX));
        assert_eq!(v2.memory_parts["inactive_file"], 20);
        let v1 = version_1(|_, file| {
            match file {
                "cpuacct.usage" => "9000\n",
                "cpuacct.stat" => "user 1\nsystem 2\n",
                "cpuacct.usage_percpu" => "4000 5000 \n",
                "memory.limit_in_bytes" => "8192\n",
                "pids.max" => "7\n",
                "blkio.throttle.io_service_bytes" => "8:0 Read 5\n8:0 Write 6\nTotal 11\n",
                _ => "",
            }
            .to_owned()
        });
        assert_eq!((v1.cpu, v1.cpu_user), (9000, TICK_NS));
        assert_eq!(v1.cpu_each, [4000, 5000]);
        assert_eq!((v1.memory_limit, v1.pids_limit), (8192, 7));
        assert_eq!(v1.io_bytes, v2.io_bytes);
    }
}
