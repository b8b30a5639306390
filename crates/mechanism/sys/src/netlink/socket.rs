//! One blocking netlink socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use berth_types::task::{Wait, waits};
use rustix::buffer::spare_capacity;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::message::{ACK, DONE, DUMP, ERROR, Frame, Frames, INTERRUPTED, Message, u32_at};

/// Largest datagram that is read: the kernel's own limit for lists is 32 KiB.
const DATAGRAM_MAX: usize = 64 << 10;
/// Most entries that are kept of a list.
const ENTRIES_MAX: usize = 1 << 20;
/// How often a list that changed while it was read is read again.
const LIST_ATTEMPTS: usize = 8;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What a socket sends without more ado (`net.core.wmem_default` is larger everywhere).
const SEND_DEFAULT: usize = 64 << 10;

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `NETLINK_ROUTE`: links, addresses, routes.
    Route,
    /// `NETLINK_NETFILTER`: nf_tables and connection tracking.
    Netfilter,
}

/// A netlink socket of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens one.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` from a kernel without the family.
    pub fn open(family: Family) -> io::Result<Self> {
        Self::with_groups(family, 0)
    }

    /// Opens one that also hears the notifications of groups: bit `n - 1` for group `n`.
    ///
    /// # Errors
    /// As [`Socket::open`].
    pub fn with_groups(family: Family, groups: u32) -> io::Result<Self> {
        let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
        let protocol = match family {
            Family::Route => None,
            Family::Netfilter => Some(rustix::net::netlink::NETFILTER),
        };
        let descriptor = rustix::net::socket_with(AddressFamily::NETLINK, kind, flags, protocol)?;
        rustix::net::bind(&descriptor, &SocketAddrNetlink::new(0, groups))?;
        // The kernel answers while it is asked. What does not come then was lost, and nobody
        // would ever read on.
        sockopt::set_socket_timeout(&descriptor, sockopt::Timeout::Recv, Some(ANSWER_WITHIN))?;
        Ok(Self {
            descriptor,
            sequence: 0,
            buffer: Vec::new(),
        })
    }

    /// The number that the kernel gave this socket: it stands in notifications of what was asked
    /// through it.
    ///
    /// # Errors
    /// Whatever `getsockname(2)` says.
    pub fn port(&self) -> io::Result<u32> {
        let address = rustix::net::getsockname(&self.descriptor)?;
        Ok(SocketAddrNetlink::try_from(address)?.pid())
    }

    /// Sends requests in one datagram and waits for the acknowledgement of each. The kernel
    /// performs them in order and goes on after a failed one, except in nf_tables batches.
    ///
    /// # Errors
    /// That of the first request that failed.
    pub fn transact(&mut self, messages: Vec<Message>) -> io::Result<()> {
        let mut left = messages.len();
        self.send(messages, |_, _| ACK)?;
        let mut outcome = Ok(());
        while left > 0 {
            self.receive(|frame| {
                if let Some(result) = acknowledgement(frame) {
                    left = left.saturating_sub(1);
                    if outcome.is_ok() {
                        outcome = result;
                    }
                }
            })?;
        }
        outcome
    }

    /// Sends messages in one datagram, of which only the last is acknowledged: a transaction.
    /// `tail` follows without an acknowledgement.
    ///
    /// # Errors
    /// That of the first message that failed; then the kernel did nothing.
    pub(super) fn transact_together(
        &mut self,
        messages: Vec<Message>,
        tail: usize,
    ) -> io::Result<()> {
        let last = messages.len().saturating_sub(1 + tail);
        let first = self.sequence.wrapping_add(1);
        let wanted = first.wrapping_add(last as u32);
        self.send(messages, |place, _| if place == last { ACK } else { 0 })?;
        let mut outcome = Ok(());
        let mut done = false;
        while !done {
            self.receive(|frame| {
                if let Some(result) = acknowledgement(frame) {
                    // A transaction as a whole is refused with the number of its beginning.
                    done |=
                        frame.sequence == wanted || (frame.sequence == first && result.is_err());
                    if outcome.is_ok() {
                        outcome = result;
                    }
                }
            })?;
        }
        outcome
    }

    /// Sends one request and reads what is answered: one message, or a list if `list` is set.
    /// What `read` makes of the messages is kept.
    ///
    /// # Errors
    /// What the kernel answers, such as `ENODEV` for a link that is not there.
    pub fn ask<T>(
        &mut self,
        message: &Message,
        list: bool,
        read: impl Fn(&Frame<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 1..LIST_ATTEMPTS {
            let (entries, whole) = self.ask_once(message.clone(), list, &read)?;
            if whole {
                return Ok(entries);
            }
        }
        Ok(self.ask_once(message.clone(), list, &read)?.0)
    }

    fn ask_once<T>(
        &mut self,
        message: Message,
        list: bool,
        read: impl Fn(&Frame<'_>) -> Option<T>,
    ) -> io::Result<(Vec<T>, bool)> {
        let flags = if list { DUMP } else { ACK };
        self.send(vec![message], |_, _| flags)?;
        let (mut entries, mut whole, mut end) = (Vec::new(), true, None);
        while end.is_none() {
            self.receive(|frame| {
                whole &= frame.flags & INTERRUPTED == 0;
                match (acknowledgement(frame), frame.kind) {
                    (Some(result), _) => end = Some(result),
                    (None, DONE) => end = Some(Ok(())),
                    (None, _) if entries.len() < ENTRIES_MAX => entries.extend(read(frame)),
                    _ => {}
                }
            })?;
        }
        end.unwrap_or(Ok(()))?;
        Ok((entries, whole))
    }

    fn send(
        &mut self,
        messages: Vec<Message>,
        flags: impl Fn(usize, &Message) -> u16,
    ) -> io::Result<()> {
        let mut datagram = Vec::with_capacity(messages.iter().map(Message::length).sum());
        for (place, message) in messages.into_iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let flags = flags(place, &message);
            let bytes = message.finish(flags, self.sequence);
            datagram.extend(bytes.ok_or(io::ErrorKind::InvalidInput)?);
        }
        if datagram.len() > SEND_DEFAULT {
            // The kernel's own accounting takes room beside the bytes.
            sockopt::set_socket_send_buffer_size_force(&self.descriptor, 2 * datagram.len())?;
        }
        rustix::net::send(&self.descriptor, &datagram, SendFlags::empty())?;
        Ok(())
    }

    /// Reads one datagram and shows its messages.
    ///
    /// # Errors
    /// `ENOBUFS` when notifications were lost, `ETIMEDOUT` when nothing comes for
    /// [`ANSWER_WITHIN`].
    pub fn receive(&mut self, mut each: impl FnMut(&Frame<'_>)) -> io::Result<()> {
        let _waits = waits(Wait::Kernel, Some(ANSWER_WITHIN));
        self.buffer.clear();
        self.buffer.reserve(DATAGRAM_MAX);
        let received = loop {
            let space = spare_capacity(&mut self.buffer);
            match rustix::net::recv(&self.descriptor, space, RecvFlags::TRUNC) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                result => break result?.1,
            }
        };
        if received > self.buffer.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Frames(&self.buffer).for_each(|frame| each(&frame));
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What an acknowledgement says; nothing for any other message.
fn acknowledgement(frame: &Frame<'_>) -> Option<io::Result<()>> {
    let code = (frame.kind == ERROR).then(|| u32_at(frame.payload, 0))??;
    Some(match code as i32 {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
    })
}
