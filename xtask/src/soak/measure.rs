//! What the soaks share: latencies, work by several clients at a time, and what a process holds.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use berth_testkit::Engine;
use serde_json::Value;

/// Failures that are shown of many.
const SHOWN: usize = 3;

/// How long each of many answers took.
#[derive(Debug, Default, Clone)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The value that `share` of all are not above, in milliseconds.
    fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    /// The value in the middle, in milliseconds.
    pub fn median(&self) -> f64 {
        self.percentile(0.5)
    }

    /// `p50 / p99 / most (n)` in milliseconds.
    pub fn cell(&self) -> String {
        if self.0.is_empty() {
            return "-".to_owned();
        }
        format!(
            "{:.1} / {:.1} / {:.1} (n = {})",
            self.percentile(0.5),
            self.percentile(0.99),
            self.percentile(1.0),
            self.0.len()
        )
    }
}

/// A request that has to be answered with one of these statuses; its body.
pub fn ask(
    engine: &Engine,
    method: &str,
    path: &str,
    body: Option<&Value>,
    statuses: &[u16],
) -> Result<Vec<u8>> {
    let answer = engine.try_request(method, path, body);
    let answer = answer.with_context(|| format!("{method} {path}"))?;
    if !statuses.contains(&answer.status) {
        let said = String::from_utf8_lossy(&answer.body);
        bail!("{method} {path}: {} {}", answer.status, said.trim_end());
    }
    Ok(answer.body)
}

/// Does `work` for each of `items`, by `clients` threads at a time. How long each took, and what
/// failed.
pub fn each<T: Sync>(
    items: &[T],
    clients: usize,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> (Latencies, Vec<anyhow::Error>) {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let latencies = Mutex::new(Latencies::default());
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut own = Latencies::default();
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    match work(item) {
                        Ok(()) => own.push(begun.elapsed()),
                        Err(error) => locked(&failed).push(error),
                    }
                }
                locked(&latencies).merge(own);
            });
        }
    });
    let latencies = std::mem::take(&mut *locked(&latencies));
    let failed = std::mem::take(&mut *locked(&failed));
    (latencies, failed)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Fails if something did, with the first of it.
pub fn all_well(what: &str, failed: &[anyhow::Error]) -> Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    let first: Vec<String> = failed
        .iter()
        .take(SHOWN)
        .map(|error| format!("{error:#}"))
        .collect();
    bail!("{what}: {} failed: {}", failed.len(), first.join("; "))
}

/// Descriptors, threads and private memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub descriptors: u64,
    pub threads: u64,
    /// KiB of heap and stacks. What is mapped from its program is shared, or not, with other engines
    /// that come and go.
    pub private: u64,
    /// KiB that are mapped.
    pub resident: u64,
    /// KiB that the allocator has handed out, as an engine tells; 0 of another process.
    pub live: u64,
}

impl Held {
    pub fn of(process: u32) -> Result<Self> {
        let count = |name: &str| -> Result<u64> {
            let path = format!("/proc/{process}/{name}");
            let entries = fs::read_dir(&path).with_context(|| format!("reading {path}"))?;
            Ok(entries.count() as u64)
        };
        let path = format!("/proc/{process}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let of = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|line| line.trim().strip_suffix("kB"));
            number
                .and_then(|n| n.trim().parse::<u64>().ok())
                .unwrap_or(0)
        };
        Ok(Self {
            descriptors: count("fd")?,
            threads: count("task")?,
            private: of("Anonymous:"),
            resident: of("Rss:"),
            live: 0,
        })
    }

    pub fn of_engine(engine: &Engine) -> Result<Self> {
        let answer = ask(engine, "GET", "/berth/debug/memory", None, &[200])?;
        let answer: Value = serde_json::from_slice(&answer).context("what lives")?;
        let live = answer["live"].as_u64().context("bytes that live")?;
        Ok(Self {
            live: live / 1024,
            ..Self::of(engine.id().context("the engine runs")?)?
        })
    }

    /// What the engine holds as soon as that is `enough`, or what it holds when `limit` is over.
    /// Asked once a second, which leaves an engine quiet.
    pub fn once(engine: &Engine, limit: Duration, enough: impl Fn(&Self) -> bool) -> Result<Self> {
        let end = Instant::now() + limit;
        let (_stop, pause) = std::sync::mpsc::channel::<()>();
        loop {
            let held = Self::of_engine(engine)?;
            if enough(&held) || Instant::now() >= end {
                return Ok(held);
            }
            let _ = pause.recv_timeout(Duration::from_secs(1));
        }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        write!(
            f,
            "{} descriptors, {} threads, {:.1} MiB private, of which {:.1} live, {:.1} MiB resident",
            self.descriptors,
            self.threads,
            mib(self.private),
            mib(self.live),
            mib(self.resident)
        )
    }
}

/// The number behind `--name`, or a default. Anything else is refused.
pub fn number(arguments: &[std::ffi::OsString], names: &[(&str, u32)]) -> Result<Vec<u32>> {
    let mut values: Vec<u32> = names.iter().map(|(_, default)| *default).collect();
    let mut words = arguments.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        let at = names.iter().position(|(name, _)| *name == word);
        let value = words.next().and_then(|value| value.parse().ok());
        match (at.and_then(|at| values.get_mut(at)), value) {
            (Some(place), Some(value)) => *place = value,
            _ => {
                let known: Vec<_> = names.iter().map(|(name, _)| *name).collect();
                bail!("{word:?}: expected {} and a number", known.join(" or "));
            }
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let mut latencies = Latencies::default();
        (1..=100)
            .rev()
            .for_each(|ms| latencies.push(Duration::from_millis(ms)));
        assert_eq!(latencies.cell(), "51.0 / 99.0 / 100.0 (n = 100)");
        assert_eq!(Latencies::default().cell(), "-");
    }

    #[test]
    fn options_have_numbers() {
        let words = |list: &[&str]| list.iter().map(Into::into).collect::<Vec<_>>();
        let names = [("--a", 1), ("--b", 2)];
        assert_eq!(number(&words(&["--b", "7"]), &names).unwrap(), [1, 7]);
        assert!(number(&words(&["--b"]), &names).is_err());
        assert!(number(&words(&["--c", "1"]), &names).is_err());
    }

    #[test]
    fn our_own() {
        let held = Held::of(std::process::id()).unwrap();
        assert!(held.descriptors > 2 && held.threads > 0 && held.private > 0);
    }
}
