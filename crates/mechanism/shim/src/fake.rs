//! Containers without processes, for tests of the engine: what happens is what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_types::launch::{
    EXIT_RECORD_VERSION, ExitRecord, ProcessIdentity, StartFailure, Started,
};
use berth_types::{ContainerId, Timestamp};

use crate::launcher::{AdoptError, ExecTask, LaunchError, Launcher, Task};
use crate::protocol::{AttachWant, LaunchRequest, Message, Stream};
use crate::{ExecRequest, TerminalState};
use berth_types::oci::ConsoleSize;

mod exec;

pub use exec::ExecOutcome;
use exec::Further;

const ESRCH: i32 = 3;
const SIGKILL: i32 = 9;

/// What becomes of one launch.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The container runs until the test says otherwise, or somebody sends `SIGKILL`.
    Runs,
    /// The container runs and has ended with this code by the time the launch returns.
    Exits(i32),
    /// The runtime refuses.
    Fails(StartFailure),
    /// The monitor dies before it answers.
    MonitorDies,
}

/// A launcher whose containers are entries in a table. Clones share the table, as the launchers
/// of two engines in a row do.
#[derive(Debug, Clone, Default)]
pub struct FakeLauncher {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    data_root: Option<PathBuf>,
    script: VecDeque<Outcome>,
    launches: Vec<LaunchRequest>,
    running: BTreeMap<ContainerId, Container>,
    signals: BTreeMap<ContainerId, Vec<i32>>,
    exec_script: VecDeque<ExecOutcome>,
    execs: Vec<(ContainerId, ExecRequest)>,
    last_pid: i32,
}

#[derive(Debug)]
struct Container {
    started: Started,
    monitor: ProcessIdentity,
    /// The monitor's ends of the links.
    links: Vec<UnixStream>,
    clients: Vec<(AttachWant, UnixStream)>,
    terminal: bool,
    size: ConsoleSize,
    further: BTreeMap<String, Further>,
}

impl FakeLauncher {
    /// A launcher whose launches all succeed until [`FakeLauncher::script`] says otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has exit records written below `DATA_ROOT/containers/<id>`, as real monitors do.
    pub fn with_data_root(self, data_root: impl Into<PathBuf>) -> Self {
        self.state().data_root = Some(data_root.into());
        self
    }

    /// Decides one launch more; those that are not decided run.
    pub fn script(&self, outcome: Outcome) {
        self.state().script.push_back(outcome);
    }

    /// Every launch that was asked for, in order, failed ones included.
    pub fn launches(&self) -> Vec<LaunchRequest> {
        self.state().launches.clone()
    }

    /// The containers that run.
    pub fn running(&self) -> Vec<ContainerId> {
        self.state().running.keys().copied().collect()
    }

    /// The signals that the container was sent over all its runs.
    pub fn signals(&self, id: &ContainerId) -> Vec<i32> {
        self.state().signals.get(id).cloned().unwrap_or_default()
    }

    /// Lets the container write to its attached clients. False when it does not run, or a client
    /// has gone.
    pub fn output(&self, id: &ContainerId, stream: Stream, data: &[u8]) -> bool {
        let mut state = self.state();
        let Some(container) = state.running.get_mut(id) else {
            return false;
        };
        let raw = container.terminal;
        let mut clients = container.clients.iter_mut();
        clients.all(|(want, client)| exec::send(want, client, raw, stream, data))
    }

    /// Lets the container end. False when it does not run.
    pub fn exit(&self, id: &ContainerId, code: i32) -> bool {
        self.exit_with(id, &record(code))
    }

    /// Lets the container end in a way of the test's choice. False when it does not run.
    pub fn exit_with(&self, id: &ContainerId, record: &ExitRecord) -> bool {
        self.state().exit(id, record)
    }

    /// Kills the monitor, and with it the container: the link just ends, and no record is left.
    /// False when it does not run.
    pub fn kill_monitor(&self, id: &ContainerId) -> bool {
        self.state().running.remove(id).is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn task(&self, id: ContainerId, container: &mut Container) -> io::Result<Box<dyn Task>> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        container.links.push(theirs);
        Ok(Box::new(FakeTask {
            launcher: self.clone(),
            id,
            started: container.started.clone(),
            monitor: container.monitor,
            link: Some(ours),
        }))
    }
}

