//! Every system call and every `unsafe` block of Berth.
//!
//! The crates above speak of containers; this one speaks of descriptors, and promises three
//! things: a descriptor has one owner (`OwnedFd`), every descriptor is close-on-exec from birth,
//! and a path that comes from a container is only ever resolved below a directory descriptor.
//! Where [`rustix`] already has a safe call it is used as it is, through the re-export below, so
//! that no other crate names `rustix` or `libc`.

#![allow(unsafe_code)]

pub use rustix;

pub mod ahead;
pub mod arch;
pub mod caps;
pub mod cgroup;
pub mod clone;
pub mod confine;
pub mod epoll;
pub mod landlock;
pub mod memfd;
pub mod memory;
pub mod mount;
pub mod netlink;
pub mod netns;
pub mod path;
pub mod pidfd;
pub mod precedence;
pub mod process;
pub mod pty;
pub mod seccomp;
pub mod socket;
pub mod spawn;
pub mod systemd;
pub mod title;
pub mod unread;
