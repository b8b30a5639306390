//! What the event loop waits for: every descriptor's interest follows from the monitor's state.

use std::os::fd::AsFd;

use berth_sys::epoll::{Epoll, Interest};

/// Tokens of the descriptors that there is one of.
pub const INIT: u64 = 0;
pub const CHILDREN: u64 = 1;
pub const LISTENER: u64 = 2;
pub const INPUT: u64 = 3;
/// Tokens of the two output pipes, by index.
pub const OUTPUT: [u64; 2] = [4, 5];
/// Tokens from here on are connections, by slot.
pub const CONNECTIONS: u64 = 16;

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
