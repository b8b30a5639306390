//! What a running container uses, from the kernel's own files. Nothing is read unless asked for.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use berth_sys::cgroup::{Cgroup, Layout, Usage};
use berth_types::{Caller, Timestamp};

use crate::error::ContainerError;
use crate::groups;
use crate::record::Record;
use crate::service::Containers;
use crate::threads::Work;

/// Clock ticks of `/proc/stat` to nanoseconds (`USER_HZ` is 100 on every supported machine).
const TICK_NS: u64 = 10_000_000;
/// How old the machine's own counters may be in a sample: a hundredth of the time between two.
const FRESH: Duration = Duration::from_millis(10);
/// Fields of the machine's processor time that count: user, nice, system, idle, iowait, irq and
/// softirq. What guests use is within user.
const CPU_FIELDS: usize = 7;

/// One look at a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// What its group uses.
    pub usage: Usage,
    /// Traffic by interface; absent where it has the host's network.
    pub networks: Option<BTreeMap<String, Traffic>>,
    /// Processor time of the whole machine, nanoseconds.
    pub machine_cpu: u64,
    /// Processors of the machine.
    pub cpus: u32,
    /// Memory of the machine, bytes.
    pub machine_memory: u64,
}

/// Counters of one interface: bytes, packets, errors and drops, received and sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received.
    pub received: [u64; 4],
    /// Sent.
    pub sent: [u64; 4],
}

impl Containers {
    /// Looks at what a container uses: its record as it is now, and a sample if it runs.
    ///
    /// # Errors
    /// No such container.
    pub async fn sample(
        &self,
        caller: &Caller,
        key: &str,
    ) -> Result<(Arc<Record>, Option<Sample>), ContainerError> {
        let record = self.get(caller, key)?;
        if !record.state.phase.is_live() {
            return Ok((record, None));
        }
        let (shared, of) = (Arc::clone(&self.shared), Arc::clone(&record));
        let look = move || {
            // It may end at any moment: a group that is gone is a container that does not run.
            let usage = shared.machine.usage(&groups::path(&shared, of.id))?;
            Some(sample(&of, usage, &shared.machine))
        };
        let work = Work::sampling(record.id, "read the statistics");
        let sample = self.shared.threads.run(work, look).await?;
        Ok((record, sample))
    }
}

fn sample(record: &Record, usage: Usage, machine: &Machine) -> Sample {
    let whole = machine.now();
    let init = record.state.init.map_or(0, |init| init.pid);
    Sample {
        at: Timestamp::now(),
        usage,
        networks: networks(init),
        machine_cpu: whole.cpu,
        cpus: whole.cpus,
        machine_memory: whole.memory,
    }
}

/// What is the same for every container: read once for all samples of about the same time.
#[derive(Default)]
pub(crate) struct Machine {
    layout: OnceLock<Layout>,
    whole: Mutex<Option<Whole>>,
}

/// The machine as a whole.
#[derive(Clone, Copy)]
struct Whole {
    at: Instant,
    cpu: u64,
    cpus: u32,
    memory: u64,
}

impl Machine {
    /// What a group uses, if it is there.
    fn usage(&self, path: &str) -> Option<Usage> {
        let layout = match self.layout.get() {
            Some(layout) => layout,
            None => {
                let layout = Layout::detect().ok()?;
                self.layout.get_or_init(|| layout)
            }
        };
        Some(Cgroup::open_counters(layout, path).ok()?.usage())
    }

    /// The machine at most [`FRESH`] ago. Who comes while it is read waits for that.
    fn now(&self) -> Whole {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(whole) = whole.filter(|whole| whole.at.elapsed() < FRESH) {
            return whole;
        }
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (cpu, cpus) = machine_cpu(&text("/proc/stat"));
        *whole.insert(Whole {
            at: Instant::now(),
            cpu,
            cpus,
            memory: machine_memory(&text("/proc/meminfo")),
        })
    }
}

/// The interfaces in the network namespace of a process, unless it is this one's.
fn networks(pid: i32) -> Option<BTreeMap<String, Traffic>> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let theirs = namespace(&pid.to_string())?;
    if Some(theirs) == namespace("self") {
        return None;
    }
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let found = interfaces(&text);
    (!found.is_empty()).then_some(found)
}

/// Reads `/proc/net/dev` (`proc(5)`), without the loopback.
fn interfaces(text: &str) -> BTreeMap<String, Traffic> {
    let line = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let name = name.trim();
        let numbers: Vec<u64> = counters
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        let four = |from: usize| numbers.get(from..from + 4)?.try_into().ok();
        let traffic = Traffic {
            received: four(0)?,
            sent: four(8)?,
        };
        (name != "lo").then(|| (name.to_owned(), traffic))
    };
    text.lines().filter_map(line).collect()
}

/// Processor time in nanoseconds and the number of processors, from `/proc/stat`.
fn machine_cpu(text: &str) -> (u64, u32) {
    let mut total = 0;
    let mut count = 0;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("cpu") else {
            continue;
        };
        if let Some(times) = rest.strip_prefix(' ') {
            let ticks = times.split_whitespace().take(CPU_FIELDS);
            total = ticks.filter_map(|n| n.parse::<u64>().ok()).sum();
        } else {
            count += 1;
        }
    }
    (total.saturating_mul(TICK_NS), count)
}

/// The machine's memory in bytes, from `/proc/meminfo`.
fn machine_memory(text: &str) -> u64 {
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map_or(0, |kib| kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1\ncpu1 0 0 0 0\nintr 5\n";
        assert_eq!(machine_cpu(stat), (28 * TICK_NS, 2));
        let meminfo = "MemTotal:       2048 kB\nMemFree: 1 kB\n";
        assert_eq!(machine_memory(meminfo), 2 << 20);
        let dev = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  \
                   eth0: 100 2 3 4 0 0 0 0 500 6 7 8 0 0 0 0\n";
        let found = interfaces(dev);
        assert_eq!(found.len(), 1);
        let traffic = Traffic {
            received: [100, 2, 3, 4],
            sent: [500, 6, 7, 8],
        };
        assert_eq!(found["eth0"], traffic);
    }
}
