//! The engine's side: monitors as real processes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_sys::ahead::Stock;
use berth_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use berth_sys::rustix::fs::{FlockOperation, flock, inotify};
use berth_sys::rustix::io::Errno;
use berth_sys::{memfd, pidfd, process, socket};
use berth_types::ContainerId;
use berth_types::launch::PROTOCOL_VERSION;
use berth_types::task::{Wait, waits};

use crate::SOCKET_NAME;
use crate::launcher::{AdoptError, LaunchError, Launcher, Placement, Task};
use crate::protocol::{
    Channel, ChannelError, FrameError, LaunchRequest, Message, PARKED_MAX, Running,
};

mod reap;
mod spares;
mod task;

use reap::wait_and_reap;
use spares::Waiting;
use task::ShimTask;

const SIGKILL: i32 = 9;

/// Longest silence of a monitor during a start before it is killed, its container with it.
const START_SILENCE_MAX: Duration = Duration::from_secs(120);

/// Longest time that a further process takes to its program.
const EXEC_SILENCE_MAX: Duration = Duration::from_secs(30);

/// Longest silence of a running monitor that was asked something.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Pause between two looks at a monitor that is on its way or ending.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Starts `berth-shim` processes from a sealed copy of the program.
#[derive(Debug)]
pub struct ShimLauncher {
    program: Arc<OwnedFd>,
    spares: Stock<Waiting>,
    exec_root: PathBuf,
    data_root: PathBuf,
    placement: Option<Arc<dyn Placement>>,
}

impl ShimLauncher {
    /// Copies the program once. Containers of a container directory are below
    /// `DATA_ROOT/containers/<id>`, their sockets below `EXEC_ROOT/containers/<id>`; both exist
    /// before a launch. `spares` monitors are spawned ahead of the launches that need them, and wait.
    ///
    /// # Errors
    /// When the program cannot be read or copied.
    pub fn new(
        program: &Path,
        exec_root: &Path,
        data_root: &Path,
        spares: usize,
    ) -> io::Result<Self> {
        let copy = memfd::sealed_copy(&mut File::open(program)?, c"berth-shim")?;
        let program = Arc::new(copy);
        let own = Arc::clone(&program);
        Ok(Self {
            // Whatever hinders a spare hinders the next start, which says why.
            spares: Stock::open("spare-monitors", spares, move || Waiting::new(&own).ok())?,
            program,
            exec_root: exec_root.to_owned(),
            data_root: data_root.to_owned(),
            placement: None,
        })
    }

    /// Ends the monitors that wait, and spawns no more. Containers go on.
    pub fn close(&self) {
        drop(self.spares.close());
    }

    /// Asks a monitor for the container: one that waits, or a new one.
    fn ask(
        &self,
        request: &LaunchRequest,
        filter: Option<&[u8]>,
        descriptors: &[OwnedFd],
        directory: &Path,
    ) -> Result<Asked, LaunchError> {
        let order = Order::new(request, filter);
        // One that did not take the whole order starts nothing: another one may.
        while let Some(mut spare) = self.spares.take() {
            match self.place(request, spare.pid(), directory) {
                Err(_) if spare.has_ended() => continue,
                placed => placed?,
            }
            let sent = spare
                .channel()
                .map(|channel| order.send(channel, descriptors));
            if let Some(Ok(())) = sent
                && let Some((channel, monitor)) = spare.into_parts()
            {
                return Ok(Asked {
                    channel,
                    monitor,
                    greeted: true,
                    sent: Ok(()),
                });
            }
        }
        let name = request.launch.id.to_string();
        let (mut channel, monitor) =
            spares::spawn_monitor(&self.program, &name).map_err(LaunchError::Spawn)?;
        if let Err(error) = self.place(request, monitor.pid, directory) {
            let _ = pidfd::send_signal(&monitor.pidfd, SIGKILL);
            wait_and_reap(&monitor.pidfd);
            return Err(error);
        }
        let sent = channel
            .send(&Message::Hello, &[])
            .and_then(|()| order.send(&mut channel, descriptors));
        Ok(Asked {
            channel,
            monitor: Arc::new(monitor.pidfd),
            greeted: false,
            sent,
        })
    }

    /// Puts a monitor where it belongs, before it makes anything.
    fn place(
        &self,
        request: &LaunchRequest,
        monitor: i32,
        directory: &Path,
    ) -> Result<(), LaunchError> {
        let Some(placement) = &self.placement else {
            return Ok(());
        };
        let launch = &request.launch;
        let group = &launch.bundle.spec.linux.cgroups_path;
        let placed = placement.place(launch.id, group, monitor, directory);
        placed.map_err(LaunchError::Place)
    }

    /// Lets `placement` put each monitor where it belongs; without it they stay where the engine
    /// is.
    #[must_use]
    pub fn placed_by(mut self, placement: Arc<dyn Placement>) -> Self {
        self.placement = Some(placement);
        self
    }

