//! The machine goes down, and comes back: containers end while the engine and the network are there,
//! and return in an order that each of them can start in.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::lifecycle::Input;
use crate::record::{Network, Phase, Record};
use crate::service::{Containers, KILL_PATIENCE};
use crate::shared::Shared;
use crate::verbs;

/// The longest patience with one container when the machine goes down, also where `--stop-timeout`
/// says more, or never.
const CLOSE_MAX: Duration = Duration::from_secs(600);
/// How long a container that returns waits for the one whose network it uses.
const TURN_WITHIN: Duration = Duration::from_secs(30);

/// What came of ending all containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closed {
    /// Containers that ended.
    pub ended: usize,
    /// Containers that did not, though they were killed.
    pub left: usize,
}

impl Containers {
    /// Ends the processes that read files of containers and wait for the next question, so that
    /// none of them outlives the engine. Waits until they are reaped: not on a thread that answers.
    pub fn close_readers(&self) {
        self.shared.readers.close();
    }

    /// Ends all containers at the same time, each with its own signal and patience, and starts none
    /// any more. A restart policy counts with the next engine, as if the container had ended there.
    pub async fn close(&self) -> Closed {
        self.shared.closing.store(true, Ordering::Release);
        let handles: Vec<_> = self.shared.read_index().by_id.values().cloned().collect();
        let mut ends = JoinSet::new();
        for handle in handles {
            ends.spawn(async move {
                let mut watch = handle.snapshot.clone();
                let settings = watch.borrow().settings.clone();
                let (signal, seconds, _) = verbs::patience(&settings, None, None)
                    .or_else(|_| verbs::patience(&settings, None, Some("SIGTERM")))
                    .ok()?;
                let patience = u64::try_from(seconds).map_or(CLOSE_MAX, Duration::from_secs);
                let patience = patience.min(CLOSE_MAX);
                let stopped = handle.step(Input::Close { signal, patience }).await;
                if stopped.is_ok_and(|report| report.unchanged) && !is_live(&watch.borrow()) {
                    return None;
                }
                let over = watch.wait_for(|record| !is_live(record));
                let limit = patience.saturating_add(KILL_PATIENCE);
                Some(tokio::time::timeout(limit, over).await.is_ok())
            });
        }
        let mut closed = Closed::default();
        for ended in ends.join_all().await.into_iter().flatten() {
            closed.ended += usize::from(ended);
            closed.left += usize::from(!ended);
        }
        closed
    }
}

fn is_live(record: &Record) -> bool {
    record.state.phase.is_live()
}

/// Waits until a container may return with the engine: one that uses the network of another that
/// returns, too, comes after it. All others return at the same time.
pub(crate) async fn turn(shared: &Shared, record: &Record) {
    let Network::Container(other) = record.host.network else {
        return;
    };
    if record.state.phase != Phase::Exited || !record.host.restart.returns(&record.state) {
        return;
    }
    let other = shared.read_index().by_id.get(&other).cloned();
    let Some(mut watch) = other.map(|handle| handle.snapshot) else {
        return;
    };
    let before = watch.borrow().state.error.clone();
    let settled = watch.wait_for(|other| {
        let comes = other.host.restart.returns(&other.state) || other.state.phase.is_active();
        let failed = other.state.error != before && !other.state.phase.is_active();
        is_live(other) || !comes || failed
    });
    // Without it the start fails, and says why.
    let _ = tokio::time::timeout(TURN_WITHIN, settled).await;
}