/// The record of an exit that happens now.
pub fn record(code: i32) -> ExitRecord {
    let at = Timestamp::now();
    ExitRecord {
        version: EXIT_RECORD_VERSION,
        code,
        oom_killed: false,
        at,
        reason: None,
    }
}

impl State {
    fn exit(&mut self, id: &ContainerId, record: &ExitRecord) -> bool {
        let Some(mut container) = self.running.remove(id) else {
            return false;
        };
        if let Some(root) = &self.data_root {
            let directory = root.join("containers").join(id.to_string());
            // A test without the directory has no use for the record.
            if let Ok(directory) = berth_sys::socket::open_directory(&directory) {
                let _ = crate::exit_record::write(directory.as_fd(), record, false);
            }
        }
        for (_, further) in std::mem::take(&mut container.further) {
            further.end(128 + SIGKILL);
        }
        if let Ok(frame) = Message::Exited(record.clone()).encode() {
            for link in &mut container.links {
                // A link whose other end was dropped belongs to an engine that is gone.
                let _ = link.write_all(&frame);
            }
        }
        true
    }

    fn identity(&mut self) -> ProcessIdentity {
        self.last_pid += 1;
        ProcessIdentity {
            pid: self.last_pid,
            start_time: 1,
        }
    }
}

impl Launcher for FakeLauncher {
    fn launch(
        &self,
        request: &LaunchRequest,
        _filter: Option<&[u8]>,
        parked: Vec<OwnedFd>,
    ) -> Result<Box<dyn Task>, LaunchError> {
        let mut state = self.state();
        state.launches.push(request.clone());
        let outcome = state.script.pop_front().unwrap_or(Outcome::Runs);
        match &outcome {
            Outcome::Fails(failure) => return Err(LaunchError::Start(failure.clone())),
            Outcome::MonitorDies => {
                return Err(LaunchError::Monitor(io::ErrorKind::UnexpectedEof.into()));
            }
            Outcome::Runs | Outcome::Exits(_) => {}
        }
        let id = request.launch.id;
        let started = Started {
            init: state.identity(),
            at: Timestamp::now(),
            phases: Vec::new(),
        };
        let clients = request
            .parked
            .iter()
            .cloned()
            .zip(parked.into_iter().map(UnixStream::from));
        let process = &request.launch.bundle.spec.process;
        let mut container = Container {
            started,
            monitor: state.identity(),
            links: Vec::new(),
            clients: clients.collect(),
            terminal: process.terminal,
            size: process.console_size.unwrap_or_default(),
            further: BTreeMap::new(),
        };
        let task = self.task(id, &mut container).map_err(LaunchError::Spawn)?;
        state.running.insert(id, container);
        if let Outcome::Exits(code) = outcome {
            state.exit(&id, &record(code));
        }
        Ok(task)
    }

    fn adopt(&self, id: &ContainerId) -> Result<Box<dyn Task>, AdoptError> {
        let mut state = self.state();
        let container = state.running.get_mut(id).ok_or(AdoptError::Gone(*id))?;
        self.task(*id, container)
            .map_err(|source| AdoptError::Monitor { id: *id, source })
    }
}

struct FakeTask {
    launcher: FakeLauncher,
    id: ContainerId,
    started: Started,
    monitor: ProcessIdentity,
    link: Option<UnixStream>,
}

impl Task for FakeTask {
    fn started(&self) -> &Started {
        &self.started
    }

    fn monitor(&self) -> ProcessIdentity {
        self.monitor
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        let mut state = self.launcher.state();
        let same = state
            .running
            .get(&self.id)
            .is_some_and(|c| c.monitor == self.monitor);
        if !same {
            return Err(io::Error::from_raw_os_error(ESRCH));
        }
        state.signals.entry(self.id).or_default().push(signal);
        if signal == SIGKILL {
            state.exit(&self.id, &record(128 + SIGKILL));
        }
        Ok(())
    }

    fn attach(&self, want: AttachWant) -> io::Result<UnixStream> {
        let mut state = self.launcher.state();
        let container = state
            .running
            .get_mut(&self.id)
            .ok_or(io::ErrorKind::ConnectionRefused)?;
        let (ours, theirs) = UnixStream::pair()?;
        container.clients.push((want, theirs));
        Ok(ours)
    }

