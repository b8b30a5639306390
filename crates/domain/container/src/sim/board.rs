//! What is written down of a history: what happened, what was promised, what went wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::record::RestartPolicy;

/// What is known of something that a request may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known<T>(Vec<T>);

impl<T: Clone + PartialEq> Known<T> {
    pub(super) fn sure(value: T) -> Self {
        Self(vec![value])
    }

    /// A request to make it `value` is on its way.
    pub(super) fn or(&mut self, value: T) {
        if !self.0.contains(&value) {
            self.0.push(value);
        }
    }

    pub(super) fn may_be(&self, value: &T) -> bool {
        self.0.contains(value)
    }

    /// The value, where there is no doubt.
    pub(super) fn certain(&self) -> Option<&T> {
        match &self.0[..] {
            [only] => Some(only),
            _ => None,
        }
    }
}

/// A container that one client alone changes, and what it was promised of it.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub owner: usize,
    pub id: String,
    pub exists: Known<bool>,
    pub name: Known<String>,
    pub policy: Known<RestartPolicy>,
    pub auto_remove: bool,
    /// Somebody was told that it is stopped, and nobody has asked for a start since.
    pub stopped: Known<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    log: Vec<String>,
    wrong: Vec<String>,
    owns: BTreeMap<String, Own>,
    /// The disk has failed in this engine's life: errors of the store are in order.
    faults: bool,
    /// What has been answered with success.
    answered: u64,
}

/// Shared by everyone in a history.
#[derive(Debug, Clone)]
pub(super) struct Board {
    inner: Arc<Mutex<Inner>>,
    aloud: bool,
}

impl Board {
    pub(super) fn new(aloud: bool) -> Self {
        Self {
            inner: Arc::default(),
            aloud,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what happens.
    pub(super) fn note(&self, began: Instant, what: std::fmt::Arguments<'_>) {
        let at = Instant::now().duration_since(began).as_millis();
        let line = format!("{at:>8} ms  {what}");
        if self.aloud {
            println!("{line}");
        }
        self.inner().log.push(line);
    }

    /// Writes down what must not be.
    pub(super) fn wrong(&self, what: String) {
        if self.aloud {
            println!("WRONG: {what}");
        }
        let mut inner = self.inner();
        inner.log.push(format!("WRONG: {what}"));
        inner.wrong.push(what);
    }

    pub(super) fn wrongs(&self) -> Vec<String> {
        self.inner().wrong.clone()
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.inner().log.clone()
    }

    pub(super) fn answered(&self) {
        self.inner().answered += 1;
    }

    pub(super) fn answers(&self) -> u64 {
        self.inner().answered
    }

    pub(super) fn set_faults(&self, faults: bool) {
        self.inner().faults = faults;
    }

    pub(super) fn faults(&self) -> bool {
        self.inner().faults
    }

    /// Remembers a container that is being made or changed.
    pub(super) fn put(&self, own: Own) {
        self.inner().owns.insert(own.id.clone(), own);
    }

    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut Own)) {
        if let Some(own) = self.inner().owns.get_mut(id) {
            change(own);
        }
    }

    pub(super) fn owns(&self) -> Vec<Own> {
        self.inner().owns.values().cloned().collect()
    }
}
