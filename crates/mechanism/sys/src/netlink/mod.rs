//! Netlink, as far as a container engine needs it: links, addresses and routes (rtnetlink), and
//! firewall tables (nf_tables), without running a program for either.
//!
//! [`message`] writes and reads the bytes, [`socket`] sends and waits, [`route`], [`nft`] and
//! [`conntrack`] know the families. Everything blocks, and the kernel answers before `send`
//! returns, so nothing here waits for anybody but notifications.

use std::io;

pub mod conntrack;
pub mod expression;
pub mod message;
pub mod nft;
pub mod route;
pub mod socket;

/// The loopback link is the first one that a network namespace gets.
pub const LOOPBACK_INDEX: u32 = 1;

/// Brings the loopback link of this process's network namespace up.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` in the namespace.
pub fn loopback_up() -> io::Result<()> {
    socket::Socket::open(socket::Family::Route)?.transact(vec![route::set_up(LOOPBACK_INDEX)])
}
