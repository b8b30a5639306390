//! Does what the plan says, a few names at a time, and goes on where one fails.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, Write as _};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use berth_api::client::{Client, ClientError, ListOptions, RemoveOptions};
use berth_console::progress::Progress;
use berth_types::ErrorKind;
use tokio::sync::Semaphore;

use crate::plan::{self, Allocation, Observed, Removal};
use crate::report::{self, Seat};
use crate::seat::{self, Offer};

/// How many names are worked on at once: enough to keep an engine busy, few enough to leave it
/// responsive for others.
const PARALLEL_MAX: usize = 4;

/// What a failed request says, in the engine's own sentence.
fn sentence(error: &ClientError) -> String {
    error.to_string()
}

/// All containers by name. One list tells for the whole class.
async fn observe(client: &Client) -> Result<BTreeMap<String, Observed>> {
    let options = ListOptions {
        all: true,
        ..ListOptions::default()
    };
    let containers = client
        .containers()
        .list(&options)
        .await
        .context("cannot list containers")?;
    Ok(plan::by_name(&containers))
}

/// Makes sure that every name has a running seat.
pub async fn allocate(
    client: &Client,
    names: Vec<String>,
    offer: Offer,
) -> Result<Vec<report::Result<Seat>>> {
    let mut observed = observe(client).await?;
    let offer = Arc::new(offer);
    Ok(each("Allocating boxes", names, |name| {
        let planned = plan::allocation(&name, &offer.lab, observed.remove(&name).as_ref());
        let (client, offer) = (client.clone(), Arc::clone(&offer));
        async move { allocate_one(&client, &name, &offer, planned).await }
    })
    .await)
}

async fn allocate_one(
    client: &Client,
    name: &str,
    offer: &Offer,
    planned: Allocation,
) -> Result<Seat, String> {
    let id = match planned {
        Allocation::Refuse { reason } => return Err(reason),
        Allocation::Keep { id } => id,
        Allocation::Start { id } => {
            client
                .containers()
                .start(&id, false)
                .await
                .map_err(|e| sentence(&e))?;
            id
        }
        Allocation::Create => create(client, name, offer).await?,
    };
    let seat = client
        .containers()
        .inspect(&id, false)
        .await
        .map_err(|e| sentence(&e))?;
    Ok(Seat {
        name: name.to_owned(),
        id,
        state: seat.state.status,
        image: seat.config.image,
        memory: seat.host_config.memory,
        nano_cpus: seat.host_config.nano_cpus,
        pids: seat.host_config.pids_limit.unwrap_or(0),
    })
}

/// Creates and starts a seat. One that cannot be started is removed again: the next allocation
/// then begins afresh, perhaps with another image.
async fn create(client: &Client, name: &str, offer: &Offer) -> Result<String, String> {
    let containers = client.containers();
    let request = seat::request(name, offer);
    let created = containers
        .create_for(&seat::owner(&offer.lab), name, &request)
        .await
        .map_err(|e| sentence(&e))?;
    for warning in &created.warnings {
        // A warning that cannot be shown is no reason to fail.
        let _ = writeln!(io::stderr(), "{name}: WARNING: {warning}");
    }
    let Err(failure) = containers.start(&created.id, false).await else {
        return Ok(created.id);
    };
    let options = RemoveOptions {
        force: true,
        volumes: true,
    };
    match containers.remove(&created.id, options).await {
        Ok(()) => Err(sentence(&failure)),
        Err(e) => Err(format!(
            "{}; its container could not be removed either: {}",
            sentence(&failure),
            sentence(&e)
        )),
    }
}

/// Which seats are to be removed.
pub enum Leaving {
    /// Those of these names in this lab.
    Names(Vec<String>, String),
    /// All of this lab, or of every lab.
    All(Option<String>),
}

/// Makes sure that nobody who leaves has a seat.
pub async fn deallocate(
    client: &Client,
    leaving: Leaving,
) -> Result<Vec<report::Result<&'static str>>> {
    let mut observed = observe(client).await?;
    let (names, lab) = match leaving {
        Leaving::Names(names, lab) => (names, Some(lab)),
        Leaving::All(lab) => {
            let seats = plan::seats(&observed, lab.as_deref());
            (seats, None)
        }
    };
    Ok(each("Removing boxes", names, |name| {
        let there = observed.remove(&name);
        let its = there.as_ref().and_then(|seat| seat.lab.clone());
        let lab = lab.clone().or(its).unwrap_or_default();
        let planned = plan::removal(&name, &lab, there.as_ref());
        let client = client.clone();
        async move {
            match planned {
                Removal::Missing => Ok("missing"),
                Removal::Refuse { reason } => Err(reason),
                Removal::Remove { id } => {
                    let options = RemoveOptions {
                        force: true,
                        volumes: true,
                    };
                    match client.containers().remove(&id, options).await {
                        Ok(()) => Ok("removed"),
                        // Someone else was quicker.
                        Err(e) if e.status().is_some() && e.kind() == ErrorKind::NotFound => {
                            Ok("missing")
                        }
                        Err(e) => Err(sentence(&e)),
                    }
                }
            }
        }
    })
    .await)
}

/// Does `work` for every name, [`PARALLEL_MAX`] at a time; the results are in the list's order.
async fn each<T, W, F>(what: &str, names: Vec<String>, mut work: W) -> Vec<report::Result<T>>
where
    W: FnMut(String) -> F,
    F: Future<Output = std::result::Result<T, String>> + Send + 'static,
    T: Send + 'static,
{
    let gate = Arc::new(Semaphore::new(PARALLEL_MAX));
    let tasks: Vec<_> = names
        .into_iter()
        .map(|name| {
            let work = work(name.clone());
            let gate = Arc::clone(&gate);
            let task = tokio::spawn(async move {
                // The gate is never closed, so there is always a permit in the end.
                let _permit = gate.acquire().await;
                work.await
            });
            (name, task)
        })
        .collect();
    let mut bar = Progress::new(what, tasks.len());
    let mut results = Vec::with_capacity(tasks.len());
    for (name, task) in tasks {
        let result = task
            .await
            .unwrap_or_else(|e| Err(format!("the work was broken off: {e}")));
        bar.step(result.is_ok());
        results.push((name, result));
    }
    results
}
