//! When the engine has become quiet, the memory that it needed for its work goes back to the
//! machine.
//!
//! Nothing runs while nothing happens: the first thing that happens after a quiet time begins a
//! watch, which ends when it is quiet again.

use std::sync::Arc;
use std::time::Duration;

use berth_store::Events;
use berth_sys::memory;
use berth_types::task;
use tokio::sync::Notify;

/// How long little has to happen. Longer than an idle thread lives, whose memory is then among
/// what goes back.
const QUIET: Duration = Duration::from_secs(6);
/// How many pieces of work may be begun in that time: somebody who looks at a list every second is
/// no reason to keep what a thousand starts needed.
const FEW: u64 = 60;
/// How many bytes more than after the last time the engine has to hold beyond what lives before
/// anything is given back. Less is used again soon.
const WORTH: u64 = 2 << 20;

/// What happens. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stir(Arc<Notify>);

impl Stir {
    /// Something happens.
    pub fn note(&self) {
        self.0.notify_one();
    }
}

/// Gives memory back, as often as it becomes quiet, for as long as the engine lives. Containers stir
/// by their `events`, requests by themselves.
pub async fn give_back(stir: Stir, events: Events) {
    let mut least = idle().unwrap_or(u64::MAX);
    loop {
        tokio::select! {
            () = stir.0.notified() => {}
            () = events.stirred() => {}
        }
        quiet().await;
        // Without /proc nothing is known, and nothing given back.
        let Ok(before) = idle() else { return };
        if before >= least.saturating_add(WORTH) {
            // An engine that ends does not wait for it.
            let _ = tokio::task::spawn_blocking(memory::trim).await;
        }
        // What cannot be given back is not tried again and again.
        let Ok(after) = idle() else { return };
        tracing::debug!(before, after, "memory held beyond what lives");
        least = after;
    }
}

/// Bytes that are held and do not live.
fn idle() -> std::io::Result<u64> {
    Ok(memory::held()?.saturating_sub(memory::live()))
}

/// Resolves when little has happened for a while.
async fn quiet() {
    let mut before = task::begun();
    loop {
        tokio::time::sleep(QUIET).await;
        let now = task::begun();
        if now.saturating_sub(before) <= FEW {
            return;
        }
        before = now;
    }
}
