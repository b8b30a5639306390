//! systemd as a neighbour: the scopes that containers live in, what its manager says of itself,
//! sockets that it passed on, and news for it.
//!
//! Scopes and properties go over D-Bus; sockets and news need only the environment
//! (`sd_listen_fds(3)`, `sd_notify(3)`).

mod bus;
mod listen;
mod manager;
mod notify;
mod slice;
mod wire;

pub use bus::BusError;
pub use listen::{ListenError, listeners};
pub use manager::{Manager, ScopeRequest};
pub use notify::Notifier;
pub use slice::{InvalidSlice, Slice};

/// Whether systemd runs this machine (`sd_booted(3)`).
pub fn is_booted() -> bool {
    std::fs::symlink_metadata("/run/systemd/system").is_ok_and(|found| found.is_dir())
}
