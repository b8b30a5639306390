//! The report pipe: what the container's init tells the monitor before its program runs.
//!
//! A report is a tag, a length (32 bits, little endian) and a payload. The pipe is close-on-exec,
//! so its end of file says that the program was executed, or that the init is gone.

use std::io;
use std::os::fd::OwnedFd;

use berth_sys::rustix;
use berth_types::launch::{Phase, StartFailure, StartFailureKind};
use rustix::event::{PollFd, PollFlags, Timespec};

/// Longest payload; a longer message is cut.
const MAX_PAYLOAD: usize = 8 * 1024;

/// Most that is read from the pipe.
const MAX_TOTAL: usize = 4 * MAX_PAYLOAD;

const TAG_READY: u8 = 1;
const TAG_FAILED: u8 = 2;
const HEADER: usize = 5;

const KINDS: [StartFailureKind; 6] = [
    StartFailureKind::Internal,
    StartFailureKind::CommandNotFound,
    StartFailureKind::NotExecutable,
    StartFailureKind::UnknownUser,
    StartFailureKind::BadMount,
    StartFailureKind::BadLimit,
];

/// The init's end.
#[derive(Debug)]
pub(crate) struct Reporter(pub(crate) OwnedFd);

impl Reporter {
    /// Everything is set up; the next thing is the program.
    pub(crate) fn ready(&self, phases: &[Phase]) {
        let lines: Vec<String> = phases
            .iter()
            .map(|p| format!("{} {}", p.us, p.name))
            .collect();
        self.send(TAG_READY, lines.join("\n").as_bytes());
    }

    /// The start failed.
    pub(crate) fn failed(&self, failure: &StartFailure) {
        let kind = KINDS.iter().position(|k| *k == failure.kind).unwrap_or(0);
        let mut payload = vec![kind as u8];
        payload.extend(failure.message.bytes());
        self.send(TAG_FAILED, &payload);
    }

    fn send(&self, tag: u8, payload: &[u8]) {
        let payload = payload.get(..MAX_PAYLOAD).unwrap_or(payload);
        let mut frame = vec![tag];
        frame.extend((payload.len() as u32).to_le_bytes());
        frame.extend(payload);
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(&self.0, rest) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                // Nobody listens: the monitor is gone, and this process is about to be.
                Err(_) => return,
            }
        }
    }

    /// Whether the monitor still lives: it holds the only other end of the pipe. Its process id
    /// would say nothing, because in a new PID namespace every outside parent is 0.
    pub(crate) fn is_heard(&self) -> bool {
        let mut polled = [PollFd::new(&self.0, PollFlags::empty())];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let _ = rustix::event::poll(&mut polled, Some(&now));
        polled.iter().all(|p| !p.revents().contains(PollFlags::ERR))
    }
}

/// What the monitor read until the end of file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// Phases, if the init came as far as its program.
    pub(crate) ready: Option<Vec<Phase>>,
    /// The failure, if there was one.
    pub(crate) failure: Option<StartFailure>,
}

/// Reads reports until the pipe ends, which blocks.
pub(crate) fn listen(pipe: &OwnedFd) -> io::Result<Heard> {
    let mut listener = Listener::default();
    while !listener.read(pipe)? {}
    Ok(listener.heard())
}

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Listener(Vec<u8>);

impl Listener {
    /// Reads once; whether the pipe has ended, or said more than it should.
    pub(crate) fn read(&mut self, pipe: &OwnedFd) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => return Ok(true),
            Ok(n) => self.0.extend(buffer.get(..n).unwrap_or_default()),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(self.0.len() >= MAX_TOTAL)
    }

    /// What the reports say.
    pub(crate) fn heard(&self) -> Heard {
        parse(&self.0)
    }
}

fn parse(mut bytes: &[u8]) -> Heard {
    let mut heard = Heard::default();
    while let Some((tag, payload, rest)) = frame(bytes) {
        bytes = rest;
        match tag {
            TAG_READY => heard.ready = Some(phases(payload)),
            TAG_FAILED => heard.failure = failure(payload),
            _ => {}
        }
    }
    heard
}

fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let (tag, length) = header.split_first()?;
    let length = u32::from_le_bytes(length.try_into().ok()?);
    let (payload, rest) = rest.split_at_checked(length as usize)?;
    Some((*tag, payload, rest))
}

fn phases(payload: &[u8]) -> Vec<Phase> {
    let text = String::from_utf8_lossy(payload);
    let phase = |line: &str| {
        let (us, name) = line.split_once(' ')?;
        Some(Phase {
            name: name.to_owned(),
            us: us.parse().ok()?,
        })
    };
    text.lines().filter_map(phase).collect()
}

fn failure(payload: &[u8]) -> Option<StartFailure> {
    let (kind, message) = payload.split_first()?;
    let kind = *KINDS.get(usize::from(*kind))?;
    Some(StartFailure {
        kind,
        message: String::from_utf8_lossy(message).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_arrive_as_they_were_sent() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let reporter = Reporter(write);
        let phase = Phase {
            name: "root file system".to_owned(),
            us: 12,
        };
        let failure = StartFailure {
            kind: StartFailureKind::BadMount,
            message: "é:\n".to_owned(),
        };
        reporter.ready(std::slice::from_ref(&phase));
        reporter.failed(&failure);
        assert!(reporter.is_heard());
        drop(reporter);
        let heard = listen(&read).unwrap();
        assert_eq!(
            heard,
            Heard {
                ready: Some(vec![phase]),
                failure: Some(failure)
            }
        );
    }

    #[test]
    fn a_closed_reader_is_noticed() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        drop(read);
        assert!(!Reporter(write).is_heard());
    }

    #[test]
    fn half_a_frame_is_no_frame() {
        assert_eq!(parse(&[TAG_FAILED, 4, 0, 0, 0, 1, b'x']), Heard::default());
        assert_eq!(parse(&[]), Heard::default());
    }
}