    fn exec(
        &self,
        request: &ExecRequest,
        _filter: Option<&[u8]>,
        parked: Option<OwnedFd>,
    ) -> Result<Box<dyn ExecTask>, LaunchError> {
        self.start_further(request, parked)
    }

    fn resize(&self, exec: Option<&str>, size: ConsoleSize) -> io::Result<()> {
        self.set_size(exec, size)
    }

    fn terminal(&self) -> io::Result<Option<TerminalState>> {
        self.terminal_state()
    }

    fn take_link(&mut self) -> Option<UnixStream> {
        self.link.take()
    }

    fn reap(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Decoder, Event, Role};
    use berth_types::launch::{Bundle, Launch, LogTarget, Rootfs, StartFailureKind, Stdin};
    use berth_types::oci::Spec;
    use std::io::Read;

    pub(super) fn request(byte: u8) -> LaunchRequest {
        let bundle = Bundle {
            spec: Spec::default(),
            rootfs: Rootfs::Directory("/".into()),
            user: String::new(),
            groups: Vec::new(),
            make_cwd: false,
        };
        let id = ContainerId::from_bytes([byte; 32]);
        let (log, stdin) = (LogTarget::None, Stdin::Null);
        let launch = Launch {
            id,
            bundle,
            log,
            stdin,
            durable_exit: true,
        };
        LaunchRequest {
            launch,
            parked: Vec::new(),
        }
    }

    pub(super) fn end_of(link: &mut UnixStream) -> Option<Event> {
        link.set_nonblocking(false).unwrap();
        let mut bytes = Vec::new();
        link.read_to_end(&mut bytes).unwrap();
        let mut decoder = Decoder::new();
        decoder.push(&bytes);
        decoder.event().unwrap()
    }

    #[test]
    fn does_what_the_test_says() {
        let fake = FakeLauncher::new();
        let failure = StartFailure {
            kind: StartFailureKind::CommandNotFound,
            message: "no x".into(),
        };
        fake.script(Outcome::Fails(failure.clone()));
        fake.script(Outcome::Exits(3));
        let failed = fake.launch(&request(1), None, Vec::new());
        assert!(matches!(failed, Err(LaunchError::Start(f)) if f == failure));
        let mut ended = fake.launch(&request(1), None, Vec::new()).unwrap();
        let Some(Event::Exited(record)) = end_of(&mut ended.take_link().unwrap()) else {
            panic!("no exit")
        };
        assert_eq!(record.code, 3);
        assert_eq!(ended.signal(15).unwrap_err().raw_os_error(), Some(ESRCH));
        assert!(matches!(
            fake.adopt(&request(1).launch.id),
            Err(AdoptError::Gone(_))
        ));

        let (mut client, parked) = UnixStream::pair().unwrap();
        let mut with_client = request(2);
        let want = AttachWant {
            stdin: false,
            stdout: true,
            stderr: false,
            role: Role::Follow,
            screen: false,
            announce: String::new(),
        };
        with_client.parked.push(want);
        let mut first = fake
            .launch(&with_client, None, vec![parked.into()])
            .unwrap();
        let id = with_client.launch.id;
        let mut second = fake.adopt(&id).unwrap();
        assert_eq!(first.monitor(), second.monitor());
        assert!(fake.output(&id, Stream::Stderr, b"unseen"));
        assert!(fake.output(&id, Stream::Stdout, b"seen"));
        second.signal(SIGKILL).unwrap();
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, b"\x01\0\0\0\0\0\0\x04seen");
        for task in [&mut first, &mut second] {
            let end = end_of(&mut task.take_link().unwrap());
            assert!(matches!(end, Some(Event::Exited(r)) if r.code == 137));
        }
        assert_eq!(fake.signals(&id), [SIGKILL]);
        assert_eq!(fake.launches().len(), 3);

        let mut task = fake.launch(&request(3), None, Vec::new()).unwrap();
        assert!(fake.kill_monitor(&request(3).launch.id));
        assert_eq!(end_of(&mut task.take_link().unwrap()), None);
    }
}
