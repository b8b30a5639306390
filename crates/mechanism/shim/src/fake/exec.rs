//! Further processes and terminals without either.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use berth_types::launch::{ProcessIdentity, StartFailure};
use berth_types::oci::ConsoleSize;
use berth_types::{ContainerId, Timestamp};

use super::{Container, ESRCH, FakeLauncher, FakeTask};
use crate::launcher::{ExecTask, LaunchError};
use crate::protocol::{AttachWant, Message, Stream, output_header};
use crate::{ExecRequest, TerminalState};

const ENOTTY: i32 = 25;

/// What becomes of one further process.
#[derive(Debug, Clone)]
pub enum ExecOutcome {
    /// It runs until the test says otherwise, or its container ends.
    Runs,
    /// It writes this to its standard output and has ended with this code by the time the call
    /// returns.
    Exits(Vec<u8>, i32),
    /// The runtime refuses.
    Fails(StartFailure),
}

/// A further process that runs.
#[derive(Debug)]
pub(super) struct Further {
    request: ExecRequest,
    /// The monitor's end of the link.
    link: UnixStream,
    client: Option<(AttachWant, UnixStream)>,
    size: ConsoleSize,
}

impl FakeLauncher {
    /// Decides one further process more, of whatever container; those that are not decided run.
    pub fn script_exec(&self, outcome: ExecOutcome) {
        self.state().exec_script.push_back(outcome);
    }

    /// Every further process that was asked for, in order, failed ones included.
    pub fn execs(&self) -> Vec<(ContainerId, ExecRequest)> {
        self.state().execs.clone()
    }

    /// Lets a further process write to its client. False when it does not run, or its client has
    /// gone.
    pub fn exec_output(&self, id: &ContainerId, exec: &str, stream: Stream, data: &[u8]) -> bool {
        let mut state = self.state();
        let further = state
            .running
            .get_mut(id)
            .and_then(|container| container.further.get_mut(exec));
        further.is_some_and(|further| further.write(stream, data))
    }

    /// Lets a further process end. False when it does not run.
    pub fn exec_exit(&self, id: &ContainerId, exec: &str, code: i32) -> bool {
        let mut state = self.state();
        let container = state.running.get_mut(id);
        let further = container.and_then(|container| container.further.remove(exec));
        further.is_some_and(|further| further.end(code))
    }

    /// The size of a terminal: the container's, or that of a further process. None without one.
    pub fn size(&self, id: &ContainerId, exec: Option<&str>) -> Option<ConsoleSize> {
        let mut state = self.state();
        let size = state.running.get_mut(id)?.size_mut(exec).ok()?;
        Some(*size)
    }
}

impl Further {
    fn write(&mut self, stream: Stream, data: &[u8]) -> bool {
        let raw = self.request.exec.process.terminal;
        let Some((want, client)) = &mut self.client else {
            return true;
        };
        send(want, client, raw, stream, data)
    }

    /// Ends the streams and tells the link.
    pub(super) fn end(mut self, code: i32) -> bool {
        self.client = None;
        let frame = Message::ExecExited(code).encode().unwrap_or_default();
        // A link whose other end was dropped belongs to an engine that is gone.
        let _ = self.link.write_all(&frame);
        true
    }
}

/// Sends what one stream said to a client that wants it.
pub(super) fn send(
    want: &AttachWant,
    client: &mut UnixStream,
    raw: bool,
    stream: Stream,
    data: &[u8],
) -> bool {
    let wanted = match stream {
        Stream::Stdout => want.stdout,
        Stream::Stderr => want.stderr,
    };
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let framed = output_header(stream.number(), length);
    let header: &[u8] = if raw { &[] } else { &framed };
    !wanted
        || client
            .write_all(header)
            .and_then(|()| client.write_all(data))
            .is_ok()
}

impl Container {
    fn size_mut(&mut self, exec: Option<&str>) -> io::Result<&mut ConsoleSize> {
        let (terminal, size) = match exec {
            Some(id) => {
                let further = self.further.get_mut(id);
                let further = further.ok_or(io::Error::from_raw_os_error(ESRCH))?;
                (further.request.exec.process.terminal, &mut further.size)
            }
            None => (self.terminal, &mut self.size),
        };
        if terminal {
            Ok(size)
        } else {
            Err(io::Error::from_raw_os_error(ENOTTY))
        }
    }
}

struct FakeExec {
    process: ProcessIdentity,
    link: Option<UnixStream>,
}

impl ExecTask for FakeExec {
    fn process(&self) -> ProcessIdentity {
        self.process
    }

    fn take_link(&mut self) -> Option<UnixStream> {
        self.link.take()
    }
}

