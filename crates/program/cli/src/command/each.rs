//! The same verb for several containers: side by side, told in order, to the end.

use std::future::Future;
use std::sync::Arc;

use berth_api::client::{Client, ClientError};
use tokio::sync::Semaphore;

use crate::engine::{Context, sentence};
use crate::exit::{Exit, FAILED, Outcome};
use crate::say::say;

/// How many requests are under way at once.
const PARALLEL_MAX: usize = 50;

/// Does `work` for each of `names` and prints the line it gives, if any; goes on after a failure.
pub async fn each<W, F, T>(context: &Context, names: Vec<String>, work: W) -> Outcome
where
    W: Fn(Client, String) -> F,
    T: Into<Option<String>> + Send + 'static,
    F: Future<Output = Result<T, ClientError>> + Send + 'static,
{
    let client = context.client().await?;
    let gate = Arc::new(Semaphore::new(PARALLEL_MAX));
    let tasks: Vec<_> = names
        .into_iter()
        .map(|name| {
            let gate = Arc::clone(&gate);
            let work = work(client.clone(), name);
            tokio::spawn(async move {
                // The gate is never closed, so there is always a permit in the end.
                let _permit = gate.acquire().await;
                work.await
            })
        })
        .collect();
    let mut failures = Vec::new();
    for task in tasks {
        match task.await {
            Ok(Ok(line)) => {
                if let Some(line) = line.into() {
                    say!("{line}");
                }
            }
            Ok(Err(e)) => failures.push(sentence(&e)),
            Err(e) => failures.push(format!("a request was broken off: {e}")),
        }
    }
    match failures.is_empty() {
        true => Ok(0),
        false => Err(Exit {
            code: FAILED,
            message: failures.join("\n"),
        }),
    }
}
