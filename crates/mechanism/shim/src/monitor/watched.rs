//! What the event loop waits for: every descriptor's interest follows from the monitor's state.

use std::os::fd::AsFd;

use berth_sys::epoll::{Epoll, Interest};

/// Tokens of the descriptors that there is one of.
pub const INIT: u64 = 0;
pub const CHILDREN: u64 = 1;
pub const LISTENER: u64 = 2;
pub const OOM: u64 = 3;
/// Tokens from here on are sessions: [`PER_SESSION`] for each key.
const SESSIONS: u64 = 16;
/// Tokens from here on are connections, by slot.
pub const CONNECTIONS: u64 = 1 << 48;

const PER_SESSION: u64 = 4;

/// A descriptor of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Input,
    Output(usize),
    Report,
}

/// The token of a session's input.
pub fn input(key: u64) -> u64 {
    SESSIONS + key * PER_SESSION
}

/// The token of one of a session's outputs, 0 or 1.
pub fn output(key: u64, index: usize) -> u64 {
    input(key) + 1 + (index as u64 & 1)
}

/// The token of what a session's process says before its program runs.
pub fn report(key: u64) -> u64 {
    input(key) + 3
}

/// The session that a token belongs to, and its descriptor.
pub fn part(token: u64) -> Option<(u64, Part)> {
    let number = token
        .checked_sub(SESSIONS)
        .filter(|_| token < CONNECTIONS)?;
    let part = match number % PER_SESSION {
        0 => Part::Input,
        1 => Part::Output(0),
        2 => Part::Output(1),
        _ => Part::Report,
    };
    Some((number / PER_SESSION, part))
}

/// How one descriptor is registered at present.
#[derive(Debug, Default)]
pub struct Watched(Option<Interest>);

impl Watched {
    /// Makes the registration what is `wanted`; none means that not even a hang-up is reported,
    /// which would otherwise keep the loop awake while nothing can be done about it.
    ///
    /// A failure leaves the registration as it was and is tried again on the next round: the only
    /// one possible here is want of kernel memory.
    pub fn set(&mut self, epoll: &Epoll, fd: impl AsFd, token: u64, wanted: Option<Interest>) {
        let done = match (self.0, wanted) {
            (before, wanted) if before == wanted => return,
            (None, Some(interest)) => epoll.add(fd, token, interest),
            (Some(_), Some(interest)) => epoll.modify(fd, token, interest),
            (_, None) => epoll.delete(fd),
        };
        if done.is_ok() {
            self.0 = wanted;
        }
    }
}