impl FakeTask {
    pub(super) fn start_further(
        &self,
        request: &ExecRequest,
        parked: Option<OwnedFd>,
    ) -> Result<Box<dyn ExecTask>, LaunchError> {
        let mut state = self.launcher.state();
        state.execs.push((self.id, request.clone()));
        let outcome = state.exec_script.pop_front().unwrap_or(ExecOutcome::Runs);
        if let ExecOutcome::Fails(failure) = &outcome {
            return Err(LaunchError::Start(failure.clone()));
        }
        let process = state.identity();
        let container = state.running.get_mut(&self.id);
        let gone = || LaunchError::Monitor(io::ErrorKind::UnexpectedEof.into());
        let container = container.ok_or_else(gone)?;
        let (ours, theirs) = UnixStream::pair().map_err(LaunchError::Monitor)?;
        ours.set_nonblocking(true).map_err(LaunchError::Monitor)?;
        let client = request.parked.clone().zip(parked.map(UnixStream::from));
        let mut further = Further {
            request: request.clone(),
            link: theirs,
            client,
            size: request.exec.process.console_size.unwrap_or_default(),
        };
        match outcome {
            ExecOutcome::Exits(output, code) => {
                further.write(Stream::Stdout, &output);
                further.end(code);
            }
            _ => {
                container.further.insert(request.exec.id.clone(), further);
            }
        }
        Ok(Box::new(FakeExec {
            process,
            link: Some(ours),
        }))
    }

    pub(super) fn set_size(&self, exec: Option<&str>, size: ConsoleSize) -> io::Result<()> {
        let mut state = self.launcher.state();
        let container = state.running.get_mut(&self.id);
        let container = container.ok_or(io::Error::from_raw_os_error(ESRCH))?;
        *container.size_mut(exec)? = size;
        Ok(())
    }

    pub(super) fn terminal_state(&self) -> io::Result<Option<TerminalState>> {
        let state = self.launcher.state();
        let container = state.running.get(&self.id);
        let container = container.ok_or(io::ErrorKind::ConnectionRefused)?;
        let typing = container
            .clients
            .iter()
            .filter(|(want, _)| want.stdin)
            .count();
        let all = u32::try_from(container.clients.len()).unwrap_or(u32::MAX);
        let typing = u32::try_from(typing).unwrap_or(u32::MAX);
        Ok(container.terminal.then_some(TerminalState {
            size: container.size,
            input: Timestamp::NEVER,
            output: Timestamp::NEVER,
            typing,
            watching: all - typing,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{end_of, request};
    use super::*;
    use crate::launcher::Launcher;
    use crate::protocol::Event;
    use berth_types::launch::{Exec, StartFailureKind, Stdin};
    use std::io::Read;

    fn further(id: &str, terminal: bool) -> ExecRequest {
        let mut exec = Exec {
            id: id.into(),
            process: Default::default(),
            user: String::new(),
            groups: Vec::new(),
            stdin: Stdin::Null,
        };
        exec.process.terminal = terminal;
        ExecRequest {
            exec,
            parked: Some(AttachWant::new(false, true, true)),
        }
    }

    #[test]
    fn further_processes_do_what_the_test_says() {
        let fake = FakeLauncher::new();
        let container = request(1);
        let id = container.launch.id;
        let task = fake.launch(&container, None, Vec::new()).unwrap();
        let failure = StartFailure {
            kind: StartFailureKind::NotExecutable,
            message: "no x".into(),
        };
        fake.script_exec(ExecOutcome::Fails(failure.clone()));
        fake.script_exec(ExecOutcome::Exits(b"out".to_vec(), 4));
        let start = |further: &ExecRequest| {
            let (client, parked) = UnixStream::pair().unwrap();
            let exec = task.exec(further, None, Some(parked.into()));
            exec.map(|exec| (exec, client))
        };
        let failed = start(&further("a", false));
        assert!(matches!(failed, Err(LaunchError::Start(f)) if f == failure));
        let (mut ended, mut client) = start(&further("b", false)).unwrap();
        let end = end_of(&mut ended.take_link().unwrap());
        assert_eq!(end, Some(Event::ExecExited(4)));
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, b"\x01\0\0\0\0\0\0\x03out");

        let (mut runs, mut client) = start(&further("c", true)).unwrap();
        let size = ConsoleSize {
            height: 2,
            width: 3,
        };
        task.resize(Some("c"), size).unwrap();
        assert_eq!(fake.size(&id, Some("c")), Some(size));
        let none = task.resize(None, size).unwrap_err();
        assert_eq!(none.raw_os_error(), Some(ENOTTY));
        assert!(fake.exec_output(&id, "c", Stream::Stdout, b"raw"));
        assert!(fake.exit(&id, 0));
        seen.clear();
        client.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, b"raw");
        let end = end_of(&mut runs.take_link().unwrap());
        assert_eq!(end, Some(Event::ExecExited(137)));
        assert_eq!(fake.execs().len(), 3);
    }
}
