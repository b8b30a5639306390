//! Taking up what an earlier engine left.

use std::sync::Arc;
use std::time::Duration;

use super::Actor;
use super::carry::launched;
use crate::boot::{Found, Looking, begin_unseen, end_of};
use crate::closing;
use crate::effects;
use crate::lifecycle::Input;
use crate::machine;
use crate::record::Phase;
use crate::update;

impl Actor {
    /// Looks for what an earlier engine left. Requests wait until that has been looked for once.
    pub(super) async fn take_up(&mut self) {
        let (id, phase) = (self.record.id, self.record.state.phase);
        let mut looking = Looking::first(&self.shared, id, phase);
        let found = looking.found().await;
        self.looking = Some(looking);
        let (adopted, ended) = match &found {
            Found::Alive(_) => (1, 0),
            Found::Over(_) | Found::Missed(_) => (0, 1),
            Found::Settled | Found::OutOfReach { .. } => (0, 0),
        };
        self.take_found(found).await;
        self.shared.search.send_modify(|search| {
            search.sought = search.sought.saturating_sub(1);
            search.adopted += adopted;
            search.ended += ended;
        });
        // A container that never ran waits for its first start, not for the engine's.
        if self.life.state().phase != Phase::Created {
            self.shared.swept().await;
            closing::turn(&self.shared, &self.record).await;
            self.internal(Input::EngineStarted).await;
        }
    }

    /// Goes on from what came of a look for the run.
    pub(super) async fn take_found(&mut self, found: Found) {
        let looked = self.looking.take();
        let phase = self.life.state().phase;
        match found {
            Found::Alive(task) => {
                let launched = launched(task.as_ref());
                self.take_task(task);
                self.internal(Input::Started(launched)).await;
                self.adopt_group().await;
            }
            Found::Over(end) => {
                let end = self.as_seen(end);
                self.internal(Input::Ended(end)).await;
            }
            Found::Missed(end) => {
                begin_unseen(&mut self.life, end_of(&end));
                self.internal(Input::Ended(end)).await;
            }
            Found::OutOfReach { silent } => {
                if !phase.is_live() {
                    begin_unseen(&mut self.life, machine::date());
                    self.note_state();
                    self.publish.send_replace(Arc::clone(&self.record));
                }
                self.silent = silent;
                let pause = looked.map_or(Duration::ZERO, |looked| looked.next_pause());
                self.look_after(pause);
            }
            // A container that removes itself was on its way out when the engine was killed.
            Found::Settled if self.record.host.auto_remove && phase == Phase::Exited => {
                self.internal(Input::Remove { force: false }).await;
            }
            // Nothing was left of a start that was cut off.
            Found::Settled => {}
        }
    }

    pub(super) fn look_after(&mut self, pause: Duration) {
        let (id, phase) = (self.record.id, self.life.state().phase);
        self.looking = Some(Looking::after(&self.shared, id, phase, pause));
    }

    /// Brings the record of an adopted container to what its group is, and takes back what an
    /// update wrote there that was cut off before its record: it never was.
    async fn adopt_group(&mut self) {
        let (shared, id) = (Arc::clone(&self.shared), self.record.id);
        let limits = self.record.host.limits.clone();
        let look = move || {
            update::settle(&shared, id, &limits);
            effects::is_frozen(&shared, id)
        };
        match self.on_thread("look at the control group", look).await {
            Ok(Ok(true)) => self.internal(Input::Frozen).await,
            Ok(Ok(false)) => self.internal(Input::Thawed).await,
            Ok(Err(error)) => {
                tracing::warn!(%id, %error, "cannot tell whether the container is paused");
            }
            Err(_) => {}
        }
    }
}

/// Waits for what comes of a look for the run, while there is one.
pub(super) async fn next_found(looking: &mut Option<Looking>) -> Found {
    match looking {
        Some(looking) => looking.found().await,
        None => std::future::pending().await,
    }
}
