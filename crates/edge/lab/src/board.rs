//! `lab status`: observes the seats and shows them, once or again and again.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use berth_api::berth::TerminalSummary;
use berth_api::client::{Client, ListOptions};
use berth_api::stats::{ContainerStats, MemoryStats};
use berth_console::page::Page;
use berth_types::Timestamp;
use tokio::sync::Semaphore;

use crate::plan::{self, LAB_LABEL};
use crate::status::{self, Row};
use crate::verbs::Status;

/// Between two samples of the processor time.
const INTERVAL: Duration = Duration::from_secs(1);
/// Seats that are measured at once.
const PARALLEL_MAX: usize = 8;

/// Processor time in nanoseconds, and when it was read.
type Samples = BTreeMap<String, (u64, Instant)>;

/// Shows the board as the flags say; with `--watch` until interrupted.
pub async fn show(client: &Client, flags: &Status) -> Result<bool> {
    let lab = flags.lab.as_deref();
    let mut page = Page::new();
    let on_terminal = io::stdout().is_terminal();
    // The first sample has nothing to be compared with.
    let (_, mut before) = observe(client, lab, &Samples::new()).await?;
    loop {
        if !before.is_empty() || flags.watch {
            tokio::time::sleep(INTERVAL).await;
        }
        let (rows, samples) = observe(client, lab, &before).await?;
        let text = match flags.json {
            true => status::json(&rows),
            false => status::table(&rows, Timestamp::now()),
        };
        let shown = match flags.watch && !flags.json && on_terminal {
            true => page.draw(&text),
            false => io::stdout().write_all(text.as_bytes()),
        };
        shown.context("cannot show the status")?;
        if !flags.watch {
            return Ok(true);
        }
        before = samples;
    }
}

/// One look at everything: the rows, and the samples that the next look is compared with.
async fn observe(
    client: &Client,
    lab: Option<&str>,
    before: &Samples,
) -> Result<(Vec<Row>, Samples)> {
    let mut filters = berth_api::Filters::default();
    filters.add(
        "label",
        match lab {
            Some(lab) => format!("{LAB_LABEL}={lab}"),
            None => LAB_LABEL.to_owned(),
        },
    );
    let options = ListOptions {
        all: true,
        filters: filters.clone(),
        ..ListOptions::default()
    };
    let containers = client
        .containers()
        .list(&options)
        .await
        .context("cannot list the seats")?;
    let terminals = client
        .terminals(&filters)
        .await
        .context("cannot ask for the seats' terminals")?;
    let seats = plan::by_name(&containers);
    let running = seats
        .values()
        .filter(|seat| seat.state == "running")
        .map(|seat| seat.id.clone());
    let (stats, samples) = measure(client, running.collect()).await;
    let rows = seats.into_iter().map(|(name, seat)| {
        let terminal = terminals.iter().find(|terminal| terminal.id == seat.id);
        Row {
            lab: seat.lab.unwrap_or_default(),
            name,
            state: seat.state,
            ..row(&seat.id, stats.get(&seat.id), terminal, before, &samples)
        }
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_by(|a, b| (&a.lab, &a.name).cmp(&(&b.lab, &b.name)));
    Ok((rows, samples))
}

fn row(
    id: &str,
    stats: Option<&ContainerStats>,
    terminal: Option<&TerminalSummary>,
    before: &Samples,
    samples: &Samples,
) -> Row {
    let cpu = match (before.get(id), samples.get(id)) {
        (Some((from, since)), Some((to, at))) if at > since => {
            let elapsed = at.duration_since(*since).as_nanos() as f64;
            Some(to.saturating_sub(*from) as f64 / elapsed * 100.0)
        }
        _ => None,
    };
    let heard = |text: &str| text.parse::<Timestamp>().ok().filter(|at| at.is_set());
    let activity = terminal.and_then(|t| heard(&t.last_input).max(heard(&t.last_output)));
    Row {
        id: id.to_owned(),
        cpu,
        memory: stats.map(|s| in_use(&s.memory_stats)),
        memory_limit: stats.map_or(0, |s| s.memory_stats.limit),
        pids: stats.map(|s| s.pids_stats.current),
        activity,
        clients: terminal.map(|t| t.typing.saturating_add(t.watching)),
        ..Row::default()
    }
}

/// Memory without the part of the page cache that the kernel can take back at once, as `docker
/// stats` counts.
fn in_use(memory: &MemoryStats) -> u64 {
    let cache = ["total_inactive_file", "inactive_file"];
    let idle = cache.iter().find_map(|key| memory.stats.get(*key));
    memory.usage.saturating_sub(idle.copied().unwrap_or(0))
}

/// One sample of every seat. One that ends meanwhile is left out.
async fn measure(client: &Client, ids: Vec<String>) -> (BTreeMap<String, ContainerStats>, Samples) {
    let gate = Arc::new(Semaphore::new(PARALLEL_MAX));
    let tasks: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let (client, gate) = (client.clone(), Arc::clone(&gate));
            tokio::spawn(async move {
                let _permit = gate.acquire().await;
                let stats = client.containers().stats_once(&id).await.ok()?;
                Some((id, stats, Instant::now()))
            })
        })
        .collect();
    let (mut stats, mut samples) = (BTreeMap::new(), Samples::new());
    for task in tasks {
        if let Ok(Some((id, found, at))) = task.await {
            samples.insert(id.clone(), (found.cpu_stats.cpu_usage.total_usage, at));
            stats.insert(id, found);
        }
    }
    (stats, samples)
}
