//! Where the time of a start goes.

use std::time::Instant;

use berth_types::launch::Phase;

/// A stopwatch that is read with a name at the end of each phase. The clock is the same in the
/// monitor and in its clone, so a copy of the stopwatch goes on in the container's init.
#[derive(Debug, Clone)]
pub(crate) struct Stopwatch {
    last: Instant,
    pub(crate) phases: Vec<Phase>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            last: Instant::now(),
            phases: Vec::new(),
        }
    }

    /// The copy that goes on in the container's init: it reports only what it measures itself.
    pub(crate) fn for_init(&self) -> Self {
        Self {
            last: self.last,
            phases: Vec::new(),
        }
    }

    /// Ends the phase that ran since the previous call.
    pub(crate) fn mark(&mut self, name: &str) {
        let now = Instant::now();
        let us = u64::try_from((now - self.last).as_micros()).unwrap_or(u64::MAX);
        self.phases.push(Phase {
            name: name.to_owned(),
            us,
        });
        self.last = now;
    }

    /// Takes over what the other copy of the stopwatch measured since they parted, and gives it
    /// credit for that time: the next phase counts only what is not in `phases` yet.
    pub(crate) fn merge(&mut self, phases: Vec<Phase>) {
        let measured = phases.iter().map(|p| p.us).sum();
        self.last += std::time::Duration::from_micros(measured);
        self.last = self.last.min(Instant::now());
        self.phases.extend(phases);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_before_the_clone_is_reported_once() {
        let mut monitor = Stopwatch::start();
        monitor.mark("cgroup");
        let mut init = monitor.for_init();
        init.mark("clone");
        monitor.merge(init.phases);
        monitor.mark("exec");
        let names: Vec<&str> = monitor.phases.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["cgroup", "clone", "exec"]);
    }
}
