//! One container that runs, and its further processes, asked of its monitor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use berth_sys::pidfd;
use berth_types::launch::{ProcessIdentity, Started};
use berth_types::oci::ConsoleSize;
use berth_types::task::{Wait, waits};

use super::reap::wait_and_reap;
use super::{ANSWER_MAX, EXEC_SILENCE_MAX, connect, greet, launch_error, nonblocking, silence};
use crate::launcher::{ExecTask, LaunchError, Task};
use crate::protocol::{AttachWant, Channel, ChannelError, Message, Resize, Running};
use crate::{ExecRequest, TerminalState};

pub(super) struct ShimTask {
    pub(super) running: Running,
    /// Process descriptors of the container's init and of the monitor.
    pub(super) init: OwnedFd,
    pub(super) monitor: Arc<OwnedFd>,
    pub(super) link: Option<UnixStream>,
    pub(super) runtime_directory: PathBuf,
}

impl Task for ShimTask {
    fn started(&self) -> &Started {
        &self.running.started
    }

    fn monitor(&self) -> ProcessIdentity {
        self.running.monitor
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        pidfd::send_signal(&self.init, signal)
    }

    fn attach(&self, want: AttachWant) -> io::Result<UnixStream> {
        let _waits = waits(Wait::Monitor, Some(ANSWER_MAX));
        let attached = connect(&self.runtime_directory)
            .map_err(ChannelError::from)
            .and_then(|socket| greet(socket, &[Message::Attach(want)]))
            .and_then(|mut channel| match channel.receive(&mut Vec::new())? {
                Message::Done(0) => Ok(channel.into_socket()),
                Message::Done(error) => Err(io::Error::from_raw_os_error(error).into()),
                _ => Err(ChannelError::Unexpected),
            });
        let socket = attached.map_err(|error| match error {
            ChannelError::Io(error) => silence(error, ANSWER_MAX),
            other => io::Error::other(other),
        })?;
        socket.set_read_timeout(None)?;
        socket.set_write_timeout(None)?;
        Ok(socket)
    }

    fn exec(
        &self,
        request: &ExecRequest,
        filter: Option<&[u8]>,
        parked: Option<OwnedFd>,
    ) -> Result<Box<dyn ExecTask>, LaunchError> {
        if parked.is_some() != request.parked.is_some() {
            let text = "a parked client needs a socket and a wish".to_owned();
            return Err(LaunchError::Request(text));
        }
        let socket = connect(&self.runtime_directory).map_err(LaunchError::Monitor)?;
        socket
            .set_read_timeout(Some(EXEC_SILENCE_MAX))
            .map_err(LaunchError::Monitor)?;
        let mut channel = Channel::new(socket);
        let _waits = waits(Wait::Monitor, Some(EXEC_SILENCE_MAX));
        let asked = ask_exec(&mut channel, request, filter, parked);
        let answer = channel
            .receive(&mut Vec::new())
            .and_then(|hello| match hello {
                Message::Hello => channel.receive(&mut Vec::new()),
                _ => Err(ChannelError::Unexpected),
            });
        match (answer, asked) {
            (Ok(Message::Started(running)), _) => Ok(Box::new(ShimExec {
                process: running.started.init,
                link: Some(nonblocking(channel).map_err(LaunchError::Monitor)?),
            })),
            (Ok(Message::Failed(failure)), _) => Err(LaunchError::Start(failure)),
            (Ok(_), _) => Err(launch_error(ChannelError::Unexpected)),
            (Err(ChannelError::Io(_)), Err(error)) | (Err(error), _) => Err(launch_error(error)),
        }
    }

    fn resize(&self, exec: Option<&str>, size: ConsoleSize) -> io::Result<()> {
        let exec = exec.map(str::to_owned);
        match self.request(Message::Resize(Resize { exec, size }))? {
            Message::Done(0) => Ok(()),
            Message::Done(error) => Err(io::Error::from_raw_os_error(error)),
            _ => Err(io::Error::other(ChannelError::Unexpected)),
        }
    }

    fn terminal(&self) -> io::Result<Option<TerminalState>> {
        match self.request(Message::Terminal)? {
            Message::TerminalState(state) => Ok(state),
            _ => Err(io::Error::other(ChannelError::Unexpected)),
        }
    }

    fn take_link(&mut self) -> Option<UnixStream> {
        self.link.take()
    }

    fn reap(&self) {
        wait_and_reap(&self.monitor);
    }
}

impl ShimTask {
    /// Asks the monitor one thing, on a connection of its own.
    fn request(&self, message: Message) -> io::Result<Message> {
        let _waits = waits(Wait::Monitor, Some(ANSWER_MAX));
        let asked = connect(&self.runtime_directory)
            .map_err(ChannelError::from)
            .and_then(|socket| greet(socket, &[message])?.receive(&mut Vec::new()));
        asked.map_err(|error| match error {
            ChannelError::Io(error) => silence(error, ANSWER_MAX),
            other => io::Error::other(other),
        })
    }
}

struct ShimExec {
    process: ProcessIdentity,
    link: Option<UnixStream>,
}

impl ExecTask for ShimExec {
    fn process(&self) -> ProcessIdentity {
        self.process
    }

    fn take_link(&mut self) -> Option<UnixStream> {
        self.link.take()
    }
}

fn ask_exec(
    channel: &mut Channel,
    request: &ExecRequest,
    filter: Option<&[u8]>,
    parked: Option<OwnedFd>,
) -> Result<(), ChannelError> {
    let parked: Vec<_> = parked.iter().map(AsFd::as_fd).collect();
    channel.send(&Message::Hello, &[])?;
    channel.send(&Message::Exec(Box::new(request.clone())), &parked)?;
    channel.send(&Message::Filter(filter.unwrap_or_default().to_vec()), &[])
}
