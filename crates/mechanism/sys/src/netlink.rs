//! The little of rtnetlink that a container's own start needs.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST_ACK: u16 = 0x1 | 0x4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;

/// Size of `struct nlmsghdr` and of `struct ifinfomsg`.
const HEADER: usize = 16;

/// The loopback link is the first one that a network namespace gets.
const LOOPBACK_INDEX: u32 = 1;

/// Largest answer that is read: an acknowledgement with the request quoted.
const MAX_ANSWER: usize = 512;

/// Brings the loopback link of this process's network namespace up.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` in the namespace.
pub fn loopback_up() -> io::Result<()> {
    let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, kind, flags, None)?;
    let request = set_up_request(LOOPBACK_INDEX);
    rustix::net::send(&socket, &request, SendFlags::empty())?;
    acknowledgement(&socket)
}

/// `nlmsghdr` and `ifinfomsg`, in this machine's byte order as netlink wants it.
fn set_up_request(index: u32) -> [u8; 2 * HEADER] {
    let mut message = [0; 2 * HEADER];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = message.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &(2 * HEADER as u32).to_ne_bytes());
    put(4, &RTM_NEWLINK.to_ne_bytes());
    put(6, &NLM_F_REQUEST_ACK.to_ne_bytes());
    put(HEADER + 4, &index.to_ne_bytes());
    put(HEADER + 8, &IFF_UP.to_ne_bytes());
    put(HEADER + 12, &IFF_UP.to_ne_bytes());
    message
}

fn acknowledgement(socket: &OwnedFd) -> io::Result<()> {
    let mut buffer = [0; MAX_ANSWER];
    let (length, _) = rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty())?;
    let answer = buffer.get(..length).unwrap_or_default();
    let kind = answer
        .get(4..6)
        .and_then(|b| b.try_into().ok())
        .map(u16::from_ne_bytes);
    let error = answer
        .get(HEADER..HEADER + 4)
        .and_then(|b| b.try_into().ok());
    match (kind, error.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error)) => Err(io::Error::from_raw_os_error(-error)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
