//! One event loop: descriptors with tokens, level-triggered.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// What a descriptor is watched for. `EPOLLHUP` and `EPOLLERR` are always reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// Bytes, a connection, an exit, or the end of the stream can be read.
    pub read: bool,
    /// Bytes can be written.
    pub write: bool,
}

impl Interest {
    /// Errors and hang-ups only.
    pub const NONE: Self = Self {
        read: false,
        write: false,
    };
    /// Readable.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags
    }
}

/// What happened to one descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The token that the descriptor was added with.
    pub token: u64,
    /// There is something to read, perhaps only the end.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// Both directions are shut down, or the peer of a pipe is gone (`EPOLLHUP`, `EPOLLERR`).
    pub hung_up: bool,
}

/// An `epoll(7)` instance.
pub struct Epoll {
    instance: OwnedFd,
    ready: Vec<epoll::Event>,
}

impl Epoll {
    /// Makes an instance that reports at most `batch` events at a time.
    pub fn new(batch: usize) -> io::Result<Self> {
        let instance = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            instance,
            ready: Vec::with_capacity(batch.max(1)),
        })
    }

    /// Starts watching `source`. Closing the last copy of a descriptor ends the watch by itself.
    pub fn add(&self, source: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.instance, source, data, interest.flags())?)
    }

    /// Changes what `source` is watched for.
    pub fn modify(&self, source: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::modify(
            &self.instance,
            source,
            data,
            interest.flags(),
        )?)
    }

    /// Stops watching `source`: needed where even a hang-up must not be reported for now.
    pub fn delete(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.instance, source)?)
    }

    /// Waits for events, at most `limit` long. No events is the limit, or a signal.
    pub fn wait(&mut self, limit: Option<Duration>) -> io::Result<impl Iterator<Item = Event>> {
        self.ready.clear();
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        match epoll::wait(
            &self.instance,
            spare_capacity(&mut self.ready),
            limit.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.ready.iter().map(|event| {
            let flags = event.flags;
            Event {
                token: event.data.u64(),
                readable: flags.contains(epoll::EventFlags::IN),
                writable: flags.contains(epoll::EventFlags::OUT),
                hung_up: flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR),
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_by_token_and_hears_hang_ups_without_interest() {
        let mut epoll = Epoll::new(4).unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        epoll.add(&read, 7, Interest::NONE).unwrap();
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(epoll.wait(Some(Duration::ZERO)).unwrap().count(), 0);
        epoll.modify(&read, 7, Interest::READ).unwrap();
        let event = epoll.wait(None).unwrap().next().unwrap();
        assert!(event.token == 7 && event.readable && !event.hung_up);
        epoll.modify(&read, 7, Interest::NONE).unwrap();
        drop(write);
        assert!(epoll.wait(None).unwrap().next().unwrap().hung_up);
        epoll.delete(&read).unwrap();
        assert_eq!(epoll.wait(Some(Duration::ZERO)).unwrap().count(), 0);
    }
}
