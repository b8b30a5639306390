//! What happened, told to who listens: every domain publishes here after its commit.
//!
//! The newest [`RING`] events are kept, so that a listener can ask for what it has just missed;
//! looking back and subscribing are one step. A listener that falls more than [`RING`] events
//! behind is told so by the channel and never makes a publisher wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use berth_types::{Scope, Timestamp};
use tokio::sync::broadcast;

/// Events that are kept, and that a listener may fall behind: Docker's number.
pub const RING: usize = 256;

/// The sorts of objects that events are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// The engine itself.
    Daemon,
}

impl EventKind {
    /// The word on the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Daemon => "daemon",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What sort of object.
    pub kind: EventKind,
    /// What happened, in Docker's word: `start`, `die`, `exec_create: sh`.
    pub action: String,
    /// The object: a container's or image's id, a network's id, a volume's name.
    pub id: String,
    /// Facts about it: `name`, `image`, `exitCode`, and a container's labels.
    pub attributes: BTreeMap<String, String>,
    /// Who owns the object; others do not hear of it.
    pub owner: Scope,
    /// When.
    pub time: Timestamp,
}

/// The log of events of one engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        let (sender, _) = broadcast::channel(RING);
        Self {
            shared: Arc::new(Shared {
                ring: Mutex::new(VecDeque::new()),
                sender,
            }),
        }
    }
}

impl Events {
    /// Tells everyone, after the change is committed.
    pub fn publish(&self, event: Event) {
        let event = Arc::new(event);
        let mut ring = self.ring();
        if ring.len() == RING {
            ring.pop_front();
        }
        ring.push_back(Arc::clone(&event));
        // Nobody listening is no failure. Sent under the lock: see `subscribe`.
        let _ = self.shared.sender.send(event);
    }

    /// The events that are still kept, oldest first, and all that come after them: none is
    /// missing between the two and none is in both.
    pub fn subscribe(&self) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let ring = self.ring();
        (
            ring.iter().cloned().collect(),
            self.shared.sender.subscribe(),
        )
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.shared.sender.receiver_count()
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Event>>> {
        self.shared
            .ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str) -> Event {
        Event {
            kind: EventKind::Container,
            action: action.to_owned(),
            id: "1".to_owned(),
            attributes: BTreeMap::new(),
            owner: Scope::root(),
            time: Timestamp::now(),
        }
    }

    #[test]
    fn the_past_and_what_follows_meet_without_gap_or_overlap() {
        let events = Events::default();
        for n in 0..RING + 2 {
            events.publish(event(&n.to_string()));
        }
        let (past, mut coming) = events.subscribe();
        assert_eq!(past.len(), RING);
        assert_eq!(past[0].action, "2");
        events.publish(event("next"));
        assert_eq!(coming.try_recv().unwrap().action, "next");
        assert!(coming.try_recv().is_err());
    }
}