    fn runtime_directory(&self, id: &ContainerId) -> PathBuf {
        self.exec_root.join("containers").join(id.to_string())
    }

    fn state_directory(&self, id: &ContainerId) -> PathBuf {
        self.data_root.join("containers").join(id.to_string())
    }
}

impl Launcher for ShimLauncher {
    fn launch(
        &self,
        request: &LaunchRequest,
        filter: Option<&[u8]>,
        parked: Vec<OwnedFd>,
    ) -> Result<Box<dyn Task>, LaunchError> {
        if parked.len() != request.parked.len() || parked.len() > PARKED_MAX {
            let text = format!(
                "{} sockets for {} parked clients; at most {PARKED_MAX} can be parked",
                parked.len(),
                request.parked.len()
            );
            return Err(LaunchError::Request(text));
        }
        let id = &request.launch.id;
        let runtime_directory = self.runtime_directory(id);
        let runtime = open_directory(&runtime_directory)?;
        // The lock belongs to the open directory, which travels to the monitor and stays with it:
        // from here to the monitor's end, whoever asks sees that somebody is there.
        flock(&runtime, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            LaunchError::Directory {
                path: runtime_directory.display().to_string(),
                source: error.into(),
            }
        })?;
        let mut descriptors = vec![open_directory(&self.state_directory(id))?, runtime];
        descriptors.extend(parked);

        let mut asked = self.ask(request, filter, &descriptors, &runtime_directory)?;
        drop(descriptors);
        let waits = waits(Wait::Monitor, Some(START_SILENCE_MAX));
        let answer = asked.answer();
        drop(waits);
        self.spares.refill();
        let Asked {
            channel, monitor, ..
        } = asked;
        match answer {
            Ok((running, init)) => {
                let link = nonblocking(channel).map_err(LaunchError::Monitor)?;
                Ok(Box::new(ShimTask {
                    running,
                    init,
                    monitor,
                    link: Some(link),
                    runtime_directory,
                }))
            }
            Err(error) => {
                // It ends by itself after FAILED; after anything else it must not start late.
                if !matches!(error, LaunchError::Start(_)) {
                    let _ = pidfd::send_signal(&monitor, SIGKILL);
                }
                wait_and_reap(&monitor);
                Err(error)
            }
        }
    }

    fn adopt(&self, id: &ContainerId) -> Result<Box<dyn Task>, AdoptError> {
        let directory = self.runtime_directory(id);
        let end = Instant::now() + START_SILENCE_MAX;
        loop {
            match self.find(id, directory.clone()) {
                // A monitor on its way has the lock before it has a socket, and one that ends
                // has it after.
                Err(ChannelError::Io(error))
                    if is_gone(&error) && is_locked(&directory) && Instant::now() < end =>
                {
                    wait_for_entry(&directory);
                }
                found => return found.map_err(|error| adopt_error(*id, error)),
            }
        }
    }
}

fn adopt_error(id: ContainerId, error: ChannelError) -> AdoptError {
    match error {
        ChannelError::Frame(FrameError::Version { theirs }) => AdoptError::Version {
            id,
            theirs,
            ours: PROTOCOL_VERSION,
        },
        ChannelError::Io(error) if is_gone(&error) => AdoptError::Gone(id),
        ChannelError::Io(source) => AdoptError::Monitor {
            id,
            source: silence(source, ANSWER_MAX),
        },
        other => AdoptError::Monitor {
            id,
            source: io::Error::other(other),
        },
    }
}

