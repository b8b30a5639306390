//! `berth stats`

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_api::client::{Client, ListOptions};
use berth_api::stats::ContainerStats;
use berth_console::page::Page;
use berth_console::{Stream, terminal};
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::usage_row::{FIELDS, Shown, row};
use crate::engine::{Context, refused, sentence};
use crate::exit::{Exit, Outcome};
use crate::format::list::Layout;
use crate::say::complain;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] [CONTAINER...]",
    about: "Display a live stream of container(s) resource usage statistics",
    aliases: "berth container stats, berth stats",
    arity: Arity::Any,
};

/// The columns of the table.
const COLUMNS: [&str; 8] = [
    "ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs",
];

/// How often the table is drawn, and looked for containers that have come or gone.
const REDRAW_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
struct Flags {
    /// Show all containers (default shows just running)
    #[arg(long, short = 'a')]
    all: bool,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    arguments: Vec<String>,
}

/// What is known of a container: its newest sample, once there is one.
type Samples = Arc<Mutex<BTreeMap<String, Option<ContainerStats>>>>;

/// Prints what containers use: once, or again and again until it is interrupted.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let format = flags.format.as_deref().unwrap_or_default();
    let layout = Layout::parse(format, &COLUMNS, &FIELDS).map_err(Exit::failed)?;
    let client = context.client().await?;
    if flags.no_stream {
        return once(&client, &flags, &layout).await;
    }
    watch(&client, &flags, &layout).await
}

/// The containers that are meant, in the order in which they are shown.
async fn names(client: &Client, flags: &Flags) -> Result<Vec<String>, Exit> {
    if !flags.arguments.is_empty() {
        return Ok(flags.arguments.clone());
    }
    let options = ListOptions {
        all: flags.all,
        ..ListOptions::default()
    };
    let found = client.containers().list(&options).await;
    Ok(found
        .map_err(|e| refused(&e))?
        .into_iter()
        .map(|container| container.id)
        .collect())
}

async fn once(client: &Client, flags: &Flags, layout: &Layout) -> Outcome {
    let names = names(client, flags).await?;
    let mut tasks = JoinSet::new();
    for (place, name) in names.iter().cloned().enumerate() {
        let client = client.clone();
        tasks.spawn(async move {
            let stream = client.containers().stats(&name, false).await;
            let sample = match stream {
                Ok(mut stream) => stream.next().await,
                Err(e) => Err(e),
            };
            (place, sample)
        });
    }
    let mut samples: BTreeMap<usize, Option<ContainerStats>> = BTreeMap::new();
    let mut failures = Vec::new();
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok((place, Ok(sample))) => {
                samples.insert(place, sample);
            }
            Ok((_, Err(e))) => failures.push(sentence(&e)),
            Err(e) => failures.push(format!("a request was broken off: {e}")),
        }
    }
    if let Some(first) = failures.into_iter().next().filter(|_| samples.is_empty()) {
        return Err(Exit::failed(first));
    }
    let shown = samples.into_iter().filter_map(|(place, sample)| {
        let name = names.get(place)?.clone();
        Some((name, sample))
    });
    crate::say::out(&text(shown, layout, flags)?);
    Ok(0)
}

fn text(
    samples: impl IntoIterator<Item = (String, Option<ContainerStats>)>,
    layout: &Layout,
    flags: &Flags,
) -> Result<String, Exit> {
    let rows: Vec<_> = samples
        .into_iter()
        .map(|(asked, sample)| {
            row(&Shown {
                asked: &asked,
                sample: sample.as_ref(),
                whole: flags.no_trunc,
            })
        })
        .collect();
    layout.write(&rows, &FIELDS).map_err(Exit::failed)
}

async fn watch(client: &Client, flags: &Flags, layout: &Layout) -> Outcome {
    let samples = Samples::default();
    let mut watched: BTreeMap<String, tokio::task::AbortHandle> = BTreeMap::new();
    let mut page = Page::new();
    let on_terminal = terminal::is_terminal(Stream::Stdout);
    let mut ticks = interval(REDRAW_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let order = names(client, flags).await?;
        watched.retain(|name, task| {
            let stays = order.contains(name);
            if !stays {
                task.abort();
                lock(&samples).remove(name);
            }
            stays
        });
        for name in &order {
            if !watched.contains_key(name) {
                let task = tokio::spawn(follow(client.clone(), name.clone(), samples.clone()));
                watched.insert(name.clone(), task.abort_handle());
            }
        }
        let named = !flags.arguments.is_empty();
        if named && watched.values().all(tokio::task::AbortHandle::is_finished) {
            return Ok(0);
        }
        let expected = !order.is_empty();
        let shown: Vec<_> = {
            let samples = lock(&samples);
            order
                .into_iter()
                .filter_map(|name| samples.get(&name).cloned().map(|sample| (name, sample)))
                .collect()
        };
        if expected && shown.is_empty() {
            // The engine has not answered yet.
            continue;
        }
        let text = text(shown, layout, flags)?;
        if !on_terminal {
            crate::say::out(&text);
        } else if page.draw(&text).is_err() {
            return Err(Exit::silent(crate::exit::PIPE_CLOSED));
        }
    }
}

fn lock(samples: &Samples) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<ContainerStats>>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the newest sample of a container until it is gone.
async fn follow(client: Client, name: String, samples: Samples) {
    let mut stream = match client.containers().stats(&name, true).await {
        Ok(stream) => stream,
        Err(e) => {
            complain!("{}", sentence(&e));
            return;
        }
    };
    lock(&samples).insert(name.clone(), None);
    while let Ok(Some(sample)) = stream.next().await {
        lock(&samples).insert(name.clone(), Some(sample));
    }
    // Of a container that is gone nothing is shown.
    lock(&samples).remove(&name);
}
