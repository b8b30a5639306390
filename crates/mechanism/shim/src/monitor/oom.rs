//! The kernel's kills for want of memory: noticed while the container goes on, told to whoever
//! watches, and again to an engine that comes later.

use std::time::Duration;

use berth_shim::protocol::Message;
use berth_sys::cgroup::{Cgroup, OomWatch};
use berth_sys::epoll::{Epoll, Interest};

use super::bus::Bus;
use super::connection::State;
use super::{control, watched};

/// How long to wait between two looks at a counter that must go up soon, and how often to look:
/// on version 1 the kernel tells of a kill before it makes and counts it.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const LOOKS_MAX: u8 = 100;

/// What a monitor knows about it.
#[derive(Debug, Default)]
pub struct Oom {
    watch: Option<OomWatch>,
    /// Processes that were killed.
    pub kills: u64,
    /// Looks that are left for a kill that was announced.
    looks: u8,
}

impl Oom {
    /// Begins to watch. Without a watch, which only want of memory or of the controller prevents,
    /// kills are seen at the container's end.
    pub fn begin(&mut self, cgroup: &Cgroup, epoll: &Epoll) {
        self.watch = cgroup.watch_oom();
        if let Some(watch) = &self.watch {
            let interest = if watch.is_readable() {
                Interest::READ
            } else {
                Interest::NONE
            };
            let _ = epoll.add(watch, watched::OOM, interest);
        }
        // What was killed before it was watched is seen now.
        self.look(cgroup);
    }

    /// The watch is ready.
    pub fn notice(&mut self, cgroup: &Cgroup) {
        let Some(watch) = &self.watch else { return };
        watch.clear();
        self.looks = if watch.is_readable() { LOOKS_MAX } else { 0 };
        self.look(cgroup);
    }

    /// Reads the counter.
    pub fn look(&mut self, cgroup: &Cgroup) {
        self.looks = self.looks.saturating_sub(1);
        let kills = cgroup.oom_kills().unwrap_or(self.kills);
        if kills > self.kills {
            (self.kills, self.looks) = (kills, 0);
        }
    }

    /// How long to wait for the next look, where one is due.
    pub fn patience(&self) -> Option<Duration> {
        (self.looks > 0).then_some(LOOK_AGAIN)
    }
}

impl Bus {
    /// Tells everyone who watches of kills that he does not know of. One who has no room is told
    /// later: the number counts all.
    pub(super) fn tell_of_kills(&mut self) {
        let kills = self.oom.kills;
        if kills == 0 {
            return;
        }
        for connection in self.connections.iter_mut().flatten() {
            let has_room = connection.outgoing.is_empty() && !connection.gone;
            let State::Control(control) = &mut connection.state else {
                continue;
            };
            if control.watching && control.told_of < kills && has_room {
                control.told_of = kills;
                control::answer(connection, &Message::OomKilled(kills));
            }
        }
    }
}