/// Whether a monitor has the runtime directory. One that cannot be opened is nobody's.
fn is_locked(directory: &Path) -> bool {
    socket::open_directory(directory).is_ok_and(|directory| {
        flock(&directory, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    })
}

/// Waits until something appears in the directory, or for [`LOOK_AGAIN`]: nothing announces that
/// a lock was given up.
fn wait_for_entry(directory: &Path) {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watch = inotify::init(flags).and_then(|watch| {
        inotify::add_watch(&watch, directory, inotify::WatchFlags::CREATE)?;
        Ok(watch)
    });
    let limit = Timespec::try_from(LOOK_AGAIN).ok();
    // Without a watch the poll is a pause.
    let mut changed: Vec<_> = watch
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    let _ = poll(&mut changed, limit.as_ref());
}

impl ShimLauncher {
    fn find(&self, id: &ContainerId, directory: PathBuf) -> Result<Box<dyn Task>, ChannelError> {
        let socket = connect(&directory)?;
        let peer = socket::peer(&socket)?;
        let mut channel = greet(socket, &[Message::Status, Message::Watch])?;
        let mut descriptors = Vec::new();
        let Message::Started(running) = channel.receive(&mut descriptors)? else {
            return Err(ChannelError::Unexpected);
        };
        let (Message::Done(0), Some(init)) = (channel.receive(&mut Vec::new())?, descriptors.pop())
        else {
            return Err(ChannelError::Unexpected);
        };
        // The descriptor is opened first: if the number then still belongs to the process that
        // answered, the descriptor is that process.
        let monitor = Arc::new(pidfd::open(peer.pid)?);
        if process::identity(peer.pid)? != running.monitor {
            let text = format!("the monitor of container {id} is not the process that listens");
            return Err(io::Error::other(text).into());
        }
        let link = nonblocking(channel)?;
        let link = Some(link);
        Ok(Box::new(ShimTask {
            running,
            init,
            monitor,
            link,
            runtime_directory: directory,
        }))
    }
}

/// What a monitor is told at a start.
struct Order {
    launch: Message,
    filter: Message,
}

impl Order {
    fn new(request: &LaunchRequest, filter: Option<&[u8]>) -> Self {
        Self {
            launch: Message::Launch(Box::new(request.clone())),
            filter: Message::Filter(filter.unwrap_or_default().to_vec()),
        }
    }

    fn send(&self, channel: &mut Channel, descriptors: &[OwnedFd]) -> Result<(), ChannelError> {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        channel.send(&self.launch, &descriptors)?;
        channel.send(&self.filter, &[])
    }
}

/// A monitor that was asked for a container.
struct Asked {
    channel: Channel,
    monitor: Arc<OwnedFd>,
    /// Whether it has said HELLO already.
    greeted: bool,
    sent: Result<(), ChannelError>,
}

impl Asked {
    /// Waits for its answer. One that refuses has said why before our writing fails: it is heard
    /// out in any case.
    fn answer(&mut self) -> Result<(Running, OwnedFd), LaunchError> {
        let mut received = Vec::new();
        let hello = match self.greeted {
            true => Ok(Message::Hello),
            false => self.channel.receive(&mut received),
        };
        let answer = hello.and_then(|hello| match hello {
            Message::Hello => self.channel.receive(&mut received),
            _ => Err(ChannelError::Unexpected),
        });
        let sent = std::mem::replace(&mut self.sent, Ok(()));
        match (answer, sent) {
            (Ok(Message::Started(running)), _) => match received.pop() {
                Some(init) => Ok((running, init)),
                None => Err(launch_error(ChannelError::Unexpected)),
            },
            (Ok(Message::Failed(failure)), _) => Err(LaunchError::Start(failure)),
            (Ok(_), _) => Err(launch_error(ChannelError::Unexpected)),
            (Err(ChannelError::Io(_)), Err(error)) | (Err(error), _) => Err(launch_error(error)),
        }
    }
}

fn launch_error(error: ChannelError) -> LaunchError {
    match error {
        ChannelError::Frame(error) => LaunchError::Protocol(error),
        // A socket's time limit is told as either.
        ChannelError::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            LaunchError::Silent
        }
        ChannelError::Io(error) => LaunchError::Monitor(error),
        other => LaunchError::Monitor(io::Error::other(other)),
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, LaunchError> {
    socket::open_directory(path).map_err(|source| LaunchError::Directory {
        path: path.display().to_string(),
        source,
    })
}

/// Connects to a monitor. One that does not take connections any more, stopped by a debugger for
/// example, has a full queue some time: it is waited for no longer than for an answer.
fn connect(runtime_directory: &Path) -> io::Result<UnixStream> {
    let _waits = waits(Wait::Monitor, Some(ANSWER_MAX));
    let directory = socket::open_directory(runtime_directory)?;
    let socket = socket::connect_at(directory.as_fd(), SOCKET_NAME, ANSWER_MAX)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(socket)
}

/// Sends HELLO and the requests behind it, and receives HELLO.
fn greet(socket: UnixStream, requests: &[Message]) -> Result<Channel, ChannelError> {
    let _waits = waits(Wait::Monitor, Some(ANSWER_MAX));
    let mut channel = Channel::new(socket);
    let sent = std::iter::once(&Message::Hello)
        .chain(requests)
        .try_for_each(|message| channel.send(message, &[]));
    match (channel.receive(&mut Vec::new()), sent) {
        (Ok(Message::Hello), Ok(())) => Ok(channel),
        (Ok(Message::Hello), Err(error)) | (Err(error), _) => Err(error),
        (Ok(_), _) => Err(ChannelError::Unexpected),
    }
}

fn nonblocking(channel: Channel) -> io::Result<UnixStream> {
    let socket = channel.into_socket();
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A wait that came to its end, said as such: the system calls it "temporarily unavailable".
fn silence(error: io::Error, limit: Duration) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it did not answer within {} seconds", limit.as_secs()),
        ),
        _ => error,
    }
}

/// Whether the error means that nobody listens, or that who did is ending.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    let kind = error.kind();
    matches!(
        kind,
        NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof
    )
}
