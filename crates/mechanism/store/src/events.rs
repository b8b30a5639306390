//! What happened, told to who listens: every domain publishes here after its commit.
//!
//! The newest [`RING`] events are kept, so that a listener can ask for what it has just missed;
//! looking back and subscribing are one step. A listener that falls more than [`RING`] events
//! behind is told so and never makes a publisher wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_types::{Scope, Timestamp};
use tokio::sync::{Notify, watch};

/// Events that are kept, and that a listener may fall behind: Docker's number.
pub const RING: usize = 256;
/// Bytes that the events which are kept may take; the newest is kept whatever it takes.
const RING_BYTES: usize = 4 << 20;

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

impl Event {
    /// Bytes that it takes, about.
    fn weight(&self) -> usize {
        let attributes = self.attributes.iter();
        let text: usize = attributes.map(|(key, value)| key.len() + value.len()).sum();
        size_of::<Self>() + self.action.len() + self.id.len() + text
    }
}

/// The log of events of one engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// The number of the next event: wakes who listens.
    news: watch::Sender<u64>,
    stir: Notify,
}

/// The newest events.
#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    /// Number of the oldest that is kept.
    first: u64,
    bytes: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                ring: Mutex::default(),
                news: watch::Sender::new(0),
                stir: Notify::new(),
            }),
        }
    }
}

impl Events {
    /// Tells everyone, after the change is committed.
    pub fn publish(&self, event: Event) {
        let next = {
            let mut ring = self.shared.ring();
            ring.bytes += event.weight();
            ring.events.push_back(Arc::new(event));
            while ring.events.len() > RING || ring.bytes > RING_BYTES && ring.events.len() > 1 {
                if let Some(oldest) = ring.events.pop_front() {
                    ring.bytes = ring.bytes.saturating_sub(oldest.weight());
                    ring.first += 1;
                }
            }
            ring.first + ring.events.len() as u64
        };
        // Two that publish at the same time may pass each other here.
        self.shared.news.send_modify(|news| *news = next.max(*news));
        self.shared.stir.notify_one();
    }

    /// Resolves when something was told since the last call, for one who wants to know no more: it
    /// does not count among those who listen.
    pub async fn stirred(&self) {
        self.shared.stir.notified().await;
    }

    /// The events that are still kept, oldest first, and all that come after them: none is
    /// missing between the two and none is in both.
    pub fn subscribe(&self) -> (Vec<Arc<Event>>, Listener) {
        let news = self.shared.news.subscribe();
        let ring = self.shared.ring();
        let past: Vec<_> = ring.events.iter().cloned().collect();
        let listener = Listener {
            next: ring.first + past.len() as u64,
            shared: Arc::clone(&self.shared),
            news,
        };
        (past, listener)
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.shared.news.receiver_count()
    }
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who listens. It reads from what is kept for all, and keeps nothing itself.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<Shared>,
    /// Number of the event that it has not had.
    next: u64,
    news: watch::Receiver<u64>,
}

/// Somebody who listens has not listened for so long that events passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} events were missed")]
pub struct Missed(pub u64);

impl Listener {
    /// The next event, as soon as there is one.
    ///
    /// # Errors
    /// [`Missed`]; the next call goes on with the oldest event that is kept.
    pub async fn next(&mut self) -> Result<Arc<Event>, Missed> {
        loop {
            self.news.borrow_and_update();
            if let Some(found) = self.look() {
                return found;
            }
            // The sender lives in what this holds.
            let _ = self.news.changed().await;
        }
    }

    fn look(&mut self) -> Option<Result<Arc<Event>, Missed>> {
        let ring = self.shared.ring();
        let Some(place) = self.next.checked_sub(ring.first) else {
            let missed = ring.first - self.next;
            self.next = ring.first;
            return Some(Err(Missed(missed)));
        };
        let event = Arc::clone(ring.events.get(usize::try_from(place).ok()?)?);
        self.next += 1;
        Some(Ok(event))
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

    trait NowOrNever {
        fn now_or_never(self) -> Arc<Event>;
    }

    impl<F: Future<Output = Result<Arc<Event>, Missed>>> NowOrNever for F {
        fn now_or_never(self) -> Arc<Event> {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match std::pin::pin!(self).poll(&mut context) {
                std::task::Poll::Ready(Ok(event)) => event,
                other => panic!("{other:?}"),
            }
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
        assert_eq!(coming.next().now_or_never().action, "next");
        assert!(coming.look().is_none());
        assert_eq!(events.listeners(), 1);
    }

    #[test]
    fn who_falls_behind_is_told_and_large_events_are_few() {
        let events = Events::default();
        let (_, mut coming) = events.subscribe();
        let mut large = event("large");
        let label = "x".repeat(RING_BYTES / 3);
        large.attributes.insert("label".to_owned(), label);
        for _ in 0..5 {
            events.publish(large.clone());
        }
        assert_eq!(coming.look(), Some(Err(Missed(3))));
        assert!(matches!(coming.look(), Some(Ok(_))));
        large
            .attributes
            .insert("more".to_owned(), "x".repeat(RING_BYTES));
        events.publish(large);
        let (kept, _) = events.subscribe();
        assert_eq!(kept.len(), 1, "the newest is kept, whatever it takes");
    }
}
